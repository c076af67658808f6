import { useCallback } from 'react';
import type { Panel } from '../api/dashboards';
import type { PanelData } from '../api/panels';
import { formatValue } from '../format/unit';
import { isTargetMet } from '../kpi/target';
import { type Palette, usePalette } from '../theme/palette';
import { EChart } from './echart';
import { gaugeEnd } from './gauge_end';

interface Props {
  panel: Panel;
  data: PanelData;
}

/** The arc of a gauge; its number, change and target are text in the panel. */
export default function Gauge({ panel, data }: Props) {
  const palette = usePalette();
  const optionOf = useCallback(
    (remPx: number) => gaugeOption(panel, data.value, palette, remPx),
    [panel, data.value, palette],
  );
  return (
    <EChart label={`${panel.title}: gauge at ${formatValue(data.value, panel.unit)}`} optionOf={optionOf} />
  );
}

function gaugeOption(panel: Panel, value: number | null, palette: Palette, remPx: number) {
  const { target } = panel;
  const end = gaugeEnd(value, panel.unit, target?.value ?? null);
  const width = 0.875 * remPx;
  const colour =
    target === null || value === null
      ? palette.accent
      : isTargetMet(value, target)
        ? palette.good
        : palette.bad;
  const targetShare = target === null ? null : target.value / end;
  const arc = { startAngle: 200, endAngle: -20, radius: '100%', center: ['50%', '68%'], min: 0, max: end };
  return {
    series: [
      {
        type: 'gauge' as const,
        ...arc,
        progress: { show: true, width, roundCap: true, itemStyle: { color: colour } },
        axisLine: { roundCap: true, lineStyle: { width, color: [[1, palette.track]] } },
        pointer: { show: false },
        axisTick: { show: false },
        splitLine: { show: false },
        axisLabel: { show: false },
        anchor: { show: false },
        detail: {
          offsetCenter: [0, '-8%'],
          fontSize: 2.25 * remPx,
          fontWeight: 600,
          color: palette.ink,
          formatter: () => formatValue(value, panel.unit),
        },
        data: [{ value: value ?? 0 }],
      },
      // A second dial without anything but a mark where the target is.
      ...(targetShare === null
        ? []
        : [
            {
              type: 'gauge' as const,
              ...arc,
              axisLine: { lineStyle: { width, color: [[1, 'transparent']] } },
              axisTick: { show: false },
              splitLine: { show: false },
              axisLabel: { show: false },
              detail: { show: false },
              pointer: {
                icon: 'rect',
                width: 0.1875 * remPx,
                length: 1.25 * remPx,
                offsetCenter: [0, '-88%'],
                itemStyle: { color: palette.ink },
              },
              data: [{ value: targetShare * end }],
            },
          ]),
    ],
  };
}
