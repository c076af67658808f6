import { keepPreviousData, queryOptions } from '@tanstack/react-query';
import { rangeParameters, type TimeRange } from '../timerange/time_range';
import { fetchJson } from './client';
import {
  type Cell,
  cell,
  type Decoder,
  list,
  malformed,
  number,
  oneOf,
  optional,
  record,
  text,
  withDefault,
} from './decode';
import type { Panel } from './dashboards';

export type ColumnType = 'timestamp' | 'number' | 'text' | 'boolean';

export interface Column {
  name: string;
  type: ColumnType;
}

export type TrendPoint = [tsMs: number, value: number | null];

export interface PanelData {
  fromMs: number;
  toMs: number;
  tookMs: number;
  value: number | null;
  previous: number | null;
  trend: TrendPoint[];
  columns: Column[];
  rows: Cell[][];
}

const decodeColumn: Decoder<Column> = (value, at) => {
  const o = record(value, at);
  return {
    name: text(o['name'], `${at}.name`),
    type: oneOf(['timestamp', 'number', 'text', 'boolean'], 'text')(o['type'], `${at}.type`),
  };
};

const decodeTrendPoint: Decoder<TrendPoint> = (value, at) => {
  if (!Array.isArray(value) || value.length < 2) return malformed(at, '[time, value]');
  return [number(value[0], `${at}[0]`), optional(number)(value[1], `${at}[1]`)];
};

export const decodePanelData: Decoder<PanelData> = (value, at) => {
  const o = record(value, at);
  return {
    fromMs: withDefault(number, 0)(o['from'], `${at}.from`),
    toMs: withDefault(number, 0)(o['to'], `${at}.to`),
    tookMs: withDefault(number, 0)(o['took_ms'], `${at}.took_ms`),
    value: optional(number)(o['value'], `${at}.value`),
    previous: optional(number)(o['previous'], `${at}.previous`),
    trend: withDefault(list(decodeTrendPoint), [])(o['trend'], `${at}.trend`),
    columns: withDefault(list(decodeColumn), [])(o['columns'], `${at}.columns`),
    rows: withDefault(list(list(cell)), [])(o['rows'], `${at}.rows`),
  };
};

/** All panel data lives under this key: a commit on the server makes it stale as a whole. */
export const PANEL_KEY = 'panel';

export function panelQuery(dashboardId: string, panel: Panel, range: TimeRange) {
  const parameters = rangeParameters(range);
  const path = `/api/apiary/v1/dashboards/${encodeURIComponent(dashboardId)}/panels/${encodeURIComponent(panel.id)}`;
  return queryOptions({
    // A panel with a window of its own stays in the cache when the reader picks another range.
    queryKey: [PANEL_KEY, dashboardId, panel.id, panel.usesRange ? parameters : ''],
    queryFn: ({ signal }) => fetchJson(`${path}?${parameters}`, decodePanelData, signal),
    placeholderData: keepPreviousData,
    // Windows slide although nothing is written; the live stream does the rest. It tells of rows, not of samples, which
    // come all the time.
    refetchInterval: panel.language === 'promql' ? 10_000 : 60_000,
  });
}
