import { queryOptions } from '@tanstack/react-query';
import { fetchJson, request } from './client';
import { type Decoder, oneOf, record } from './decode';

/** `open`: this server asks for no keys. `none`: the page has none. */
export type SessionKind = 'viewer' | 'operator' | 'secret' | 'open' | 'none';

export const decodeSession: Decoder<SessionKind> = (value, at) =>
  oneOf(['viewer', 'operator', 'secret', 'open', 'none'], 'none')(record(value, at)['kind'], `${at}.kind`);

export function sessionQuery() {
  return queryOptions({
    queryKey: ['session'],
    queryFn: ({ signal }) => fetchJson('/api/apiary/v1/session', decodeSession, signal),
    staleTime: 60_000,
  });
}

/** Exchanges a key for a cookie that scripts cannot read. Throws ApiError. */
export async function openSession(key: string): Promise<void> {
  await request('/api/apiary/v1/session', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ key }),
  });
}
