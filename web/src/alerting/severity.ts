import type { Labels } from '../api/labels';

/** How a severity is coloured and where it stands, whatever a team calls it. */
export type Tone = 'critical' | 'warning' | 'info' | 'none';

const TONES: readonly (readonly [Tone, readonly string[]])[] = [
  ['critical', ['critical', 'crit', 'page', 'emergency', 'fatal', 'disaster', 'error', 'major', 'high']],
  ['warning', ['warning', 'warn', 'minor', 'medium', 'ticket', 'average']],
  ['info', ['info', 'information', 'informational', 'notice', 'low', 'debug']],
];
const RANK: Record<Tone, number> = { critical: 0, warning: 1, info: 2, none: 3 };

export function toneOf(severity: string): Tone {
  const word = severity.toLowerCase();
  return TONES.find(([, words]) => words.includes(word))?.[0] ?? 'none';
}

export function severityOf(set: Labels): string {
  return set['severity'] ?? '';
}

/** Worse ones first; of one tone, in the order in which the words stand above. */
export function compareSeverity(a: string, b: string): number {
  const [toneA, toneB] = [toneOf(a), toneOf(b)];
  if (toneA !== toneB) return RANK[toneA] - RANK[toneB];
  const words = TONES.find(([tone]) => tone === toneA)?.[1] ?? [];
  return words.indexOf(a.toLowerCase()) - words.indexOf(b.toLowerCase()) || a.localeCompare(b);
}

/** What always fires, to show that alerting works: nothing is on fire because of it. */
export function isAlwaysOn(set: Labels): boolean {
  return set['alertname'] === 'Watchdog' || severityOf(set) === 'none';
}
