/** Answers to one expression of PromQL: over time, and at one moment. */
import { keepPreviousData, queryOptions } from '@tanstack/react-query';
import { fetchJson } from './client';
import {
  type Decoder,
  list,
  malformed,
  number,
  numberText,
  oneOf,
  optional,
  record,
  text,
  withDefault,
} from './decode';
import { type Labels, labels } from './labels';
import type { TrendPoint } from './panels';

/** More series than this are cut off by the server. */
export const SERIES_MAX = 500;
const POINTS = 240;
/** The server has a limit of its own, which comes first unless it was raised. */
const TIMEOUT_MS = 150_000;

interface Answer<T> {
  series: T[];
  /** Whether there are more than SERIES_MAX. */
  isCut: boolean;
  /** Warnings and infos of the server. */
  notes: string[];
}

export interface Line {
  labels: Labels;
  /** Of native histograms: none, they are no line. */
  points: TrendPoint[];
}

export interface Lines extends Answer<Line> {
  fromMs: number;
  toMs: number;
}

export interface Reading {
  /** null: that of the query. */
  tsMs: number | null;
  /** As the server writes it. */
  value: string;
}

export interface Value {
  labels: Labels;
  /** One, or of a range of values all. */
  readings: Reading[];
}

export type Values = Answer<Value>;

/** One series more than is shown was asked for. */
function answerOf<T>(value: unknown, at: string, series: T[]): Answer<T> {
  const o = record(value, at);
  const texts = (name: string) => withDefault(list(text), [])(o[name], `${at}.${name}`);
  const notes = [...texts('warnings'), ...texts('infos')];
  const isCut = series.length > SERIES_MAX;
  return {
    series: series.slice(0, SERIES_MAX),
    isCut,
    notes: isCut ? notes.filter((note) => !note.includes('due to limit')) : notes,
  };
}

const decodePoint: Decoder<TrendPoint> = (value, at) => {
  if (!Array.isArray(value)) return malformed(at, '[time, value]');
  const figure = numberText(value[1], `${at}[1]`);
  return [number(value[0], `${at}[0]`) * 1_000, Number.isFinite(figure) ? figure : null];
};

const decodeLine: Decoder<Line> = (value, at) => {
  const o = record(value, at);
  return {
    labels: labels(o['metric'], `${at}.metric`),
    points: withDefault(list(decodePoint), [])(o['values'], `${at}.values`),
  };
};

export function decodeLines(fromMs: number, toMs: number): Decoder<Lines> {
  return (value, at) => {
    const data = record(record(value, at)['data'], `${at}.data`);
    const series = list(decodeLine)(data['result'], `${at}.data.result`);
    return { ...answerOf(value, at, series), fromMs, toMs };
  };
}

const decodeReading: Decoder<Reading> = (value, at) => {
  if (!Array.isArray(value)) return malformed(at, '[time, value]');
  return { tsMs: number(value[0], `${at}[0]`) * 1_000, value: text(value[1], `${at}[1]`) };
};

const decodeHistogram: Decoder<Reading> = (value, at) => {
  if (!Array.isArray(value)) return malformed(at, '[time, histogram]');
  const o = record(value[1], `${at}[1]`);
  return {
    tsMs: number(value[0], `${at}[0]`) * 1_000,
    value: `histogram: count ${text(o['count'], `${at}.count`)}, sum ${text(o['sum'], `${at}.sum`)}`,
  };
};

/** One moment is that of the query, and needs no saying. */
const decodeInstant: Decoder<Value> = (value, at) => {
  const o = record(value, at);
  const reading =
    optional(decodeReading)(o['value'], `${at}.value`) ?? decodeHistogram(o['histogram'], `${at}.histogram`);
  return { labels: labels(o['metric'], `${at}.metric`), readings: [{ ...reading, tsMs: null }] };
};

const decodeRange: Decoder<Value> = (value, at) => {
  const o = record(value, at);
  const plain = withDefault(list(decodeReading), [])(o['values'], `${at}.values`);
  const histograms = withDefault(list(decodeHistogram), [])(o['histograms'], `${at}.histograms`);
  return {
    labels: labels(o['metric'], `${at}.metric`),
    readings: [...plain, ...histograms].sort((a, b) => (a.tsMs ?? 0) - (b.tsMs ?? 0)),
  };
};

export const decodeValues: Decoder<Values> = (value, at) => {
  const data = record(record(value, at)['data'], `${at}.data`);
  const type = oneOf(['vector', 'matrix', 'scalar', 'string'], 'vector')(
    data['resultType'],
    `${at}.data.resultType`,
  );
  const resultAt = `${at}.data.result`;
  switch (type) {
    case 'scalar':
    case 'string': {
      const reading = { ...decodeReading(data['result'], resultAt), tsMs: null };
      return answerOf(value, at, [{ labels: {}, readings: [reading] }]);
    }
    case 'vector':
      return answerOf(value, at, list(decodeInstant)(data['result'], resultAt));
    case 'matrix':
      return answerOf(value, at, list(decodeRange)(data['result'], resultAt));
  }
};

/**
 * What a person asked for: an error is shown at once, and nothing is asked again unless they want it. Where they do, a
 * page that nobody sees waits until it is looked at, and then catches up.
 */
function onDemand(refreshMs: number | null) {
  return {
    retry: false,
    staleTime: refreshMs ?? Infinity,
    placeholderData: keepPreviousData,
    refetchInterval: refreshMs ?? false,
    refetchOnWindowFocus: true, // if it is older than that
  } as const;
}

export function linesQuery(
  expression: string,
  spanMs: number,
  endMs: number | null,
  refreshMs: number | null,
) {
  const stepMs = Math.max(1_000, Math.ceil(spanMs / POINTS / 1_000) * 1_000);
  return queryOptions({
    queryKey: ['lines', expression, spanMs, endMs],
    queryFn: ({ signal }) => {
      const toMs = endMs ?? Date.now();
      const fromMs = toMs - spanMs;
      const parameters = new URLSearchParams({
        query: expression,
        start: String(fromMs / 1_000),
        end: String(toMs / 1_000),
        step: String(stepMs / 1_000),
        limit: String(SERIES_MAX + 1),
      });
      const path = `/api/v1/query_range?${parameters.toString()}`;
      return fetchJson(path, decodeLines(fromMs, toMs), signal, TIMEOUT_MS);
    },
    ...onDemand(refreshMs),
  });
}

export function valuesQuery(expression: string, atMs: number | null, refreshMs: number | null) {
  return queryOptions({
    queryKey: ['values', expression, atMs],
    queryFn: ({ signal }) => {
      const parameters = new URLSearchParams({ query: expression, limit: String(SERIES_MAX + 1) });
      if (atMs !== null) parameters.set('time', String(atMs / 1_000));
      return fetchJson(`/api/v1/query?${parameters.toString()}`, decodeValues, signal, TIMEOUT_MS);
    },
    ...onDemand(refreshMs),
  });
}
