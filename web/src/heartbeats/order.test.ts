import { expect, test } from 'vitest';
import { decodeHeartbeats, type HeartbeatState } from '../api/heartbeats';
import { sortHeartbeats } from './order';

const heartbeat = (name: string, state: HeartbeatState, dueMs: number | null) => ({
  name,
  state,
  dueMs,
  everyMs: 60_000,
  graceMs: 0,
  lastMs: null,
  severity: '',
  lastSource: null,
});

test('what is wrong first, then what is due next', () => {
  const all = [
    heartbeat('later', 'up', 20),
    heartbeat('soon', 'up', 10),
    heartbeat('new', 'waiting', null),
    heartbeat('gone', 'down', 5),
    heartbeat('broken', 'failed', 50),
  ];
  expect(sortHeartbeats(all).map(({ name }) => name)).toEqual(['broken', 'gone', 'new', 'soon', 'later']);
});

test('reads an answer of the server', () => {
  const answer = {
    heartbeats: [
      {
        name: 'b',
        every_ms: 1,
        grace_ms: 2,
        state: 'late',
        last_ms: null,
        due_ms: 3,
        severity: 'page',
        last_source: 'x',
      },
    ],
  };
  expect(decodeHeartbeats(answer, 'answer')).toEqual([
    { ...heartbeat('b', 'late', 3), everyMs: 1, graceMs: 2, severity: 'page', lastSource: 'x' },
  ]);
});
