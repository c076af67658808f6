/** Of each alert, whom the log says were told. */
import { type Labels, labelsKey } from '../api/labels';
import type { Notification } from '../api/notifications';

/** Newest first, by the labels of the alert. */
export type ToldIndex = ReadonlyMap<string, readonly Notification[]>;

export function indexTold(notifications: readonly Notification[]): ToldIndex {
  const index = new Map<string, Notification[]>();
  for (const notification of notifications)
    for (const { labels } of notification.alerts) {
      const key = labelsKey(labels);
      const same = index.get(key);
      if (same === undefined) index.set(key, [notification]);
      else same.push(notification);
    }
  return index;
}

export interface Told {
  /** When and to whom the newest got through, by which ways; null: to nobody. */
  done: { tsMs: number; receivers: string[]; ways: string[] } | null;
  /** By which way somebody could not be told, the last time it was tried. */
  failing: Notification | null;
}

/** Of each way of each receiver only what came last counts. */
export function toldOf(index: ToldIndex, labels: Labels, sinceMs: number): Told {
  const newest = new Map<string, Notification>();
  for (const notification of index.get(labelsKey(labels)) ?? []) {
    if (notification.tsMs < sinceMs) continue; // of an earlier time that it fired
    const way = `${notification.receiver} ${notification.way} ${notification.wayIndex}`;
    if (!newest.has(way)) newest.set(way, notification);
  }
  const all = [...newest.values()];
  const done = all.filter(({ outcome }) => outcome === 'done');
  return {
    done:
      done.length === 0
        ? null
        : {
            tsMs: Math.max(...done.map(({ tsMs }) => tsMs)),
            receivers: [...new Set(done.map(({ receiver }) => receiver))],
            ways: [...new Set(done.map(({ way }) => way))],
          },
    failing: all.find(({ outcome }) => outcome !== 'done') ?? null,
  };
}
