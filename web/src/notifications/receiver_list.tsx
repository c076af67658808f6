import { useQuery } from '@tanstack/react-query';
import { failureOf } from '../api/failure';
import { type Attempt, type Receiver, receiversQuery, type Way } from '../api/receivers';
import { Ago, Until } from '../alerting/moment';
import { formatSpan } from '../format/time';
import { wordingOf } from '../states/failure_notice';
import { TestButton } from './test_button';
import { answerText, wayNoun } from './wording';

/** Each receiver with its ways: when each worked last, and since when it does not. */
export function ReceiverList() {
  const { data, error } = useQuery(receiversQuery());
  return (
    <section className="section receivers" aria-labelledby="receivers-title">
      <h2 id="receivers-title">Receivers</h2>
      {data?.pathTest != null && (
        <p className="section-description">
          Every {formatSpan(data.pathTest.intervalMs)} a test goes out by each way of those that show when the
          next one does.
        </p>
      )}
      {data !== undefined && data.receivers.length > 0 && (
        <ul className="receiver-list">
          {[...data.receivers].sort(byTrouble).map((receiver) => (
            <ReceiverCard key={receiver.name} receiver={receiver} />
          ))}
        </ul>
      )}
      {data?.receivers.length === 0 && (
        <p className="section-note">
          There is nobody to tell. Receivers are part of Alertmanager’s configuration file:{' '}
          <code>--alerting alertmanager.yml</code>.
        </p>
      )}
      {data === undefined && error !== null && <p className="section-note">{failureText(error)}</p>}
      {data === undefined && error === null && (
        <span className="skeleton receiver-skeleton" aria-hidden="true" />
      )}
    </section>
  );
}

function failureText(error: Error): string {
  const failure = failureOf(error);
  if (failure.kind === 'not_found')
    return 'This server does not say how its receivers are. The log below tells what was sent.';
  const { title, hint } = wordingOf(failure);
  return `${title}. ${hint}`;
}

/** What does not work stands first. */
function byTrouble(a: Receiver, b: Receiver): number {
  const failing = ({ ways }: Receiver) => Number(ways.some(({ failingSinceMs }) => failingSinceMs !== null));
  return failing(b) - failing(a);
}

function ReceiverCard({ receiver }: { receiver: Receiver }) {
  return (
    <li className="panel receiver" aria-label={receiver.name}>
      <div className="receiver-head">
        <h3>{receiver.name}</h3>
        {receiver.ways.length > 0 && <TestButton receiver={receiver.name} />}
      </div>
      {receiver.nextTestMs !== null && (
        <p className="tile-note">
          next test <Until tsMs={receiver.nextTestMs} />
        </p>
      )}
      {receiver.ways.length === 0 && (
        <p className="tile-note">Has no way to tell anybody: what comes here is kept quiet.</p>
      )}
      <ul className="ways">
        {receiver.ways.map((way) => (
          <WayLine key={`${way.kind} ${way.index}`} way={way} hasSeveral={countOf(receiver, way.kind) > 1} />
        ))}
      </ul>
    </li>
  );
}

function countOf({ ways }: Receiver, kind: string): number {
  return ways.filter((way) => way.kind === kind).length;
}

function WayLine({ way, hasSeveral }: { way: Way; hasSeveral: boolean }) {
  const isFailing = way.failingSinceMs !== null;
  const newest = newestOf(way);
  const health = isFailing ? 'down' : newest?.outcome === 'done' ? 'up' : 'unknown';
  return (
    <li className="way">
      <span className="health" data-health={health}>
        {wayNoun(way.kind)}
        {hasSeveral && ` ${way.index + 1}`}
      </span>
      <div className="way-facts">
        {way.failingSinceMs !== null && (
          <p data-verdict="bad">
            fails since <Ago tsMs={way.failingSinceMs} isBare />
            {newest !== null && `: ${answerText(newest)}`}
          </p>
        )}
        {newest === null && <p>not used yet</p>}
        {!isFailing && newest !== null && (
          <p>
            {newest.outcome === 'done' ? 'worked' : 'failed'} <Ago tsMs={newest.tsMs} />
            {newest === way.lastTest && ', in a test'}
          </p>
        )}
        {way.lastTest !== null && way.lastTest !== newest && (
          <p>
            last test {way.lastTest.outcome === 'done' ? 'worked' : 'failed'} <Ago tsMs={way.lastTest.tsMs} />
          </p>
        )}
      </div>
    </li>
  );
}

function newestOf({ last, lastTest }: Way): Attempt | null {
  if (last === null || lastTest === null) return last ?? lastTest;
  return last.tsMs >= lastTest.tsMs ? last : lastTest;
}
