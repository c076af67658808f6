import { Link } from '@tanstack/react-router';
import { Ago } from '../alerting/moment';
import { useSummary } from '../alerting/alerting_page';
import { useTicking } from '../alerting/clock';
import type { Alert } from './alert';

/** Rules are evaluated every minute where nothing else is said; twice that and some is too long. */
const LATE_MS = 150_000;

/** That alerting itself is alive: without it, "nothing fires" would mean nothing. */
export function PulseLine({ alwaysOn }: { alwaysOn: readonly Alert[] }) {
  const summary = useSummary();
  const lastMs = summary?.lastEvaluationMs ?? null;
  const isLate = useTicking((nowMs) => lastMs !== null && nowMs - lastMs > LATE_MS);
  if (summary === undefined) return <div className="pulse" aria-hidden="true" />;
  const watchdog = alwaysOn[0];
  const isBad = isLate || summary.failingCount > 0;
  return (
    <ul className="pulse" aria-label="Alerting itself" data-bad={isBad}>
      <li data-verdict={isLate ? 'bad' : lastMs === null ? undefined : 'good'}>
        {summary.ruleCount === 0 ? (
          'No rules here'
        ) : (
          <>
            <Link to="/rules">
              {summary.ruleCount} {summary.ruleCount === 1 ? 'rule' : 'rules'}
            </Link>
            {lastMs === null ? (
              ', not evaluated yet'
            ) : (
              <>
                , evaluated <Ago tsMs={lastMs} />
              </>
            )}
          </>
        )}
      </li>
      {summary.failingCount > 0 && (
        <li data-verdict="bad">
          <Link to="/rules" search={{ show: 'failing' }}>
            {summary.failingCount} {summary.failingCount === 1 ? 'rule fails' : 'rules fail'}
          </Link>
        </li>
      )}
      {watchdog !== undefined && (
        <li data-verdict="good">
          {watchdog.name} fires, as it should, since <Ago tsMs={watchdog.sinceMs} isBare />
        </li>
      )}
      {!summary.isAnybodyTold && (
        <li data-verdict="bad">
          Nobody is told: no receiver has a way (<code>--alerting alertmanager.yml</code>)
        </li>
      )}
    </ul>
  );
}
