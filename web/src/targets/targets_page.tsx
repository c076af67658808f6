import { useQuery } from '@tanstack/react-query';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { failureOf } from '../api/failure';
import { type Job, targetsQuery } from '../api/targets';
import { PageTitle } from '../app/page_title';
import { StaleMark } from '../dashboard/stale_mark';
import { FailureNotice } from '../states/failure_notice';
import { filterJobs, type TargetSearch } from './filter';
import { JobSection } from './job_section';
import { TargetSummary } from './target_summary';

/** `/targets`: what is scraped, job by job, and what is wrong with it. Asks again by itself. */
export function TargetsPage() {
  const { data: jobs, error, refetch, dataUpdatedAt } = useQuery(targetsQuery());
  return (
    <>
      <PageTitle text="Targets" />
      {jobs !== undefined && jobs.length > 0 && (
        <TargetsView jobs={jobs} nowMs={dataUpdatedAt} staleFrom={error} />
      )}
      {jobs?.length === 0 && <NothingScraped />}
      {jobs === undefined && error !== null && (
        <div className="page-notice">
          <FailureNotice failure={failureOf(error)} onRetry={() => void refetch()} />
        </div>
      )}
      {jobs === undefined && error === null && <LoadingTargets />}
    </>
  );
}

function LoadingTargets() {
  return (
    <>
      <div className="page-head">
        <h1>Targets</h1>
      </div>
      <p className="visually-hidden" role="status">
        Loading
      </p>
      <div className="target-skeleton" aria-hidden="true" />
    </>
  );
}

function NothingScraped() {
  return (
    <div className="page-notice">
      <div className="notice">
        <h1 className="notice-title">Nothing is scraped</h1>
        <p className="notice-hint">
          Start the server with <code>--scrape prometheus.yml</code>: it takes the <code>scrape_configs</code>{' '}
          of Prometheus as they are.
        </p>
      </div>
    </div>
  );
}

interface ViewProps {
  jobs: Job[];
  nowMs: number;
  staleFrom: Error | null;
}

function TargetsView({ jobs, nowMs, staleFrom }: ViewProps) {
  const search = useSearch({ from: '/targets' });
  const found = filterJobs(jobs, search);
  return (
    <>
      <div className="page-head">
        <div>
          <h1>Targets</h1>
          <p className="page-description">
            Who is asked for metrics, how often, and what came of the last time. What is wrong stands first.
          </p>
        </div>
        {staleFrom !== null && <StaleMark failure={failureOf(staleFrom)} />}
        <SearchBox search={search} />
      </div>
      <TargetSummary jobs={jobs} search={search} />
      {found.map((job) => (
        <JobSection key={job.name} job={job} nowMs={nowMs} />
      ))}
      {found.length === 0 && <NothingFound search={search} />}
    </>
  );
}

function SearchBox({ search }: { search: TargetSearch }) {
  const navigate = useNavigate({ from: '/targets' });
  return (
    <input
      type="search"
      className="search-box"
      aria-label="Search targets"
      placeholder="Search by job, address, label, error…"
      value={search.q ?? ''}
      onChange={(event) => {
        const q = event.target.value;
        // No entry in the history for every letter.
        void navigate({ search: { ...search, q: q === '' ? undefined : q }, replace: true });
      }}
    />
  );
}

function NothingFound({ search }: { search: TargetSearch }) {
  return (
    <div className="page-notice" role="status">
      <div className="notice">
        <p className="notice-title">
          {search.q === undefined ? 'No target is down' : `No target fits “${search.q}”`}
        </p>
        {search.q !== undefined && (
          <p className="notice-hint">
            Jobs, addresses, errors and labels are searched, also those before relabelling
            {search.show === 'down' && ', of targets that are down'}.
          </p>
        )}
      </div>
    </div>
  );
}
