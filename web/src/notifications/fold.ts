import { labelsKey } from '../api/labels';
import type { Notification } from '../api/notifications';

export interface Attempts {
  newest: Notification;
  /** Those before it that failed in the same way, newest first. */
  earlier: Notification[];
}

function wayOf({ receiver, way, wayIndex, dedupKey, groupLabels, kind }: Notification): string {
  return JSON.stringify([receiver, way, wayIndex, kind, dedupKey === '' ? labelsKey(groupLabels) : dedupKey]);
}

function isSameFailure(a: Notification, b: Notification): boolean {
  return a.outcome !== 'done' && a.outcome === b.outcome && a.status === b.status && a.answer === b.answer;
}

/**
 * A receiver that is down for hours fails every minute: what failed again in the same way, about the same group, is one
 * row with all its attempts. What got through stays by itself.
 */
export function foldAttempts(notifications: readonly Notification[]): Attempts[] {
  const open = new Map<string, Attempts>();
  const all: Attempts[] = [];
  for (const notification of notifications) {
    const way = wayOf(notification);
    const later = open.get(way);
    if (later !== undefined && isSameFailure(later.newest, notification)) {
      later.earlier.push(notification);
      continue;
    }
    const made = { newest: notification, earlier: [] };
    open.set(way, made);
    all.push(made);
  }
  return all;
}
