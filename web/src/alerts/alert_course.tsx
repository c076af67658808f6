import { useQuery } from '@tanstack/react-query';
import { courseQuery } from '../api/course';
import type { Rule } from '../api/rules';
import { formatSpan } from '../format/time';
import { formatValue } from '../format/unit';
import type { Alert } from './alert';
import { readComparison } from './comparison';
import { courseOf, type Drawing, drawCourse, spanFor } from './course';

const WIDTH = 480;
const HEIGHT = 96;

/** How the figure of an alert went, beside the bound that it crossed. */
export function AlertCourse({ alert, rule, nowMs }: { alert: Alert; rule: Rule; nowMs: number }) {
  const comparison = readComparison(rule.query);
  const spanMs = spanFor(nowMs - (alert.activeMs ?? alert.sinceMs));
  const { data: courses } = useQuery(courseQuery(comparison?.left ?? rule.query, spanMs));
  const course = courses === undefined ? null : courseOf(courses, alert.labels);
  const drawing = course && drawCourse(course.points, comparison?.bound ?? null, WIDTH, HEIGHT);
  if (drawing === null) return null;
  const bound = comparison === null ? '' : `${comparison.operator} ${figure(comparison.bound)}`;
  return (
    <figure className="course">
      <CourseDrawing drawing={drawing} label={courseText(drawing, bound, spanMs)} />
      <figcaption>
        Last {formatSpan(spanMs)}: from {figure(drawing.low)} to {figure(drawing.high)}
        {bound !== '' && (
          <span className="course-bound">
            fires when <strong>{bound}</strong>
          </span>
        )}
      </figcaption>
    </figure>
  );
}

function CourseDrawing({ drawing, label }: { drawing: Drawing; label: string }) {
  return (
    <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={label}>
      {drawing.boundY !== null && (
        <path
          className="course-limit"
          d={`M0 ${drawing.boundY}H${WIDTH}`}
          vectorEffect="non-scaling-stroke"
        />
      )}
      <path className="course-line" d={drawing.line} vectorEffect="non-scaling-stroke" />
    </svg>
  );
}

function courseText({ low, high, first }: Drawing, bound: string, spanMs: number): string {
  const fires = bound === '' ? '' : `; it fires when ${bound}`;
  return `Value over the last ${formatSpan(spanMs)}: began at ${figure(first)}, lowest ${figure(low)}, highest ${figure(high)}${fires}`;
}

function figure(value: number): string {
  return formatValue(value, 'count');
}
