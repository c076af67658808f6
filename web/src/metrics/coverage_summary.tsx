import { Link } from '@tanstack/react-router';
import type { ReactNode } from 'react';
import type { Coverage } from '../api/catalogue';
import { formatAge } from '../format/time';
import type { CatalogueSearch } from './filter';

interface Props {
  coverage: Coverage | undefined;
  targetCount: number;
  metCount: number;
  missedCount: number;
  search: CatalogueSearch;
}

/** How complete the reports are, and how good; the first two are also the ways to what is wrong. */
export function CoverageSummary({ coverage, targetCount, metCount, missedCount, search }: Props) {
  const unseenCount = coverage === undefined ? 0 : coverage.metricCount - coverage.seenCount;
  return (
    <div className="coverage-summary">
      <Tile
        title="Seen in the last day"
        figure={coverage === undefined ? '–' : `${coverage.seenCount} of ${coverage.metricCount}`}
        verdict={coverage === undefined ? undefined : unseenCount === 0 ? 'good' : 'bad'}
      >
        <Choice name="unseen" count={unseenCount} text="not seen" search={search} />
      </Tile>
      <Tile
        title="Targets met now"
        figure={`${metCount} of ${targetCount}`}
        verdict={missedCount > 0 ? 'bad' : metCount > 0 ? 'good' : undefined}
      >
        <Choice name="missed" count={missedCount} text="missed" search={search} />
      </Tile>
      <Tile
        title="Versions that report"
        figure={coverage === undefined ? '–' : String(named(coverage).length)}
      >
        <ul className="chips" aria-label="Versions">
          {coverage !== undefined &&
            named(coverage).map(({ version, count, ageMs }) => (
              <li key={version} className="chip" title={ageMs === null ? '' : `${formatAge(ageMs)} ago`}>
                {version}
                {count > 0 && (
                  <span className="chip-count">
                    {count} <span className="visually-hidden">instances</span>
                  </span>
                )}
              </li>
            ))}
        </ul>
      </Tile>
    </div>
  );
}

function named(coverage: Coverage) {
  return coverage.versions.filter(({ version }) => version !== '');
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

interface ChoiceProps {
  name: 'unseen' | 'missed';
  count: number;
  text: string;
  search: CatalogueSearch;
}

/** Shows these alone, or all again. */
function Choice({ name, count, text, search }: ChoiceProps) {
  const isChosen = search.show === name;
  if (count === 0 && !isChosen) return <p className="tile-note">None {text}</p>;
  return (
    <Link
      to="/catalogue"
      search={{ ...search, show: isChosen ? undefined : name }}
      className="tile-note"
      activeProps={{}}
      replace
    >
      {isChosen ? 'Show all metrics' : `Show ${count} ${text}`}
    </Link>
  );
}
