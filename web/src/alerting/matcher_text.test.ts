import { expect, test } from 'vitest';
import {
  equalMatcher,
  formatMatcher,
  matcherMatches,
  matchersOf,
  parseWording,
  toggledMatcher,
} from './matcher_text';

test('matchers and words, in any order', () => {
  const { matchers, words, problem } = parseWording('Disk severity="critical", {team=~"db.*"} job!=api');
  expect(matchers.map(formatMatcher)).toEqual(['severity="critical"', 'team=~"db.*"', 'job!="api"']);
  expect(words).toEqual(['disk']);
  expect(problem).toBeNull();
});

test('quotes and what is escaped in them', () => {
  const [matcher] = parseWording(String.raw`path="C:\\\"x\" y,z"`).matchers;
  expect(matcher?.value).toBe('C:\\"x" y,z');
  expect(matcher && formatMatcher(matcher)).toBe(String.raw`path="C:\\\"x\" y,z"`);
  expect(parseWording('"out of memory"').words).toEqual(['out of memory']);
});

test('what is still being typed filters nothing', () => {
  expect(parseWording('severity=').matchers).toEqual([]);
  expect(parseWording('severity="crit').matchers).toEqual([]);
  expect(parseWording('severity=""').matchers).toEqual([equalMatcher('severity', '')]);
});

test('an expression that is none is told', () => {
  expect(parseWording('team=~"("').problem).toContain('team');
});

test('expressions match the whole value, missing labels are empty', () => {
  const matches = (text: string, set: Record<string, string>) =>
    parseWording(text).matchers.every((matcher) => matcherMatches(matcher, set));
  expect(matches('team=~"d."', { team: 'db' })).toBe(true);
  expect(matches('team=~"d"', { team: 'db' })).toBe(false);
  expect(matches('team!~"db|web"', { team: 'api' })).toBe(true);
  expect(matches('team=""', {})).toBe(true);
  expect(matches('team!=""', {})).toBe(false);
});

test('the matchers of labels, the name of the alert first', () => {
  expect(matchersOf({ a: '1', alertname: 'Down' }).map(formatMatcher)).toEqual(['alertname="Down"', 'a="1"']);
});

test('a label that is chosen twice is no longer chosen', () => {
  const once = toggledMatcher('disk', equalMatcher('team', 'db'));
  expect(once).toBe('disk team="db"');
  expect(toggledMatcher(once, equalMatcher('team', 'db'))).toBe('disk');
});
