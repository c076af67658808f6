import { useQuery } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { alertSummaryQuery } from '../api/alert_summary';
import { failureOf } from '../api/failure';
import { PageTitle } from '../app/page_title';
import { StaleMark } from '../dashboard/stale_mark';
import { FailureNotice } from '../states/failure_notice';
import { AlertingNav } from './alerting_nav';

interface Props<T> {
  title: string;
  description: string;
  /** What the page is about, from the query cache. */
  query: { data: T | undefined; error: Error | null; refetch: () => unknown };
  tools?: ReactNode;
  /** What does not depend on the query. */
  before?: ReactNode;
  /** What a server that does not have this says. */
  missing?: string;
  children: (data: T) => ReactNode;
}

/** What the pages of alerting have in common: their navigation, a head, and loading and failing. */
export function AlertingPage<T>({ title, description, query, tools, before, missing, children }: Props<T>) {
  const { data, error, refetch } = query;
  return (
    <>
      <PageTitle text={title} />
      <AlertingNav />
      <div className="page-head">
        <div>
          <h1>{title}</h1>
          <p className="page-description">{description}</p>
        </div>
        {data !== undefined && error !== null && <StaleMark failure={failureOf(error)} />}
        {tools}
      </div>
      {before}
      {data !== undefined && children(data)}
      {data === undefined && error !== null && (
        <div className="page-notice">
          {missing !== undefined && failureOf(error).kind === 'not_found' ? (
            <div className="notice">
              <p className="notice-title">Not here</p>
              <p className="notice-hint">{missing}</p>
            </div>
          ) : (
            <FailureNotice failure={failureOf(error)} onRetry={() => void refetch()} />
          )}
        </div>
      )}
      {data === undefined && error === null && <Loading />}
    </>
  );
}

function Loading() {
  return (
    <>
      <p className="visually-hidden" role="status">
        Loading
      </p>
      <div className="alerting-skeleton" aria-hidden="true">
        {[1, 2, 3].map((index) => (
          <span key={index} className="skeleton" />
        ))}
      </div>
    </>
  );
}

/** Whether the rules here are evaluated: what makes an empty page worth believing. */
export function useSummary() {
  return useQuery(alertSummaryQuery()).data;
}
