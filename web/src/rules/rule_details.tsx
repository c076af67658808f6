import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { catalogueQuery } from '../api/catalogue';
import { formattedQuery, type Rule, type RuleConditions } from '../api/rules';
import { Fact } from '../alerting/fact';
import { QueryBlock } from '../dashboard/query_block';
import { formatSpan } from '../format/time';
import { LabelList } from '../targets/label_list';
import { metricNames } from './metric_names';
import { isTemplate } from './template_text';

const NO_DATA_TEXT: Record<RuleConditions['noData'], string> = {
  ok: 'nothing fires',
  alert: 'it fires',
  keep: 'what fires goes on firing',
};
const ON_ERROR_TEXT: Record<RuleConditions['onError'], string> = {
  keep: 'what fires goes on firing',
  alert: 'it fires',
  ok: 'nothing fires',
};

export function RuleDetails({ rule }: { rule: Rule }) {
  const { conditions } = rule;
  const annotations = Object.entries(rule.annotations).filter(
    ([name, value]) => name !== 'summary' || isTemplate(value), // the row has it, but not as it is written
  );
  return (
    <div className="rule-details">
      <div>
        <dl className="facts">
          {rule.isAlert && (
            <Fact name="Fires">
              {rule.forMs > 0 ? `when that is so for ${formatSpan(rule.forMs)}` : 'at once'}
              {rule.keepFiringMs > 0 && `, and for ${formatSpan(rule.keepFiringMs)} after it is over`}
            </Fact>
          )}
          {conditions?.threshold != null && <Fact name="Threshold">{conditions.threshold}</Fact>}
          {conditions !== null && rule.isAlert && (
            <>
              <Fact name="Without data">
                {NO_DATA_TEXT[conditions.noData]}
                {conditions.condition === 'no_data' && <strong className="fact-now"> · so it is now</strong>}
              </Fact>
              <Fact name="When it fails">
                {ON_ERROR_TEXT[conditions.onError]}
                {conditions.condition === 'error' && <strong className="fact-now"> · so it is now</strong>}
              </Fact>
            </>
          )}
          {Object.keys(rule.labels).length > 0 && (
            <Fact name="Labels">
              <LabelList labels={rule.labels} />
            </Fact>
          )}
          {annotations.map(([name, value]) => (
            <Fact key={name} name={name}>
              {value}
            </Fact>
          ))}
        </dl>
        <RuleLinks rule={rule} />
      </div>
      <RuleText rule={rule} />
    </div>
  );
}

function RuleLinks({ rule }: { rule: Rule }) {
  const names = useKnownMetrics(rule);
  return (
    <p className="row-links">
      {(rule.state === 'firing' || rule.state === 'pending') && (
        <Link to="/alerts" search={{ q: `alertname="${rule.name}"` }}>
          Its alerts
        </Link>
      )}
      {rule.isAlert && (
        <Link to="/notifications" search={{ alert: rule.name }}>
          Who was told
        </Link>
      )}
      {names.map((name) => (
        <Link key={name} to="/catalogue" search={{ q: name }}>
          {name} in Metrics
        </Link>
      ))}
    </p>
  );
}

/** Those of the query that the catalogue explains. */
function useKnownMetrics({ query, language }: Rule): string[] {
  const { data: packs } = useQuery({ ...catalogueQuery(), enabled: language === 'promql' });
  if (packs === undefined || language !== 'promql') return [];
  const known = new Set(
    packs.flatMap(({ areas }) => areas.flatMap(({ metrics }) => metrics.map(({ series }) => series))),
  );
  return metricNames(query).filter(
    (name) => known.has(name) || known.has(name.replace(/_(bucket|count|sum)$/, '')),
  );
}

/** As Prometheus' formatter breaks it; as written until that is known. */
function RuleText({ rule }: { rule: Rule }) {
  const { data } = useQuery(formattedQuery(rule.query, rule.language));
  return <QueryBlock text={data ?? rule.query} language={rule.language} subject={rule.name} />;
}
