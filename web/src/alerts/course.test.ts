import { expect, test } from 'vitest';
import { decodeCourses } from '../api/course';
import { readComparison } from './comparison';
import { courseOf, drawCourse, isCheap, spanFor } from './course';

test('a comparison with a number, and nothing else', () => {
  expect(readComparison('a{b=">"} / c >= 0.5')).toEqual({ left: 'a{b=">"} / c', operator: '>=', bound: 0.5 });
  expect(readComparison('sum(rate(x[5m]) > 3) < 1e3')).toEqual({
    left: 'sum(rate(x[5m]) > 3)',
    operator: '<',
    bound: 1_000,
  });
  expect(readComparison('up == 0')?.left).toBe('up');
  for (const other of [
    'absent(up)',
    'a > 1 and b > 2',
    'a > b',
    'a > bool 1',
    '1 < a',
    'a or b > 1',
    'a > 1 # x',
  ])
    expect(readComparison(other), other).toBeNull();
});

test('the series of an alert is the one whose labels it has', () => {
  const course = (labels: Record<string, string>) => ({ labels, points: [] });
  const all = [course({ host: 'a' }), course({ __name__: 'x', host: 'b', disk: '/' }), course({ host: 'b' })];
  expect(courseOf(all, { alertname: 'D', host: 'b', disk: '/', severity: 'page' })).toBe(all[1]);
  expect(courseOf(all, { alertname: 'D', host: 'c' })).toBeNull();
});

test('is drawn between its lowest and highest, the bound among them', () => {
  const drawing = drawCourse(
    [
      [0, 10],
      [10, null],
      [20, 30],
      [30, 50],
    ],
    90,
    300,
    110,
  );
  expect(drawing).toEqual({
    line: 'M0.0 105.0M200.0 80.0L300.0 55.0',
    boundY: 5,
    low: 10,
    high: 50,
    first: 10,
  });
  expect(drawCourse([[0, 1]], 2, 10, 10)).toBeNull();
  const flat = drawCourse(
    [
      [0, 1],
      [1, 1],
    ],
    null,
    10,
    10,
  );
  expect(flat?.line).toBe('M0.0 5.0L10.0 5.0');
});

test('spans show what was before, and only what is cheap is asked for', () => {
  expect(spanFor(60_000)).toBe(3_600_000);
  expect(spanFor(2 * 3_600_000)).toBe(6 * 3_600_000);
  expect(spanFor(90 * 86_400_000)).toBe(86_400_000);
  expect([isCheap(1), isCheap(1_000)]).toEqual([true, false]);
});

test('reads an answer; what is not a number is missing', () => {
  const result = [
    {
      metric: { a: 'b' },
      values: [
        [1, '2.5'],
        [2, 'NaN'],
      ],
    },
  ];
  expect(decodeCourses({ data: { result } }, 'answer')).toEqual([
    {
      labels: { a: 'b' },
      points: [
        [1_000, 2.5],
        [2_000, null],
      ],
    },
  ]);
});
