/** The form of a silence, as it is being filled in. */
import type { Matcher, Silence, SilenceWish } from '../api/silences';
import { formatMatcher, matcherMatches, problemOf } from '../alerting/matcher_text';

/** null: it can be sent. */
export function wishProblem(wish: SilenceWish, nowMs: number): string | null {
  const named = wish.matchers.filter(({ name, value }) => name !== '' || value !== '');
  const problem = named.map(problemOf).find((each) => each !== null);
  if (problem != null) return problem;
  if (!named.some((matcher) => !matcherMatches(matcher, {})))
    return 'Give at least one label that an alert has to have; this would silence everything.';
  if (wish.createdBy.trim() === '') return 'Say who you are, so that others can ask.';
  if (wish.comment.trim() === '') return 'Say why, in a few words.';
  if (wish.startsMs !== null && Number.isNaN(wish.startsMs)) return 'Say when it begins.';
  if (Number.isNaN(wish.endsMs)) return 'Say when it ends.';
  if (wish.startsMs !== null && wish.endsMs <= wish.startsMs) return 'The end has to be after the beginning.';
  if (wish.endsMs <= nowMs) return 'The end has passed already.';
  return null;
}

/** Of matchers that are complete enough to ask for. */
export function filtersOf(matchers: readonly Matcher[]): string[] {
  return matchers.filter((matcher) => problemOf(matcher) === null).map(formatMatcher);
}

/** What a changed silence sends; its id makes it that one. */
export function wishOf({ id, matchers, startsMs, endsMs, createdBy, comment }: Silence): SilenceWish {
  return { id, matchers, startsMs, endsMs, createdBy, comment };
}
