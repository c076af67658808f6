import type uPlot from 'uplot';
import type { Panel } from '../api/dashboards';
import { EXACT, formatTicks } from '../format/unit';
import { isTargetShown, type LineData, yRange } from './line_data';
import { type Palette, seriesColour } from '../theme/palette';

const DAY_MS = 86_400_000;

/** Bytes are counted by 1,024, so their ticks must be too: 16 MiB and not 15.26. */
const BINARY_STEPS = Array.from({ length: 51 }, (_, exponent) => 2 ** exponent);

/** What the drawing depends on, besides the numbers. When this stays the same, new numbers go into the same chart. */
export interface LineLook {
  panel: Panel;
  palette: Palette;
  lineNames: string[];
  isDaily: boolean;
  /** Pixels of the page's basic text size, which grows on a wall screen. */
  remPx: number;
}

export function lineLookOf(panel: Panel, palette: Palette, data: LineData, remPx: number): LineLook {
  return {
    panel,
    palette,
    lineNames: data.lines.map((line) => line.name),
    isDaily: data.stepMs >= DAY_MS,
    remPx,
  };
}

export function lineOptions(
  look: LineLook,
  size: { width: number; height: number },
  xRange: () => [number, number],
  onCursor: (chart: uPlot) => void,
): uPlot.Options {
  const { panel, palette, remPx } = look;
  const font = `${0.75 * remPx}px ${getComputedStyle(document.body).fontFamily}`;
  const axis: uPlot.Axis = {
    font,
    stroke: palette.muted,
    grid: { stroke: palette.grid, width: 1 },
    ticks: { show: false },
  };
  return {
    ...size,
    ms: 1,
    padding: [0.5 * remPx, 1.25 * remPx, 0, 0], // right: half of a label that ends at the edge
    legend: { show: false },
    cursor: { y: false, points: { size: 8, width: 2 }, drag: { x: false, y: false } },
    // Days are UTC days in the warehouse; anything finer is shown in the reader's own time.
    tzDate: (tsMs) => (look.isDaily ? utcAsLocal(tsMs) : new Date(tsMs)),
    scales: {
      x: { time: true, range: () => xRange() },
      y: { range: (_chart, low, high) => yRange(low, high, panel.unit, panel.target) },
    },
    axes: [
      {
        ...axis,
        grid: { show: false },
        space: 5.5 * remPx,
        size: 1.625 * remPx,
        gap: 0.5 * remPx,
        values: timeTicks(look.isDaily),
      },
      {
        ...axis,
        space: 2.8 * remPx,
        ...(panel.unit === 'bytes' ? { incrs: BINARY_STEPS } : {}),
        size: (_chart, labels) => widthOf(labels, font) + 0.9 * remPx,
        gap: 0.5 * remPx,
        values: (_chart, ticks) => formatTicks(ticks, panel.unit),
      },
    ],
    series: [
      {},
      ...look.lineNames.map((name, index) => ({
        label: name,
        stroke: seriesColour(palette, index),
        width: 2,
        points: { show: false },
        spanGaps: false,
        // An area says that it begins at zero.
        ...(look.lineNames.length === 1 && panel.unit !== EXACT
          ? { fill: `${seriesColour(palette, index)}1f` }
          : {}),
      })),
    ],
    hooks: {
      drawAxes: [
        (chart) => {
          drawTarget(chart, look);
        },
      ],
      draw: [
        (chart) => {
          drawLonePoints(chart, look);
        },
      ],
      setCursor: [onCursor],
    },
  };
}

/** uPlot reads local parts of a Date: shift it so that they are the UTC ones. */
function utcAsLocal(tsMs: number): Date {
  const date = new Date(tsMs);
  return new Date(tsMs + date.getTimezoneOffset() * 60_000);
}

function timeTicks(isDaily: boolean): uPlot.Axis.Values {
  const zone = isDaily ? { timeZone: 'UTC' } : {};
  const dayOf = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', ...zone });
  const clockOf = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', ...zone });
  return (_chart, ticks, _axis, _space, stepMs) =>
    ticks.map((tick) => {
      if (stepMs >= DAY_MS) return dayOf.format(tick);
      const clock = clockOf.format(tick);
      return clock === '00:00' ? dayOf.format(tick) : clock;
    });
}

let measuring: CanvasRenderingContext2D | null = null;

function widthOf(labels: readonly string[] | null, font: string): number {
  measuring ??= document.createElement('canvas').getContext('2d');
  if (measuring === null || labels === null) return 40;
  measuring.font = font;
  const context = measuring;
  return Math.ceil(Math.max(0, ...labels.map((label) => context.measureText(label).width)));
}

function drawTarget(chart: uPlot, look: LineLook) {
  const { target } = look.panel;
  const high = chart.scales['y']?.max;
  if (target === null || high === undefined || !isTargetShown(high, target)) return;
  const y = Math.round(chart.valToPos(target.value, 'y', true)) + 0.5;
  const { ctx, bbox } = chart;
  ctx.save();
  ctx.strokeStyle = look.palette.muted;
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
  ctx.beginPath();
  ctx.moveTo(bbox.left, y);
  ctx.lineTo(bbox.left + bbox.width, y);
  ctx.stroke();
  ctx.restore();
}

/** A value with gaps on both sides has no line: mark it, or it would not be seen at all. */
function drawLonePoints(chart: uPlot, look: LineLook) {
  const times = chart.data[0];
  const { ctx } = chart;
  look.lineNames.forEach((_name, seriesIndex) => {
    const values = chart.data[seriesIndex + 1];
    if (!values) return;
    ctx.save();
    ctx.fillStyle = seriesColour(look.palette, seriesIndex);
    values.forEach((value, index) => {
      const time = times[index];
      if (value == null || time === undefined || values[index - 1] != null || values[index + 1] != null)
        return;
      ctx.beginPath();
      ctx.arc(
        chart.valToPos(time, 'x', true),
        chart.valToPos(value, 'y', true),
        3 * devicePixelRatio,
        0,
        2 * Math.PI,
      );
      ctx.fill();
    });
    ctx.restore();
  });
}
