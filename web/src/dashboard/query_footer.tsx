import { useQueries, useQuery } from '@tanstack/react-query';
import type { Dashboard } from '../api/dashboards';
import { panelQuery } from '../api/panels';
import { statusQuery } from '../api/status';
import { formatTook } from '../format/time';
import type { TimeRange } from '../timerange/time_range';

/** How long the numbers on this page took. The panels' own queries, seen a second time; nothing is fetched twice. */
export function QueryFooter({ dashboard, range }: { dashboard: Dashboard; range: TimeRange }) {
  const { data: status } = useQuery(statusQuery());
  const panels = dashboard.sections.flatMap((section) => section.panels);
  const tookMs = useQueries({
    queries: panels.map((panel) => panelQuery(dashboard.id, panel, range)),
    combine: (results) =>
      results.flatMap((result) => (result.data === undefined ? [] : [result.data.tookMs])),
  });
  return (
    <p className="query-footer" data-testid="query-footer">
      <span>{summaryOf(tookMs)}</span>
      {status !== undefined && status.version !== '' && <span>Apiary {status.version}</span>}
    </p>
  );
}

export function summaryOf(tookMs: readonly number[]): string {
  if (tookMs.length === 0) return 'No query has been answered yet';
  const noun = tookMs.length === 1 ? 'query' : 'queries';
  return `${tookMs.length} ${noun}, slowest ${formatTook(Math.max(...tookMs))}`;
}
