import type { Cell } from '../api/decode';
import type { PanelData } from '../api/panels';
import type { Target } from '../api/dashboards';
import { EXACT } from '../format/unit';

/** Rows turned into columns, as the chart wants them. */
export interface LineData {
  timesMs: number[];
  lines: { name: string; values: (number | null)[] }[];
  /** The usual distance between points; 0 for fewer than two. */
  stepMs: number;
}

function numberOrNull(value: Cell | undefined): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

export function lineDataOf(data: PanelData): LineData {
  const rows = data.rows
    .filter((row) => typeof row[0] === 'number')
    .sort((a, b) => Number(a[0]) - Number(b[0]));
  const timesMs = rows.map((row) => Number(row[0]));
  const lines = data.columns.slice(1).map((column, index) => ({
    name: column.name,
    values: rows.map((row) => numberOrNull(row[index + 1])),
  }));
  return { timesMs, lines, stepMs: usualStep(timesMs) };
}

function usualStep(timesMs: readonly number[]): number {
  const steps = timesMs.slice(1).map((time, index) => time - (timesMs[index] ?? time));
  steps.sort((a, b) => a - b);
  return steps[Math.floor(steps.length / 2)] ?? 0;
}

/**
 * The y axis begins at zero, because areas and heights mislead otherwise. The exceptions: ratios that all lie in the
 * upper half, where 99.1 % and 99.9 % would look the same, and figures of any meaning that are far from it.
 */
export function yRange(
  low: number | null,
  high: number | null,
  unit: string,
  target: Target | null,
): [number, number] {
  if (low === null || high === null) return [0, 1];
  const shown = target !== null && isTargetShown(high, target) ? target.value : high;
  const top = Math.max(high, shown);
  if (unit === EXACT && isFarFromZero(low, high)) {
    const room = (high - low) * 0.08;
    return [low - room, high + room];
  }
  if (unit === 'ratio' && low > 0.5) {
    const bottom = Math.min(low, shown);
    const room = Math.max((top - bottom) * 0.15, 0.002);
    return [bottom - room, Math.min(1, top + room)];
  }
  const bottom = Math.min(0, low);
  const room = (top - bottom) * 0.08;
  return [bottom === 0 ? 0 : bottom - room, top === bottom ? bottom + 1 : top + room];
}

/** By more than what the figures differ, so that an axis from zero would show little of how they went. */
function isFarFromZero(low: number, high: number): boolean {
  return high > low && low * high > 0 && Math.min(Math.abs(low), Math.abs(high)) > high - low;
}

/** A target far above the data would press the lines flat; then its text has to do. */
export function isTargetShown(high: number, target: Target): boolean {
  return target.value <= high * 3;
}
