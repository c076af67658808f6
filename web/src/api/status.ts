import { queryOptions } from '@tanstack/react-query';
import { fetchJson } from './client';
import { record, text, withDefault } from './decode';

export function statusQuery() {
  return queryOptions({
    queryKey: ['status'],
    queryFn: ({ signal }) =>
      fetchJson(
        '/api/apiary/v1/status',
        (value, at) => ({ version: withDefault(text, '')(record(value, at)['version'], `${at}.version`) }),
        signal,
      ),
    staleTime: Infinity,
  });
}
