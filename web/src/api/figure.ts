import { keepPreviousData, queryOptions } from '@tanstack/react-query';
import { fetchJson } from './client';
import { type Decoder, list, malformed, number, record, text } from './decode';
import type { TrendPoint } from './panels';

/** A figure of PromQL over the last hours: its course, and where it is now. */
export interface Figure {
  value: number | null;
  trend: TrendPoint[];
}

export const FIGURE_HOURS = 6;
const POINTS = 72;
const STEP_S = (FIGURE_HOURS * 3_600) / POINTS;
const REFRESH_S = 5;

const decodePoint: Decoder<TrendPoint> = (value, at) => {
  if (!Array.isArray(value) || value.length < 2) return malformed(at, '[time, value]');
  const figure = Number(text(value[1], `${at}[1]`));
  return [number(value[0], `${at}[0]`) * 1_000, Number.isFinite(figure) ? figure : null];
};

/** The first series of a range query. The last point stands for now only when it is there. */
export function decodeFigure(endMs: number): Decoder<Figure> {
  return (value, at) => {
    const data = record(record(value, at)['data'], `${at}.data`);
    const series = list((entry, entryAt) =>
      list(decodePoint)(record(entry, entryAt)['values'], `${entryAt}.values`),
    )(data['result'], `${at}.data.result`);
    const trend = series[0] ?? [];
    const last = trend.at(-1);
    return { value: last?.[0] === endMs ? last[1] : null, trend };
  };
}

export function figureQuery(query: string) {
  return queryOptions({
    queryKey: ['figure', query],
    queryFn: ({ signal }) => {
      const end = Math.floor(Date.now() / 1_000 / REFRESH_S) * REFRESH_S;
      const parameters = new URLSearchParams({
        query,
        start: String(end - FIGURE_HOURS * 3_600),
        end: String(end),
        step: String(STEP_S),
      });
      return fetchJson(`/api/v1/query_range?${parameters.toString()}`, decodeFigure(end * 1_000), signal);
    },
    placeholderData: keepPreviousData,
    refetchInterval: REFRESH_S * 1_000,
  });
}
