import { describe, expect, it } from 'vitest';
import { formatTick, formatTicks, formatValue, shownUnit } from './unit';

describe('formatValue', () => {
  it.each([
    [0, 'count', '0'],
    [5123, 'users', '5,123'],
    [1_234_567, 'count', '1.23M'],
    [41.46, 'ms', '41.5 ms'],
    [0.0415, 's', '41.5 ms'],
    [90_000, 'ms', '1.5 min'],
    [2048, 'bytes', '2 KiB'],
    [0.776, 'ratio', '77.6%'],
    [1, 'ratio', '100%'],
    [12, 'per_second', '12/s'],
    [3, 'reviews', '3 reviews'],
  ])('writes %d %s as %s', (value, unit, expected) => {
    expect(formatValue(value, unit)).toBe(expected);
  });

  it('keeps a ratio that is just off its target, or just off the whole, apart from it', () => {
    expect(formatValue(0.00104, 'ratio')).toBe('0.104%');
    expect(formatValue(0.9995, 'ratio')).toBe('99.95%');
  });

  it('writes a dash for what is not known', () => {
    expect(formatValue(null, 'users')).toBe('–');
    expect(formatValue(NaN, 'ms')).toBe('–');
  });
});

describe('ticks', () => {
  it('have one scale and as many digits as tell them apart', () => {
    expect(formatTicks([0, 2500, 5000], 'ms')).toEqual(['0.0 s', '2.5 s', '5.0 s']);
    expect(formatTicks([0, 0.02, 0.04], 's')).toEqual(['0 ms', '20 ms', '40 ms']);
    expect(formatTicks([0, 500, 1000], 'count')).toEqual(['0', '500', '1,000']);
    expect(formatTicks([null, 20_000], 'count')).toEqual(['', '20k']);
  });

  it('agree with each other when they are asked for one by one', () => {
    expect([0, 300, 1200].map((tick) => formatTick(tick, 1150, 'count'))).toEqual(['0', '300', '1,200']);
    expect([5000, 12_500].map((tick) => formatTick(tick, 12_345, 'count'))).toEqual(['5k', '12.5k']);
  });
});

it('bytes are in the measure of their target', () => {
  expect(shownUnit('bytes', '< 25 MB')).toBe('decimal_bytes');
  expect(shownUnit('bytes', '≤ 64 MiB')).toBe('bytes');
  expect(shownUnit('bytes', undefined)).toBe('bytes');
  expect(shownUnit('s', '< 25 MB')).toBe('s');
  expect(formatValue(24_990_000, 'decimal_bytes')).toBe('25 MB');
  expect(formatValue(25_600_000, 'decimal_bytes')).toBe('25.6 MB');
  expect(formatTicks([0, 10e6, 20e6], 'decimal_bytes')).toEqual(['0 MB', '10 MB', '20 MB']);
});
