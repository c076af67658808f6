import { useId, useState } from 'react';
import type { Notification } from '../api/notifications';
import { Fact } from '../alerting/fact';
import { Ago, Exact } from '../alerting/moment';
import { Opener } from '../alerting/opener';
import { formatTook } from '../format/time';
import { LabelList } from '../targets/label_list';
import type { Attempts } from './fold';
import { aboutText, answerText, countsText, kindText, OUTCOME_TEXT, reasonText, wayNoun } from './wording';

export function NotificationRow({ attempts }: { attempts: Attempts }) {
  const { newest: notification, earlier } = attempts;
  const [isOpen, setOpen] = useState(false);
  const detailsId = useId();
  const { tsMs, receiver, way, outcome, attempt, reason, durationMs } = notification;
  const kind = kindText(notification.kind);
  const about = aboutText(notification);
  const first = earlier.at(-1);
  return (
    <li className="notification" data-outcome={outcome}>
      <div className="notification-line">
        <span className="notification-when">
          <Ago tsMs={tsMs} />
        </span>
        <span className="outcome" data-outcome={outcome}>
          {OUTCOME_TEXT[outcome]}
        </span>
        <div className="notification-what">
          <p>
            <strong>{receiver}</strong> by {wayNoun(way)}
            {': '}
            {kind === '' ? (
              <>
                {about} <span className="notification-counts">{countsText(notification)}</span>
              </>
            ) : (
              kind
            )}
          </p>
          <p className="notification-facts">
            {reason !== '' && kind === '' && <span>{reasonText(reason)}</span>}
            {attempt > 1 && earlier.length === 0 && <span>attempt {attempt}</span>}
            {first !== undefined && (
              <span className="notification-again">
                {earlier.length + 1} times, first <Ago tsMs={first.tsMs} />
              </span>
            )}
            <span>{formatTook(durationMs)}</span>
            <span className="notification-answer" data-outcome={outcome}>
              {answerText(notification)}
            </span>
          </p>
        </div>
        <Opener
          isOpen={isOpen}
          onToggle={setOpen}
          detailsId={detailsId}
          name={`the notification to ${receiver} about ${about}`}
        />
      </div>
      <div id={detailsId} hidden={!isOpen}>
        {isOpen && <NotificationDetails notification={notification} />}
        {isOpen && earlier.length > 0 && <EarlierAttempts attempts={earlier} />}
      </div>
    </li>
  );
}

function NotificationDetails({ notification }: { notification: Notification }) {
  const { tsMs, alerts, alertCount, groupLabels, dedupKey, wayIndex, way } = notification;
  return (
    <div className="notification-details">
      <dl className="facts">
        <Fact name="When">
          <Exact tsMs={tsMs} />
        </Fact>
        <Fact name="Way">
          {wayNoun(way)}, number {wayIndex + 1} of this receiver
        </Fact>
        <Fact name="Answer">
          <code className="whole-answer">{answerText(notification)}</code>
        </Fact>
        {Object.keys(groupLabels).length > 0 && (
          <Fact name="Group">
            <LabelList labels={groupLabels} />
          </Fact>
        )}
        {dedupKey !== '' && (
          <Fact name="Key">
            <code className="whole-answer">{dedupKey}</code>
          </Fact>
        )}
      </dl>
      {alerts.length > 0 && (
        <>
          <h3>What it told of</h3>
          <ul className="told-alerts">
            {alerts.map(({ name, labels, isResolved }, index) => (
              <li key={index}>
                <span className="alert-state" data-state={isResolved ? 'resolved' : 'firing'}>
                  {isResolved ? 'Resolved' : 'Firing'}
                </span>
                <strong>{name}</strong>
                <LabelList labels={labels} without={['alertname']} />
              </li>
            ))}
          </ul>
          {alertCount > alerts.length && (
            <p className="more-note">and {alertCount - alerts.length} more that the log does not name</p>
          )}
        </>
      )}
    </div>
  );
}

const EARLIER_SHOWN_MAX = 50;

function EarlierAttempts({ attempts }: { attempts: readonly Notification[] }) {
  return (
    <>
      <h3>Tried before, with the same answer</h3>
      <ol className="earlier-attempts">
        {attempts.slice(0, EARLIER_SHOWN_MAX).map(({ id, tsMs, durationMs }) => (
          <li key={id}>
            <Exact tsMs={tsMs} /> <span className="notification-facts">{formatTook(durationMs)}</span>
          </li>
        ))}
      </ol>
      {attempts.length > EARLIER_SHOWN_MAX && (
        <p className="more-note">and {attempts.length - EARLIER_SHOWN_MAX} more before these</p>
      )}
    </>
  );
}
