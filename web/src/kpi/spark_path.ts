import type { TrendPoint } from '../api/panels';

export interface SparkPaths {
  line: string;
  area: string;
  /** A point of no length at the last value: with round caps it is drawn as a dot. */
  end: string;
}

/** Room for the stroke and the dot at the edges. */
const MARGIN = 4;

/** null when there are too few values to draw a line. Missing values interrupt it. */
export function sparkPaths(trend: readonly TrendPoint[], width: number, height: number): SparkPaths | null {
  const known = trend.filter((point): point is [number, number] => point[1] !== null);
  const first = known[0];
  const last = known[known.length - 1];
  if (!first || !last || first === last) return null;

  const values = known.map((point) => point[1]);
  const low = Math.min(...values);
  const high = Math.max(...values);
  const spanMs = last[0] - first[0] || 1;
  const x = (tsMs: number) => round(MARGIN + ((tsMs - first[0]) / spanMs) * (width - 2 * MARGIN));
  const y = (value: number) =>
    round(
      high === low ? height / 2 : height - MARGIN - ((value - low) / (high - low)) * (height - 2 * MARGIN),
    );

  const runs = unbroken(trend);
  const line = runs.map((run) => trace(run, x, y)).join('');
  const area = runs
    .map((run) => {
      const [begin, end] = [run[0], run[run.length - 1]];
      return begin && end ? `${trace(run, x, y)}L${x(end[0])} ${height}L${x(begin[0])} ${height}Z` : '';
    })
    .join('');
  return { line, area, end: `M${x(last[0])} ${y(last[1])}h0` };
}

function unbroken(trend: readonly TrendPoint[]): [number, number][][] {
  const runs: [number, number][][] = [];
  let run: [number, number][] = [];
  for (const [tsMs, value] of trend) {
    if (value !== null) {
      if (run.length === 0) runs.push(run);
      run.push([tsMs, value]);
    } else if (run.length > 0) {
      run = [];
    }
  }
  return runs;
}

function trace(
  run: readonly [number, number][],
  x: (ts: number) => number,
  y: (v: number) => number,
): string {
  return run.map(([tsMs, value], index) => `${index === 0 ? 'M' : 'L'}${x(tsMs)} ${y(value)}`).join('');
}

function round(coordinate: number): number {
  return Math.round(coordinate * 100) / 100;
}
