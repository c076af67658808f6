import { queryOptions } from '@tanstack/react-query';
import { shownUnit } from '../format/unit';
import { fetchJson } from './client';
import { type Decoder, flag, list, number, oneOf, optional, record, text, withDefault } from './decode';

export interface DashboardSummary {
  id: string;
  title: string;
  description: string;
  isHome: boolean;
}

export type Visualization =
  'number' | 'line_chart' | 'gauge' | 'percentage' | 'histogram' | 'bar_chart' | 'world_map' | 'table';

export interface Target {
  op: '>=' | '<=' | '>' | '<';
  value: number;
  text: string;
}

export interface Panel {
  id: string;
  title: string;
  description: string;
  visualization: Visualization;
  unit: string;
  target: Target | null;
  better: 'higher' | 'lower' | 'neither';
  width: number;
  usesRange: boolean;
  query: string;
  language: 'sql' | 'promql';
}

export interface Section {
  title: string;
  style: 'cards' | 'grid';
  panels: Panel[];
}

export interface Dashboard {
  id: string;
  title: string;
  description: string;
  defaultRange: string;
  ranges: string[];
  sections: Section[];
}

const decodeSummary: Decoder<DashboardSummary> = (value, at) => {
  const o = record(value, at);
  return {
    id: text(o['id'], `${at}.id`),
    title: text(o['title'], `${at}.title`),
    description: withDefault(text, '')(o['description'], `${at}.description`),
    isHome: withDefault(flag, false)(o['is_home'], `${at}.is_home`),
  };
};

export const decodeTarget: Decoder<Target> = (value, at) => {
  const o = record(value, at);
  const op = oneOf(['>=', '<=', '>', '<'], '>=')(o['op'], `${at}.op`);
  const bound = number(o['value'], `${at}.value`);
  return { op, value: bound, text: withDefault(text, `${op} ${bound}`)(o['text'], `${at}.text`) };
};

const VISUALIZATIONS: readonly Visualization[] = [
  'number',
  'line_chart',
  'gauge',
  'percentage',
  'histogram',
  'bar_chart',
  'world_map',
  'table',
];

const decodePanel: Decoder<Panel> = (value, at) => {
  const o = record(value, at);
  const id = text(o['id'], `${at}.id`);
  const target = optional(decodeTarget)(o['target'], `${at}.target`);
  return {
    id,
    title: withDefault(text, id)(o['title'], `${at}.title`),
    description: withDefault(text, '')(o['description'], `${at}.description`),
    // A server newer than this page may draw in ways we do not know: its rows are still worth a table.
    visualization: oneOf(VISUALIZATIONS, 'table')(o['visualization'], `${at}.visualization`),
    unit: shownUnit(withDefault(text, 'count')(o['unit'], `${at}.unit`), target?.text),
    target,
    better: oneOf(['higher', 'lower', 'neither'], 'neither')(o['better'], `${at}.better`),
    width: Math.min(12, Math.max(1, Math.round(withDefault(number, 12)(o['width'], `${at}.width`)))),
    usesRange: withDefault(flag, true)(o['uses_range'], `${at}.uses_range`),
    query: withDefault(text, '')(o['query'], `${at}.query`),
    language: oneOf(['sql', 'promql'], 'sql')(o['language'], `${at}.language`),
  };
};

function isFigure(panel: Panel): boolean {
  return (
    panel.visualization === 'number' ||
    panel.visualization === 'gauge' ||
    panel.visualization === 'percentage'
  );
}

const decodeSection: Decoder<Section> = (value, at) => {
  const o = record(value, at);
  const panels = list(decodePanel)(o['panels'], `${at}.panels`);
  const style = oneOf(['cards', 'grid'], 'grid')(o['style'], `${at}.style`);
  return {
    title: withDefault(text, '')(o['title'], `${at}.title`),
    style: style === 'cards' && panels.every(isFigure) ? 'cards' : 'grid',
    panels,
  };
};

export const decodeDashboard: Decoder<Dashboard> = (value, at) => {
  const o = record(value, at);
  const ranges = withDefault(list(text), ['24h', '7d', '30d', '90d'])(o['ranges'], `${at}.ranges`);
  return {
    id: text(o['id'], `${at}.id`),
    title: text(o['title'], `${at}.title`),
    description: withDefault(text, '')(o['description'], `${at}.description`),
    defaultRange: withDefault(text, ranges[0] ?? '7d')(o['default_range'], `${at}.default_range`),
    ranges,
    sections: list(decodeSection)(o['sections'], `${at}.sections`),
  };
};

export function dashboardsQuery() {
  return queryOptions({
    queryKey: ['dashboards'],
    queryFn: ({ signal }) =>
      fetchJson(
        '/api/apiary/v1/dashboards',
        (value, at) => list(decodeSummary)(record(value, at)['dashboards'], `${at}.dashboards`),
        signal,
      ),
    staleTime: 60_000,
  });
}

export function dashboardQuery(id: string) {
  return queryOptions({
    queryKey: ['dashboard', id],
    queryFn: ({ signal }) =>
      fetchJson(`/api/apiary/v1/dashboards/${encodeURIComponent(id)}`, decodeDashboard, signal),
    staleTime: 60_000,
  });
}
