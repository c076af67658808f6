import { useState } from 'react';
import type { DroppedTarget, Health, Job, Target } from '../api/targets';
import { LabelList } from './label_list';
import { TargetRow } from './target_row';

/** A job may have thousands; what is wrong is among the first. */
const SHOWN_MAX = 50;

export function JobSection({ job, nowMs }: { job: Job; nowMs: number }) {
  const [isWhole, setWhole] = useState(false);
  const shown = isWhole ? job.targets : job.targets.slice(0, SHOWN_MAX);
  const hiddenCount = job.targets.length - shown.length;
  return (
    <section className="section job" aria-label={job.name} data-job={job.name}>
      <div className="job-head">
        <h2>{job.name}</h2>
        <ul className="chips" aria-label={`Targets of ${job.name} by health`}>
          <Count health="down" targets={job.targets} text="down" />
          <Count health="unknown" targets={job.targets} text="not asked yet" />
          <Count health="up" targets={job.targets} text="up" />
        </ul>
      </div>
      {job.targets.length === 0 ? (
        <p className="section-description">
          No targets.{' '}
          {job.droppedCount > 0
            ? 'Relabelling drops all that was found.'
            : 'Nothing was found for this job yet.'}
        </p>
      ) : (
        <div className="panel table-panel">
          <table className="target-table">
            <thead>
              <tr>
                <th scope="col">Health</th>
                <th scope="col">Target</th>
                <th scope="col">Labels</th>
                <th scope="col" data-type="number">
                  Last scrape
                </th>
                <th scope="col" data-type="number">
                  Took
                </th>
              </tr>
            </thead>
            <tbody>
              {shown.map((target) => (
                <TargetRow key={target.url + JSON.stringify(target.labels)} target={target} nowMs={nowMs} />
              ))}
            </tbody>
          </table>
          {hiddenCount > 0 && (
            <button
              type="button"
              className="button button-small"
              onClick={() => {
                setWhole(true);
              }}
            >
              Show {hiddenCount} more
            </button>
          )}
        </div>
      )}
      {job.droppedCount > 0 && <DroppedList count={job.droppedCount} dropped={job.dropped} />}
    </section>
  );
}

function Count({ health, targets, text }: { health: Health; targets: Target[]; text: string }) {
  const count = targets.filter((target) => target.health === health).length;
  if (count === 0) return null;
  return (
    <li className="chip health-chip" data-health={health}>
      {count} {text}
    </li>
  );
}

function DroppedList({ count, dropped }: { count: number; dropped: DroppedTarget[] }) {
  const shown = dropped.slice(0, SHOWN_MAX);
  return (
    <details className="job-dropped">
      <summary>
        {count} dropped by relabelling
        {shown.length < count && `, ${shown.length} of them here`}
      </summary>
      <ul>
        {shown.map(({ discovered }) => (
          <li key={JSON.stringify(discovered)}>
            <LabelList labels={discovered} />
          </li>
        ))}
      </ul>
    </details>
  );
}
