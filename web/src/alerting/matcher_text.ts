/** Matchers as amtool writes them, alone or among words: `disk severity="critical" team=~"db.*"`. */
import type { Labels } from '../api/labels';
import type { Matcher } from '../api/silences';

export interface Wording {
  matchers: Matcher[];
  /** Lower case. */
  words: string[];
  /** What cannot be understood, for people; null: all can. */
  problem: string | null;
}

const MATCHER = /^([A-Za-z_][\w.:-]*)\s*(=~|!~|!=|=)\s*("(?:[^"\\]|\\.)*"|"[^]*$|[^\s,{}"]*)/;
const WORD = /^("([^"]*)"?|[^\s,{}]+)/;

function unquoted(text: string): string {
  return text.slice(1, -1).replace(/\\(.)/g, (_, letter: string) => (letter === 'n' ? '\n' : letter));
}

/** Whoever is still typing a value has not said yet what to look for. */
function isUnfinished(value: string): boolean {
  return value === '' || (value.startsWith('"') && !/^"(?:[^"\\]|\\.)*"$/.test(value));
}

export function parseWording(text: string): Wording {
  const matchers: Matcher[] = [];
  const words: string[] = [];
  let problem: string | null = null;
  let rest = text.replace(/^[\s,{}]+/, '');
  while (rest !== '') {
    const matcher = MATCHER.exec(rest);
    const word = matcher === null ? WORD.exec(rest) : null;
    if (matcher !== null) {
      const [, name = '', operator = '=', value = ''] = matcher;
      if (!isUnfinished(value)) {
        const made = {
          name,
          value: value.startsWith('"') ? unquoted(value) : value,
          isRegex: operator.endsWith('~'),
          isEqual: !operator.startsWith('!'),
        };
        problem ??= problemOf(made);
        matchers.push(made);
      }
    } else if (word !== null) {
      words.push((word[2] ?? word[0]).toLowerCase());
    }
    const length = (matcher ?? word)?.[0].length ?? 1;
    rest = rest.slice(length).replace(/^[\s,{}]+/, '');
  }
  return { matchers, words, problem };
}

/** null: it can be used. */
export function problemOf({ name, value, isRegex }: Matcher): string | null {
  if (name === '') return 'A label has no name.';
  if (isRegex && expressionOf(value) === null)
    return `The value of ${name} is not a regular expression: ${value}`;
  return null;
}

function expressionOf(value: string): RegExp | null {
  try {
    return new RegExp(`^(?:${value})$`, 's');
  } catch {
    return null;
  }
}

/** A label that is not there is the same as one that is empty. */
export function matcherMatches({ name, value, isRegex, isEqual }: Matcher, set: Labels): boolean {
  const found = set[name] ?? '';
  const isFound = isRegex ? expressionOf(value)?.test(found) === true : found === value;
  return isFound === isEqual;
}

export function operatorOf({ isRegex, isEqual }: Pick<Matcher, 'isRegex' | 'isEqual'>): string {
  if (isRegex) return isEqual ? '=~' : '!~';
  return isEqual ? '=' : '!=';
}

export function formatMatcher(matcher: Matcher): string {
  const value = matcher.value.replace(/[\\"]/g, '\\$&').replace(/\n/g, '\\n');
  return `${matcher.name}${operatorOf(matcher)}"${value}"`;
}

export function equalMatcher(name: string, value: string): Matcher {
  return { name, value, isRegex: false, isEqual: true };
}

/** Exactly these labels. */
export function matchersOf(set: Labels): Matcher[] {
  return Object.entries(set)
    .sort(([a], [b]) => Number(b === 'alertname') - Number(a === 'alertname') || a.localeCompare(b))
    .map(([name, value]) => equalMatcher(name, value));
}

/** The search with one matcher more, or without it when it is there. */
export function toggledMatcher(text: string, matcher: Matcher): string {
  const added = formatMatcher(matcher);
  if (text.includes(added)) return text.replace(added, '').replace(/\s+/g, ' ').trim();
  return `${text.trim()} ${added}`.trim();
}
