import { useQuery } from '@tanstack/react-query';
import { addressOf } from '../api/address';
import { type Heartbeat, heartbeatsQuery, type HeartbeatState } from '../api/heartbeats';
import { AlertingPage } from '../alerting/alerting_page';
import { Ago, Until } from '../alerting/moment';
import { SeverityMark } from '../alerting/severity_mark';
import { formatSpan } from '../format/time';
import { sortHeartbeats } from './order';

/** `/heartbeats`: jobs that have to report, and whether they did. Asks again by itself. */
export function HeartbeatsPage() {
  const query = useQuery(heartbeatsQuery());
  return (
    <AlertingPage
      title="Heart-beats"
      description="Jobs that have to report in time: backups, cron jobs, other monitors. Silence is the alarm."
      query={query}
      missing="This server does not take heart-beats. A newer version of Apiary does."
    >
      {(heartbeats) =>
        heartbeats.length === 0 ? <NoHeartbeats /> : <HeartbeatList heartbeats={heartbeats} />
      }
    </AlertingPage>
  );
}

function HeartbeatList({ heartbeats }: { heartbeats: Heartbeat[] }) {
  return (
    <ul className="panel heartbeats" aria-label="Heart-beats">
      {sortHeartbeats(heartbeats).map((heartbeat) => (
        <HeartbeatRow key={heartbeat.name} heartbeat={heartbeat} />
      ))}
    </ul>
  );
}

const STATE_TEXT: Record<HeartbeatState, string> = {
  up: 'Up',
  late: 'Late',
  down: 'Down',
  failed: 'Failed',
  waiting: 'Waiting',
};

const STATE_HINT: Record<HeartbeatState, string> = {
  up: '',
  late: 'It is due, and may still come within its grace.',
  down: 'Nothing came in time.',
  failed: 'The job reported that it failed.',
  waiting: 'Nothing has come yet.',
};

function HeartbeatRow({ heartbeat }: { heartbeat: Heartbeat }) {
  const { name, state, everyMs, graceMs, lastMs, dueMs, severity, lastSource } = heartbeat;
  return (
    <li className="heartbeat" data-state={state}>
      <span className="heartbeat-state" data-state={state}>
        {STATE_TEXT[state]}
      </span>
      <div className="heartbeat-what">
        <p>
          <strong>{name}</strong>
          {severity !== '' && <SeverityMark severity={severity} />}
        </p>
        <p className="heartbeat-facts">
          {STATE_HINT[state]} Every {formatSpan(everyMs)}
          {graceMs > 0 && `, ${formatSpan(graceMs)} of grace`}
        </p>
      </div>
      <p className="heartbeat-last">
        {lastMs === null ? (
          'never came'
        ) : (
          <>
            last <Ago tsMs={lastMs} />
          </>
        )}
        {lastSource !== null && lastSource !== '' && (
          <span className="heartbeat-source"> from {lastSource}</span>
        )}
      </p>
      <p className="heartbeat-due">
        {dueMs !== null && (
          <>
            {state === 'late' || state === 'down' ? 'was due ' : 'due '}
            <Until tsMs={dueMs} />
          </>
        )}
      </p>
    </li>
  );
}

function NoHeartbeats() {
  return (
    <div className="page-notice">
      <div className="notice">
        <p className="notice-title">No heart-beats are expected</p>
        <p className="notice-hint">
          Name the jobs that have to report in the settings, and let each ask for its address when it is done:
        </p>
        <pre className="notice-code">
          {'heartbeats:\n- {name: backup, every: 1d, grace: 2h}\n\n'}
          {`curl -fsS -m 10 ${location.origin}${addressOf('/api/apiary/v1/heartbeats/backup')}`}
        </pre>
      </div>
    </div>
  );
}
