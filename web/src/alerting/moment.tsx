import { formatAge, formatExact, formatSpan } from '../format/time';
import { useTicking } from './clock';

function titleOf(tsMs: number): string {
  const { local, utc } = formatExact(tsMs);
  return utc === null ? local : `${local} = ${utc}`;
}

/** "5 min ago"; the exact moment, also in UTC, where the pointer rests. */
export function Ago({ tsMs, isBare }: { tsMs: number; isBare?: boolean }) {
  const age = useTicking((nowMs) => formatAge(nowMs - tsMs));
  return (
    <time dateTime={new Date(tsMs).toISOString()} title={titleOf(tsMs)} className="moment">
      {isBare === true ? age : `${age} ago`}
    </time>
  );
}

/** "in 1 h 20 min", or "5 min ago". */
export function Until({ tsMs }: { tsMs: number }) {
  const text = useTicking((nowMs) => {
    const leftMs = tsMs - nowMs;
    if (leftMs <= 0) return `${formatAge(-leftMs)} ago`;
    return `in ${leftMs < 60_000 ? formatAge(leftMs + 999) : formatSpan(Math.ceil(leftMs / 60_000) * 60_000)}`;
  });
  return (
    <time dateTime={new Date(tsMs).toISOString()} title={titleOf(tsMs)} className="moment">
      {text}
    </time>
  );
}

/** The moment itself, for those who compare it with logs. */
export function Exact({ tsMs }: { tsMs: number }) {
  const { local, utc } = formatExact(tsMs);
  return (
    <time dateTime={new Date(tsMs).toISOString()} className="exact">
      {local}
      {utc !== null && <span className="exact-utc"> · {utc}</span>}
    </time>
  );
}
