/**
 * Alerts, from three sides: what routing knows of (Alertmanager's API), what rules know of (Prometheus' API: pending
 * ones and values), and what fired lately by the series ALERTS.
 */
import { keepPreviousData, queryOptions } from '@tanstack/react-query';
import { fetchJson, fetchUnlessSame } from './client';
import { type Decoder, list, malformed, moment, numberText, oneOf, optional, record, text } from './decode';
import { type Labels, labels } from './labels';

/** An alert that routing has. */
export interface RoutedAlert {
  fingerprint: string;
  labels: Labels;
  annotations: Labels;
  startsMs: number;
  receivers: string[];
  generatorUrl: string | null;
  /** Ids of silences. */
  silencedBy: string[];
  /** Fingerprints of alerts. */
  inhibitedBy: string[];
  /** Names of time intervals. */
  mutedBy: string[];
}

/** An alert of a rule here. */
export interface RuleAlert {
  labels: Labels;
  annotations: Labels;
  state: 'pending' | 'firing';
  activeMs: number;
  /** It is no longer so, but kept firing since then. */
  keptSinceMs: number | null;
  value: number;
}

/** What routes hold together. */
export interface RouteGroup {
  labels: Labels;
  receiver: string;
  fingerprints: string[];
}

/** An alert of a rule that fired in the last hour, and when it was last seen to. */
export interface PastAlert {
  labels: Labels;
  lastMs: number;
}

const someMoment: Decoder<number> = (value, at) => moment(value, at) ?? 0;

const decodeName: Decoder<string> = (value, at) => text(record(value, at)['name'], `${at}.name`);

const decodeRouted: Decoder<RoutedAlert> = (value, at) => {
  const o = record(value, at);
  const status = record(o['status'], `${at}.status`);
  return {
    fingerprint: text(o['fingerprint'], `${at}.fingerprint`),
    labels: labels(o['labels'], `${at}.labels`),
    annotations: labels(o['annotations'], `${at}.annotations`),
    startsMs: someMoment(o['startsAt'], `${at}.startsAt`),
    receivers: list(decodeName)(o['receivers'], `${at}.receivers`),
    generatorUrl: optional(text)(o['generatorURL'], `${at}.generatorURL`),
    silencedBy: list(text)(status['silencedBy'], `${at}.status.silencedBy`),
    inhibitedBy: list(text)(status['inhibitedBy'], `${at}.status.inhibitedBy`),
    mutedBy: list(text)(status['mutedBy'], `${at}.status.mutedBy`),
  };
};

export const decodeRoutedAlerts = list(decodeRouted);

const decodeGroup: Decoder<RouteGroup> = (value, at) => {
  const o = record(value, at);
  return {
    labels: labels(o['labels'], `${at}.labels`),
    receiver: decodeName(o['receiver'], `${at}.receiver`),
    fingerprints: list((entry, entryAt) =>
      text(record(entry, entryAt)['fingerprint'], `${entryAt}.fingerprint`),
    )(o['alerts'], `${at}.alerts`),
  };
};

const decodeRuleAlert: Decoder<RuleAlert> = (value, at) => {
  const o = record(value, at);
  return {
    labels: labels(o['labels'], `${at}.labels`),
    annotations: labels(o['annotations'], `${at}.annotations`),
    state: oneOf(['pending', 'firing'], 'pending')(o['state'], `${at}.state`),
    activeMs: someMoment(o['activeAt'], `${at}.activeAt`),
    keptSinceMs: optional(someMoment)(o['keepFiringSince'], `${at}.keepFiringSince`),
    value: numberText(o['value'], `${at}.value`),
  };
};

const decodeRuleAlerts: Decoder<RuleAlert[]> = (value, at) => {
  const data = record(record(value, at)['data'], `${at}.data`);
  return list(decodeRuleAlert)(data['alerts'], `${at}.data.alerts`);
};

