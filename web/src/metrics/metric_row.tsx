import { useId } from 'react';
import type { Metric, MetricCoverage } from '../api/catalogue';
import type { Figure } from '../api/figure';
import { QueryBlock } from '../dashboard/query_block';
import { formatAge } from '../format/time';
import { FigureValue, TargetMark } from '../kpi/figure';
import { Sparkline } from '../kpi/sparkline';
import { CoverageTable } from './coverage_table';

interface Props {
  metric: Metric;
  figure: Figure | undefined;
  coverage: MetricCoverage | undefined;
  versions: string[];
}

export function MetricRow({ metric, figure, coverage, versions }: Props) {
  const titleId = useId();
  return (
    <article className="panel metric" aria-labelledby={titleId} data-metric={metric.name}>
      <div className="metric-what">
        <h3 id={titleId}>{metric.title}</h3>
        <p className="metric-meaning">{metric.meaning}</p>
        <p className="metric-facts">
          <code>{metric.name}</code>
          <span>
            {typeNoun(metric.type)} in {metric.unit === '1' ? 'shares' : <code>{metric.unit}</code>}
          </span>
          <span>owner: {metric.owner}</span>
          {metric.shortName !== null && (
            <span>
              in alerts: <code>{metric.shortName}</code>
            </span>
          )}
        </p>
      </div>
      <div className="metric-figure">
        <FigureValue value={figure?.value ?? null} unit={metric.queryUnit} />
        <TargetMark target={metric.target} value={figure?.value ?? null} />
      </div>
      <Sparkline trend={figure?.trend ?? []} />
      <SeenBy coverage={coverage} versions={versions} />
      <details className="metric-details">
        <summary>Definition and coverage</summary>
        <div className="metric-details-body">
          <div>
            <QueryBlock text={metric.query.trim()} language="promql" />
            <Attributes metric={metric} />
          </div>
          {coverage !== undefined && <CoverageTable metric={metric} coverage={coverage} />}
        </div>
      </details>
    </article>
  );
}

function typeNoun(type: string): string {
  return type.replaceAll('_', '-');
}

function SeenBy({ coverage, versions }: { coverage: MetricCoverage | undefined; versions: string[] }) {
  if (coverage === undefined) return <p className="metric-seen" />;
  if (!coverage.isSeen)
    return (
      <p className="metric-seen" data-seen="false">
        Not seen in the last day
      </p>
    );
  const seen = new Map(coverage.versions.map((version) => [version.version, version]));
  return (
    <div className="metric-seen">
      <span>Seen {coverage.ageMs !== null && `${formatAge(coverage.ageMs)} ago`}</span>
      <ul className="chips" aria-label="Versions">
        {versions.map((version) => (
          <li key={version} className="chip" data-seen={seen.has(version)}>
            {!seen.has(version) && <span className="visually-hidden">not by </span>}
            {version}
          </li>
        ))}
        {seen.has('') && <li className="chip">without a version</li>}
      </ul>
    </div>
  );
}

function Attributes({ metric }: { metric: Metric }) {
  if (metric.attributes.length === 0) return null;
  return (
    <dl className="attributes">
      {metric.attributes.map(({ name, meaning, values }) => (
        <div key={name}>
          <dt>
            <code>{name}</code>
          </dt>
          <dd>
            {meaning} {values.length > 0 && <span className="attribute-values">{values.join(' · ')}</span>}
          </dd>
        </div>
      ))}
    </dl>
  );
}
