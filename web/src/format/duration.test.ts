import { describe, expect, it } from 'vitest';
import { formatDuration, parseDuration, spanText } from './duration';

describe('a length of time', () => {
  it('is written with the largest units that fit', () => {
    for (const text of ['15m', '1h', '6h', '1d', '1w', '2w', '1h30m', '1d12h', '45s', '8d'])
      expect(formatDuration(parseDuration(text) ?? NaN)).toBe(text);
    expect(formatDuration(parseDuration('7d') ?? NaN)).toBe('1w');
    expect(formatDuration(parseDuration('90m') ?? NaN)).toBe('1h30m');
  });

  it('is said in words', () => {
    expect(['15s', '90s', '1h', '250ms', 'soon', ''].map(spanText)).toEqual([
      '15 s',
      '1 min 30 s',
      '1 h',
      '250ms',
      'soon',
      '',
    ]);
  });
});
