import { COURSE_POINTS, type Course } from '../api/course';
import type { Labels } from '../api/labels';
import type { TrendPoint } from '../api/panels';

const HOUR_MS = 3_600_000;
const SPANS_MS = [1, 3, 6, 12, 24].map((hours) => hours * HOUR_MS);

/** Long enough to see how it was before. */
export function spanFor(ageMs: number): number {
  return SPANS_MS.find((spanMs) => spanMs >= 2 * ageMs) ?? 24 * HOUR_MS;
}

/** What one look takes, as many times as there are points: a page does not ask for what would take longer. */
const COST_MAX_MS = 5_000;

export function isCheap(evaluationMs: number): boolean {
  return evaluationMs * COURSE_POINTS <= COST_MAX_MS;
}

/** The series that the alert is about: an alert has all its labels, and some of its rule. */
export function courseOf(courses: readonly Course[], alert: Labels): Course | null {
  let best: { course: Course; count: number } | null = null;
  for (const course of courses) {
    const own = Object.entries(course.labels).filter(([name]) => name !== '__name__');
    if (!own.every(([name, value]) => alert[name] === value)) continue;
    if (best === null || own.length > best.count) best = { course, count: own.length };
  }
  return best?.course ?? null;
}

export interface Drawing {
  line: string;
  /** Of the bound, from above; null: there is none. */
  boundY: number | null;
  low: number;
  high: number;
  first: number;
}

const MARGIN = 5;

/** In a box of this size; null: there are too few values for a line. Missing values interrupt it. */
export function drawCourse(
  points: readonly TrendPoint[],
  bound: number | null,
  width: number,
  height: number,
): Drawing | null {
  const known = points.filter((point): point is [number, number] => point[1] !== null);
  const [begin, end] = [known[0], known[known.length - 1]];
  if (begin === undefined || end === undefined || begin === end) return null;
  const values = known.map(([, value]) => value);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const [bottom, top] = [Math.min(low, bound ?? low), Math.max(high, bound ?? high)];
  const x = (tsMs: number) => ((tsMs - begin[0]) / (end[0] - begin[0])) * width;
  const y = (value: number) =>
    top === bottom
      ? height / 2
      : height - MARGIN - ((value - bottom) / (top - bottom)) * (height - 2 * MARGIN);
  let isBroken = true;
  let line = '';
  for (const [tsMs, value] of points) {
    if (value !== null) line += `${isBroken ? 'M' : 'L'}${x(tsMs).toFixed(1)} ${y(value).toFixed(1)}`;
    isBroken = value === null;
  }
  return { line, boundY: bound === null ? null : y(bound), low, high, first: begin[1] };
}
