import { useQuery } from '@tanstack/react-query';
import { useId, useState } from 'react';
import type { Panel } from '../api/dashboards';
import { failureOf } from '../api/failure';
import { panelQuery } from '../api/panels';
import { DataTable } from '../charts/data_table';
import { EmptyNotice } from '../states/empty_notice';
import { FailureNotice } from '../states/failure_notice';
import type { TimeRange } from '../timerange/time_range';
import { PanelInfo } from './panel_info';
import { hasNothing, PanelView } from './panel_view';
import { StaleMark } from './stale_mark';

interface Props {
  dashboardId: string;
  panel: Panel;
  range: TimeRange;
}

/** A panel of the grid: title, tools, and one of loading, error, nothing, chart or table. */
export function PanelFrame({ dashboardId, panel, range }: Props) {
  const titleId = useId();
  const [isTable, setIsTable] = useState(false);
  const { data, error, isFetching, isPlaceholderData, refetch } = useQuery(
    panelQuery(dashboardId, panel, range),
  );
  const canBeTable = panel.visualization !== 'table' && data !== undefined && data.rows.length > 0;

  const body = () => {
    if (data === undefined) {
      if (error !== null) return <FailureNotice failure={failureOf(error)} onRetry={() => void refetch()} />;
      return <div className="skeleton skeleton-chart" role="img" aria-label={`${panel.title} is loading`} />;
    }
    if (hasNothing(panel, data)) return <EmptyNotice usesRange={panel.usesRange} language={panel.language} />;
    if (isTable) return <DataTable panel={panel} data={data} />;
    return <PanelView panel={panel} data={data} />;
  };

  return (
    <article
      className="panel"
      aria-labelledby={titleId}
      aria-busy={isFetching && data === undefined}
      data-panel={panel.id}
      data-visualization={panel.visualization}
      style={{ '--panel-width': panel.width }}
    >
      <header className="panel-header">
        <h3 id={titleId}>{panel.title}</h3>
        {error !== null && data !== undefined && <StaleMark failure={failureOf(error)} />}
        {canBeTable && (
          <button
            type="button"
            className="icon-button icon-button-small"
            aria-pressed={isTable}
            aria-label={`${panel.title} as a table`}
            title={isTable ? 'Show the chart' : 'Show as a table'}
            onClick={() => {
              setIsTable(!isTable);
            }}
          >
            <TableIcon />
          </button>
        )}
        <PanelInfo panel={panel} data={data} />
      </header>
      <div className="panel-body" data-waiting={isPlaceholderData}>
        {body()}
      </div>
    </article>
  );
}

function TableIcon() {
  return (
    <svg viewBox="0 0 20 20" aria-hidden="true">
      <path
        d="M3 4.5h14v11H3zM3 8.2h14M3 11.8h14M8 8.2v7.3"
        fill="none"
        stroke="currentColor"
        strokeWidth="1.5"
        strokeLinejoin="round"
      />
    </svg>
  );
}
