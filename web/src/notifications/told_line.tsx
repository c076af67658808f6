import { useQuery } from '@tanstack/react-query';
import type { Labels } from '../api/labels';
import { type NotificationPage, recentToldQuery } from '../api/notifications';
import { Ago } from '../alerting/moment';
import { indexTold, type ToldIndex, toldOf } from './told';
import { answerText, wayNoun } from './wording';

interface Props {
  labels: Labels;
  receivers: readonly string[];
  /** Since when it fires. */
  sinceMs: number;
}

/** Who knows of an alert that fires, in one line. */
export function ToldLine({ labels, receivers, sinceMs }: Props) {
  const { data: index } = useQuery({ ...recentToldQuery(), select: indexOf });
  const { done, failing } = index === undefined ? NOTHING : toldOf(index, labels, sinceMs);
  return (
    <p className="told-line">
      {done !== null && (
        <span>
          Told {done.receivers.join(', ')} by {done.ways.map(wayNoun).join(', ')} <Ago tsMs={done.tsMs} />
        </span>
      )}
      {failing !== null && (
        <span data-verdict="bad">
          {failing.receiver} could not be told by {wayNoun(failing.way)}: {answerText(failing)}
        </span>
      )}
      {done === null && failing === null && receivers.length > 0 && (
        <span>Goes to {receivers.join(', ')}</span>
      )}
      {receivers.length === 0 && <span data-verdict="bad">Nobody is told: no route has it</span>}
    </p>
  );
}

const NOTHING = { done: null, failing: null };

/** Hundreds of lines ask for the index of one answer: it is made once. */
const indexes = new WeakMap<NotificationPage, ToldIndex>();

function indexOf(page: NotificationPage): ToldIndex {
  const known = indexes.get(page);
  if (known !== undefined) return known;
  const made = indexTold(page.notifications);
  indexes.set(page, made);
  return made;
}
