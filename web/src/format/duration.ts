/** Lengths of time as Prometheus writes them: "1h30m". */
import { formatSpan } from './time';

const HOUR_MS = 3_600_000;

const UNITS = [
  { name: 'y', ms: 365 * 24 * HOUR_MS },
  { name: 'w', ms: 7 * 24 * HOUR_MS },
  { name: 'd', ms: 24 * HOUR_MS },
  { name: 'h', ms: HOUR_MS },
  { name: 'm', ms: 60_000 },
  { name: 's', ms: 1_000 },
  { name: 'ms', ms: 1 },
] as const;

const DURATION = /^(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?$/;
const SPAN_MAX_MS = 10 * 365 * 24 * HOUR_MS;

/** null: not a length of time, or none that could be meant. */
export function parseDuration(text: string): number | null {
  const counts = DURATION.exec(text.trim())?.slice(1);
  if (counts === undefined) return null;
  const sum = UNITS.reduce((all, { ms }, index) => all + ms * Number(counts[index] ?? 0), 0);
  return sum >= 1_000 && sum <= SPAN_MAX_MS ? sum : null;
}

/** "1h30m": by units of a day and less, and weeks where it is nothing but weeks. */
export function formatDuration(spanMs: number): string {
  const week = 7 * 24 * HOUR_MS;
  if (spanMs % week === 0) return `${spanMs / week}w`;
  let rest = spanMs;
  let text = '';
  for (const { name, ms } of UNITS.slice(2)) {
    const count = Math.floor(rest / ms);
    rest -= count * ms;
    if (count > 0) text += `${count}${name}`;
  }
  return text;
}

/** "90s" → "1 min 30 s"; what is none stays as it is. */
export function spanText(duration: string): string {
  const spanMs = parseDuration(duration);
  return spanMs === null ? duration : formatSpan(spanMs);
}
