/** The log of notifications: who was told what, when, by which way, with what answer. */
import { infiniteQueryOptions, keepPreviousData, queryOptions } from '@tanstack/react-query';
import { fetchJson } from './client';
import { type Decoder, flag, list, number, oneOf, optional, record, text, withDefault } from './decode';
import { type Labels, labels } from './labels';

export type Outcome = 'done' | 'retry' | 'refused';

export interface ToldAlert {
  name: string;
  labels: Labels;
  isResolved: boolean;
}

export interface Notification {
  id: string;
  tsMs: number;
  receiver: string;
  way: string;
  wayIndex: number;
  outcome: Outcome;
  /** Of HTTP or SMTP; null: there was no answer. */
  status: number | null;
  answer: string;
  durationMs: number;
  attempt: number;
  reason: string;
  kind: 'alert' | 'test' | 'watchdog' | 'other';
  groupLabels: Labels;
  alerts: ToldAlert[];
  /** Not all may be listed. */
  alertCount: number;
  firingCount: number;
  dedupKey: string;
}

export interface NotificationPage {
  notifications: Notification[];
  /** For the page of those before; null: there are none. */
  nextBefore: string | null;
}

/** Which ones; texts as the address has them. */
export interface NotificationWish {
  since?: string | undefined;
  from?: number | undefined;
  to?: number | undefined;
  receiver?: string | undefined;
  outcome?: Outcome | undefined;
  alert?: string | undefined;
  q?: string | undefined;
}

const outcome: Decoder<Outcome> = oneOf(['done', 'retry', 'refused'], 'refused');

/** Ids and positions are for the server to understand. */
const opaque: Decoder<string> = (value, at) => (typeof value === 'number' ? String(value) : text(value, at));

const decodeTold: Decoder<ToldAlert> = (value, at) => {
  const o = record(value, at);
  return {
    name: withDefault(text, '')(o['name'], `${at}.name`),
    labels: withDefault(labels, {})(o['labels'], `${at}.labels`),
    isResolved: withDefault(flag, false)(o['is_resolved'], `${at}.is_resolved`),
  };
};

const decodeNotification: Decoder<Notification> = (value, at) => {
  const o = record(value, at);
  const status = withDefault(number, 0)(o['status'], `${at}.status`);
  return {
    id: opaque(o['id'], `${at}.id`),
    tsMs: number(o['ts_ms'], `${at}.ts_ms`),
    receiver: text(o['receiver'], `${at}.receiver`),
    way: text(o['way'], `${at}.way`),
    wayIndex: withDefault(number, 0)(o['way_index'], `${at}.way_index`),
    outcome: outcome(o['outcome'], `${at}.outcome`),
    status: status === 0 ? null : status,
    answer: withDefault(text, '')(o['answer'], `${at}.answer`),
    durationMs: withDefault(number, 0)(o['duration_ms'], `${at}.duration_ms`),
    attempt: withDefault(number, 1)(o['attempt'], `${at}.attempt`),
    reason: withDefault(text, '')(o['reason'], `${at}.reason`),
    kind: oneOf(['alert', 'test', 'watchdog'], 'other')(o['kind'], `${at}.kind`),
    groupLabels: withDefault(labels, {})(o['group_labels'], `${at}.group_labels`),
    alerts: withDefault(list(decodeTold), [])(o['alerts'], `${at}.alerts`),
    alertCount: withDefault(number, 0)(o['alert_count'], `${at}.alert_count`),
    firingCount: withDefault(number, 0)(o['firing_count'], `${at}.firing_count`),
    dedupKey: withDefault(text, '')(o['dedup_key'], `${at}.dedup_key`),
  };
};

export const decodeNotificationPage: Decoder<NotificationPage> = (value, at) => {
  const o = record(value, at);
  return {
    notifications: list(decodeNotification)(o['notifications'], `${at}.notifications`),
    nextBefore: optional(opaque)(o['next_before'], `${at}.next_before`),
  };
};

export const NOTIFICATIONS_KEY = 'notifications';
const PATH = '/api/apiary/v1/notifications';
const PAGE_SIZE = 50;

export function wishParameters(wish: NotificationWish): URLSearchParams {
  const parameters = new URLSearchParams();
  if (wish.from !== undefined && wish.to !== undefined) {
    parameters.set('start', String(wish.from));
    parameters.set('end', String(wish.to));
  } else {
    parameters.set('since', wish.since ?? '24h');
  }
  for (const name of ['receiver', 'outcome', 'alert', 'q'] as const) {
    const value = wish[name];
    if (value !== undefined) parameters.set(name, value);
  }
  return parameters;
}

/** Newest first, page by page. */
export function notificationsQuery(wish: NotificationWish) {
  const parameters = wishParameters(wish);
  parameters.set('limit', String(PAGE_SIZE));
  return infiniteQueryOptions({
    queryKey: [NOTIFICATIONS_KEY, parameters.toString()],
    queryFn: ({ signal, pageParam }) => {
      const before = pageParam === null ? '' : `&before=${encodeURIComponent(pageParam)}`;
      return fetchJson(`${PATH}?${parameters.toString()}${before}`, decodeNotificationPage, signal);
    },
    initialPageParam: null as string | null,
    getNextPageParam: (last) => last.nextBefore,
    placeholderData: keepPreviousData,
    refetchInterval: 10_000,
  });
}

/** What was told of alerts of one name in the last day. */
export function toldQuery(alertname: string) {
  const parameters = wishParameters({ alert: alertname });
  parameters.set('limit', '100');
  return queryOptions({
    queryKey: [NOTIFICATIONS_KEY, 'told', alertname],
    queryFn: ({ signal }) => fetchJson(`${PATH}?${parameters.toString()}`, decodeNotificationPage, signal),
    refetchInterval: 10_000,
  });
}

/** What was told in the last day, of whatever alert: the newest are enough for what fires now. */
export function recentToldQuery() {
  const parameters = wishParameters({});
  parameters.set('limit', '500');
  return queryOptions({
    queryKey: [NOTIFICATIONS_KEY, 'recent'],
    queryFn: ({ signal }) => fetchJson(`${PATH}?${parameters.toString()}`, decodeNotificationPage, signal),
    refetchInterval: 10_000,
  });
}
