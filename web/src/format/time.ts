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

/** "3 s", "2 min", "5 h": how long ago, for a live indicator. */
export function formatAge(ageMs: number): string {
  const seconds = Math.max(0, Math.floor(ageMs / 1_000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`;
  return `${Math.floor(seconds / 3_600)} h`;
}

export function formatTook(tookMs: number): string {
  if (tookMs < 1) return '< 1 ms';
  return tookMs < 1_000 ? `${Math.round(tookMs)} ms` : `${(tookMs / 1_000).toFixed(1)} s`;
}
