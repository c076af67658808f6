import { useQuery, useQueryClient } from '@tanstack/react-query';
import { Link, Outlet, useLocation } from '@tanstack/react-router';
import { AlertBadge } from '../alerting/alert_badge';
import { type DashboardSummary, dashboardsQuery } from '../api/dashboards';
import { failureOf } from '../api/failure';
import { LiveIndicator } from '../live/live_indicator';
import { LiveProvider } from '../live/live_provider';
import { KeyForm } from '../session/key_form';
import { ThemeToggle } from '../theme/theme_toggle';
import { useCurrentInView } from './current_in_view';
import { Logo } from './logo';

export function Layout() {
  const queryClient = useQueryClient();
  const { data: dashboards, error } = useQuery(dashboardsQuery());

  if (error !== null && failureOf(error).kind === 'unauthorized')
    return (
      <>
        <title>Apiary</title>
        <header className="top-bar">
          <span className="brand">
            <Logo /> Apiary
          </span>
          <ThemeToggle />
        </header>
        <main className="page" id="main">
          <KeyForm onOpened={() => void queryClient.resetQueries()} />
        </main>
      </>
    );

  return (
    <LiveProvider>
      <a className="skip-link" href="#main">
        Skip to the figures
      </a>
      <header className="top-bar">
        <Link to="/" className="brand" aria-label="Apiary, home">
          <Logo /> <span>Apiary</span>
        </Link>
        <DashboardNav dashboards={dashboards ?? []} />
        <div className="top-tools">
          <AlertBadge />
          <LiveIndicator />
          <ThemeToggle />
        </div>
      </header>
      <main className="page" id="main" tabIndex={-1}>
        <Outlet />
      </main>
    </LiveProvider>
  );
}

function DashboardNav({ dashboards }: { dashboards: DashboardSummary[] }) {
  const ref = useCurrentInView<HTMLElement>(dashboards.length);
  return (
    <nav ref={ref} className="tabs dashboard-nav" aria-label="Dashboards">
      <ul>
        {dashboards.map((dashboard) => (
          <li key={dashboard.id}>
            {dashboard.isHome ? (
              <Link
                to="/"
                activeOptions={{ exact: true, includeSearch: false }}
                title={dashboard.description}
              >
                {dashboard.title}
              </Link>
            ) : (
              <Link
                to="/d/$dashboardId"
                params={{ dashboardId: dashboard.id }}
                activeOptions={{ includeSearch: false }}
                title={dashboard.description}
              >
                {dashboard.title}
              </Link>
            )}
          </li>
        ))}
        <li className="nav-divided">
          <PagesLink to="/catalogue" paths={METRIC_PATHS} title="Every metric that the product reports">
            Metrics
          </PagesLink>
        </li>
        <li>
          <Link
            to="/targets"
            activeOptions={{ includeSearch: false }}
            title="What is scraped, and its health"
          >
            Targets
          </Link>
        </li>
        <li>
          <PagesLink
            to="/alerts"
            paths={ALERTING_PATHS}
            title="What is on fire, who is told, silences and rules"
          >
            Alerting
          </PagesLink>
        </li>
      </ul>
    </nav>
  );
}

const METRIC_PATHS = ['/catalogue', '/graph'];
const ALERTING_PATHS = ['/alerts', '/silences', '/rules', '/notifications', '/heartbeats'];

interface PagesLinkProps {
  to: '/catalogue' | '/alerts';
  paths: readonly string[];
  title: string;
  children: string;
}

/** One entry for several pages, which name each other below. */
function PagesLink({ to, paths, title, children }: PagesLinkProps) {
  const isHere = useLocation({ select: ({ pathname }) => paths.includes(pathname) });
  return (
    <Link to={to} activeProps={{}} aria-current={isHere ? 'page' : undefined} title={title}>
      {children}
    </Link>
  );
}
