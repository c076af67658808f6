import { createRootRoute, createRoute, createRouter } from '@tanstack/react-router';
import { AlertsPage } from '../alerts/alerts_page';
import { parseAlertSearch } from '../alerts/filter';
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

const rootRoute = createRootRoute({
  component: Layout,
  notFoundComponent: NotFoundPage,
  validateSearch: parseSearch,
});

const homeRoute = createRoute({ getParentRoute: () => rootRoute, path: '/', component: HomePage });
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

export const router = createRouter({
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
  ]),
});

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router;
  }
}
