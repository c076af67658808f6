import { expect, it } from 'vitest';
import { formatAge, formatExact, formatSpan, formatTook } from './time';

it('says how long ago in the largest unit that fits', () => {
  expect([-5, 59_999, 60_000, 3_600_000, 172_800_000].map(formatAge)).toEqual([
    '0 s',
    '59 s',
    '1 min',
    '1 h',
    '2 d',
  ]);
});

it('says how long a query took', () => {
  expect([0.4, 12.6, 1500].map(formatTook)).toEqual(['< 1 ms', '13 ms', '1.5 s']);
});

it('says a length of time by its two largest units', () => {
  expect([0, 250, 90_000, 3_600_000, 4_830_000, 180_000_000].map(formatSpan)).toEqual([
    '0 s',
    '250 ms',
    '1 min 30 s',
    '1 h',
    '1 h 20 min',
    '2 d 2 h',
  ]);
});

it('says a moment in UTC too, once', () => {
  const { local, utc } = formatExact(Date.parse('2026-11-29T20:00:05Z'));
  expect(utc ?? local).toBe('29 Nov, 20:00:05 UTC');
});
