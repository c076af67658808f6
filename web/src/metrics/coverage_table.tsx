import type { Metric, MetricCoverage } from '../api/catalogue';
import { formatAge } from '../format/time';

/** What came of a metric: by version, and as which type and unit. */
export function CoverageTable({ metric, coverage }: { metric: Metric; coverage: MetricCoverage }) {
  return (
    <div className="coverage">
      <dl className="coverage-facts">
        <dt>In PromQL</dt>
        <dd>
          <code>{metric.series}</code>
        </dd>
        <dt>Type</dt>
        <dd>
          <Fit isMet={coverage.typeAgrees} told={coverage.type} expected={coverage.expectedType} />
        </dd>
        <dt>Unit</dt>
        <dd>
          <Fit isMet={coverage.unitAgrees} told={coverage.unit} expected={coverage.expectedUnit} />
        </dd>
      </dl>
      {coverage.versions.length > 0 && (
        <table>
          <thead>
            <tr>
              <th scope="col">Version</th>
              <th scope="col" data-type="number">
                Series
              </th>
              <th scope="col" data-type="number">
                Newest
              </th>
            </tr>
          </thead>
          <tbody>
            {coverage.versions.map(({ version, count, ageMs }) => (
              <tr key={version}>
                <td>{version === '' ? 'not told' : version}</td>
                <td data-type="number">{count}</td>
                <td data-type="number">{ageMs === null ? '–' : `${formatAge(ageMs)} ago`}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </div>
  );
}

interface FitProps {
  isMet: boolean | null;
  told: string | null;
  expected: string;
}

function Fit({ isMet, told, expected }: FitProps) {
  const noun = expected === '' ? 'none' : expected;
  if (isMet === null) return <>{noun}; no report tells</>;
  if (isMet) return <span data-verdict="good">{noun}, as reported</span>;
  return (
    <span data-verdict="bad">
      {noun}, but reported as {told === '' || told === null ? 'none' : told}
    </span>
  );
}
