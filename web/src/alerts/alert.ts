/** Alerts as the page shows them: what routing and rules know of each, put together. */
import type { PastAlert, RoutedAlert, RuleAlert } from '../api/alerts';
import { type Labels, labelsKey } from '../api/labels';
import { isAlwaysOn, severityOf } from '../alerting/severity';

export const ALERT_STATES = ['firing', 'pending', 'silenced', 'inhibited', 'muted', 'resolved'] as const;
export type AlertState = (typeof ALERT_STATES)[number];

export interface Alert {
  key: string;
  /** null: routing does not have it. */
  fingerprint: string | null;
  name: string;
  severity: string;
  labels: Labels;
  annotations: Labels;
  state: AlertState;
  /** Since when it is in this state; of what is silenced or inhibited, since when it fires. */
  sinceMs: number;
  /** Of an alert of a rule here: since when its condition holds. */
  activeMs: number | null;
  /** Its condition holds no more; it is kept firing since then. */
  keptSinceMs: number | null;
  value: number | null;
  isOfRule: boolean;
  receivers: string[];
  silencedBy: string[];
  inhibitedBy: string[];
  mutedBy: string[];
  generatorUrl: string | null;
}

export interface Alerts {
  shown: Alert[];
  /** What fires to show that alerting works. */
  alwaysOn: Alert[];
}

function stateOf(routed: RoutedAlert): AlertState {
  if (routed.silencedBy.length > 0) return 'silenced';
  if (routed.inhibitedBy.length > 0) return 'inhibited';
  return routed.mutedBy.length > 0 ? 'muted' : 'firing';
}

function nameOf(labels: Labels): string {
  return labels['alertname'] ?? 'Alert without a name';
}

function isPartOf(part: Labels, whole: Labels): boolean {
  return Object.entries(part).every(([name, value]) => whole[name] === value);
}

/** More of one name are not looked through one by one. */
const SCANNED_MAX = 500;

/**
 * Finds the alert of a rule that a routed one was. Routing has labels more: the server's own (`external_labels`), the
 * same for all, so that what the first pair differs by finds the others at once.
 */
function ruleAlertFinder(ruleAlerts: readonly RuleAlert[]): (labels: Labels) => RuleAlert | undefined {
  const byKey = new Map(ruleAlerts.map((alert) => [labelsKey(alert.labels), alert]));
  const byName = new Map<string, RuleAlert[]>();
  for (const alert of ruleAlerts) {
    const name = nameOf(alert.labels);
    const same = byName.get(name);
    if (same === undefined) byName.set(name, [alert]);
    else same.push(alert);
  }
  let external: string[] = [];
  return (labels) => {
    const exact = byKey.get(labelsKey(labels));
    if (exact !== undefined) return exact;
    const own = Object.fromEntries(Object.entries(labels).filter(([name]) => !external.includes(name)));
    const known = external.length > 0 ? byKey.get(labelsKey(own)) : undefined;
    if (known !== undefined) return known;
    const found = byName
      .get(nameOf(labels))
      ?.slice(0, SCANNED_MAX)
      .find((alert) => isPartOf(alert.labels, labels));
    if (found !== undefined) external = Object.keys(labels).filter((name) => !(name in found.labels));
    return found;
  };
}

function fromRouted(routed: RoutedAlert, rule: RuleAlert | undefined): Alert {
  return {
    key: routed.fingerprint,
    fingerprint: routed.fingerprint,
    name: nameOf(routed.labels),
    severity: severityOf(routed.labels),
    labels: routed.labels,
    annotations: routed.annotations,
    state: stateOf(routed),
    sinceMs: routed.startsMs,
    activeMs: rule?.activeMs ?? null,
    keptSinceMs: rule?.keptSinceMs ?? null,
    value: rule?.value ?? null,
    isOfRule: rule !== undefined,
    receivers: routed.receivers,
    silencedBy: routed.silencedBy,
    inhibitedBy: routed.inhibitedBy,
    mutedBy: routed.mutedBy,
    generatorUrl: routed.generatorUrl,
  };
}

/** Nobody is told of it, and nothing holds it back. */
function nobody() {
  return {
    fingerprint: null,
    receivers: [],
    silencedBy: [],
    inhibitedBy: [],
    mutedBy: [],
    generatorUrl: null,
  };
}

function fromRule(rule: RuleAlert): Alert {
  return {
    ...nobody(),
    key: `${rule.state} ${labelsKey(rule.labels)}`,
    name: nameOf(rule.labels),
    severity: severityOf(rule.labels),
    labels: rule.labels,
    annotations: rule.annotations,
    state: rule.state,
    sinceMs: rule.activeMs,
    activeMs: rule.activeMs,
    keptSinceMs: rule.keptSinceMs,
    value: rule.value,
    isOfRule: true,
  };
}

function fromPast({ labels, lastMs }: PastAlert): Alert {
  return {
    ...nobody(),
    key: `resolved ${labelsKey(labels)}`,
    name: nameOf(labels),
    severity: severityOf(labels),
    labels,
    annotations: {},
    state: 'resolved',
    sinceMs: lastMs,
    activeMs: null,
    keptSinceMs: null,
    value: null,
    isOfRule: true,
  };
}

/**
 * Pending ones are known to rules only. So are firing ones of a name that routing has none of: it was told to drop
 * them, or they are told to Alertmanagers elsewhere.
 */
export function putTogether(
  routed: readonly RoutedAlert[],
  ruleAlerts: readonly RuleAlert[],
  past: readonly PastAlert[],
): Alerts {
  const find = ruleAlertFinder(ruleAlerts);
  const routedNames = new Set(routed.map(({ labels }) => nameOf(labels)));
  const isRouted = ({ state, labels }: RuleAlert) => state === 'firing' && routedNames.has(nameOf(labels));
  const all = [
    ...routed.map((alert) => fromRouted(alert, find(alert.labels))),
    ...ruleAlerts.filter((alert) => !isRouted(alert)).map(fromRule),
    ...past.map(fromPast),
  ];
  const isWatch = ({ labels, state }: Alert) => state === 'firing' && isAlwaysOn(labels);
  return { shown: all.filter((alert) => !isWatch(alert)), alwaysOn: all.filter(isWatch) };
}
