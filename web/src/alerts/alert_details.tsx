import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { routedAlertsQuery } from '../api/alerts';
import { failureOf } from '../api/failure';
import { type Labels, labelsKey } from '../api/labels';
import { type Notification, toldQuery } from '../api/notifications';
import { rulesOfNameQuery } from '../api/rules';
import { silencesQuery } from '../api/silences';
import { Fact } from '../alerting/fact';
import { useMinute } from '../alerting/clock';
import { equalMatcher, formatMatcher } from '../alerting/matcher_text';
import { Ago, Exact, Until } from '../alerting/moment';
import { QueryBlock } from '../dashboard/query_block';
import { formatSpan } from '../format/time';
import { wayNoun } from '../notifications/wording';
import type { Alert } from './alert';
import { AlertCourse } from './alert_course';
import { isCheap } from './course';
import { isWebAddress, readAnnotations } from './annotations';

/** All that is known of an alert, and where to go from here. */
export function AlertDetails({ alert }: { alert: Alert }) {
  const { summary, description, owner, links, others } = readAnnotations(alert.annotations, alert.labels);
  return (
    <div className="alert-details">
      <div className="alert-story">
        {summary !== null && description !== null && <p className="alert-description">{description}</p>}
        <dl className="facts">
          <Fact name={alert.state === 'resolved' ? 'Last seen firing' : SINCE[alert.state]}>
            <Exact tsMs={alert.sinceMs} />
          </Fact>
          {alert.activeMs !== null && alert.state !== 'pending' && (
            <Fact name="True since">
              <Exact tsMs={alert.activeMs} />
            </Fact>
          )}
          {alert.keptSinceMs !== null && (
            <Fact name="No longer true since">
              <Exact tsMs={alert.keptSinceMs} /> (kept firing by its rule)
            </Fact>
          )}
          {owner !== null && <Fact name="Owner">{owner}</Fact>}
          <HeldBack alert={alert} />
          {others.map(([name, value]) => (
            <Fact key={name} name={name}>
              {value}
            </Fact>
          ))}
        </dl>
        <p className="row-links">
          {links.map(({ title, url }) => (
            <a key={title} href={url} target="_blank" rel="noreferrer">
              {title}
            </a>
          ))}
          {alert.isOfRule && (
            <Link to="/rules" search={{ q: alert.name }}>
              Rule
            </Link>
          )}
          {alert.generatorUrl !== null && isWebAddress(alert.generatorUrl) && !alert.isOfRule && (
            <a href={alert.generatorUrl} target="_blank" rel="noreferrer">
              Where it comes from
            </a>
          )}
          <Link to="/notifications" search={{ alert: alert.name }}>
            Notifications
          </Link>
          <Link
            to="/silences"
            search={{
              form: 'new',
              matchers: Object.entries(alert.labels)
                .map(([name, value]) => formatMatcher(equalMatcher(name, value)))
                .join(' '),
            }}
          >
            Silence with other matchers
          </Link>
        </p>
      </div>
      <div className="alert-evidence">
        <Told alert={alert} />
        {alert.isOfRule && <RuleQuery alert={alert} />}
      </div>
    </div>
  );
}

const SINCE: Record<Exclude<Alert['state'], 'resolved'>, string> = {
  firing: 'Firing since',
  pending: 'Pending since',
  silenced: 'Firing since',
  inhibited: 'Firing since',
  muted: 'Firing since',
};

