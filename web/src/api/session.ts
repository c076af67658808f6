import { request } from './client';

/** Exchanges a viewer key for a cookie that scripts cannot read. Throws ApiError. */
export async function openSession(key: string): Promise<void> {
  await request('/api/apiary/v1/session', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ key }),
  });
}
