import { expect, test } from 'vitest';
import { fireCounts, fireText } from './fire_counts';

test('counts by severity, the worst first, without what always fires', () => {
  const counts = fireCounts({ bySeverity: { warning: 2, none: 1, critical: 1, '': 3 } });
  expect(counts.total).toBe(6);
  expect(counts.worst).toBe('critical');
  expect(fireText(counts)).toBe('1 critical, 2 warning, 3 without severity');
});

test('nothing is on fire', () => {
  expect(fireCounts({ bySeverity: { none: 1 } })).toEqual({ total: 0, bySeverity: [], worst: null });
});
