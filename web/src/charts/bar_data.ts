import type { Cell } from '../api/decode';
import type { PanelData } from '../api/panels';
import { formatPoint } from '../format/time';
import { formatValue } from '../format/unit';

export interface BarData {
  categories: string[];
  groups: { name: string; values: (number | null)[] }[];
}

/** First column: the category or bucket. Every further one: a bar in each category. */
export function barDataOf(data: PanelData): BarData {
  return {
    categories: data.rows.map((row) => categoryName(row[0] ?? null, data.columns[0]?.type ?? 'text')),
    groups: data.columns.slice(1).map((column, index) => ({
      name: column.name,
      values: data.rows.map((row) => {
        const value = row[index + 1];
        return typeof value === 'number' ? value : null;
      }),
    })),
  };
}

function categoryName(value: Cell, type: string): string {
  if (value === null) return '(none)';
  if (type === 'timestamp' && typeof value === 'number') return formatPoint(value, 86_400_000);
  if (typeof value === 'number') return formatValue(value, 'count');
  return String(value);
}

/** Names read better beside lying bars, numbers and dates below standing ones. */
export function isLying(data: PanelData): boolean {
  return data.columns[0]?.type === 'text' || data.columns[0]?.type === 'boolean';
}

/** "planning_mode" → "planning mode": names in code, shown to people. */
export function humanName(name: string): string {
  return name.replaceAll('_', ' ');
}
