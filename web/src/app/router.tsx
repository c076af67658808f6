import { createRootRoute, createRoute, createRouter } from '@tanstack/react-router';
import { parseCatalogueSearch } from '../metrics/filter';
import { MetricsPage } from '../metrics/metrics_page';
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

export const router = createRouter({
  routeTree: rootRoute.addChildren([homeRoute, chosenRoute, catalogueRoute, targetsRoute]),
});

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router;
  }
}
