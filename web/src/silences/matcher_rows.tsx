import { useId } from 'react';
import { useQuery } from '@tanstack/react-query';
import { routedAlertsQuery } from '../api/alerts';
import type { Matcher } from '../api/silences';
import { operatorOf } from '../alerting/matcher_text';

const OPERATORS = [
  { value: '=', text: 'is' },
  { value: '!=', text: 'is not' },
  { value: '=~', text: 'matches' },
  { value: '!~', text: 'does not match' },
] as const;

const PROPOSED_MAX = 100;

interface Props {
  matchers: Matcher[];
  onChange: (matchers: Matcher[]) => void;
}

/** One row for each matcher; names and values of alerts that fire now are proposed. */
export function MatcherRows({ matchers, onChange }: Props) {
  const { data: alerts = [] } = useQuery(routedAlertsQuery());
  const id = useId();
  const names = [...new Set(alerts.flatMap(({ labels }) => Object.keys(labels)))].sort();
  const valuesOf = (name: string) =>
    [...new Set(alerts.flatMap(({ labels }) => labels[name] ?? []))].sort().slice(0, PROPOSED_MAX);
  const change = (index: number, more: Partial<Matcher>) => {
    onChange(matchers.map((matcher, at) => (at === index ? { ...matcher, ...more } : matcher)));
  };
  return (
    <fieldset className="matcher-rows">
      <legend>Alerts whose labels</legend>
      <datalist id={`${id}-names`}>
        {names.map((name) => (
          <option key={name} value={name} />
        ))}
      </datalist>
      {matchers.map((matcher, index) => (
        // Rows have no identity of their own; all of their state is in the matcher.
        <div key={index} className="matcher-row" role="group" aria-label={`Matcher ${index + 1}`}>
          <input
            className="field"
            aria-label="Label"
            placeholder="label"
            list={`${id}-names`}
            spellCheck={false}
            value={matcher.name}
            onChange={(event) => {
              change(index, { name: event.target.value.trim() });
            }}
          />
          <select
            className="select"
            aria-label="Comparison"
            value={operatorOf(matcher)}
            onChange={({ target: { value } }) => {
              change(index, { isRegex: value.endsWith('~'), isEqual: !value.startsWith('!') });
            }}
          >
            {OPERATORS.map(({ value, text }) => (
              <option key={value} value={value}>
                {value} {text}
              </option>
            ))}
          </select>
          <input
            className="field"
            aria-label="Value"
            placeholder={matcher.isRegex ? 'regular expression, of the whole value' : 'value'}
            list={matcher.isRegex ? undefined : `${id}-values-${index}`}
            spellCheck={false}
            value={matcher.value}
            onChange={(event) => {
              change(index, { value: event.target.value });
            }}
          />
          <datalist id={`${id}-values-${index}`}>
            {valuesOf(matcher.name).map((value) => (
              <option key={value} value={value} />
            ))}
          </datalist>
          <button
            type="button"
            className="icon-button"
            aria-label={`Remove matcher ${index + 1}`}
            title="Remove"
            disabled={matchers.length === 1}
            onClick={() => {
              onChange(matchers.filter((_, at) => at !== index));
            }}
          >
            <svg viewBox="0 0 20 20" aria-hidden="true">
              <path d="m5.5 5.5 9 9m0-9-9 9" fill="none" stroke="currentColor" strokeWidth="1.8" />
            </svg>
          </button>
        </div>
      ))}
      <button
        type="button"
        className="button button-small"
        onClick={() => {
          onChange([...matchers, EMPTY_MATCHER]);
        }}
      >
        And another label
      </button>
    </fieldset>
  );
}

export const EMPTY_MATCHER: Matcher = { name: '', value: '', isRegex: false, isEqual: true };
