/** ECharts with only the parts we draw with. Loaded when a panel needs it, see panel_view.tsx. */
import { BarChart, GaugeChart, MapChart } from 'echarts/charts';
import { GeoComponent, GridComponent, MarkLineComponent, TooltipComponent } from 'echarts/components';
import * as echarts from 'echarts/core';
import type { EChartsCoreOption } from 'echarts/core';
import { SVGRenderer } from 'echarts/renderers';
import { useEffect, useRef } from 'react';
import { useBoxSize } from './box_size';

echarts.use([
  BarChart,
  GaugeChart,
  GeoComponent,
  GridComponent,
  MapChart,
  MarkLineComponent,
  SVGRenderer,
  TooltipComponent,
]);

interface Props {
  /** What the picture shows, in a sentence; the numbers are in the panel's table. */
  label: string;
  /** Makes the option for a given text size. */
  optionOf: (remPx: number) => EChartsCoreOption;
}

export function EChart({ label, optionOf }: Props) {
  const boxRef = useRef<HTMLDivElement>(null);
  const chartRef = useRef<echarts.ECharts | null>(null);
  const size = useBoxSize(boxRef);
  const hasSize = size !== null;

  useEffect(() => {
    if (!boxRef.current || !hasSize) return;
    const chart = echarts.init(boxRef.current, null, { renderer: 'svg' });
    chartRef.current = chart;
    return () => {
      chartRef.current = null;
      chart.dispose();
    };
  }, [hasSize]);

  useEffect(() => {
    if (!size) return;
    const chart = chartRef.current;
    chart?.resize({ width: size.width, height: size.height });
    chart?.setOption(
      {
        animation: !window.matchMedia('(prefers-reduced-motion: reduce)').matches,
        animationDuration: 0,
        animationDurationUpdate: 300,
        textStyle: { fontFamily: getComputedStyle(document.body).fontFamily },
        ...optionOf(size.remPx),
      },
      // What an older option had and this one has not must go.
      { replaceMerge: ['series', 'xAxis', 'yAxis'] },
    );
  }, [size, optionOf]);

  return <div ref={boxRef} className="chart-box" role="img" aria-label={label} />;
}
