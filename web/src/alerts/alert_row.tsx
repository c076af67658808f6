import { useId, useState } from 'react';
import type { Matcher } from '../api/silences';
import { Ago } from '../alerting/moment';
import { LabelChips } from '../alerting/label_chips';
import { matchersOf } from '../alerting/matcher_text';
import { toneOf } from '../alerting/severity';
import { formatValue } from '../format/unit';
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
  const { summary, description } = readAnnotations(alert.annotations, alert.labels);
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
          {!isHeld && (
            <QuickSilence
              matchers={matchersOf(alert.labels)}
              text="Silence"
              name={`Silence ${alert.name}`}
            />
          )}
          <button
            type="button"
            className="icon-button icon-button-small alert-opener"
            aria-expanded={isOpen}
            aria-controls={detailsId}
            aria-label={`Details of ${alert.name}`}
            onClick={() => {
              setOpen(!isOpen);
            }}
          >
            <svg viewBox="0 0 20 20" aria-hidden="true">
              <path d="m5.5 7.5 4.5 5 4.5-5" fill="none" stroke="currentColor" strokeWidth="1.8" />
            </svg>
          </button>
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
