import { useQueries, useQuery } from '@tanstack/react-query';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import { type Catalogue, catalogueQuery, type Coverage, coverageQuery, type Metric } from '../api/catalogue';
import { failureOf } from '../api/failure';
import { FIGURE_HOURS, type Figure, figureQuery } from '../api/figure';
import { PageTitle } from '../app/page_title';
import { StaleMark } from '../dashboard/stale_mark';
import { isTargetMet } from '../kpi/target';
import { FailureNotice } from '../states/failure_notice';
import { CoverageSummary } from './coverage_summary';
import { type CatalogueSearch, filterAreas } from './filter';
import { MetricRow } from './metric_row';
import { StrangerList } from './stranger_list';

/** `/catalogue`: every metric of the product, what it should be, what it is, and who reports it. */
export function MetricsPage() {
  const { data: packs, error, refetch } = useQuery(catalogueQuery());
  const catalogues = packs?.filter(({ areas }) => areas.length > 0);
  return (
    <>
      <PageTitle text="Metrics" />
      {catalogues?.map((catalogue) => (
        <CatalogueView key={catalogue.pack} catalogue={catalogue} />
      ))}
      {catalogues?.length === 0 && <NoCatalogue />}
      {packs === undefined && error !== null && (
        <div className="page-notice">
          <FailureNotice failure={failureOf(error)} onRetry={() => void refetch()} />
        </div>
      )}
      {packs === undefined && error === null && <p className="visually-hidden">Loading</p>}
    </>
  );
}

function NoCatalogue() {
  return (
    <div className="page-notice">
      <div className="notice">
        <h1 className="notice-title">No catalogue of metrics</h1>
        <p className="notice-hint">
          A pack brings it, in its folder <code>metrics/</code>. Start the server with <code>--pack DIR</code>
          .
        </p>
        <p className="notice-hint">
          Whatever else is stored can be seen as a <Link to="/graph">graph</Link>.
        </p>
      </div>
    </div>
  );
}

function CatalogueView({ catalogue }: { catalogue: Catalogue }) {
  const search = useSearch({ from: '/catalogue' });
  const metrics = catalogue.areas.flatMap((area) => area.metrics);
  const results = useQueries({ queries: metrics.map(({ query }) => figureQuery(query)) });
  const figures = new Map(metrics.map((metric, index) => [metric.name, results[index]?.data]));
  const { data: coverages, error } = useQuery(coverageQuery());
  const coverage = coverages?.find(({ pack }) => pack === catalogue.pack);
  const covered = new Map(coverage?.metrics.map((metric) => [metric.name, metric]));
  const isMissed = (metric: Metric) => isMet(metric, figures.get(metric.name)) === false;
  const areas = filterAreas(catalogue.areas, search, ({ name }) => covered.get(name), isMissed);
  return (
    <>
      <div className="page-head">
        <div>
          <h1>Metrics</h1>
          <p className="page-description">
            What {catalogue.title} reports about itself: what each metric means, what it should be, and which
            versions report it. Lines show the last {FIGURE_HOURS} hours.
          </p>
        </div>
        {error !== null && <StaleMark failure={failureOf(error)} />}
        <div className="head-tools">
          <Link to="/graph" className="button" title="Any expression of PromQL, as a graph or a table">
            Open a graph
          </Link>
          <SearchBox search={search} />
        </div>
      </div>
      <CoverageSummary
        coverage={coverage}
        targetCount={metrics.filter(({ target }) => target !== null).length}
        metCount={metrics.filter((metric) => isMet(metric, figures.get(metric.name)) === true).length}
        missedCount={metrics.filter(isMissed).length}
        search={search}
      />
      {areas.map((area) => (
        <section key={area.id} className="section" aria-label={area.title}>
          <h2>{area.title}</h2>
          {area.description !== '' && <p className="section-description">{area.description}</p>}
          <div className="metric-list">
            {area.metrics.map((metric) => (
              <MetricRow
                key={metric.name}
                metric={metric}
                figure={figures.get(metric.name)}
                coverage={covered.get(metric.name)}
                versions={versionsOf(coverage)}
              />
            ))}
          </div>
        </section>
      ))}
      {areas.length === 0 && <NothingFound search={search} />}
      {coverage !== undefined && coverage.strangers.length > 0 && (
        <StrangerList strangers={coverage.strangers} />
      )}
    </>
  );
}

/** Those that call themselves something. */
function versionsOf(coverage: Coverage | undefined): string[] {
  return coverage?.versions.map(({ version }) => version).filter((version) => version !== '') ?? [];
}

/** null: there is no target, or nothing to compare with it. */
function isMet(metric: Metric, figure: Figure | undefined): boolean | null {
  if (metric.target === null || figure?.value == null) return null;
  return isTargetMet(figure.value, metric.target);
}

function SearchBox({ search }: { search: CatalogueSearch }) {
  const navigate = useNavigate({ from: '/catalogue' });
  return (
    <input
      type="search"
      className="search-box"
      aria-label="Search metrics"
      placeholder="Search by name, meaning, owner…"
      value={search.q ?? ''}
      onChange={(event) => {
        const q = event.target.value;
        // No entry in the history for every letter.
        void navigate({ search: { ...search, q: q === '' ? undefined : q }, replace: true });
      }}
    />
  );
}

function NothingFound({ search }: { search: CatalogueSearch }) {
  const isAll = search.q === undefined;
  return (
    <div className="page-notice" role="status">
      <div className="notice">
        <p className="notice-title">
          {isAll && search.show === 'unseen' && 'Every metric was seen in the last day'}
          {isAll && search.show === 'missed' && 'Every target is met'}
          {!isAll && `No metric fits “${search.q ?? ''}”`}
        </p>
        {!isAll && <p className="notice-hint">Names, meanings, owners and attributes are searched.</p>}
      </div>
    </div>
  );
}
