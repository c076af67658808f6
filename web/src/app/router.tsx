import { createRootRoute, createRoute, createRouter, redirect } from '@tanstack/react-router';
import { alertmanagerAddress } from '../alerting/alertmanager_links';
import { basePath } from '../api/address';
import { AlertsPage } from '../alerts/alerts_page';
import { parseAlertSearch } from '../alerts/filter';
import { parseGraphSearch } from '../graph/address';
import { GraphPage } from '../graph/graph_page';
import { HeartbeatsPage } from '../heartbeats/heartbeats_page';
import { parseCatalogueSearch } from '../metrics/filter';
import { MetricsPage } from '../metrics/metrics_page';
import { NotificationsPage } from '../notifications/notifications_page';
import { parseNotificationSearch } from '../notifications/filter';
import { parseRuleSearch } from '../rules/filter';
import { RulesPage } from '../rules/rules_page';
import { parseSilenceSearch } from '../silences/filter';
import { SilencesPage } from '../silences/silences_page';
import { parseTargetSearch } from '../targets/filter';
import { TargetsPage } from '../targets/targets_page';
import { parseSearch } from '../timerange/time_range';
import { Layout } from './layout';
import { ChosenPage, HomePage, NotFoundPage } from './pages';
import { formatSearchText, parseSearchText } from './search_text';

const rootRoute = createRootRoute({
  component: Layout,
  notFoundComponent: NotFoundPage,
  validateSearch: parseSearch,
});

const homeRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/',
  component: HomePage,
  beforeLoad: ({ location }) => {
    // As it was written: location.hash is decoded, and a filter's & would no longer be told from the next parameter's.
    const hash = /#.*/s.exec(location.href)?.[0] ?? '';
    const address = alertmanagerAddress(hash);
    // eslint-disable-next-line @typescript-eslint/only-throw-error
    if (address !== null) throw redirect({ href: address, replace: true });
  },
});
const chosenRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/d/$dashboardId',
  component: ChosenPage,
});

const catalogueRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/catalogue',
  component: MetricsPage,
  validateSearch: parseCatalogueSearch,
});

const targetsRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/targets',
  component: TargetsPage,
  validateSearch: parseTargetSearch,
});

const alertsRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/alerts',
  component: AlertsPage,
  validateSearch: parseAlertSearch,
});

const silencesRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/silences',
  component: SilencesPage,
  validateSearch: parseSilenceSearch,
});

const rulesRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/rules',
  component: RulesPage,
  validateSearch: parseRuleSearch,
});

const notificationsRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/notifications',
  component: NotificationsPage,
  validateSearch: parseNotificationSearch,
});

const heartbeatsRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/heartbeats',
  component: HeartbeatsPage,
});

const graphRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/graph',
  component: GraphPage,
  validateSearch: parseGraphSearch,
});

/** What Prometheus 3 calls it. */
const queryRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/query',
  beforeLoad: ({ location }) => {
    // eslint-disable-next-line @typescript-eslint/only-throw-error
    throw redirect({ href: `/graph${location.searchStr}`, replace: true });
  },
});

export const router = createRouter({
  basepath: basePath(),
  parseSearch: parseSearchText,
  stringifySearch: formatSearchText,
  routeTree: rootRoute.addChildren([
    homeRoute,
    chosenRoute,
    catalogueRoute,
    targetsRoute,
    alertsRoute,
    silencesRoute,
    rulesRoute,
    notificationsRoute,
    heartbeatsRoute,
    graphRoute,
    queryRoute,
  ]),
});

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router;
  }
}
