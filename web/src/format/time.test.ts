import { expect, it } from 'vitest';
import { formatAge, formatTook } from './time';

it('says how long ago in the largest unit that fits', () => {
  expect([-5, 59_999, 60_000, 3_600_000].map(formatAge)).toEqual(['0 s', '59 s', '1 min', '1 h']);
});

it('says how long a query took', () => {
  expect([0.4, 12.6, 1500].map(formatTook)).toEqual(['< 1 ms', '13 ms', '1.5 s']);
});
