import { useQuery } from '@tanstack/react-query';
import { useDeferredValue } from 'react';
import { matchingAlertsQuery, type RoutedAlert } from '../api/alerts';
import { failureOf } from '../api/failure';
import type { Matcher } from '../api/silences';
import { compareSeverity, severityOf } from '../alerting/severity';
import { SeverityMark } from '../alerting/severity_mark';
import { wordingOf } from '../states/failure_notice';
import { filtersOf } from './wish';

interface Props {
  matchers: readonly Matcher[];
  /** How many are named; 0: only how many there are. */
  shownMax: number;
}

/** How many alerts these matchers hold back now: asked of the server, as the silence itself will. */
export function SilencePreview({ matchers, shownMax }: Props) {
  const filters = useDeferredValue(filtersOf(matchers));
  const { data, error } = useQuery(matchingAlertsQuery(filters));
  return (
    <div className="silence-preview" role="status">
      <p>{previewText(filters.length === 0 ? [] : data, error, filters.length === 0)}</p>
      {data !== undefined && filters.length > 0 && shownMax > 0 && data.length > 0 && (
        <PreviewList alerts={data} shownMax={shownMax} />
      )}
    </div>
  );
}

function previewText(alerts: RoutedAlert[] | undefined, error: Error | null, isEmpty: boolean): string {
  if (isEmpty) return 'Which alerts? Give a label and its value.';
  if (alerts === undefined) {
    if (error === null) return 'Looking which alerts these are…';
    const { title, hint } = wordingOf(failureOf(error));
    return `${title}. ${hint}`;
  }
  if (alerts.length === 0) return 'No alert that fires now; it holds for those to come.';
  return alerts.length === 1
    ? 'Holds back 1 alert that fires now.'
    : `Holds back ${alerts.length} alerts that fire now.`;
}

function PreviewList({ alerts, shownMax }: { alerts: RoutedAlert[]; shownMax: number }) {
  const sorted = [...alerts].sort((a, b) => compareSeverity(severityOf(a.labels), severityOf(b.labels)));
  return (
    <ul className="preview-list">
      {sorted.slice(0, shownMax).map(({ fingerprint, labels, annotations }) => (
        <li key={fingerprint}>
          <SeverityMark severity={severityOf(labels)} />
          <span>
            <strong>{labels['alertname']}</strong> {annotations['summary']}
          </span>
        </li>
      ))}
      {alerts.length > shownMax && <li className="preview-more">and {alerts.length - shownMax} more</li>}
    </ul>
  );
}
