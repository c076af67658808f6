import type { Rule, RuleGroup } from '../api/rules';
import { matcherMatches, parseWording } from '../alerting/matcher_text';
import { isAlwaysOn } from '../alerting/severity';

export const RULE_SHOWS = ['failing', 'no_data', 'firing', 'pending', 'recording'] as const;
export type RuleShow = (typeof RULE_SHOWS)[number];

/** Which rules the reader wants to see. It lives in the address: `?q=disk&show=failing`. */
export interface RuleSearch {
  q?: string | undefined;
  show?: RuleShow | undefined;
}

export function parseRuleSearch(search: Record<string, unknown>): RuleSearch {
  const { q, show } = search;
  const known = RULE_SHOWS.find((each) => each === show);
  return {
    ...(typeof q === 'string' && q !== '' ? { q } : {}),
    ...(known === undefined ? {} : { show: known }),
  };
}

export function isFailing({ health, conditions }: Rule): boolean {
  return health === 'err' || conditions?.condition === 'error';
}

/** Fires to show that alerting works. */
export function isWatching({ name, labels, state }: Rule): boolean {
  return state === 'firing' && isAlwaysOn({ alertname: name, ...labels });
}

const IS_SHOWN: Record<RuleShow, (rule: Rule) => boolean> = {
  failing: isFailing,
  no_data: ({ conditions }) => conditions?.condition === 'no_data',
  firing: (rule) => rule.state === 'firing' && !isWatching(rule),
  pending: ({ state }) => state === 'pending',
  recording: ({ isAlert }) => !isAlert,
};

function textOf(rule: Rule, group: RuleGroup): string {
  const pairs = Object.entries(rule.labels).map(([name, value]) => `${name}="${value}"`);
  return [
    rule.name,
    rule.query,
    group.name,
    group.file,
    rule.lastError ?? '',
    ...pairs,
    ...Object.values(rule.annotations),
  ]
    .join(' ')
    .toLowerCase();
}

/** What is wrong first, then what fires; otherwise as the file has them. */
function rankOf(rule: Rule): number {
  if (isFailing(rule)) return 0;
  if (isWatching(rule)) return 4;
  if (rule.state === 'firing') return 1;
  if (rule.state === 'pending') return 2;
  return rule.conditions?.condition === 'no_data' ? 3 : 4;
}

export interface FoundRules {
  groups: RuleGroup[];
  /** Of all that fit the text. */
  counts: Record<RuleShow | 'all', number>;
  problem: string | null;
}

/** Groups with what is left of them, those with something wrong first; those with nothing left are gone. */
export function findRules(groups: readonly RuleGroup[], { q, show }: RuleSearch): FoundRules {
  const { matchers, words, problem } = parseWording(q ?? '');
  const counts = { all: 0, failing: 0, no_data: 0, firing: 0, pending: 0, recording: 0 };
  const found: { group: RuleGroup; rank: number }[] = [];
  for (const group of groups) {
    const rules: Rule[] = [];
    for (const rule of group.rules) {
      const all = words.length === 0 ? '' : textOf(rule, group);
      const labels = { alertname: rule.name, ...rule.labels };
      if (!words.every((word) => all.includes(word))) continue;
      if (!matchers.every((matcher) => matcherMatches(matcher, labels))) continue;
      counts.all += 1;
      for (const each of RULE_SHOWS) if (IS_SHOWN[each](rule)) counts[each] += 1;
      if (show === undefined || IS_SHOWN[show](rule)) rules.push(rule);
    }
    if (rules.length === 0) continue;
    const sorted = rules
      .map((rule, index) => ({ rule, index, rank: rankOf(rule) }))
      .sort((a, b) => a.rank - b.rank || a.index - b.index);
    found.push({
      group: { ...group, rules: sorted.map(({ rule }) => rule) },
      rank: sorted[0]?.rank ?? 4,
    });
  }
  found.sort((a, b) => a.rank - b.rank); // stable: otherwise as the server has them
  return { groups: found.map(({ group }) => group), counts, problem };
}
