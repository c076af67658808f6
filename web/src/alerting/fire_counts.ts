import type { AlertSummary } from '../api/alert_summary';
import { compareSeverity, type Tone, toneOf } from './severity';

export interface FireCounts {
  total: number;
  /** Worst first; what always fires is not among them. */
  bySeverity: { severity: string; count: number }[];
  worst: Tone | null;
}

export function fireCounts({ bySeverity }: Pick<AlertSummary, 'bySeverity'>): FireCounts {
  const counts = Object.entries(bySeverity)
    .filter(([severity, count]) => severity !== 'none' && count > 0)
    .map(([severity, count]) => ({ severity, count }))
    .sort((a, b) => compareSeverity(a.severity, b.severity));
  const [first] = counts;
  return {
    total: counts.reduce((sum, { count }) => sum + count, 0),
    bySeverity: counts,
    worst: first === undefined ? null : toneOf(first.severity),
  };
}

/** "1 critical, 2 warning" */
export function fireText({ bySeverity }: FireCounts): string {
  return bySeverity
    .map(({ severity, count }) => `${count} ${severity === '' ? 'without severity' : severity}`)
    .join(', ');
}
