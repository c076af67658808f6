import { expect, test } from 'vitest';
import { decodeFigure } from './figure';

const answer = (values: unknown) => ({
  status: 'success',
  data: { resultType: 'matrix', result: [{ metric: {}, values }] },
});

test('the last point stands for now only when it is of now', () => {
  const values = [
    [100, '1.5'],
    [115, '2'],
  ];
  expect(decodeFigure(115_000)(answer(values), 'answer')).toEqual({
    value: 2,
    trend: [
      [100_000, 1.5],
      [115_000, 2],
    ],
  });
  expect(decodeFigure(130_000)(answer(values), 'answer').value).toBeNull();
});

test('no series is no figure, and what is not a number is none', () => {
  const empty = { status: 'success', data: { resultType: 'matrix', result: [] } };
  expect(decodeFigure(0)(empty, 'answer')).toEqual({ value: null, trend: [] });
  expect(decodeFigure(1_000)(answer([[1, 'NaN']]), 'answer')).toEqual({
    value: null,
    trend: [[1_000, null]],
  });
});
