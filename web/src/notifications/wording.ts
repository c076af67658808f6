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

/** What was answered; most texts have the status already. */
export function answerText({ status, answer }: Pick<Notification, 'status' | 'answer'>): string {
  if (status === null || answer.includes(String(status))) return answer === '' ? 'no answer' : answer;
  return `${status} ${answer}`.trim();
}

export const OUTCOME_TEXT: Record<Outcome, string> = {
  done: 'Told',
  retry: 'Failed, tried again',
  refused: 'Refused',
};

/** As the server names them. */
const REASONS: Record<string, string> = {
  first: 'first time',
  new_alerts: 'something new',
  some_resolved: 'something is over',
  all_resolved: 'all is over',
  repeat: 'repeated',
};

/** Of a fall-back it also says in whose place: "first, in place of team-db". */
export function reasonText(reason: string): string {
  const [why = '', ...place] = reason.split(', ');
  return [REASONS[why] ?? why.replaceAll('_', ' '), ...place].join(', ');
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

/** What a notification is about: the alerts by name. */
export function aboutText({ alerts, groupLabels }: Notification): string {
  const names = [...new Set(alerts.map(({ name }) => name))];
  const [first, ...others] = names;
  if (first === undefined) return groupLabels['alertname'] ?? 'an alert';
  return others.length === 0 ? first : `${first} and ${others.length} more`;
}

/** "2 firing, 1 resolved" */
export function countsText({ alertCount, firingCount }: Notification): string {
  const parts = [
    { count: firingCount, noun: 'firing' },
    { count: alertCount - firingCount, noun: 'resolved' },
  ];
  return parts
    .filter(({ count }) => count > 0)
    .map(({ count, noun }) => (alertCount === 1 ? noun : `${count} ${noun}`))
    .join(', ');
}
