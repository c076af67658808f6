import { createRootRoute, createRoute, createRouter } from '@tanstack/react-router';
import { parseCatalogueSearch } from '../metrics/filter';
import { MetricsPage } from '../metrics/metrics_page';
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

export const router = createRouter({
  routeTree: rootRoute.addChildren([homeRoute, chosenRoute, catalogueRoute]),
});

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router;
  }
}
