import { useId, useState } from 'react';
import type { RuleGroup } from '../api/rules';
import { Ago } from '../alerting/moment';
import { formatSpan, formatTook } from '../format/time';
import { RuleRow } from './rule_row';

const SHOWN_MAX = 30;

export function RuleGroupView({ group }: { group: RuleGroup }) {
  const [isWhole, setWhole] = useState(false);
  const titleId = useId();
  const { rules } = group;
  const shown = isWhole ? rules : rules.slice(0, SHOWN_MAX);
  // A group that takes longer than its interval misses evaluations.
  const isSlow = group.durationMs > group.intervalMs;
  return (
    <section className="panel rule-group" aria-labelledby={titleId} style={{ '--row-count': shown.length }}>
      <div className="rule-group-head">
        <h2 id={titleId}>{group.name}</h2>
        <code className="rule-file">{group.file}</code>
        <p className="rule-group-facts">
          every {formatSpan(group.intervalMs)}
          {group.lastMs === null ? (
            ', not evaluated yet'
          ) : (
            <>
              , <Ago tsMs={group.lastMs} /> in{' '}
              <span data-verdict={isSlow ? 'bad' : undefined}>{formatTook(group.durationMs)}</span>
            </>
          )}
          {isSlow && (
            <span data-verdict="bad">
              {' '}
              : longer than its interval, so evaluations are missed. Split the group.
            </span>
          )}
        </p>
      </div>
      <ul className="rule-rows">
        {shown.map((rule, index) => (
          <RuleRow key={`${rule.name} ${index}`} rule={rule} />
        ))}
      </ul>
      {rules.length > shown.length && (
        <button
          type="button"
          className="button button-small"
          onClick={() => {
            setWhole(true);
          }}
        >
          Show {rules.length - shown.length} more
        </button>
      )}
    </section>
  );
}
