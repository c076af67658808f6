import { Link } from '@tanstack/react-router';
import type { ReactNode } from 'react';
import type { Job, Target } from '../api/targets';
import { spanText } from '../format/duration';
import { formatTook } from '../format/time';
import { countHealth, type TargetSearch } from './filter';

interface Props {
  jobs: Job[];
  search: TargetSearch;
}

/** How all of them are; the first tile is also the way to what is wrong. */
export function TargetSummary({ jobs, search }: Props) {
  const up = countHealth(jobs, 'up');
  const down = countHealth(jobs, 'down');
  const all = jobs.reduce((sum, { targets }) => sum + targets.length, 0);
  const dropped = jobs.reduce((sum, { droppedCount }) => sum + droppedCount, 0);
  const slowest = slowestOf(jobs);
  return (
    <div className="coverage-summary">
      <Tile
        title="Up now"
        figure={`${up} of ${all}`}
        verdict={down > 0 ? 'bad' : up > 0 && up === all ? 'good' : undefined}
      >
        <DownChoice count={down} search={search} />
      </Tile>
      <Tile title="Jobs" figure={String(jobs.length)}>
        <p className="tile-note">
          {dropped === 0
            ? 'Relabelling drops no target'
            : `Relabelling drops ${dropped} ${dropped === 1 ? 'target' : 'targets'}`}
        </p>
      </Tile>
      <Tile title="Slowest answer" figure={slowest === undefined ? '–' : formatTook(slowest.durationMs)}>
        <p className="tile-note">
          {slowest === undefined
            ? 'Nothing was scraped yet'
            : `${slowest.labels['instance'] ?? slowest.url}, of at most ${spanText(slowest.timeout)}`}
        </p>
      </Tile>
    </div>
  );
}

function slowestOf(jobs: Job[]): Target | undefined {
  return jobs
    .flatMap(({ targets }) => targets)
    .filter(({ lastScrapeMs }) => lastScrapeMs !== null)
    .reduce<Target | undefined>(
      (slowest, target) =>
        slowest === undefined || target.durationMs > slowest.durationMs ? target : slowest,
      undefined,
    );
}

interface TileProps {
  title: string;
  figure: string;
  verdict?: 'good' | 'bad' | undefined;
  children: ReactNode;
}

function Tile({ title, figure, verdict, children }: TileProps) {
  return (
    <article className="panel tile" aria-label={title}>
      <h2 className="tile-title">{title}</h2>
      <p className="tile-figure" data-verdict={verdict}>
        {figure}
      </p>
      {children}
    </article>
  );
}

/** Shows those that are down alone, or all again. */
function DownChoice({ count, search }: { count: number; search: TargetSearch }) {
  const isChosen = search.show === 'down';
  if (count === 0 && !isChosen) return <p className="tile-note">None is down</p>;
  return (
    <Link
      to="/targets"
      search={{ ...search, show: isChosen ? undefined : 'down' }}
      className="tile-note"
      activeProps={{}}
      replace
    >
      {isChosen ? 'Show all targets' : `Show ${count} that ${count === 1 ? 'is' : 'are'} down`}
    </Link>
  );
}
