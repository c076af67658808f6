import type { Panel, Target } from '../api/dashboards';
import type { PanelData } from '../api/panels';
import { formatParts } from '../format/unit';
import { changeOf, changeSpoken, changeText } from './change';
import { isTargetMet } from './target';

/** The number itself, set large. It glows for a moment when it changes. */
export function FigureValue({ value, unit }: { value: number | null; unit: string }) {
  const { number, suffix } = formatParts(value, unit);
  return (
    <p className="figure" data-testid="figure">
      <span key={`${number}${suffix}`} className="figure-number">
        {number}
        {suffix !== '' && <span className="figure-suffix">{suffix}</span>}
      </span>
    </p>
  );
}

const ARROWS = { up: '▲', down: '▼', flat: '■' } as const;

export function FigureChange({ panel, data }: { panel: Panel; data: PanelData }) {
  const change = changeOf(data.value, data.previous, panel.better);
  if (change === null) return <p className="change change-none">no earlier period to compare with</p>;
  return (
    <p className="change">
      <span className="change-size" data-verdict={change.verdict} aria-hidden="true">
        <span className="change-arrow">{ARROWS[change.direction]}</span> {changeText(change)}
      </span>{' '}
      <span className="change-against" aria-hidden="true">
        vs {formatBefore(data.previous, panel.unit)}
      </span>
      <span className="visually-hidden">{changeSpoken(change)}</span>
    </p>
  );
}

function formatBefore(value: number | null, unit: string): string {
  const { number, suffix } = formatParts(value, unit);
  return `${number}${suffix} before`;
}

export function FigureTarget({ panel, value }: { panel: Panel; value: number | null }) {
  return <TargetMark target={panel.target} value={value} />;
}

export function TargetMark({ target, value }: { target: Target | null; value: number | null }) {
  if (target === null) return null;
  const isMet = value === null ? null : isTargetMet(value, target);
  return (
    <p className="target" data-met={isMet ?? 'unknown'}>
      <svg viewBox="0 0 16 16" aria-hidden="true">
        <path d={isMet === null ? 'M4 8h8' : isMet ? 'm3.5 8.5 3 3 6-7' : 'm4.5 4.5 7 7m0-7-7 7'} />
      </svg>
      <span>
        Target {target.text}
        {isMet !== null && <strong> {isMet ? 'met' : 'missed'}</strong>}
      </span>
    </p>
  );
}
