import { expect, test } from 'vitest';
import { decodeJobs } from './targets';

const target = (job: string, more: object = {}) => ({
  discoveredLabels: { __address__: 'a:1', job },
  labels: { instance: 'a:1', job },
  scrapePool: job,
  scrapeUrl: 'http://a:1/metrics',
  globalUrl: 'http://a:1/metrics',
  lastError: '',
  lastScrape: '2026-11-29T20:00:00Z',
  lastScrapeDuration: 0.25,
  health: 'up',
  scrapeInterval: '15s',
  scrapeTimeout: '10s',
  ...more,
});

test('jobs in order, also those without a target', () => {
  const jobs = decodeJobs(
    {
      data: {
        activeTargets: [target('web'), target('api', { health: 'down', lastError: 'refused' })],
        droppedTargets: [{ discoveredLabels: { __address__: 'c:1' }, scrapePool: 'web' }],
        droppedTargetCounts: { web: 3, quiet: 0, api: 0 },
      },
    },
    'answer',
  );
  expect(jobs.map(({ name, targets, droppedCount }) => [name, targets.length, droppedCount])).toEqual([
    ['api', 1, 0],
    ['quiet', 0, 0],
    ['web', 1, 3],
  ]);
  expect(jobs[0]?.targets[0]).toMatchObject({ health: 'down', lastError: 'refused', durationMs: 250 });
  expect(jobs[2]?.dropped).toHaveLength(1);
});

test('what was never scraped has no moment', () => {
  const answer = (lastScrape: string) => ({
    data: { activeTargets: [target('a', { lastScrape })], droppedTargets: [], droppedTargetCounts: null },
  });
  expect(decodeJobs(answer('0001-01-01T00:00:00Z'), 'answer')[0]?.targets[0]?.lastScrapeMs).toBeNull();
  expect(decodeJobs(answer('1970-01-01T00:00:01Z'), 'answer')[0]?.targets[0]?.lastScrapeMs).toBe(1_000);
});
