import { useId, useState } from 'react';
import type { Matcher } from '../api/silences';
import { Ago } from '../alerting/moment';
import { LabelChips } from '../alerting/label_chips';
import { Opener } from '../alerting/opener';
import { matchersOf } from '../alerting/matcher_text';
import { toneOf } from '../alerting/severity';
import { formatValue } from '../format/unit';
import { ToldLine } from '../notifications/told_line';
import { QuickSilence } from '../silences/quick_silence';
import type { Alert, AlertState } from './alert';
import { AlertDetails } from './alert_details';
import { readAnnotations } from './annotations';

const STATE_NOUN: Record<AlertState, string> = {
  firing: 'Firing',
  pending: 'Pending',
  silenced: 'Silenced',
  inhibited: 'Inhibited',
  muted: 'Muted',
  resolved: 'Resolved',
};

interface Props {
  alert: Alert;
  /** What the group says already. */
  commonNames: readonly string[];
  hasName: boolean;
  search: string;
  onToggle: (matcher: Matcher) => void;
}

export function AlertRow({ alert, commonNames, hasName, search, onToggle }: Props) {
  const [isOpen, setOpen] = useState(false);
  const detailsId = useId();
  const { summary, description, links } = readAnnotations(alert.annotations, alert.labels);
  const isHeld = alert.state === 'silenced' || alert.state === 'resolved';
  return (
    <li className="alert" data-state={alert.state} data-tone={toneOf(alert.severity)}>
      <div className="alert-line">
        <span className="alert-state" data-state={alert.state}>
          {STATE_NOUN[alert.state]}
        </span>
        <div className="alert-what">
          <p className="alert-summary">
            {hasName && <strong>{alert.name}: </strong>}
            {summary ?? description ?? <span className="alert-unsaid">{alert.name}</span>}
          </p>
          {alert.state === 'firing' && (
            <ToldLine labels={alert.labels} receivers={alert.receivers} sinceMs={alert.sinceMs} />
          )}
          <LabelChips
            labels={alert.labels}
            without={[...commonNames, 'alertname', 'severity']}
            search={search}
            onToggle={onToggle}
          />
        </div>
        <span className="alert-value">
          {alert.value !== null && (
            <>
              <span className="visually-hidden">value </span>
              {valueText(alert.value)}
            </>
          )}
        </span>
        <span className="alert-since">
          {alert.state === 'resolved' ? (
            <Ago tsMs={alert.sinceMs} />
          ) : (
            <>
              for <Ago tsMs={alert.sinceMs} isBare />
            </>
          )}
        </span>
        <span className="alert-actions">
          {links.slice(0, 1).map(({ title, url }) => (
            <a key={url} href={url} target="_blank" rel="noreferrer" className="button button-small">
              {title}
            </a>
          ))}
          {!isHeld && (
            <QuickSilence matchers={matchersOf(alert.labels)} text="Silence" name={`Silence ${alert.name}`} />
          )}
          <Opener isOpen={isOpen} onToggle={setOpen} detailsId={detailsId} name={alert.name} />
        </span>
      </div>
      <div id={detailsId} hidden={!isOpen}>
        {isOpen && <AlertDetails alert={alert} />}
      </div>
    </li>
  );
}

function valueText(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? '+Inf' : '−Inf';
  return formatValue(value, 'count');
}
