import { useQuery } from '@tanstack/react-query';
import { useSearch } from '@tanstack/react-router';
import { useEffect, useRef } from 'react';
import { type Dashboard, dashboardQuery, type Section } from '../api/dashboards';
import { failureOf } from '../api/failure';
import { PageTitle } from '../app/page_title';
import { KpiCard } from '../kpi/kpi_card';
import { FailureNotice } from '../states/failure_notice';
import { RangePicker } from '../timerange/range_picker';
import { rangeOf, type TimeRange } from '../timerange/time_range';
import { PanelFrame } from './panel_frame';
import { QueryFooter } from './query_footer';

export function DashboardPage({ id }: { id: string }) {
  const { data: dashboard, error, refetch } = useQuery(dashboardQuery(id));
  if (dashboard !== undefined) return <LoadedDashboard dashboard={dashboard} />;
  if (error !== null)
    return (
      <div className="page-notice">
        <FailureNotice failure={failureOf(error)} onRetry={() => void refetch()} />
      </div>
    );
  return <DashboardSkeleton />;
}

function LoadedDashboard({ dashboard }: { dashboard: Dashboard }) {
  const search = useSearch({ from: '__root__' });
  const range = rangeOf(search, dashboard.defaultRange);
  const headingRef = useFocusOnArrival(dashboard.id);
  return (
    <>
      <PageTitle text={dashboard.title} />
      <div className="page-head">
        <div>
          <h1 ref={headingRef} tabIndex={-1}>
            {dashboard.title}
          </h1>
          {dashboard.description !== '' && <p className="page-description">{dashboard.description}</p>}
        </div>
        <RangePicker range={range} names={dashboard.ranges} />
      </div>
      {dashboard.sections.map((section, index) => (
        <SectionView key={index} dashboardId={dashboard.id} section={section} range={range} />
      ))}
      <QueryFooter dashboard={dashboard} range={range} />
    </>
  );
}

/** Who goes to another dashboard by keyboard or screen reader arrives at its heading, not at the top of nowhere. */
function useFocusOnArrival(id: string) {
  const headingRef = useRef<HTMLHeadingElement>(null);
  const shownRef = useRef<string | null>(null);
  useEffect(() => {
    if (isArrival(shownRef.current, id)) headingRef.current?.focus({ preventScroll: true });
    shownRef.current = id;
  }, [id]);
  return headingRef;
}

let firstShown: string | null = null;

/** The first dashboard of a visit leaves the focus where the browser puts it. */
function isArrival(before: string | null, id: string): boolean {
  if (firstShown === null) {
    firstShown = id;
    return false;
  }
  return before !== id && !(before === null && firstShown === id && document.activeElement === document.body);
}

interface SectionProps {
  dashboardId: string;
  section: Section;
  range: TimeRange;
}

function SectionView({ dashboardId, section, range }: SectionProps) {
  const View = section.style === 'cards' ? KpiCard : PanelFrame;
  return (
    <section className="section" data-style={section.style} aria-label={section.title || undefined}>
      {section.title !== '' && <h2>{section.title}</h2>}
      <div className="grid">
        {section.panels.map((panel) => (
          <View key={panel.id} dashboardId={dashboardId} panel={panel} range={range} />
        ))}
      </div>
    </section>
  );
}

function DashboardSkeleton() {
  return (
    <div className="page-skeleton" role="status">
      <span className="visually-hidden">Loading the dashboard</span>
      <span className="skeleton skeleton-title" />
      <div className="grid">
        {[1, 2, 3, 4].map((index) => (
          <div key={index} className="panel card" style={{ '--panel-width': 3 }}>
            <span className="skeleton skeleton-chart" />
          </div>
        ))}
      </div>
    </div>
  );
}
