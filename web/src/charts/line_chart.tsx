import { type KeyboardEvent, useEffect, useMemo, useRef, useState } from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import type { Panel } from '../api/dashboards';
import type { PanelData } from '../api/panels';
import { formatPoint } from '../format/time';
import { formatValue } from '../format/unit';
import { seriesColour, usePalette } from '../theme/palette';
import { humanName } from './bar_data';
import { useBoxSize } from './box_size';
import { type LineData, lineDataOf } from './line_data';
import { lineLookOf, lineOptions } from './line_options';

interface Props {
  panel: Panel;
  data: PanelData;
  /** Whoever draws it lists the lines beside it, by their names as they are. */
  isListed?: boolean;
}

interface Cursor {
  index: number;
  leftPx: number;
}

export function LineChart({ panel, data, isListed = false }: Props) {
  const nameOf = isListed ? asIs : humanName;
  const palette = usePalette();
  const lineData = useMemo(() => lineDataOf(data), [data]);
  const boxRef = useRef<HTMLDivElement>(null);
  const chartRef = useRef<uPlot | null>(null);
  const size = useBoxSize(boxRef);
  const [cursor, setCursor] = useState<Cursor | null>(null);

  const xRange = xRangeOf(data, lineData);
  const xRangeRef = useRef(xRange);
  const lineDataRef = useRef(lineData);

  // The chart is made anew only when its look changes. Numbers and size are put into the one that is there.
  const look = lineLookOf(panel, palette, lineData, size?.remPx ?? 16);
  const lookKey = JSON.stringify(look);
  const hasSize = size !== null;

  useEffect(() => {
    xRangeRef.current = xRange;
    lineDataRef.current = lineData;
    chartRef.current?.setData(alignedOf(lineData));
    // xRange follows from data and lineData
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [data, lineData]);

  useEffect(() => {
    const box = boxRef.current;
    if (!box || !hasSize) return;
    const onCursor = (chart: uPlot) => {
      const { idx, left } = chart.cursor;
      setCursor(
        idx == null || left === undefined || left < 0
          ? null
          : { index: idx, leftPx: chart.over.offsetLeft + chart.valToPos(chart.data[0][idx] ?? 0, 'x') },
      );
    };
    const chart = new uPlot(
      lineOptions(
        look,
        { width: box.clientWidth, height: box.clientHeight },
        () => xRangeRef.current,
        onCursor,
      ),
      alignedOf(lineDataRef.current),
      box,
    );
    chartRef.current = chart;
    return () => {
      chartRef.current = null;
      chart.destroy();
    };
    // lookKey stands for look
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [lookKey, hasSize]);

  useEffect(() => {
    if (size) chartRef.current?.setSize({ width: size.width, height: size.height });
  }, [size]);

  const moveTo = (index: number) => {
    const chart = chartRef.current;
    const tsMs = lineData.timesMs[index];
    if (!chart || tsMs === undefined) return;
    chart.setCursor({ left: chart.valToPos(tsMs, 'x'), top: 0 });
  };

  const lastIndex = lineData.timesMs.length - 1;
  const onKeyDown = (event: KeyboardEvent) => {
    const from = cursor?.index ?? lastIndex;
    const to = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: lastIndex }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    moveTo(Math.min(lastIndex, Math.max(0, to)));
  };
  const leave = () => chartRef.current?.setCursor({ left: -10, top: -10 });

  const shownIndex = Math.min(cursor?.index ?? lastIndex, lastIndex);
  return (
    <div className="line-chart">
      {!isListed && <Legend panel={panel} lineData={lineData} />}
      <div
        ref={boxRef}
        className="chart-box"
        // A slider over the points in time: the arrow keys move it, a screen reader says the values.
        role="slider"
        tabIndex={0}
        aria-label={`${panel.title}, point in time`}
        aria-valuemin={0}
        aria-valuemax={Math.max(lastIndex, 0)}
        aria-valuenow={Math.max(shownIndex, 0)}
        aria-valuetext={spoken(panel, lineData, shownIndex, nameOf)}
        onKeyDown={onKeyDown}
        onBlur={leave}
      >
        {cursor !== null && size !== null && (
          <Readout panel={panel} lineData={lineData} cursor={cursor} boxWidth={size.width} nameOf={nameOf} />
        )}
      </div>
    </div>
  );
}

function alignedOf(lineData: LineData): uPlot.AlignedData {
  return [lineData.timesMs, ...lineData.lines.map((line) => line.values)];
}

/** The whole range that was asked for, so that charts of one page line up, and never less than the data. */
function xRangeOf(data: PanelData, { timesMs }: LineData): [number, number] {
  const first = timesMs[0] ?? data.fromMs;
  const last = timesMs[timesMs.length - 1] ?? data.toMs;
  if (data.toMs <= data.fromMs) return [first, Math.max(last, first + 1)];
  return [Math.min(first, data.fromMs), Math.max(last, data.toMs)];
}

type Naming = (name: string) => string;

function asIs(name: string): string {
  return name;
}

/** Of very many lines, the highest. */
const READ_MAX = 10;

interface Read {
  index: number;
  name: string;
  value: number | null;
}

function readAt({ lines }: LineData, index: number): Read[] {
  const all = lines.map((line, at) => ({ index: at, name: line.name, value: line.values[index] ?? null }));
  if (all.length <= READ_MAX) return all;
  return all.sort((a, b) => (b.value ?? -Infinity) - (a.value ?? -Infinity)).slice(0, READ_MAX);
}

function spoken(panel: Panel, lineData: LineData, index: number, nameOf: Naming): string {
  const tsMs = lineData.timesMs[index];
  if (tsMs === undefined) return 'no data';
  const values = readAt(lineData, index).map(
    ({ name, value }) => `${nameOf(name)} ${formatValue(value, panel.unit)}`,
  );
  return `${formatPoint(tsMs, lineData.stepMs)}: ${values.join(', ')}`;
}

function Legend({ panel, lineData }: { panel: Panel; lineData: LineData }) {
  const palette = usePalette();
  return (
    <ul className="legend">
      {lineData.lines.map((line, index) => (
        <li key={line.name}>
          <span className="swatch" style={{ background: seriesColour(palette, index) }} />
          {humanName(line.name)}
        </li>
      ))}
      {panel.target !== null && (
        <li>
          <span className="swatch swatch-target" />
          target {panel.target.text}
        </li>
      )}
    </ul>
  );
}

interface ReadoutProps {
  panel: Panel;
  lineData: LineData;
  cursor: Cursor;
  boxWidth: number;
  nameOf: Naming;
}

function Readout({ panel, lineData, cursor, boxWidth, nameOf }: ReadoutProps) {
  const palette = usePalette();
  const tsMs = lineData.timesMs[cursor.index];
  if (tsMs === undefined) return null;
  // Beside the point, on the side where there is room.
  const side =
    cursor.leftPx > boxWidth / 2 ? { right: boxWidth - cursor.leftPx + 12 } : { left: cursor.leftPx + 12 };
  return (
    <div className="readout" style={side} aria-hidden="true">
      <p>{formatPoint(tsMs, lineData.stepMs)}</p>
      <ul>
        {readAt(lineData, cursor.index).map(({ index, name, value }) => (
          <li key={name}>
            <span className="swatch" style={{ background: seriesColour(palette, index) }} />
            <span className="readout-name">{nameOf(name)}</span>
            <strong>{formatValue(value, panel.unit)}</strong>
          </li>
        ))}
      </ul>
      {lineData.lines.length > READ_MAX && <p>the highest of {lineData.lines.length}</p>}
    </div>
  );
}
