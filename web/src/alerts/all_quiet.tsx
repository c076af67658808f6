import { Link } from '@tanstack/react-router';
import { useSummary } from '../alerting/alerting_page';
import { Ago } from '../alerting/moment';
import type { AlertState } from './alert';
import type { AlertSearch } from './filter';

const NOTHING: Record<AlertState, string> = {
  firing: 'No alert fires',
  pending: 'No alert is about to fire',
  silenced: 'No alert is silenced',
  inhibited: 'No alert is inhibited by another',
  muted: 'No alert is muted by a time interval',
  resolved: 'No alert was resolved in the last hour',
};

interface Props {
  search: AlertSearch;
  counts: Record<AlertState, number>;
}

/** Nothing to show: because all is well, or because of the search. */
export function AllQuiet({ search, counts }: Props) {
  const isSearched = [search.q, search.receiver, search.severity].some((each) => each !== undefined);
  if (isSearched || search.state !== undefined)
    return (
      <div className="page-notice" role="status">
        <div className="notice">
          <p className="notice-title">{isSearched ? 'No alert fits' : NOTHING[search.state ?? 'firing']}</p>
          {isSearched && (
            <p className="notice-hint">
              {search.state !== undefined && `Among those that are ${search.state}. `}
              Names, labels, annotations and receivers are searched. <Link to="/alerts">Show all alerts</Link>
            </p>
          )}
        </div>
      </div>
    );
  return <Quiet counts={counts} />;
}

function Quiet({ counts }: { counts: Record<AlertState, number> }) {
  const summary = useSummary();
  const isWatched = summary !== undefined && summary.lastEvaluationMs !== null;
  const held = (['silenced', 'inhibited', 'muted'] as const).filter((state) => counts[state] > 0);
  return (
    <div className="page-notice all-quiet" role="status">
      <div className="notice">
        <svg className="quiet-art" viewBox="0 0 64 64" aria-hidden="true">
          <path className="quiet-cell" d="M32 4 56.2 18v28L32 60 7.8 46V18z" />
          <path className="quiet-tick" d="m21 33 8 8 15-17" />
        </svg>
        <p className="notice-title">All quiet</p>
        <p className="notice-hint">
          {summary === undefined && 'No alert fires.'}
          {summary !== undefined && !isWatched && (
            <>
              No alert fires. No rules have been evaluated here, so this says only that nobody sent any:{' '}
              <code>--rules rules.yml</code> takes Prometheus’ files as they are.
            </>
          )}
          {isWatched && (
            <>
              No alert fires, and that is known: {summary.ruleCount}{' '}
              {summary.ruleCount === 1 ? 'rule was' : 'rules were'} evaluated{' '}
              <Ago tsMs={summary.lastEvaluationMs ?? 0} />
              {summary.failingCount === 0 ? ', and none of them fails.' : '.'}
            </>
          )}
        </p>
        {held.length > 0 && (
          <p className="notice-hint">
            Held back:{' '}
            {held.map((state, index) => (
              <span key={state}>
                {index > 0 && ', '}
                <Link to="/alerts" search={{ state }}>
                  {counts[state]} {state}
                </Link>
              </span>
            ))}
          </p>
        )}
      </div>
    </div>
  );
}
