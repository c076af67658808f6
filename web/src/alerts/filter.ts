import type { RouteGroup } from '../api/alerts';
import { type Labels, labelsKey } from '../api/labels';
import { matcherMatches, parseWording, type Wording } from '../alerting/matcher_text';
import { compareSeverity } from '../alerting/severity';
import { type Alert, ALERT_STATES, type AlertState } from './alert';

/** Which alerts the reader wants to see. It lives in the address: `?q=severity="critical"&state=silenced`. */
export interface AlertSearch {
  q?: string | undefined;
  /** None: what fires or is about to. */
  state?: AlertState | undefined;
  receiver?: string | undefined;
  severity?: string | undefined;
  /** None: by name. */
  by?: 'route' | undefined;
}

export function parseAlertSearch(search: Record<string, unknown>): AlertSearch {
  const { q, state, receiver, severity, by } = search;
  const known = ALERT_STATES.find((each) => each === state);
  return {
    ...(typeof q === 'string' && q !== '' ? { q } : {}),
    ...(known === undefined ? {} : { state: known }),
    ...(typeof receiver === 'string' && receiver !== '' ? { receiver } : {}),
    ...(typeof severity === 'string' && severity !== '' ? { severity } : {}),
    ...(by === 'route' ? { by } : {}),
  };
}

function textOf({ name, state, labels, annotations, receivers }: Alert): string {
  const pairs = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  return [name, state, ...pairs, ...Object.values(annotations), ...receivers].join(' ').toLowerCase();
}

export function matches(alert: Alert, { matchers, words }: Wording): boolean {
  if (!matchers.every((matcher) => matcherMatches(matcher, alert.labels))) return false;
  if (words.length === 0) return true;
  const all = textOf(alert);
  return words.every((word) => all.includes(word));
}

/** As a reader names it; an address cannot hold what is empty. */
export function severityName(severity: string): string {
  return severity === '' ? 'unset' : severity;
}

const OPEN_STATES: readonly AlertState[] = ['firing', 'pending'];

export interface Found {
  alerts: Alert[];
  /** Of all that fit the rest of the search. */
  counts: Record<AlertState, number>;
  /** Of those in this state, before one severity is chosen. The worst first. */
  severities: { severity: string; count: number }[];
  problem: string | null;
}

export function findAlerts(alerts: readonly Alert[], search: AlertSearch): Found {
  const wording = parseWording(search.q ?? '');
  const isOfSeverity = ({ severity }: Alert) =>
    search.severity === undefined || severityName(severity) === search.severity;
  const states = search.state === undefined ? OPEN_STATES : [search.state];
  const counts: Record<AlertState, number> = {
    firing: 0,
    pending: 0,
    silenced: 0,
    inhibited: 0,
    muted: 0,
    resolved: 0,
  };
  const severities = new Map<string, number>();
  const found: Alert[] = [];
  for (const alert of alerts) {
    if (search.receiver !== undefined && !alert.receivers.includes(search.receiver)) continue;
    if (!matches(alert, wording)) continue;
    const isInState = states.includes(alert.state);
    if (isInState)
      severities.set(severityName(alert.severity), (severities.get(severityName(alert.severity)) ?? 0) + 1);
    if (!isOfSeverity(alert)) continue;
    counts[alert.state] += 1;
    if (isInState) found.push(alert);
  }
  return {
    alerts: found,
    counts,
    severities: [...severities]
      .map(([severity, count]) => ({ severity, count }))
      .sort((a, b) => compareSeverity(a.severity, b.severity)),
    problem: wording.problem,
  };
}

export interface AlertGroup {
  key: string;
  /** What its alerts have in common, and the group is called by. */
  title: string;
  /** Of a route; null: by name, or no route has them. */
  receiver: string | null;
  labels: Labels;
  /** Labels that all of them have, those of the group among them. */
  common: Labels;
  alerts: Alert[];
}

const STATE_RANK: Record<AlertState, number> = {
  firing: 0,
  pending: 1,
  inhibited: 2,
  muted: 3,
  silenced: 4,
  resolved: 5,
};

/** What fires before what may, the worse first; of the same severity what began last. */
export function compareAlerts(a: Alert, b: Alert): number {
  return (
    STATE_RANK[a.state] - STATE_RANK[b.state] ||
    compareSeverity(a.severity, b.severity) ||
    b.sinceMs - a.sinceMs ||
    (a.key < b.key ? -1 : 1)
  );
}

export function commonLabels(alerts: readonly Alert[]): Labels {
  const [first, ...others] = alerts;
  if (first === undefined) return {};
  return Object.fromEntries(
    Object.entries(first.labels).filter(([name, value]) =>
      others.every(({ labels }) => labels[name] === value),
    ),
  );
}

function groupOf(key: string, alerts: Alert[], route: RouteGroup | null): AlertGroup {
  const sorted = [...alerts].sort(compareAlerts);
  const names = [...new Set(sorted.map(({ name }) => name))];
  const [first = ''] = names;
  return {
    key,
    title: names.length <= 1 ? first : `${first} and ${names.length - 1} more`,
    receiver: route?.receiver ?? null,
    labels: route?.labels ?? { alertname: first },
    common: commonLabels(sorted),
    alerts: sorted,
  };
}

function inOrder(groups: AlertGroup[]): AlertGroup[] {
  const worst = ({ alerts }: AlertGroup) => alerts[0];
  return groups.sort((a, b) => {
    const [first, second] = [worst(a), worst(b)];
    return first === undefined || second === undefined ? 0 : compareAlerts(first, second);
  });
}

export function groupByName(alerts: readonly Alert[]): AlertGroup[] {
  const byName = new Map<string, Alert[]>();
  for (const alert of alerts) {
    const same = byName.get(alert.name);
    if (same === undefined) byName.set(alert.name, [alert]);
    else same.push(alert);
  }
  return inOrder([...byName].map(([name, same]) => groupOf(name, same, null)));
}

/** As they are told: an alert of two routes is in two groups, and what no route has is grouped by name. */
export function groupByRoute(alerts: readonly Alert[], routes: readonly RouteGroup[]): AlertGroup[] {
  const byFingerprint = new Map(alerts.map((alert) => [alert.fingerprint, alert]));
  const seen = new Set<string | null>();
  const groups: AlertGroup[] = [];
  for (const route of routes) {
    const members = route.fingerprints.flatMap((fingerprint) => byFingerprint.get(fingerprint) ?? []);
    for (const { fingerprint } of members) seen.add(fingerprint);
    if (members.length > 0)
      groups.push(groupOf(`${route.receiver} ${labelsKey(route.labels)}`, members, route));
  }
  const rest = alerts.filter(({ fingerprint }) => fingerprint === null || !seen.has(fingerprint));
  return inOrder([...groups, ...groupByName(rest)]);
}
