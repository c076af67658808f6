import type { Notification, Outcome } from '../api/notifications';

const WAYS: Record<string, string> = {
  webhook: 'webhook',
  pagerduty: 'PagerDuty',
  slack: 'Slack',
  email: 'e-mail',
};

export function wayNoun(way: string): string {
  return WAYS[way] ?? way;
}

export const OUTCOME_TEXT: Record<Outcome, string> = {
  done: 'Told',
  retry: 'Failed, tried again',
  refused: 'Refused',
};

const REASONS: Record<string, string> = {
  first: 'first time',
  new: 'something new',
  resolved: 'something is over',
  repeat: 'repeated',
};

export function reasonText(reason: string): string {
  return REASONS[reason] ?? reason.replaceAll('_', ' ');
}

export function kindText(kind: Notification['kind']): string {
  switch (kind) {
    case 'test':
      return 'test message';
    case 'watchdog':
      return 'watchdog';
    case 'alert':
    case 'other':
      return '';
  }
}
