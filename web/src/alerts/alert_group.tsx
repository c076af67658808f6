import { useState } from 'react';
import type { Matcher } from '../api/silences';
import { LabelChips } from '../alerting/label_chips';
import { matchersOf } from '../alerting/matcher_text';
import { compareSeverity } from '../alerting/severity';
import { SeverityMark } from '../alerting/severity_mark';
import { QuickSilence } from '../silences/quick_silence';
import { AlertRow } from './alert_row';
import type { AlertGroup } from './filter';

interface Props {
  group: AlertGroup;
  /** A group may have thousands; the worst are among the first. */
  shownMax: number;
  search: string;
  onToggle: (matcher: Matcher) => void;
}

export function AlertGroupView({ group, shownMax, search, onToggle }: Props) {
  const [isWhole, setWhole] = useState(false);
  const { alerts, common } = group;
  const shown = isWhole ? alerts : alerts.slice(0, shownMax);
  const isSilenceable = alerts.some(({ state }) => state !== 'resolved' && state !== 'silenced');
  return (
    <section
      className="panel alert-group"
      aria-label={group.title}
      data-receiver={group.receiver ?? undefined}
      style={{ '--row-count': shown.length }}
    >
      <div className="alert-group-head">
        <h2>{group.title}</h2>
        <Severities group={group} />
        {group.receiver !== null && <span className="alert-group-route">to {group.receiver}</span>}
        {isSilenceable && alerts.length > 1 && (
          <QuickSilence
            matchers={matchersOf(group.receiver === null ? common : { ...group.labels, ...common })}
            text={`Silence all ${alerts.length}`}
            name={`Silence all ${alerts.length} of ${group.title}`}
          />
        )}
      </div>
      {alerts.length > 1 && (
        <LabelChips labels={common} without={['alertname', 'severity']} search={search} onToggle={onToggle} />
      )}
      <ul className="alert-rows">
        {shown.map((alert) => (
          <AlertRow
            key={alert.key}
            alert={alert}
            commonNames={alerts.length > 1 ? Object.keys(common) : []}
            hasName={!('alertname' in common) && alerts.length > 1}
            search={search}
            onToggle={onToggle}
          />
        ))}
      </ul>
      {alerts.length > shown.length && (
        <button
          type="button"
          className="button button-small"
          onClick={() => {
            setWhole(true);
          }}
        >
          Show {alerts.length - shown.length} more
        </button>
      )}
    </section>
  );
}

function Severities({ group }: { group: AlertGroup }) {
  const counts = new Map<string, number>();
  for (const { severity } of group.alerts) counts.set(severity, (counts.get(severity) ?? 0) + 1);
  const sorted = [...counts].sort(([a], [b]) => compareSeverity(a, b));
  return (
    <span className="severities">
      {sorted.map(([severity, count]) => (
        <SeverityMark key={severity} severity={severity} {...(group.alerts.length > 1 ? { count } : {})} />
      ))}
    </span>
  );
}
