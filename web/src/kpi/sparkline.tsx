import type { TrendPoint } from '../api/panels';
import { sparkPaths } from './spark_path';

const WIDTH = 240;
const HEIGHT = 48;

/** The course of a figure, without axes. The figure itself and its change are text beside it. */
export function Sparkline({ trend }: { trend: TrendPoint[] }) {
  const shape = sparkPaths(trend, WIDTH, HEIGHT);
  return (
    <svg
      className="sparkline"
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
      aria-hidden="true"
    >
      {shape !== null && (
        <>
          <path className="sparkline-area" d={shape.area} />
          <path className="sparkline-line" d={shape.line} vectorEffect="non-scaling-stroke" />
          <path className="sparkline-end" d={shape.end} vectorEffect="non-scaling-stroke" />
        </>
      )}
    </svg>
  );
}