/** By whom or what, and until when. */
function HeldBack({ alert }: { alert: Alert }) {
  const { data: silences } = useQuery({ ...silencesQuery(), enabled: alert.silencedBy.length > 0 });
  const { data: routed } = useQuery({ ...routedAlertsQuery(), enabled: alert.inhibitedBy.length > 0 });
  const holding = silences?.filter(({ id }) => alert.silencedBy.includes(id)) ?? [];
  const inhibitors = routed?.filter(({ fingerprint }) => alert.inhibitedBy.includes(fingerprint)) ?? [];
  return (
    <>
      {holding.map((silence) => (
        <Fact key={silence.id} name="Silenced">
          by {silence.createdBy}, ends <Until tsMs={silence.endsMs} />: {silence.comment}{' '}
          <Link to="/silences" search={{ q: silence.id, show: undefined }}>
            Show this silence
          </Link>
        </Fact>
      ))}
      {inhibitors.map(({ fingerprint, labels }) => (
        <Fact key={fingerprint} name="Inhibited by">
          {labels['alertname'] ?? fingerprint}
        </Fact>
      ))}
      {alert.mutedBy.length > 0 && <Fact name="Muted by">{alert.mutedBy.join(', ')}</Fact>}
    </>
  );
}

const TOLD_SHOWN_MAX = 6;

function isAbout(notification: Notification, alert: Alert): boolean {
  const key = labelsKey(alert.labels);
  return notification.alerts.some(({ labels }) => labelsKey(labels) === key);
}

/** Who was told of this alert, newest first, or who will be. */
function Told({ alert }: { alert: Alert }) {
  const { data, error } = useQuery(toldQuery(alert.name));
  const told = data?.notifications.filter((notification) => isAbout(notification, alert)) ?? [];
  return (
    <section aria-label="Who was told">
      <h3>Who was told</h3>
      {told.length > 0 && (
        <ul className="told">
          {told.slice(0, TOLD_SHOWN_MAX).map((notification) => (
            <li key={notification.id} data-outcome={notification.outcome}>
              <span className="outcome" data-outcome={notification.outcome}>
                {notification.receiver} · {wayNoun(notification.way)}
              </span>
              <Ago tsMs={notification.tsMs} />
            </li>
          ))}
        </ul>
      )}
      {told.length === 0 && (
        <p className="alert-unsaid">
          {data === undefined && error === null && 'Looking…'}
          {data === undefined && error !== null && toldFailure(error)}
          {data !== undefined && nobodyText(alert)}
        </p>
      )}
    </section>
  );
}

function toldFailure(error: Error): string {
  return failureOf(error).kind === 'not_found'
    ? 'This server keeps no log of notifications.'
    : 'The log of notifications could not be read.';
}

function nobodyText({ state, receivers }: Alert): string {
  if (state === 'pending') return 'Nobody yet: it has to be true for longer.';
  if (receivers.length === 0) return 'Nobody: no route has this alert.';
  const names = receivers.join(', ');
  if (state === 'silenced' || state === 'inhibited' || state === 'muted')
    return `Nobody in the last day. It would go to ${names}.`;
  return `Nobody in the last day. It goes to ${names}.`;
}

/** What the rule asks; there may be several of one name, which differ in their labels. */
function RuleQuery({ alert }: { alert: Alert }) {
  const { data: groups } = useQuery(rulesOfNameQuery(alert.name));
  const nowMs = useMinute();
  const all = groups?.flatMap((group) => group.rules) ?? [];
  const fitting = all.filter(({ labels }) => isMadeWith(labels, alert.labels));
  const rules = fitting.length > 0 ? fitting : all;
  return rules.map((rule, index) => (
    <div key={index} className="alert-rule">
      {rule.language === 'promql' && rules.length === 1 && isCheap(rule.durationMs) && (
        <AlertCourse alert={alert} rule={rule} nowMs={nowMs} />
      )}
      <QueryBlock text={rule.query} language={rule.language} subject={rule.name} />
      {rule.forMs > 0 && <p className="tile-note">Fires when that is so for {formatSpan(rule.forMs)}.</p>}
    </div>
  ));
}

/** Labels of a rule are those of its alerts, unless they are templates. */
function isMadeWith(ofRule: Labels, ofAlert: Labels): boolean {
  return Object.entries(ofRule).every(([name, value]) => value.includes('{{') || ofAlert[name] === value);
}
