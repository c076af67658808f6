import type { ReactNode } from 'react';
import { SERIES_MAX } from '../api/expression';
import { type Failure, failureOf } from '../api/failure';
import { Ago } from '../alerting/moment';
import { FailureNotice, wordingOf } from '../states/failure_notice';

interface Props<T> {
  query: {
    data: T | undefined;
    dataUpdatedAt: number;
    error: Error | null;
    isPlaceholderData: boolean;
    refetch: () => unknown;
  };
  children: (answer: T) => ReactNode;
}

/**
 * What an expression came to: an error in the server's words, its notes, nothing, or what it found. What was found stays
 * when asking again fails.
 */
export function AnswerFrame<T extends { series: readonly unknown[]; notes: readonly string[] }>({
  query: { data, dataUpdatedAt, error, isPlaceholderData, refetch },
  children,
}: Props<T>) {
  if (data === undefined && error !== null)
    return <Refused failure={failureOf(error)} onRetry={() => void refetch()} />;
  if (data === undefined)
    return <div className="panel skeleton graph-skeleton" role="img" aria-label="The answer is on its way" />;
  return (
    <div className="answer" data-waiting={isPlaceholderData} aria-busy={isPlaceholderData}>
      {error !== null && <NotRefreshed failure={failureOf(error)} sinceMs={dataUpdatedAt} />}
      <Notes notes={data.notes} />
      {data.series.length === 0 ? (
        <div className="page-notice" role="status">
          <div className="notice">
            <p className="notice-title">No series</p>
            <p className="notice-hint">Nothing that is stored fits this expression in this time.</p>
          </div>
        </div>
      ) : (
        children(data)
      )}
    </div>
  );
}

/** A wrong expression is the reader's to mend; anything else is not about it. */
function Refused({ failure, onRetry }: { failure: Failure; onRetry: () => void }) {
  if (failure.kind !== 'bad_query')
    return (
      <div className="page-notice">
        <FailureNotice failure={failure} onRetry={onRetry} />
      </div>
    );
  return (
    <div className="expression-note" data-tone="bad" role="alert">
      <p>This expression has no answer</p>
      <pre>{failure.message}</pre>
    </div>
  );
}

function NotRefreshed({ failure, sinceMs }: { failure: Failure; sinceMs: number }) {
  const { title, hint } = wordingOf(failure);
  return (
    <div className="expression-note" data-tone="warning" role="status">
      <p>
        Shown as it was <Ago tsMs={sinceMs} />. {title}
      </p>
      <pre>{hint}</pre>
    </div>
  );
}

function Notes({ notes }: { notes: readonly string[] }) {
  if (notes.length === 0) return null;
  return (
    <div className="expression-note" data-tone="warning" role="status">
      <ul>
        {notes.map((note) => (
          <li key={note}>{note}</li>
        ))}
      </ul>
    </div>
  );
}

/** "3 series", "1 series", "more than 500 series". */
export function seriesCount({ series, isCut }: { series: readonly unknown[]; isCut: boolean }): string {
  return isCut ? `more than ${SERIES_MAX} series` : `${series.length} series`;
}
