import { queryOptions } from '@tanstack/react-query';
import { fetchJson } from './client';
import { type Decoder, list, moment, number, oneOf, record, text, withDefault } from './decode';
import { type Labels, labels } from './labels';

export type Health = 'up' | 'down' | 'unknown';

/** What is scraped, as Prometheus' API tells it. */
export interface Target {
  job: string;
  url: string;
  /** The same for who reads this on another machine. */
  globalUrl: string;
  labels: Labels;
  discovered: Labels;
  health: Health;
  lastError: string;
  /** null: never. */
  lastScrapeMs: number | null;
  durationMs: number;
  interval: string;
  timeout: string;
}

export interface DroppedTarget {
  job: string;
  discovered: Labels;
}

export interface Job {
  name: string;
  targets: Target[];
  dropped: DroppedTarget[];
  /** Not all that were dropped may have been kept. */
  droppedCount: number;
}

const decodeTarget: Decoder<Target> = (value, at) => {
  const o = record(value, at);
  return {
    job: text(o['scrapePool'], `${at}.scrapePool`),
    url: text(o['scrapeUrl'], `${at}.scrapeUrl`),
    globalUrl: text(o['globalUrl'], `${at}.globalUrl`),
    labels: labels(o['labels'], `${at}.labels`),
    discovered: labels(o['discoveredLabels'], `${at}.discoveredLabels`),
    health: oneOf(['up', 'down', 'unknown'], 'unknown')(o['health'], `${at}.health`),
    lastError: text(o['lastError'], `${at}.lastError`),
    lastScrapeMs: moment(o['lastScrape'], `${at}.lastScrape`),
    durationMs: number(o['lastScrapeDuration'], `${at}.lastScrapeDuration`) * 1_000,
    interval: text(o['scrapeInterval'], `${at}.scrapeInterval`),
    timeout: text(o['scrapeTimeout'], `${at}.scrapeTimeout`),
  };
};

const decodeDropped: Decoder<DroppedTarget> = (value, at) => {
  const o = record(value, at);
  return {
    job: text(o['scrapePool'], `${at}.scrapePool`),
    discovered: labels(o['discoveredLabels'], `${at}.discoveredLabels`),
  };
};

/** Jobs in order of name, also those without a target. */
export const decodeJobs: Decoder<Job[]> = (value, at) => {
  const data = record(record(value, at)['data'], `${at}.data`);
  const targets = list(decodeTarget)(data['activeTargets'], `${at}.activeTargets`);
  const dropped = list(decodeDropped)(data['droppedTargets'], `${at}.droppedTargets`);
  const counts = record(withDefault(record, {})(data['droppedTargetCounts'], at), at);
  const names = new Set([...Object.keys(counts), ...targets.map(({ job }) => job)]);
  return [...names].sort().map((name) => ({
    name,
    targets: targets.filter(({ job }) => job === name),
    dropped: dropped.filter(({ job }) => job === name),
    droppedCount: withDefault(number, 0)(counts[name], `${at}.droppedTargetCounts`),
  }));
};

const REFRESH_MS = 5_000;

export function targetsQuery() {
  return queryOptions({
    queryKey: ['targets'],
    queryFn: ({ signal }) => fetchJson('/api/v1/targets', decodeJobs, signal),
    refetchInterval: REFRESH_MS,
  });
}
