import type { RoutedAlert } from '../api/alerts';
import type { Silence, SilenceState } from '../api/silences';
import { formatMatcher } from '../alerting/matcher_text';

/** Which silences the reader wants to see, and which form is open; in the address. */
export interface SilenceSearch {
  q?: string | undefined;
  /** None: those that hold now. */
  show?: 'pending' | 'expired' | undefined;
  /** `new`, or the id of the one that is changed. */
  form?: string | undefined;
  /** What a new one begins with, as amtool writes it. */
  matchers?: string | undefined;
  /** Why, of a new one. */
  comment?: string | undefined;
}

export function parseSilenceSearch(search: Record<string, unknown>): SilenceSearch {
  const { q, show, form, matchers, comment } = search;
  const some = (value: unknown) => typeof value === 'string' && value !== '';
  return {
    ...(some(q) ? { q: q as string } : {}),
    ...(show === 'pending' || show === 'expired' ? { show } : {}),
    ...(some(form) ? { form: form as string } : {}),
    ...(some(matchers) ? { matchers: matchers as string } : {}),
    ...(some(comment) ? { comment: comment as string } : {}),
  };
}

function textOf({ id, createdBy, comment, matchers }: Silence): string {
  return [id, createdBy, comment, ...matchers.map(formatMatcher)].join(' ').toLowerCase();
}

/** Active ones: the next to end first. Pending ones: the next to begin. Expired ones: what ended last. */
function compareSilences(a: Silence, b: Silence): number {
  if (a.state === 'pending') return a.startsMs - b.startsMs;
  return a.state === 'active' ? a.endsMs - b.endsMs : b.endsMs - a.endsMs;
}

export interface FoundSilences {
  silences: Silence[];
  /** What all of them are. */
  state: SilenceState;
  counts: Record<SilenceState, number>;
}

export function findSilences(silences: readonly Silence[], { q, show }: SilenceSearch): FoundSilences {
  const words = (q ?? '').toLowerCase().split(/\s+/);
  const fitting = silences.filter((silence) => {
    const all = textOf(silence);
    return words.every((word) => all.includes(word));
  });
  const counts = { active: 0, pending: 0, expired: 0 };
  for (const { state } of fitting) counts[state] += 1;
  // A link to one silence holds when that has ended, too.
  const state = show ?? fitting.find(({ id }) => id === q)?.state ?? 'active';
  return {
    state,
    silences: fitting.filter((silence) => silence.state === state).sort(compareSilences),
    counts,
  };
}

/** How many alerts each silence holds back now. */
export function heldCounts(alerts: readonly RoutedAlert[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { silencedBy } of alerts) for (const id of silencedBy) counts.set(id, (counts.get(id) ?? 0) + 1);
  return counts;
}
