/** How the figure of one alert went: what its rule compares, over time. */
import { queryOptions } from '@tanstack/react-query';
import { fetchJson } from './client';
import { type Decoder, list, malformed, number, numberText, record } from './decode';
import { type Labels, labels } from './labels';
import type { TrendPoint } from './panels';

export interface Course {
  labels: Labels;
  points: TrendPoint[];
}

const decodePoint: Decoder<TrendPoint> = (value, at) => {
  if (!Array.isArray(value)) return malformed(at, '[time, value]');
  const figure = numberText(value[1], `${at}[1]`);
  return [number(value[0], `${at}[0]`) * 1_000, Number.isFinite(figure) ? figure : null];
};

const decodeCourse: Decoder<Course> = (value, at) => {
  const o = record(value, at);
  return {
    labels: labels(o['metric'], `${at}.metric`),
    points: list(decodePoint)(o['values'], `${at}.values`),
  };
};

export const decodeCourses: Decoder<Course[]> = (value, at) => {
  const data = record(record(value, at)['data'], `${at}.data`);
  return list(decodeCourse)(data['result'], `${at}.data.result`);
};

export const COURSE_POINTS = 60;

/** Of all series of the query, as many points whatever the span. */
export function courseQuery(query: string, spanMs: number) {
  const stepS = Math.ceil(spanMs / COURSE_POINTS / 1_000);
  return queryOptions({
    queryKey: ['course', query, stepS],
    queryFn: ({ signal }) => {
      const endS = Math.floor(Date.now() / 1_000);
      const parameters = new URLSearchParams({
        query,
        start: String(endS - stepS * COURSE_POINTS),
        end: String(endS),
        step: String(stepS),
      });
      return fetchJson(`/api/v1/query_range?${parameters.toString()}`, decodeCourses, signal);
    },
    staleTime: 30_000,
  });
}
