import type { Heartbeat, HeartbeatState } from '../api/heartbeats';

const RANK: Record<HeartbeatState, number> = { failed: 0, down: 1, late: 2, waiting: 3, up: 4 };

/** What is wrong first; then what is due next. */
export function sortHeartbeats(heartbeats: readonly Heartbeat[]): Heartbeat[] {
  return [...heartbeats].sort(
    (a, b) =>
      RANK[a.state] - RANK[b.state] ||
      (a.dueMs ?? Infinity) - (b.dueMs ?? Infinity) ||
      a.name.localeCompare(b.name),
  );
}
