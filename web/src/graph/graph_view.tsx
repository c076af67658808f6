import { type UseQueryResult } from '@tanstack/react-query';
import { useMemo } from 'react';
import type { Line, Lines } from '../api/expression';
import { labelsKey } from '../api/labels';
import { LineChart } from '../charts/line_chart';
import { EXACT, formatValue } from '../format/unit';
import { seriesColour, usePalette } from '../theme/palette';
import { AnswerFrame, seriesCount } from './answer_frame';
import { DRAWN_MAX, panelDataOf, PANEL } from './lines';
import { SeriesName } from './series_name';

/** The expression over time, and below it which line is what, with where it is at the end. */
export function GraphView({ query }: { query: UseQueryResult<Lines> }) {
  return <AnswerFrame query={query}>{(lines) => <Drawn lines={lines} />}</AnswerFrame>;
}

function Drawn({ lines }: { lines: Lines }) {
  const shown = useMemo(() => lines.series.filter(({ points }) => points.length > 0), [lines]);
  const drawn = useMemo(() => shown.slice(0, DRAWN_MAX), [shown]);
  const data = useMemo(() => panelDataOf(drawn, lines), [drawn, lines]);
  const undrawn = lines.series.length - shown.length;
  return (
    <section className="panel graph" aria-label="Graph">
      {drawn.length > 0 && <LineChart panel={PANEL} data={data} isListed />}
      <p className="graph-note">
        {drawn.length < shown.length
          ? `The first ${drawn.length} of ${seriesCount({ ...lines, series: shown })} are drawn: choose with topk() or matchers.`
          : seriesCount({ ...lines, series: shown })}
        {undrawn > 0 &&
          ` ${undrawn} more are native histograms, which are no lines: histogram_quantile() makes them some.`}
      </p>
      <Lines lines={drawn} />
    </section>
  );
}

function Lines({ lines }: { lines: Line[] }) {
  const palette = usePalette();
  return (
    <ul className="series" aria-label="Series">
      {lines.map(({ labels, points }, index) => (
        <li key={labelsKey(labels)}>
          <span className="swatch" style={{ background: seriesColour(palette, index) }} />
          <SeriesName labels={labels} />
          <strong title="The last value">{formatValue(points.at(-1)?.[1] ?? null, EXACT)}</strong>
        </li>
      ))}
    </ul>
  );
}
