import { expect, test } from 'vitest';
import { compareSeverity, isAlwaysOn, toneOf } from './severity';

test('worse ones stand first, unknown ones last', () => {
  const words = ['info', '', 'warning', 'page', 'odd', 'critical'];
  expect(words.sort(compareSeverity)).toEqual(['critical', 'page', 'warning', 'info', '', 'odd']);
});

test('words of several teams have a tone', () => {
  expect(['Critical', 'warn', 'notice', 'sev-9'].map(toneOf)).toEqual([
    'critical',
    'warning',
    'info',
    'none',
  ]);
});

test('a watchdog is not a fire', () => {
  expect(isAlwaysOn({ alertname: 'Watchdog' })).toBe(true);
  expect(isAlwaysOn({ alertname: 'Other', severity: 'none' })).toBe(true);
  expect(isAlwaysOn({ alertname: 'Down' })).toBe(false);
});
