import { lazy, type ReactNode, Suspense } from 'react';
import type { Panel } from '../api/dashboards';
import type { PanelData } from '../api/panels';
import { DataTable } from '../charts/data_table';
import { LineChart } from '../charts/line_chart';
import { FigureChange, FigureTarget, FigureValue } from '../kpi/figure';
import { isTargetMet } from '../kpi/target';

// The larger half of the program: fetched only by dashboards that draw with it.
const BarChart = lazy(() => import('../charts/bar_chart'));
const Gauge = lazy(() => import('../charts/gauge'));
const WorldMap = lazy(() => import('../charts/world_map'));

interface Props {
  panel: Panel;
  data: PanelData;
}

export function hasNothing(panel: Panel, data: PanelData): boolean {
  switch (panel.visualization) {
    case 'number':
    case 'gauge':
    case 'percentage':
      return data.value === null;
    case 'line_chart':
    case 'histogram':
    case 'bar_chart':
    case 'world_map':
    case 'table':
      return data.rows.length === 0;
  }
}

/** What a panel shows when it has data. */
export function PanelView({ panel, data }: Props) {
  switch (panel.visualization) {
    case 'line_chart':
      return <LineChart panel={panel} data={data} />;
    case 'bar_chart':
    case 'histogram':
      return (
        <Late>
          <BarChart panel={panel} data={data} />
        </Late>
      );
    case 'world_map':
      return (
        <Late>
          <WorldMap panel={panel} data={data} />
        </Late>
      );
    case 'gauge':
      return (
        <div className="gauge">
          <Late>
            <Gauge panel={panel} data={data} />
          </Late>
          <FigureChange panel={panel} data={data} />
          <FigureTarget panel={panel} value={data.value} />
        </div>
      );
    case 'percentage':
      return (
        <div className="single">
          <FigureValue value={data.value} unit={panel.unit} />
          <PercentageBar panel={panel} value={data.value} />
          <FigureChange panel={panel} data={data} />
          <FigureTarget panel={panel} value={data.value} />
        </div>
      );
    case 'number':
      return (
        <div className="single">
          <FigureValue value={data.value} unit={panel.unit} />
          <FigureChange panel={panel} data={data} />
          <FigureTarget panel={panel} value={data.value} />
        </div>
      );
    case 'table':
      return <DataTable panel={panel} data={data} />;
  }
}

function Late({ children }: { children: ReactNode }) {
  return <Suspense fallback={<div className="skeleton skeleton-chart" />}>{children}</Suspense>;
}

function share(value: number, unit: string): number {
  return Math.min(100, Math.max(0, unit === 'percent' ? value : value * 100));
}

function PercentageBar({ panel, value }: { panel: Panel; value: number | null }) {
  const { target, unit } = panel;
  const isMet = target === null || value === null ? null : isTargetMet(value, target);
  return (
    <div className="percentage-bar" data-met={isMet ?? 'unknown'} aria-hidden="true">
      <span className="percentage-fill" style={{ width: `${share(value ?? 0, unit)}%` }} />
      {target !== null && (
        <span className="percentage-target" style={{ left: `${share(target.value, unit)}%` }} />
      )}
    </div>
  );
}
