import { useQuery } from '@tanstack/react-query';
import { useId } from 'react';
import { failureOf } from '../api/failure';
import type { Panel } from '../api/dashboards';
import { panelQuery } from '../api/panels';
import { PanelInfo } from '../dashboard/panel_info';
import { StaleMark } from '../dashboard/stale_mark';
import { FailureNotice } from '../states/failure_notice';
import type { TimeRange } from '../timerange/time_range';
import { FigureChange, FigureTarget, FigureValue } from './figure';
import { Sparkline } from './sparkline';

interface Props {
  dashboardId: string;
  panel: Panel;
  range: TimeRange;
}

export function KpiCard({ dashboardId, panel, range }: Props) {
  const titleId = useId();
  const { data, error, isFetching, refetch } = useQuery(panelQuery(dashboardId, panel, range));
  return (
    <article
      className="panel card"
      aria-labelledby={titleId}
      aria-busy={isFetching && data === undefined}
      data-panel={panel.id}
      style={{ '--panel-width': panel.width }}
    >
      <header className="panel-header">
        <h3 id={titleId}>{panel.title}</h3>
        {error !== null && data !== undefined && <StaleMark failure={failureOf(error)} />}
        <PanelInfo panel={panel} data={data} />
      </header>
      {data !== undefined ? (
        <>
          <FigureValue value={data.value} unit={panel.unit} />
          <FigureChange panel={panel} data={data} />
          <Sparkline trend={data.trend} />
          <FigureTarget panel={panel} value={data.value} />
        </>
      ) : error !== null ? (
        <FailureNotice failure={failureOf(error)} onRetry={() => void refetch()} />
      ) : (
        <div className="card-skeleton" role="img" aria-label={`${panel.title} is loading`}>
          <span className="skeleton" />
          <span className="skeleton" />
          <span className="skeleton" />
        </div>
      )}
    </article>
  );
}
