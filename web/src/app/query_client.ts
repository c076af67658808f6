import { QueryCache, QueryClient } from '@tanstack/react-query';
import { dashboardsQuery } from '../api/dashboards';
import { failureOf, isWorthRetrying } from '../api/failure';

const RETRY_COUNT = 2;

export function makeQueryClient(): QueryClient {
  const queryClient: QueryClient = new QueryClient({
    queryCache: new QueryCache({
      onError: (error, query) => {
        // A key may be revoked while its page is open. Asking for the list again brings up the form for a new one.
        const { queryKey } = dashboardsQuery();
        if (failureOf(error).kind === 'unauthorized' && query.queryKey[0] !== queryKey[0])
          void queryClient.invalidateQueries({ queryKey });
      },
    }),
    defaultOptions: {
      queries: {
        retry: (failedCount, error) => failedCount < RETRY_COUNT && isWorthRetrying(failureOf(error)),
        refetchOnWindowFocus: false, // the live stream knows better
      },
    },
  });
  return queryClient;
}
