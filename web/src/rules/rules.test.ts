import { expect, test } from 'vitest';
import type { Rule, RuleGroup } from '../api/rules';
import { readableTemplate } from './template_text';
import { findRules, parseRuleSearch } from './filter';
import { metricNames } from './metric_names';

const rule = (name: string, more: Partial<Rule> = {}): Rule => ({
  name,
  isAlert: true,
  state: 'inactive',
  health: 'ok',
  lastError: null,
  language: 'promql',
  query: 'up == 0',
  labels: {},
  annotations: {},
  forMs: 0,
  keepFiringMs: 0,
  lastMs: 0,
  durationMs: 0,
  conditions: null,
  ...more,
});

const group = (name: string, rules: Rule[]): RuleGroup => ({
  name,
  file: `${name}.yml`,
  intervalMs: 1,
  limit: 0,
  durationMs: 0,
  lastMs: 0,
  rules,
});

const conditions = { noData: 'ok', onError: 'keep', threshold: null } as const;

test('what fails stands first, then what fires; the rest as in the file', () => {
  const { groups } = findRules(
    [
      group('calm', [rule('B'), rule('A')]),
      group('busy', [rule('Quiet'), rule('Fires', { state: 'firing' }), rule('Fails', { health: 'err' })]),
    ],
    {},
  );
  expect(groups.map(({ name, rules }) => [name, ...rules.map((each) => each.name)])).toEqual([
    ['busy', 'Fails', 'Fires', 'Quiet'],
    ['calm', 'B', 'A'],
  ]);
});

test('choices count what fits the text, and leave out groups without any', () => {
  const all = [
    group('one', [
      rule('Disk', { state: 'firing', labels: { team: 'db' } }),
      rule('Rows', { conditions: { ...conditions, condition: 'no_data' } }),
    ]),
    group('two', [rule('disk:rate', { isAlert: false, state: 'unknown' })]),
  ];
  const { groups, counts } = findRules(all, { q: 'disk', show: 'firing' });
  expect(groups.map(({ name }) => name)).toEqual(['one']);
  expect(counts).toEqual({ all: 2, failing: 0, no_data: 0, firing: 1, pending: 0, recording: 1 });
  expect(findRules(all, { show: 'no_data' }).groups[0]?.rules[0]?.name).toBe('Rows');
  expect(findRules(all, { q: 'team="db"' }).counts.all).toBe(1);
  expect(findRules(all, { q: 'alertname=~"D.*"' }).counts.all).toBe(1);
});

test('what fires to show that alerting works is not on fire', () => {
  const watchdog = rule('Watchdog', { state: 'firing', labels: { severity: 'none' } });
  const { groups, counts } = findRules([group('g', [watchdog, rule('Disk', { state: 'firing' })])], {});
  expect(counts.firing).toBe(1);
  expect(groups[0]?.rules.map(({ name }) => name)).toEqual(['Disk', 'Watchdog']);
});

test('an evaluation that failed is one, whatever the health says', () => {
  const failed = rule('Sql', { conditions: { ...conditions, condition: 'error' } });
  expect(findRules([group('g', [failed])], { show: 'failing' }).counts.failing).toBe(1);
});

test('keeps what makes sense of an address', () => {
  expect(parseRuleSearch({ q: 'a', show: 'failing' })).toEqual({ q: 'a', show: 'failing' });
  expect(parseRuleSearch({ q: 7, show: 'odd' })).toEqual({});
});

test('the metrics of a query', () => {
  const names = (query: string) => metricNames(query).join(' ');
  expect(names('sum by (job) (rate(http_requests_total{code=~"5.."}[5m])) > 10')).toBe('http_requests_total');
  expect(names('a offset 5m / on(instance) group_left(name) job:b:sum > bool 2e3 and up')).toBe(
    'a job:b:sum up',
  );
  expect(names('absent(up{job="or"}) # a comment')).toBe('up');
  expect(names('histogram_quantile(0.9, x_bucket) > Inf')).toBe('x_bucket');
});

test('reads a template as a sentence', () => {
  expect(readableTemplate('{{ $labels.host }} is {{ $value | humanize }} % full')).toBe('‹host› is … % full');
  expect(readableTemplate('{{- if gt $value 1.0 }}\nmuch{{ end }} of {{$labels.disk}}')).toBe(
    '…\nmuch… of ‹disk›',
  );
  expect(readableTemplate('nothing to fill in')).toBe('nothing to fill in');
});
