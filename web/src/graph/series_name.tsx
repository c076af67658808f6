import { MatcherList } from '../alerting/label_chips';
import { matchersOf } from '../alerting/matcher_text';
import type { Labels } from '../api/labels';

/** The metric, and labels as chips; an expression may have neither. */
export function SeriesName({ labels: { __name__: metric, ...labels } }: { labels: Labels }) {
  const matchers = matchersOf(labels);
  return (
    <span className="series-name">
      {metric !== undefined && <code>{metric}</code>}
      {matchers.length > 0 && <MatcherList matchers={matchers} />}
      {metric === undefined && matchers.length === 0 && <span className="series-bare">without labels</span>}
    </span>
  );
}
