import { expect, test } from 'vitest';
import { coverageRefreshMs, decodeCoverages } from './catalogue';

const seen = { series_count: 2, newest_ms: 9_000, type: 'counter', unit: '', versions: [] };

const answer = (more: object) => ({
  now_ms: 10_000,
  packs: [
    {
      pack: 'shop',
      metric_count: 1,
      seen_count: 1,
      versions: [
        { version: '1.0', instance_count: 3, newest_ms: null },
        { version: '2.0', instance_count: 1, newest_ms: 10_500 },
      ],
      metrics: [],
      strangers: [{ series: 'x', ...seen }],
      ...more,
    },
  ],
});

test('ages are counted from when the server answered, and never negative', () => {
  const [coverage] = decodeCoverages(answer({}), 'answer');
  expect(coverage?.versions).toEqual([
    { version: '1.0', count: 3, ageMs: null },
    { version: '2.0', count: 1, ageMs: 0 },
  ]);
  expect(coverage?.strangers[0]?.ageMs).toBe(1_000);
});

test('what was not told is not known', () => {
  const metric = {
    ...seen,
    name: 'x',
    is_seen: false,
    newest_ms: null,
    type: null,
    unit: null,
    expected_type: 'counter',
    expected_unit: '',
    type_agrees: null,
    unit_agrees: false,
  };
  const [coverage] = decodeCoverages(answer({ metrics: [metric] }), 'answer');
  expect(coverage?.metrics[0]).toMatchObject({
    ageMs: null,
    type: null,
    typeAgrees: null,
    unitAgrees: false,
  });
});

test('an answer of another form names the place', () => {
  expect(() => decodeCoverages({ now_ms: 1, packs: [{ pack: 'shop' }] }, 'answer')).toThrow();
});

test('is asked for more often while a metric is missing', () => {
  const whole = decodeCoverages(answer({}), 'answer');
  const missing = decodeCoverages(answer({ metric_count: 2 }), 'answer');
  expect(coverageRefreshMs(missing)).toBeLessThan(coverageRefreshMs(whole));
  expect(coverageRefreshMs(undefined)).toBe(coverageRefreshMs(missing));
  expect(coverageRefreshMs([])).toBe(coverageRefreshMs(whole));
});
