import { parseDuration } from '../format/duration';

/**
 * What a graph shows lives in the address, in Prometheus' own parameters: links of Prometheus, of messages and of this
 * page are the same. Of several graphs (`g0.`, `g1.` …) the first is shown.
 */
export interface GraphSearch {
  'g0.expr'?: string | undefined;
  /** "0" or "graph", "1" or "table". */
  'g0.tab'?: string | undefined;
  /** As "1h30m". */
  'g0.range_input'?: string | undefined;
  /** The right end, UTC: "2026-03-01 12:00:00". */
  'g0.end_input'?: string | undefined;
  /** The same, for a table. */
  'g0.moment_input'?: string | undefined;
  /** How often it is asked again, as "15s": Grafana's parameter, Prometheus has none. */
  refresh?: string | undefined;
}

export type GraphView = 'graph' | 'table';

export interface Graph {
  expression: string;
  view: GraphView;
  spanMs: number;
  /** null: now. */
  endMs: number | null;
  /** null: it is asked once. */
  refreshMs: number | null;
}

const HOUR_MS = 3_600_000;

/** Of the view and the spans to choose from, as they stand in the address. */
export const TABS: Record<GraphView, string> = { graph: '0', table: '1' };
export const SPANS = ['15m', '1h', '6h', '1d', '1w'] as const;
export const REFRESHES = ['5s', '15s', '1m', '5m'] as const;

function parseMoment(text: string | undefined): number | null {
  const found = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d(?::\d\d)?)/.exec(text ?? '');
  if (found === null) return null;
  const ms = Date.parse(`${found[1] ?? ''}T${found[2] ?? ''}Z`);
  return Number.isNaN(ms) ? null : ms;
}

const NAMES = ['g0.expr', 'g0.tab', 'g0.range_input', 'g0.end_input', 'g0.moment_input', 'refresh'] as const;

export function parseGraphSearch(search: Record<string, unknown>): GraphSearch {
  const found: GraphSearch = {};
  for (const name of NAMES) {
    const value = search[name];
    if (typeof value === 'string' && value !== '') found[name] = value;
  }
  return found;
}

/** What is not given, or makes no sense, is as the page shows it by itself. */
export function graphOf(search: GraphSearch): Graph {
  const tab = search['g0.tab'];
  const endMs = parseMoment(search['g0.end_input'] ?? search['g0.moment_input']);
  return {
    expression: search['g0.expr'] ?? '',
    view: tab === TABS.table || tab === 'table' ? 'table' : 'graph',
    spanMs: parseDuration(search['g0.range_input'] ?? '') ?? HOUR_MS,
    endMs,
    refreshMs: endMs === null ? parseDuration(search.refresh ?? '') : null, // what has ended stays as it is
  };
}

/** A link to the graph of an expression. */
export function graphSearch(expression: string, view: GraphView = 'graph'): GraphSearch {
  return { 'g0.expr': expression, 'g0.tab': TABS[view] };
}

/** How many expressions the address has beside the first. */
export function otherCount(search: object): number {
  return Object.keys(search).filter((name) => /^g[1-9]\d*\.expr$/.test(name)).length;
}
