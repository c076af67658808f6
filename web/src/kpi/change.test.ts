import { describe, expect, it } from 'vitest';
import { changeOf, changeSpoken, changeText } from './change';

describe('changeOf', () => {
  it('judges by what is better, not by the direction', () => {
    expect(changeOf(110, 100, 'higher')).toMatchObject({ direction: 'up', verdict: 'good' });
    expect(changeOf(110, 100, 'lower')).toMatchObject({ direction: 'up', verdict: 'bad' });
    expect(changeOf(90, 100, 'lower')).toMatchObject({ direction: 'down', verdict: 'good' });
    expect(changeOf(90, 100, 'neither')).toMatchObject({ direction: 'down', verdict: 'neutral' });
  });

  it('has nothing to say without both figures', () => {
    expect(changeOf(null, 100, 'higher')).toBeNull();
    expect(changeOf(100, null, 'higher')).toBeNull();
  });

  it('takes less than a twentieth of a per cent for no change', () => {
    expect(changeOf(100_010, 100_000, 'higher')).toEqual({ direction: 'flat', ratio: 0, verdict: 'neutral' });
    expect(changeOf(100_100, 100_000, 'higher')?.direction).toBe('up');
  });

  it('does not divide by zero', () => {
    expect(changeOf(5, 0, 'higher')).toEqual({ direction: 'up', ratio: null, verdict: 'good' });
    expect(changeOf(0, 0, 'higher')?.direction).toBe('flat');
  });

  it('keeps the direction when the figure before was negative', () => {
    expect(changeOf(-5, -10, 'higher')).toEqual({ direction: 'up', ratio: 0.5, verdict: 'good' });
  });
});

it('writes and speaks a change', () => {
  expect(changeText({ direction: 'up', ratio: 0.061, verdict: 'good' })).toBe('6.1%');
  expect(changeText({ direction: 'up', ratio: 42, verdict: 'good' })).toBe('> 999%');
  expect(changeText({ direction: 'up', ratio: null, verdict: 'good' })).toBe('from zero');
  expect(changeSpoken({ direction: 'down', ratio: -0.43, verdict: 'good' })).toBe(
    'down 43 per cent against the period before, good',
  );
});
