import { useQuery } from '@tanstack/react-query';
import { Link, useParams } from '@tanstack/react-router';
import { dashboardsQuery } from '../api/dashboards';
import { failureOf } from '../api/failure';
import { DashboardPage } from '../dashboard/dashboard_page';
import { FailureNotice } from '../states/failure_notice';

/** `/`: the dashboard that calls itself home, else the first one. */
export function HomePage() {
  const { data: dashboards, error, refetch } = useQuery(dashboardsQuery());
  const home = dashboards?.find((dashboard) => dashboard.isHome) ?? dashboards?.[0];
  if (home !== undefined) return <DashboardPage key={home.id} id={home.id} />;
  if (error !== null)
    return (
      <div className="page-notice">
        <FailureNotice failure={failureOf(error)} onRetry={() => void refetch()} />
      </div>
    );
  if (dashboards === undefined) return <p className="visually-hidden">Loading</p>;
  return (
    <div className="page-notice">
      <div className="notice">
        <h1 className="notice-title">No dashboards</h1>
        <p className="notice-hint">
          Dashboards come with a pack. Start the server with <code>--pack DIR</code>.
        </p>
      </div>
    </div>
  );
}

/** `/d/<id>` */
export function ChosenPage() {
  const { dashboardId } = useParams({ from: '/d/$dashboardId' });
  return <DashboardPage key={dashboardId} id={dashboardId} />;
}

export function NotFoundPage() {
  return (
    <div className="page-notice">
      <div className="notice">
        <h1 className="notice-title">There is no such page</h1>
        <p className="notice-hint">
          <Link to="/">Go to the first dashboard</Link>
        </p>
      </div>
    </div>
  );
}
