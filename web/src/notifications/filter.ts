import type { NotificationWish, Outcome } from '../api/notifications';

export const SINCE_CHOICES = ['1h', '24h', '7d', '30d'] as const;
const OUTCOMES: readonly Outcome[] = ['done', 'retry', 'refused'];

/** Which notifications the reader wants to see. It lives in the address: `?alert=DiskFull&outcome=refused`. */
export type NotificationSearch = Pick<NotificationWish, 'since' | 'receiver' | 'outcome' | 'alert' | 'q'>;

export function parseNotificationSearch(search: Record<string, unknown>): NotificationSearch {
  const some = (name: string) => {
    const value = search[name];
    return typeof value === 'string' && value !== '' ? { [name]: value } : {};
  };
  const since = SINCE_CHOICES.find((each) => each === search['since'] && each !== '24h');
  const outcome = OUTCOMES.find((each) => each === search['outcome']);
  return {
    ...(since === undefined ? {} : { since }),
    ...some('receiver'),
    ...(outcome === undefined ? {} : { outcome }),
    ...some('alert'),
    ...some('q'),
  };
}

export function isFiltered({ receiver, outcome, alert, q }: NotificationSearch): boolean {
  return [receiver, outcome, alert, q].some((each) => each !== undefined);
}
