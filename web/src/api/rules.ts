import { keepPreviousData, queryOptions } from '@tanstack/react-query';
import { fetchJson, fetchUnlessSame } from './client';
import { type Decoder, list, moment, number, oneOf, optional, record, text, withDefault } from './decode';
import { type Labels, labels } from './labels';

export type RuleState = 'firing' | 'pending' | 'inactive' | 'unknown';
export type RuleHealth = 'ok' | 'err' | 'unknown';
export type Language = 'promql' | 'sql';

/** What an evaluation without data, or one that fails, means for the alert. */
export interface RuleConditions {
  noData: 'ok' | 'alert' | 'keep';
  onError: 'keep' | 'alert' | 'ok';
  /** What the last evaluation was. */
  condition: 'ok' | 'no_data' | 'error';
  threshold: string | null;
}

export interface Rule {
  name: string;
  isAlert: boolean;
  /** Of recording rules: unknown. */
  state: RuleState;
  health: RuleHealth;
  lastError: string | null;
  language: Language;
  query: string;
  labels: Labels;
  annotations: Labels;
  forMs: number;
  keepFiringMs: number;
  lastMs: number | null;
  durationMs: number;
  conditions: RuleConditions | null;
}

export interface RuleGroup {
  name: string;
  file: string;
  intervalMs: number;
  limit: number;
  durationMs: number;
  lastMs: number | null;
  rules: Rule[];
}

const decodeConditions: Decoder<RuleConditions> = (value, at) => {
  const o = record(value, at);
  return {
    noData: oneOf(['ok', 'alert', 'keep'], 'ok')(o['no_data'], `${at}.no_data`),
    onError: oneOf(['keep', 'alert', 'ok'], 'keep')(o['on_error'], `${at}.on_error`),
    condition: oneOf(['ok', 'no_data', 'error'], 'ok')(o['condition'], `${at}.condition`),
    threshold: optional(text)(o['threshold'], `${at}.threshold`),
  };
};

const decodeLanguage: Decoder<Language> = (value, at) =>
  oneOf(['promql', 'sql'], 'promql')(record(value, at)['language'], `${at}.language`);

const decodeRule: Decoder<Rule> = (value, at) => {
  const o = record(value, at);
  const seconds = (name: string) => withDefault(number, 0)(o[name], `${at}.${name}`) * 1_000;
  return {
    name: text(o['name'], `${at}.name`),
    isAlert: o['type'] === 'alerting',
    state: oneOf(['firing', 'pending', 'inactive'], 'unknown')(o['state'], `${at}.state`),
    health: oneOf(['ok', 'err'], 'unknown')(o['health'], `${at}.health`),
    lastError: optional(text)(o['lastError'], `${at}.lastError`),
    language: withDefault(decodeLanguage, 'promql')(o['apiary'], `${at}.apiary`),
    query: text(o['query'], `${at}.query`),
    labels: withDefault(labels, {})(o['labels'], `${at}.labels`),
    annotations: withDefault(labels, {})(o['annotations'], `${at}.annotations`),
    forMs: seconds('duration'),
    keepFiringMs: seconds('keepFiringFor'),
    lastMs: moment(o['lastEvaluation'], `${at}.lastEvaluation`),
    durationMs: seconds('evaluationTime'),
    conditions: optional(decodeConditions)(o['apiary'], `${at}.apiary`),
  };
};

const decodeGroup: Decoder<RuleGroup> = (value, at) => {
  const o = record(value, at);
  return {
    name: text(o['name'], `${at}.name`),
    file: text(o['file'], `${at}.file`),
    intervalMs: number(o['interval'], `${at}.interval`) * 1_000,
    limit: withDefault(number, 0)(o['limit'], `${at}.limit`),
    durationMs: withDefault(number, 0)(o['evaluationTime'], `${at}.evaluationTime`) * 1_000,
    lastMs: moment(o['lastEvaluation'], `${at}.lastEvaluation`),
    rules: list(decodeRule)(o['rules'], `${at}.rules`),
  };
};

export const decodeRuleGroups: Decoder<RuleGroup[]> = (value, at) => {
  const data = record(record(value, at)['data'], `${at}.data`);
  return list(decodeGroup)(data['groups'], `${at}.data.groups`);
};

export function rulesQuery() {
  const queryKey = ['rules'];
  return queryOptions({
    queryKey,
    queryFn: ({ client, signal }) =>
      fetchUnlessSame(
        '/api/v1/rules?exclude_alerts=true',
        decodeRuleGroups,
        client.getQueryData<RuleGroup[]>(queryKey),
        signal,
      ),
    structuralSharing: false,
    refetchInterval: 10_000,
  });
}

/** The rules of this name: where an alert comes from. */
export function rulesOfNameQuery(name: string) {
  const parameters = new URLSearchParams({ type: 'alert', exclude_alerts: 'true', 'rule_name[]': name });
  return queryOptions({
    queryKey: ['rules', name],
    queryFn: ({ signal }) => fetchJson(`/api/v1/rules?${parameters.toString()}`, decodeRuleGroups, signal),
    staleTime: 30_000,
  });
}

/** PromQL over several lines, as Prometheus' formatter breaks it. */
export function formattedQuery(query: string, language: Language) {
  return queryOptions({
    queryKey: ['formatted', query],
    queryFn: ({ signal }) =>
      fetchJson(
        `/api/v1/format_query?${new URLSearchParams({ query }).toString()}`,
        (value, at) => text(record(value, at)['data'], `${at}.data`),
        signal,
      ),
    enabled: language === 'promql',
    staleTime: Infinity,
    placeholderData: keepPreviousData,
  });
}
