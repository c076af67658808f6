/** The change of a figure against the period before, and whether it is good news. */
export type Verdict = 'good' | 'bad' | 'neutral';

export interface Change {
  direction: 'up' | 'down' | 'flat';
  /** Relative to the figure before: 0.04 is four per cent up. null when the figure before was zero. */
  ratio: number | null;
  verdict: Verdict;
}

/** Less than this is rounding, not news. */
const FLAT_RATIO = 0.0005;

export function changeOf(
  value: number | null,
  previous: number | null,
  better: 'higher' | 'lower' | 'neither',
): Change | null {
  if (value === null || previous === null) return null;
  const difference = value - previous;
  const ratio = previous === 0 ? null : difference / Math.abs(previous);
  if (difference === 0 || (ratio !== null && Math.abs(ratio) < FLAT_RATIO))
    return { direction: 'flat', ratio: 0, verdict: 'neutral' };
  const direction = difference > 0 ? 'up' : 'down';
  if (better === 'neither') return { direction, ratio, verdict: 'neutral' };
  const isGood = (direction === 'up') === (better === 'higher');
  return { direction, ratio, verdict: isGood ? 'good' : 'bad' };
}

function percent(ratio: number): string {
  const size = Math.abs(ratio) * 100;
  if (size >= 1_000) return '> 999%';
  return `${size >= 10 ? size.toFixed(0) : size.toFixed(1)}%`;
}

/** What the eye reads, beside the arrow. */
export function changeText(change: Change): string {
  if (change.direction === 'flat') return 'no change';
  return change.ratio === null ? 'from zero' : percent(change.ratio);
}

/** What a screen reader says: arrow and colour in words. */
export function changeSpoken(change: Change): string {
  if (change.direction === 'flat') return 'no change against the period before';
  const size = change.ratio === null ? 'from zero' : percent(change.ratio).replace('%', ' per cent');
  const judged = change.verdict === 'neutral' ? '' : `, ${change.verdict}`;
  return `${change.direction} ${size.replace('> ', 'more than ')} against the period before${judged}`;
}
