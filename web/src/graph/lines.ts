import type { Line, Lines } from '../api/expression';
import type { Panel } from '../api/dashboards';
import type { Labels } from '../api/labels';
import type { Cell } from '../api/decode';
import type { PanelData } from '../api/panels';
import { EXACT } from '../format/unit';

/** More lines in one picture tell nobody anything. */
export const DRAWN_MAX = 40;

/** A chart of any expression. */
export const PANEL: Panel = {
  id: 'graph',
  title: 'Graph',
  description: '',
  visualization: 'line_chart',
  unit: EXACT,
  target: null,
  better: 'neither',
  width: 12,
  usesRange: true,
  query: '',
  language: 'promql',
};

/** Labels that tell the series apart, and all of a single one: what they have in common would hide the rest. */
export function seriesNames(all: readonly Labels[]): string[] {
  const names = [...new Set(all.flatMap((labels) => Object.keys(labels)))].sort();
  const telling = names.filter(
    (name) => all.length === 1 || all.some((labels) => labels[name] !== all[0]?.[name]),
  );
  return all.map((labels) => {
    const metric = telling.includes('__name__') ? (labels['__name__'] ?? '') : '';
    const pairs = telling
      .filter((name) => name !== '__name__' && labels[name] !== undefined)
      .map((name) => `${name}="${labels[name] ?? ''}"`);
    const text = [metric, ...pairs].filter((part) => part !== '').join(' ');
    return text === '' ? '{}' : text;
  });
}

/** A row for each moment, as the charts of dashboards have it. Series without a value then leave a gap. */
export function panelDataOf(lines: readonly Line[], { fromMs, toMs }: Lines): PanelData {
  const rows = new Map<number, Cell[]>();
  lines.forEach(({ points }, index) => {
    for (const [tsMs, value] of points) {
      let row = rows.get(tsMs);
      if (row === undefined) {
        row = [tsMs, ...lines.map(() => null)];
        rows.set(tsMs, row);
      }
      row[index + 1] = value;
    }
  });
  const names = seriesNames(lines.map(({ labels }) => labels));
  return {
    fromMs,
    toMs,
    tookMs: 0,
    value: null,
    previous: null,
    trend: [],
    columns: [
      { name: 'time', type: 'timestamp' },
      ...names.map((name) => ({ name, type: 'number' as const })),
    ],
    rows: [...rows.values()],
  };
}
