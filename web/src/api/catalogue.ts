import { queryOptions } from '@tanstack/react-query';
import { shownUnit } from '../format/unit';
import { fetchJson } from './client';
import { decodeTarget, type Target } from './dashboards';
import { type Decoder, flag, list, number, optional, record, text, withDefault } from './decode';

export interface Attribute {
  name: string;
  meaning: string;
  values: string[];
}

/** A metric as the pack's catalogue defines it. */
export interface Metric {
  name: string;
  series: string;
  shortName: string | null;
  type: string;
  unit: string;
  title: string;
  meaning: string;
  owner: string;
  query: string;
  queryUnit: string;
  target: Target | null;
  attributes: Attribute[];
}

export interface Area {
  id: string;
  title: string;
  description: string;
  metrics: Metric[];
}

export interface Catalogue {
  pack: string;
  title: string;
  services: string[];
  areas: Area[];
}

export interface SeenVersion {
  version: string;
  count: number;
  /** How old the newest sample was when the server answered. */
  ageMs: number | null;
}

/** What the server has seen of a metric in the last day. */
export interface Seen {
  seriesCount: number;
  ageMs: number | null;
  type: string | null;
  unit: string | null;
  versions: SeenVersion[];
}

export interface MetricCoverage extends Seen {
  name: string;
  isSeen: boolean;
  expectedType: string;
  expectedUnit: string;
  /** null: the sender did not tell. */
  typeAgrees: boolean | null;
  unitAgrees: boolean | null;
}

export interface Stranger extends Seen {
  series: string;
}

export interface Coverage {
  pack: string;
  metricCount: number;
  seenCount: number;
  /** Of the product; count: its instances. */
  versions: SeenVersion[];
  metrics: MetricCoverage[];
  strangers: Stranger[];
}

const decodeAttribute: Decoder<Attribute> = (value, at) => {
  const o = record(value, at);
  return {
    name: text(o['name'], `${at}.name`),
    meaning: withDefault(text, '')(o['meaning'], `${at}.meaning`),
    values: withDefault(list(text), [])(o['values'], `${at}.values`),
  };
};

const decodeMetric: Decoder<Metric> = (value, at) => {
  const o = record(value, at);
  const target = optional(decodeTarget)(o['target'], `${at}.target`);
  return {
    name: text(o['name'], `${at}.name`),
    series: text(o['series'], `${at}.series`),
    shortName: optional(text)(o['short_name'], `${at}.short_name`),
    type: text(o['type'], `${at}.type`),
    unit: text(o['unit'], `${at}.unit`),
    title: text(o['title'], `${at}.title`),
    meaning: text(o['meaning'], `${at}.meaning`),
    owner: text(o['owner'], `${at}.owner`),
    query: text(o['query'], `${at}.query`),
    queryUnit: shownUnit(text(o['query_unit'], `${at}.query_unit`), target?.text),
    target,
    attributes: withDefault(list(decodeAttribute), [])(o['attributes'], `${at}.attributes`),
  };
};

const decodeArea: Decoder<Area> = (value, at) => {
  const o = record(value, at);
  return {
    id: text(o['id'], `${at}.id`),
    title: text(o['title'], `${at}.title`),
    description: withDefault(text, '')(o['description'], `${at}.description`),
    metrics: list(decodeMetric)(o['metrics'], `${at}.metrics`),
  };
};

const decodeCatalogue: Decoder<Catalogue> = (value, at) => {
  const o = record(value, at);
  return {
    pack: text(o['pack'], `${at}.pack`),
    title: text(o['title'], `${at}.title`),
    services: withDefault(list(text), [])(o['services'], `${at}.services`),
    areas: list(decodeArea)(o['areas'], `${at}.areas`),
  };
};

function ageOf(newestMs: number | null, nowMs: number): number | null {
  return newestMs === null ? null : Math.max(0, nowMs - newestMs);
}

function decodeVersions(countKey: string, nowMs: number): Decoder<SeenVersion[]> {
  return list((value, at) => {
    const o = record(value, at);
    return {
      version: text(o['version'], `${at}.version`),
      count: number(o[countKey], `${at}.${countKey}`),
      ageMs: ageOf(optional(number)(o['newest_ms'], `${at}.newest_ms`), nowMs),
    };
  });
}

function decodeSeen(nowMs: number): Decoder<Seen> {
  return (value, at) => {
    const o = record(value, at);
    return {
      seriesCount: number(o['series_count'], `${at}.series_count`),
      ageMs: ageOf(optional(number)(o['newest_ms'], `${at}.newest_ms`), nowMs),
      type: optional(text)(o['type'], `${at}.type`),
      unit: optional(text)(o['unit'], `${at}.unit`),
      versions: decodeVersions('series_count', nowMs)(o['versions'], `${at}.versions`),
    };
  };
}

function decodeMetricCoverage(nowMs: number): Decoder<MetricCoverage> {
  return (value, at) => {
    const o = record(value, at);
    return {
      ...decodeSeen(nowMs)(value, at),
      name: text(o['name'], `${at}.name`),
      isSeen: flag(o['is_seen'], `${at}.is_seen`),
      expectedType: text(o['expected_type'], `${at}.expected_type`),
      expectedUnit: withDefault(text, '')(o['expected_unit'], `${at}.expected_unit`),
      typeAgrees: optional(flag)(o['type_agrees'], `${at}.type_agrees`),
      unitAgrees: optional(flag)(o['unit_agrees'], `${at}.unit_agrees`),
    };
  };
}

function decodeStranger(nowMs: number): Decoder<Stranger> {
  return (value, at) => ({
    ...decodeSeen(nowMs)(value, at),
    series: text(record(value, at)['series'], `${at}.series`),
  });
}

function decodeCoverage(nowMs: number): Decoder<Coverage> {
  return (value, at) => {
    const o = record(value, at);
    return {
      pack: text(o['pack'], `${at}.pack`),
      metricCount: number(o['metric_count'], `${at}.metric_count`),
      seenCount: number(o['seen_count'], `${at}.seen_count`),
      versions: decodeVersions('instance_count', nowMs)(o['versions'], `${at}.versions`),
      metrics: list(decodeMetricCoverage(nowMs))(o['metrics'], `${at}.metrics`),
      strangers: list(decodeStranger(nowMs))(o['strangers'], `${at}.strangers`),
    };
  };
}

export const decodeCoverages: Decoder<Coverage[]> = (value, at) => {
  const nowMs = number(record(value, at)['now_ms'], `${at}.now_ms`);
  return packsOf(decodeCoverage(nowMs))(value, at);
};

function packsOf<T>(item: Decoder<T>): Decoder<T[]> {
  return (value, at) => list(item)(record(value, at)['packs'], `${at}.packs`);
}

export function catalogueQuery() {
  return queryOptions({
    queryKey: ['catalogue'],
    queryFn: ({ signal }) => fetchJson('/api/apiary/v1/catalogue', packsOf(decodeCatalogue), signal),
    staleTime: 60_000,
  });
}

/** Who looks while something is missing waits for it to come; where all is there, ages are all that changes. */
export function coverageRefreshMs(coverages: Coverage[] | undefined): number {
  const isMissing = coverages?.some(({ seenCount, metricCount }) => seenCount < metricCount) ?? true;
  return isMissing ? 5_000 : 30_000;
}

export function coverageQuery() {
  return queryOptions({
    queryKey: ['coverage'],
    queryFn: ({ signal }) => fetchJson('/api/apiary/v1/coverage?since=24h', decodeCoverages, signal),
    refetchInterval: ({ state }) => coverageRefreshMs(state.data),
  });
}
