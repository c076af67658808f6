import { expect, test } from 'vitest';
import type { Job, Target } from '../api/targets';
import { countHealth, filterJobs, inOrder, matches, parseTargetSearch } from './filter';

const target = (url: string, more: Partial<Target> = {}): Target => ({
  job: 'web',
  url,
  globalUrl: url,
  labels: { instance: url, env: 'prod' },
  discovered: { __address__: url, __meta_zone: 'eu-1' },
  health: 'up',
  lastError: '',
  lastScrapeMs: 0,
  durationMs: 1,
  interval: '15s',
  timeout: '10s',
  ...more,
});

const down = target('b', { health: 'down', lastError: 'connection refused' });
const jobs: Job[] = [
  { name: 'web', targets: [target('a'), down], dropped: [], droppedCount: 0 },
  { name: 'quiet', targets: [], dropped: [], droppedCount: 2 },
];

test('every word has to be somewhere: labels before and after relabelling, errors', () => {
  expect(matches(down, 'REFUSED env="prod"')).toBe(true);
  expect(matches(down, 'eu-1 web')).toBe(true);
  expect(matches(down, 'refused staging')).toBe(false);
});

test('what is wrong stands first', () => {
  const order = inOrder([target('c'), target('a'), target('z', { health: 'unknown' }), down]);
  expect(order.map(({ url }) => url)).toEqual(['b', 'z', 'a', 'c']);
});

test('a job with something wrong stands first', () => {
  const calm: Job = { name: 'a', targets: [target('a')], dropped: [], droppedCount: 0 };
  expect(filterJobs([calm, ...jobs], {}).map(({ name }) => name)).toEqual(['web', 'a', 'quiet']);
});

test('jobs without a target are shown while nothing is searched for', () => {
  const names = (search: Parameters<typeof filterJobs>[1]) =>
    filterJobs(jobs, search).map(({ name, targets }) => [name, targets.length]);
  expect(names({})).toEqual([
    ['web', 2],
    ['quiet', 0],
  ]);
  expect(names({ show: 'down' })).toEqual([['web', 1]]);
  expect(names({ q: 'nothing of the kind' })).toEqual([]);
});

test('counts', () => {
  expect(countHealth(jobs, 'down')).toBe(1);
  expect(countHealth(jobs, 'up')).toBe(1);
});

test('keeps what makes sense of an address', () => {
  expect(parseTargetSearch({ q: 'a', show: 'down', range: '7d' })).toEqual({ q: 'a', show: 'down' });
  expect(parseTargetSearch({ q: '', show: 'all' })).toEqual({});
});
