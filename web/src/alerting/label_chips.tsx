import type { Labels } from '../api/labels';
import { type Matcher } from '../api/silences';
import { equalMatcher, formatMatcher, matchersOf, operatorOf } from './matcher_text';

interface Props {
  labels: Labels;
  without?: readonly string[];
  /** The search that a click would change: chips that are in it are pressed. */
  search: string;
  onToggle: (matcher: Matcher) => void;
}

/** Labels that filter on click. */
export function LabelChips({ labels, without = [], search, onToggle }: Props) {
  const shown = matchersOf(labels).filter(({ name }) => !without.includes(name));
  if (shown.length === 0) return null;
  return (
    <ul className="label-chips">
      {shown.map(({ name, value }) => {
        const matcher = equalMatcher(name, value);
        return (
          <li key={name}>
            <button
              type="button"
              className="label-chip"
              aria-pressed={search.includes(formatMatcher(matcher))}
              title={`Show only ${formatMatcher(matcher)}`}
              onClick={() => {
                onToggle(matcher);
              }}
            >
              <span className="label-name">{name}</span>={value === '' ? '""' : value}
            </button>
          </li>
        );
      })}
    </ul>
  );
}

/** What a silence asks for, or a route; to be read only. */
export function MatcherList({ matchers }: { matchers: readonly Matcher[] }) {
  return (
    <ul className="label-chips">
      {matchers.map((matcher) => (
        <li key={formatMatcher(matcher)} className="label-chip">
          <span className="label-name">{matcher.name}</span>
          <span className="label-operator" data-negative={!matcher.isEqual}>
            {operatorOf(matcher)}
          </span>
          {matcher.value === '' ? '""' : matcher.value}
        </li>
      ))}
    </ul>
  );
}
