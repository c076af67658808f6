import { useId, useState } from 'react';
import type { Rule } from '../api/rules';
import { Ago } from '../alerting/moment';
import { Opener } from '../alerting/opener';
import { severityOf } from '../alerting/severity';
import { SeverityMark } from '../alerting/severity_mark';
import { formatTook } from '../format/time';
import { isFailing, isWatching } from './filter';
import { RuleDetails } from './rule_details';
import { readableTemplate } from './template_text';

type Look = 'failing' | 'always' | 'firing' | 'pending' | 'no_data' | 'inactive' | 'recording' | 'unknown';

const LOOK_TEXT: Record<Look, string> = {
  failing: 'Fails',
  always: 'Always on',
  firing: 'Firing',
  pending: 'Pending',
  no_data: 'No data',
  inactive: 'Quiet',
  recording: 'Records',
  unknown: 'Not yet',
};

function lookOf(rule: Rule): Look {
  if (isFailing(rule)) return 'failing';
  if (isWatching(rule)) return 'always';
  if (rule.state === 'firing' || rule.state === 'pending') return rule.state;
  if (rule.conditions?.condition === 'no_data') return 'no_data';
  if (rule.health === 'unknown') return 'unknown';
  return rule.isAlert ? 'inactive' : 'recording';
}

export function RuleRow({ rule }: { rule: Rule }) {
  const [isOpen, setOpen] = useState(false);
  const detailsId = useId();
  const look = lookOf(rule);
  const severity = severityOf(rule.labels);
  return (
    <li className="rule">
      <div className="rule-line">
        <span className="rule-state" data-look={look}>
          {LOOK_TEXT[look]}
        </span>
        <div className="rule-what">
          <p className="rule-name">
            <strong>{rule.name}</strong>
            {severity !== '' && <SeverityMark severity={severity} />}
            <span className="language" data-language={rule.language}>
              {rule.language === 'sql' ? 'SQL' : 'PromQL'}
            </span>
          </p>
          {rule.lastError !== null && rule.lastError !== '' && <p className="rule-error">{rule.lastError}</p>}
          {rule.annotations['summary'] !== undefined && (
            <p className="rule-summary">{readableTemplate(rule.annotations['summary'])}</p>
          )}
        </div>
        <span className="rule-when">
          {rule.lastMs === null ? (
            'not evaluated yet'
          ) : (
            <>
              <Ago tsMs={rule.lastMs} /> <span className="rule-took">in {formatTook(rule.durationMs)}</span>
            </>
          )}
        </span>
        <Opener isOpen={isOpen} onToggle={setOpen} detailsId={detailsId} name={rule.name} />
      </div>
      <div id={detailsId} hidden={!isOpen}>
        {isOpen && <RuleDetails rule={rule} />}
      </div>
    </li>
  );
}
