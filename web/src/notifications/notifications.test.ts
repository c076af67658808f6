import { expect, test } from 'vitest';
import { decodeNotificationPage, type Notification, wishParameters } from '../api/notifications';
import { foldAttempts } from './fold';
import { isFiltered, parseNotificationSearch } from './filter';
import { indexTold, toldOf } from './told';
import { aboutText, countsText, reasonText, wayNoun } from './wording';

const disk = { alertname: 'DiskFull', host: 'a' };

const notification = (more: Partial<Notification> = {}): Notification => ({
  id: '1',
  tsMs: 100,
  receiver: 'oncall',
  way: 'pagerduty',
  wayIndex: 0,
  outcome: 'done',
  status: 202,
  answer: '',
  durationMs: 5,
  attempt: 1,
  reason: 'first',
  kind: 'alert',
  groupLabels: {},
  alerts: [{ name: 'DiskFull', labels: disk, isResolved: false }],
  alertCount: 1,
  firingCount: 1,
  dedupKey: '',
  ...more,
});

test('who was told of an alert: of each way what came last', () => {
  const index = indexTold([
    notification({ tsMs: 300, way: 'slack', outcome: 'refused' }),
    notification({ tsMs: 200 }),
    notification({ tsMs: 150, outcome: 'retry' }),
    notification({ tsMs: 120, way: 'slack' }),
  ]);
  const { done, failing } = toldOf(index, { host: 'a', alertname: 'DiskFull' }, 100);
  expect(done).toEqual({ tsMs: 200, receivers: ['oncall'], ways: ['pagerduty'] });
  expect(failing?.way).toBe('slack');
});

test('what was told of an earlier time is not counted, nor of another alert', () => {
  const index = indexTold([notification()]);
  expect(toldOf(index, disk, 101)).toEqual({ done: null, failing: null });
  expect(toldOf(index, { ...disk, host: 'b' }, 0)).toEqual({ done: null, failing: null });
});

test('what fails again and again is one row, until something else happens', () => {
  const failed = { outcome: 'retry', status: 500, answer: 'down' } as const;
  const other = { ...failed, dedupKey: 'other group' };
  const rows = foldAttempts([
    notification({ id: '9', ...failed }),
    notification({ id: '8', ...other }),
    notification({ id: '7', ...failed }),
    notification({ id: '6', ...failed, answer: 'still down' }),
    notification({ id: '5', ...failed }),
    notification({ id: '4' }),
    notification({ id: '3' }),
    notification({ id: '2', ...other }),
  ]);
  expect(rows.map(({ newest, earlier }) => [newest.id, ...earlier.map(({ id }) => id)].join(' '))).toEqual([
    '9 7',
    '8 2',
    '6',
    '5',
    '4',
    '3',
  ]);
});

test('words', () => {
  const other = { name: 'Down', labels: {}, isResolved: true };
  const both = notification({ alerts: [...notification().alerts, other, other], alertCount: 3 });
  expect(aboutText(both)).toBe('DiskFull and 1 more');
  expect(countsText(both)).toBe('1 firing, 2 resolved');
  expect(countsText(notification({ firingCount: 0 }))).toBe('resolved');
  expect(aboutText(notification({ alerts: [], groupLabels: { alertname: 'X' } }))).toBe('X');
  expect(reasonText('all_resolved')).toBe('all is over');
  expect(reasonText('first, in place of team_db')).toBe('first time, in place of team_db');
  expect(reasonText('what_comes_later')).toBe('what comes later');
  expect(wayNoun('email')).toBe('e-mail');
  expect(wayNoun('telegram')).toBe('telegram');
});

test('an address keeps what makes sense', () => {
  expect(parseNotificationSearch({ since: '7d', outcome: 'odd', alert: 'A', q: '' })).toEqual({
    since: '7d',
    alert: 'A',
  });
  expect(isFiltered({ since: '7d' })).toBe(false);
  expect(isFiltered({ alert: 'A' })).toBe(true);
});

test('what is asked of the server', () => {
  expect(wishParameters({ outcome: 'retry', q: 'a b' }).toString()).toBe('since=24h&outcome=retry&q=a+b');
});

test('reads an answer of the server', () => {
  const page = decodeNotificationPage(
    {
      notifications: [
        {
          ...{ id: 7, ts_ms: 1, receiver: 'r', way: 'webhook', way_index: 0, kind: 'alert', reason: 'first' },
          ...{ outcome: 'done', status: null, answer: null, duration_ms: 1.5, attempt: 1, group_key: '{}' },
          ...{ group_labels: { a: 'b' }, alerts: [{ name: 'A', labels: {}, is_resolved: true }] },
          ...{ alert_count: 1, firing_count: 0, dedup_key: 'k' },
        },
      ],
      next_before: 7,
    },
    'answer',
  );
  expect(page.nextBefore).toBe('7');
  expect(page.notifications[0]).toMatchObject({
    id: '7',
    status: null,
    answer: '',
    alerts: [{ isResolved: true }],
  });
  expect(() => decodeNotificationPage({ notifications: [{}] }, 'answer')).toThrow();
});
