import { toneOf } from './severity';

/** The word itself stands there: colour is not all there is. */
export function SeverityMark({ severity, count }: { severity: string; count?: number }) {
  return (
    <span className="severity" data-tone={toneOf(severity)}>
      {count !== undefined && `${count} `}
      {severity === '' ? 'no severity' : severity}
    </span>
  );
}
