import { expect, test } from 'vitest';
import { decodePastAlerts, decodeRoutedAlerts, type RoutedAlert, type RuleAlert } from '../api/alerts';
import { putTogether } from './alert';
import { readAnnotations } from './annotations';
import { findAlerts, groupByName, groupByRoute, parseAlertSearch } from './filter';

const routed = (fingerprint: string, labels: Record<string, string>, more: Partial<RoutedAlert> = {}) => ({
  fingerprint,
  labels,
  annotations: {},
  startsMs: 1_000,
  receivers: ['mail'],
  generatorUrl: null,
  silencedBy: [],
  inhibitedBy: [],
  mutedBy: [],
  ...more,
});

const ofRule = (labels: Record<string, string>, more: Partial<RuleAlert> = {}): RuleAlert => ({
  labels,
  annotations: {},
  state: 'firing',
  activeMs: 500,
  keptSinceMs: null,
  value: 7,
  ...more,
});

const disk = { alertname: 'Disk', severity: 'warning' };

test('values come from the rules, also where routing has more labels', () => {
  const { shown } = putTogether(
    [
      routed('a', { ...disk, host: 'x', region: 'north' }),
      routed('b', { ...disk, host: 'y', region: 'north' }),
      routed('c', { alertname: 'Posted' }),
    ],
    [ofRule({ ...disk, host: 'y' }, { value: 2 }), ofRule({ ...disk, host: 'x' }, { value: 1 })],
    [],
  );
  expect(shown.map(({ fingerprint, value, isOfRule }) => [fingerprint, value, isOfRule])).toEqual([
    ['a', 1, true],
    ['b', 2, true],
    ['c', null, false],
  ]);
});

test('each state', () => {
  const { shown, alwaysOn } = putTogether(
    [
      routed('a', disk),
      routed('b', disk, { silencedBy: ['s'], inhibitedBy: ['a'] }),
      routed('c', disk, { inhibitedBy: ['a'] }),
      routed('d', disk, { mutedBy: ['night'] }),
      routed('e', { alertname: 'Watchdog' }),
    ],
    [
      ofRule({ alertname: 'Later' }, { state: 'pending' }),
      ofRule({ alertname: 'Dropped' }),
      ofRule({ ...disk, host: 'relabelled' }),
    ],
    [{ labels: { alertname: 'Gone' }, lastMs: 9 }],
  );
  expect(shown.map(({ name, state }) => `${name} ${state}`)).toEqual([
    'Disk firing',
    'Disk silenced',
    'Disk inhibited',
    'Disk muted',
    'Later pending',
    'Dropped firing',
    'Gone resolved',
  ]);
  expect(alwaysOn.map(({ name }) => name)).toEqual(['Watchdog']);
});

test('text, matchers, receiver and state, with counts of the rest', () => {
  const { shown } = putTogether(
    [
      routed('a', { ...disk, team: 'db' }),
      routed('b', { ...disk, team: 'web' }, { silencedBy: ['s'] }),
      routed('c', { alertname: 'Down', severity: 'critical' }, { receivers: ['page'] }),
    ],
    [],
    [],
  );
  const names = (search: Parameters<typeof findAlerts>[1]) =>
    findAlerts(shown, search).alerts.map(({ fingerprint }) => fingerprint);
  expect(names({})).toEqual(['a', 'c']);
  expect(names({ q: 'severity="critical"' })).toEqual(['c']);
  expect(names({ q: 'disk team=~"d.*"' })).toEqual(['a']);
  expect(names({ receiver: 'page' })).toEqual(['c']);
  expect(names({ state: 'silenced' })).toEqual(['b']);
  expect(findAlerts(shown, { q: 'disk' }).counts).toMatchObject({ firing: 1, silenced: 1 });
  expect(findAlerts(shown, { q: 'a=~"("' }).problem).toContain('regular expression');
});

test('groups: the worst first, what is common told once', () => {
  const { shown } = putTogether(
    [
      routed('a', { ...disk, team: 'db', host: 'x' }),
      routed('b', { ...disk, team: 'db', host: 'y' }, { startsMs: 2_000 }),
      routed('c', { alertname: 'Down', severity: 'critical' }),
    ],
    [],
    [],
  );
  const groups = groupByName(shown);
  expect(groups.map(({ title, alerts }) => [title, alerts.map(({ fingerprint }) => fingerprint)])).toEqual([
    ['Down', ['c']],
    ['Disk', ['b', 'a']],
  ]);
  expect(groups[1]?.common).toEqual({ ...disk, team: 'db' });
});

test('groups of routes; what no route has is still there', () => {
  const { shown } = putTogether(
    [routed('a', disk), routed('b', { alertname: 'Down' })],
    [ofRule({ alertname: 'Later' }, { state: 'pending' })],
    [],
  );
  const groups = groupByRoute(shown, [
    { receiver: 'mail', labels: { team: 'db' }, fingerprints: ['a', 'b', 'gone'] },
    { receiver: 'page', labels: {}, fingerprints: ['a'] },
    { receiver: 'none', labels: {}, fingerprints: ['gone'] },
  ]);
  expect(groups.map(({ title, receiver }) => [title, receiver])).toEqual([
    ['Disk and 1 more', 'mail'],
    ['Disk', 'page'],
    ['Later', null],
  ]);
});

test('annotations: links are addresses, and nothing else is', () => {
  const read = readAnnotations(
    {
      summary: 'It burns',
      runbook_url: 'https://example.com/r',
      dashboard: 'javascript:alert(1)',
      note: 'x',
    },
    { team: 'db' },
  );
  expect(read.links).toEqual([{ title: 'Runbook', url: 'https://example.com/r' }]);
  expect(read.others).toEqual([
    ['dashboard', 'javascript:alert(1)'],
    ['note', 'x'],
  ]);
  expect([read.summary, read.owner]).toEqual(['It burns', 'db']);
});

test('answers of the servers', () => {
  const [alert] = decodeRoutedAlerts(
    [
      {
        fingerprint: 'f',
        labels: { alertname: 'A' },
        annotations: {},
        startsAt: '2026-11-29T20:00:00.000Z',
        endsAt: '2026-11-29T20:05:00.000Z',
        receivers: [{ name: 'mail' }],
        status: { state: 'suppressed', silencedBy: ['s'], inhibitedBy: [], mutedBy: [] },
      },
    ],
    'answer',
  );
  expect(alert).toMatchObject({ receivers: ['mail'], silencedBy: ['s'], generatorUrl: null });
  const past = decodePastAlerts(
    { data: { result: [{ metric: { alertname: 'A', alertstate: 'firing' }, value: [9, '7.5'] }] } },
    'answer',
  );
  expect(past).toEqual([{ labels: { alertname: 'A' }, lastMs: 7_500 }]);
});

test('keeps what makes sense of an address', () => {
  expect(parseAlertSearch({ q: 'x', state: 'odd', by: 'route', receiver: '' })).toEqual({
    q: 'x',
    by: 'route',
  });
});
