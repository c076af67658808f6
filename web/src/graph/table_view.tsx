import { type UseQueryResult } from '@tanstack/react-query';
import type { Reading, Values } from '../api/expression';
import { labelsKey } from '../api/labels';
import { Exact } from '../alerting/moment';
import { AnswerFrame, seriesCount } from './answer_frame';
import { SeriesName } from './series_name';

/** What the expression is at one moment, with every digit. */
export function TableView({ query }: { query: UseQueryResult<Values> }) {
  return (
    <AnswerFrame query={query}>
      {(values) => (
        <section className="panel graph" aria-label="Values">
          <p className="graph-note">{seriesCount(values)}</p>
          <ul className="series" aria-label="Series">
            {values.series.map(({ labels, readings }) => (
              <li key={labelsKey(labels)}>
                <SeriesName labels={labels} />
                <Readings readings={readings} />
              </li>
            ))}
          </ul>
        </section>
      )}
    </AnswerFrame>
  );
}

const READINGS_MAX = 10;

function Readings({ readings }: { readings: Reading[] }) {
  const [first] = readings;
  if (first === undefined) return null;
  if (readings.length === 1 && first.tsMs === null) return <strong>{first.value}</strong>;
  const newest = readings.slice(-READINGS_MAX).reverse();
  return (
    <ol className="readings" aria-label="Values, the newest first">
      {newest.map(({ tsMs, value }) => (
        <li key={tsMs}>
          <strong>{value}</strong> {tsMs !== null && <Exact tsMs={tsMs} />}
        </li>
      ))}
      {readings.length > newest.length && <li>and {readings.length - newest.length} older</li>}
    </ol>
  );
}
