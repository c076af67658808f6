import { queryOptions } from '@tanstack/react-query';
import { fetchJson } from './client';
import { type Decoder, flag, number, optional, record } from './decode';

/** What every page shows of alerting: how much is on fire, and that somebody looks. */
export interface AlertSummary {
  activeCount: number;
  silencedCount: number;
  inhibitedCount: number;
  mutedCount: number;
  /** Active ones by their label `severity`; '' where there is none. */
  bySeverity: Record<string, number>;
  ruleCount: number;
  groupCount: number;
  failingCount: number;
  lastEvaluationMs: number | null;
  /** Some receiver has a way to tell somebody. */
  isAnybodyTold: boolean;
  /** By the server's clock. */
  nowMs: number;
}

export const decodeAlertSummary: Decoder<AlertSummary> = (value, at) => {
  const o = record(value, at);
  const alerts = record(o['alerts'], `${at}.alerts`);
  const rules = record(o['rules'], `${at}.rules`);
  const severities = record(o['active_by_severity'], `${at}.active_by_severity`);
  const otherCount = number(o['other_severities'], `${at}.other_severities`);
  return {
    activeCount: number(alerts['active'], `${at}.alerts.active`),
    silencedCount: number(alerts['silenced'], `${at}.alerts.silenced`),
    inhibitedCount: number(alerts['inhibited'], `${at}.alerts.inhibited`),
    mutedCount: number(alerts['muted'], `${at}.alerts.muted`),
    bySeverity: {
      ...Object.fromEntries(
        Object.entries(severities).map(([name, count]) => [
          name,
          number(count, `${at}.active_by_severity.${name}`),
        ]),
      ),
      ...(otherCount > 0 ? { other: otherCount } : {}),
    },
    ruleCount: number(rules['rules'], `${at}.rules.rules`),
    groupCount: number(rules['groups'], `${at}.rules.groups`),
    failingCount: number(rules['failing'], `${at}.rules.failing`),
    lastEvaluationMs: optional(number)(rules['last_evaluation_ms'], `${at}.rules.last_evaluation_ms`),
    isAnybodyTold: flag(o['is_anybody_told'], `${at}.is_anybody_told`),
    nowMs: number(o['now_ms'], `${at}.now_ms`),
  };
};

export function alertSummaryQuery() {
  return queryOptions({
    queryKey: ['alerts', 'summary'],
    queryFn: ({ signal }) => fetchJson('/api/apiary/v1/alerts/summary', decodeAlertSummary, signal),
    refetchInterval: 5_000,
    // The title of a page in another tab shows it as well.
    refetchIntervalInBackground: true,
  });
}
