import type { Health, Target } from '../api/targets';
import { spanText } from '../format/duration';
import { formatAge, formatTook } from '../format/time';
import { LabelList } from './label_list';

const HEALTH_NOUN: Record<Health, string> = { up: 'Up', down: 'Down', unknown: 'Not asked yet' };

export function TargetRow({ target, nowMs }: { target: Target; nowMs: number }) {
  return (
    <tr data-health={target.health}>
      <td>
        <span className="health" data-health={target.health}>
          {HEALTH_NOUN[target.health]}
        </span>
      </td>
      <td className="target-what">
        <Address target={target} />
        {target.lastError !== '' && <p className="target-error">{target.lastError}</p>}
        <details>
          <summary>Before relabelling</summary>
          <LabelList labels={target.discovered} />
        </details>
      </td>
      <td>
        <LabelList labels={target.labels} without={['job']} />
      </td>
      <td data-type="number">
        {target.lastScrapeMs === null ? '–' : `${formatAge(nowMs - target.lastScrapeMs)} ago`}
        <span className="target-note">every {spanText(target.interval)}</span>
      </td>
      <td data-type="number">
        {target.lastScrapeMs === null ? '–' : formatTook(target.durationMs)}
        <span className="target-note">at most {spanText(target.timeout)}</span>
      </td>
    </tr>
  );
}

/** What a collector answers for has no page that could be opened. */
function Address({ target }: { target: Target }) {
  if (!/^https?:\/\//.test(target.globalUrl)) return <span className="target-address">{target.url}</span>;
  return (
    <a className="target-address" href={target.globalUrl} target="_blank" rel="noreferrer">
      {target.url}
    </a>
  );
}