const decodePast: Decoder<PastAlert> = (value, at) => {
  const o = record(value, at);
  const sample = o['value'];
  if (!Array.isArray(sample)) return malformed(`${at}.value`, '[time, value]');
  const metric = Object.entries(labels(o['metric'], `${at}.metric`));
  const own = metric.filter(([name]) => name !== '__name__' && name !== 'alertstate');
  return { labels: Object.fromEntries(own), lastMs: numberText(sample[1], `${at}.value[1]`) * 1_000 };
};

export const decodePastAlerts: Decoder<PastAlert[]> = (value, at) => {
  const data = record(record(value, at)['data'], `${at}.data`);
  return list(decodePast)(data['result'], `${at}.data.result`);
};

export const ALERTS_KEY = 'alerts';
const REFRESH_MS = 5_000;

/** Fires now, whether or not something holds it back. */
export function routedAlertsQuery() {
  const queryKey = [ALERTS_KEY, 'routed'];
  return queryOptions({
    queryKey,
    queryFn: ({ client, signal }) =>
      fetchUnlessSame(
        '/api/v2/alerts',
        decodeRoutedAlerts,
        client.getQueryData<RoutedAlert[]>(queryKey),
        signal,
      ),
    structuralSharing: false,
    refetchInterval: REFRESH_MS,
  });
}

/** How many would be meant by these matchers; [] is nothing that could be asked. */
export function matchingAlertsQuery(filters: readonly string[]) {
  const parameters = new URLSearchParams(filters.map((filter) => ['filter', filter]));
  return queryOptions({
    queryKey: [ALERTS_KEY, 'matching', parameters.toString()],
    queryFn: ({ signal }) => fetchJson(`/api/v2/alerts?${parameters.toString()}`, decodeRoutedAlerts, signal),
    enabled: filters.length > 0,
    placeholderData: keepPreviousData,
    refetchInterval: REFRESH_MS,
  });
}

export function routeGroupsQuery() {
  const queryKey = [ALERTS_KEY, 'groups'];
  return queryOptions({
    queryKey,
    queryFn: ({ client, signal }) =>
      fetchUnlessSame(
        '/api/v2/alerts/groups',
        list(decodeGroup),
        client.getQueryData<RouteGroup[]>(queryKey),
        signal,
      ),
    structuralSharing: false,
    refetchInterval: REFRESH_MS,
  });
}

/** Their values are others after each evaluation, so that of very many all would be sent each time. */
const MANY = 1_000;
const REFRESH_MANY_MS = 15_000;

export function ruleAlertsQuery() {
  const queryKey = [ALERTS_KEY, 'rules'];
  return queryOptions({
    queryKey,
    queryFn: ({ client, signal }) =>
      fetchUnlessSame('/api/v1/alerts', decodeRuleAlerts, client.getQueryData<RuleAlert[]>(queryKey), signal),
    structuralSharing: false,
    refetchInterval: ({ state }) => ((state.data?.length ?? 0) > MANY ? REFRESH_MANY_MS : REFRESH_MS),
  });
}

export const PAST_HOURS = 1;
const PAST = `max_over_time(timestamp(ALERTS{alertstate="firing"})[${PAST_HOURS}h:30s]) unless ALERTS{alertstate="firing"}`;

export function pastAlertsQuery() {
  return queryOptions({
    queryKey: [ALERTS_KEY, 'past'],
    queryFn: ({ signal }) =>
      fetchJson(`/api/v1/query?${new URLSearchParams({ query: PAST }).toString()}`, decodePastAlerts, signal),
    refetchInterval: 15_000,
  });
}

/** Names of receivers, in the order of the configuration. */
export function receiverNamesQuery() {
  return queryOptions({
    queryKey: ['receiver-names'],
    queryFn: ({ signal }) => fetchJson('/api/v2/receivers', list(decodeName), signal),
    refetchInterval: 60_000,
  });
}
