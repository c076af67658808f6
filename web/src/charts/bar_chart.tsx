import { useCallback } from 'react';
import type { Panel } from '../api/dashboards';
import type { PanelData } from '../api/panels';
import { formatTick, formatValue } from '../format/unit';
import { type Palette, seriesColour, usePalette } from '../theme/palette';
import { barDataOf, humanName, isLying } from './bar_data';
import { EChart } from './echart';
import { escapeHtml, tooltipStyle } from './tooltip';

interface Props {
  panel: Panel;
  data: PanelData;
}

export default function BarChart({ panel, data }: Props) {
  const palette = usePalette();
  const optionOf = useCallback(
    (remPx: number) => barOption(panel, data, palette, remPx),
    [panel, data, palette],
  );
  return <EChart label={`${panel.title}: chart with ${data.rows.length} bars`} optionOf={optionOf} />;
}

function barOption(panel: Panel, data: PanelData, palette: Palette, remPx: number) {
  const { categories, groups } = barDataOf(data);
  const isHistogram = panel.visualization === 'histogram';
  const lies = isLying(data) && !isHistogram;
  const fontSize = 0.75 * remPx;
  const largest = Math.max(0, ...groups.flatMap((group) => group.values.map((value) => value ?? 0)));

  const categoryAxis = {
    type: 'category' as const,
    data: categories.map(humanName),
    inverse: lies,
    axisLine: { lineStyle: { color: palette.grid } },
    axisTick: { show: false },
    axisLabel: {
      color: lies ? palette.ink : palette.muted,
      fontSize: lies ? 0.8125 * remPx : fontSize,
      hideOverlap: true,
      ...(lies ? { width: 9 * remPx, overflow: 'truncate' as const } : {}),
    },
  };
  const valueAxis = {
    type: 'value' as const,
    splitNumber: 4,
    splitLine: { show: !lies, lineStyle: { color: palette.grid } },
    axisLabel: {
      show: !lies,
      color: palette.muted,
      fontSize,
      formatter: (value: number) => formatTick(value, largest, valueUnit(panel)),
    },
  };

  return {
    grid: {
      left: 0,
      right: lies ? 4 * remPx : 0.5 * remPx,
      top: 0.5 * remPx,
      bottom: 0,
      outerBoundsMode: 'same' as const,
      outerBoundsContain: 'axisLabel' as const,
    },
    tooltip: {
      ...tooltipStyle(palette, remPx),
      trigger: 'axis' as const,
      axisPointer: { type: 'shadow' as const, shadowStyle: { color: palette.track, opacity: 0.5 } },
      valueFormatter: (value: unknown) =>
        formatValue(typeof value === 'number' ? value : null, valueUnit(panel)),
    },
    xAxis: lies ? valueAxis : categoryAxis,
    yAxis: lies ? categoryAxis : valueAxis,
    series: groups.map((group, index) => ({
      type: 'bar' as const,
      name: escapeHtml(humanName(group.name)),
      data: group.values,
      barCategoryGap: isHistogram ? '6%' : '40%',
      barMaxWidth: lies ? 1.5 * remPx : isHistogram ? 6 * remPx : 2.75 * remPx,
      itemStyle: {
        color: seriesColour(palette, index),
        borderRadius: lies ? [0, 3, 3, 0] : [3, 3, 0, 0],
      },
      label: {
        show: lies,
        position: 'right' as const,
        color: palette.ink,
        fontSize: 0.8125 * remPx,
        formatter: ({ value }: { value: unknown }) =>
          formatValue(typeof value === 'number' ? value : null, valueUnit(panel)),
      },
    })),
  };
}

/** The unit of a histogram is that of its buckets; the bars count. */
function valueUnit(panel: Panel): string {
  return panel.visualization === 'histogram' ? 'count' : panel.unit;
}
