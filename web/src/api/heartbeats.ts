import { queryOptions } from '@tanstack/react-query';
import { fetchJson } from './client';
import { type Decoder, list, number, oneOf, optional, record, text, withDefault } from './decode';

export type HeartbeatState = 'waiting' | 'up' | 'late' | 'down' | 'failed';

export interface Heartbeat {
  name: string;
  everyMs: number;
  graceMs: number;
  state: HeartbeatState;
  lastMs: number | null;
  dueMs: number | null;
  severity: string;
  /** Who sent the last one. */
  lastSource: string | null;
}

const decodeHeartbeat: Decoder<Heartbeat> = (value, at) => {
  const o = record(value, at);
  return {
    name: text(o['name'], `${at}.name`),
    everyMs: number(o['every_ms'], `${at}.every_ms`),
    graceMs: withDefault(number, 0)(o['grace_ms'], `${at}.grace_ms`),
    state: oneOf(['waiting', 'up', 'late', 'down', 'failed'], 'waiting')(o['state'], `${at}.state`),
    lastMs: optional(number)(o['last_ms'], `${at}.last_ms`),
    dueMs: optional(number)(o['due_ms'], `${at}.due_ms`),
    severity: withDefault(text, '')(o['severity'], `${at}.severity`),
    lastSource: optional(text)(o['last_source'], `${at}.last_source`),
  };
};

export const decodeHeartbeats: Decoder<Heartbeat[]> = (value, at) =>
  list(decodeHeartbeat)(record(value, at)['heartbeats'], `${at}.heartbeats`);

export function heartbeatsQuery() {
  return queryOptions({
    queryKey: ['heartbeats'],
    queryFn: ({ signal }) => fetchJson('/api/apiary/v1/heartbeats', decodeHeartbeats, signal),
    refetchInterval: 5_000,
  });
}
