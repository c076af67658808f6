const DAY_MS = 86_400_000;

const dateOf = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });
const dateTimeOf = new Intl.DateTimeFormat('en-GB', {
  weekday: 'short',
  day: 'numeric',
  month: 'short',
  hour: '2-digit',
  minute: '2-digit',
});
const fullOf = new Intl.DateTimeFormat('en-GB', {
  day: 'numeric',
  month: 'short',
  year: 'numeric',
  hour: '2-digit',
  minute: '2-digit',
});

export function formatMoment(tsMs: number): string {
  return fullOf.format(tsMs);
}

/** A point on a chart: days need no time of day. `stepMs` is the distance between points. */
export function formatPoint(tsMs: number, stepMs: number): string {
  return stepMs >= DAY_MS ? dateOf.format(tsMs) : dateTimeOf.format(tsMs);
}

/** "3 s", "2 min", "5 h", "3 d": how long ago, for a live indicator. */
export function formatAge(ageMs: number): string {
  const seconds = Math.max(0, Math.floor(ageMs / 1_000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 2 * 86_400) return `${Math.floor(seconds / 3_600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

const SPAN_UNITS = [
  { name: 'd', ms: DAY_MS },
  { name: 'h', ms: 3_600_000 },
  { name: 'min', ms: 60_000 },
  { name: 's', ms: 1_000 },
] as const;

/** "1 h 20 min", "5 min", "2 d 3 h": a length of time by its two largest units. */
export function formatSpan(spanMs: number): string {
  if (spanMs < 1_000) return spanMs > 0 ? `${Math.round(spanMs)} ms` : '0 s';
  const first = SPAN_UNITS.findIndex(({ ms }) => spanMs >= ms);
  const parts: string[] = [];
  let rest = spanMs;
  for (const { name, ms } of SPAN_UNITS.slice(first, first + 2)) {
    const count = Math.floor(rest / ms);
    rest -= count * ms;
    if (count > 0) parts.push(`${count} ${name}`);
  }
  return parts.join(' ');
}

const clockOf = (timeZone: string | undefined) =>
  new Intl.DateTimeFormat('en-GB', {
    ...(timeZone === undefined ? {} : { timeZone }),
    day: 'numeric',
    month: 'short',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    timeZoneName: 'short',
  });
const localClock = clockOf(undefined);
const utcClock = clockOf('UTC');

/** The moment to the second, with its zone: in the reader's, and in UTC where that is another. */
export function formatExact(tsMs: number): { local: string; utc: string | null } {
  const local = localClock.format(tsMs);
  const utc = utcClock.format(tsMs);
  return { local, utc: local === utc ? null : utc };
}

export function formatTook(tookMs: number): string {
  if (tookMs < 1) return '< 1 ms';
  return tookMs < 1_000 ? `${Math.round(tookMs)} ms` : `${(tookMs / 1_000).toFixed(1)} s`;
}
