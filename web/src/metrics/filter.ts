import type { Area, Metric, MetricCoverage } from '../api/catalogue';

/** What of the catalogue the reader wants to see. It lives in the address: `?q=latency&show=unseen`. */
export interface CatalogueSearch {
  q?: string | undefined;
  show?: 'unseen' | 'missed' | undefined;
}

export function parseCatalogueSearch(search: Record<string, unknown>): CatalogueSearch {
  const { q, show } = search;
  return {
    ...(typeof q === 'string' && q !== '' ? { q } : {}),
    ...(show === 'unseen' || show === 'missed' ? { show } : {}),
  };
}

/** Every word of the search is somewhere in what the catalogue says of the metric. */
export function matches(metric: Metric, area: Area, q: string): boolean {
  const all = [
    metric.title,
    metric.name,
    metric.series,
    metric.shortName ?? '',
    metric.meaning,
    metric.owner,
    metric.type,
    area.title,
    ...metric.attributes.flatMap(({ name, values }) => [name, ...values]),
  ]
    .join(' ')
    .toLowerCase();
  return q
    .toLowerCase()
    .split(/\s+/)
    .every((word) => all.includes(word));
}

/** Areas with what is left of them; those with nothing left are gone. */
export function filterAreas(
  areas: readonly Area[],
  search: CatalogueSearch,
  coverageOf: (metric: Metric) => MetricCoverage | undefined,
  isMissed: (metric: Metric) => boolean,
): Area[] {
  return areas
    .map((area) => ({
      ...area,
      metrics: area.metrics.filter(
        (metric) =>
          matches(metric, area, search.q ?? '') &&
          (search.show !== 'unseen' || coverageOf(metric)?.isSeen === false) &&
          (search.show !== 'missed' || isMissed(metric)),
      ),
    }))
    .filter(({ metrics }) => metrics.length > 0);
}
