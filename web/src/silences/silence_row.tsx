import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { type Silence } from '../api/silences';
import { MatcherList } from '../alerting/label_chips';
import { formatMatcher } from '../alerting/matcher_text';
import { Ago, Exact, Until } from '../alerting/moment';
import { ChangeProblem, OperatorOnly, useMayChange } from '../alerting/rights';
import { anHourMore } from './durations';
import type { SilenceSearch } from './filter';
import { useEndSilence, useSetSilence } from './use_set_silence';
import { wishOf } from './wish';

interface Props {
  silence: Silence;
  heldCount: number;
  search: SilenceSearch;
}

export function SilenceRow({ silence, heldCount, search }: Props) {
  const text = silence.matchers.map(formatMatcher).join(' ');
  return (
    <li className="panel silence" data-state={silence.state} aria-label={text}>
      <div className="silence-what">
        <MatcherList matchers={silence.matchers} />
        <p className="silence-why">{silence.comment === '' ? 'No reason given' : silence.comment}</p>
        <p className="silence-who">
          {silence.createdBy === '' ? 'Somebody' : silence.createdBy}, <Ago tsMs={silence.updatedMs} />
        </p>
      </div>
      <div className="silence-when">
        <p>
          <When silence={silence} />
        </p>
        <p className="silence-exact">
          <Exact tsMs={silence.state === 'pending' ? silence.startsMs : silence.endsMs} />
        </p>
      </div>
      <p className="silence-held">
        {silence.state === 'active' && heldCount > 0 && (
          <Link to="/alerts" search={{ state: 'silenced', q: silenceSearch(silence) }}>
            Holds back {heldCount} {heldCount === 1 ? 'alert' : 'alerts'}
          </Link>
        )}
        {silence.state === 'active' && heldCount === 0 && 'Holds back nothing now'}
      </p>
      <SilenceActions silence={silence} search={search} />
    </li>
  );
}

/** The Alerts page searches by the same matchers. */
function silenceSearch({ matchers }: Silence): string {
  return matchers.map(formatMatcher).join(' ');
}

function When({ silence }: { silence: Silence }) {
  switch (silence.state) {
    case 'active':
      return (
        <>
          Ends <Until tsMs={silence.endsMs} />
        </>
      );
    case 'pending':
      return (
        <>
          Begins <Until tsMs={silence.startsMs} />
        </>
      );
    case 'expired':
      return (
        <>
          Ended <Ago tsMs={silence.endsMs} />
        </>
      );
  }
}

function SilenceActions({ silence, search }: { silence: Silence; search: SilenceSearch }) {
  const mayChange = useMayChange();
  const [isExplaining, setExplaining] = useState(false);
  const { run: set, isSending: isSetting, failure: setFailure } = useSetSilence();
  const { run: end, isSending: isEnding, failure: endFailure } = useEndSilence();
  /** Without the right, a click says what is missing. */
  const guarded = (change: () => void) => () => {
    if (mayChange) change();
    else setExplaining(true);
  };
  if (silence.state === 'expired')
    return (
      <div className="silence-actions">
        <Link
          to="/silences"
          search={{ ...search, form: 'new', matchers: silenceSearch(silence) }}
          className="button button-small"
          activeProps={{}}
        >
          Use again
        </Link>
      </div>
    );
  return (
    <div className="silence-actions">
      <Link
        to="/silences"
        search={{ ...search, form: silence.id }}
        className="button button-small"
        activeProps={{}}
      >
        Edit
      </Link>
      <button
        type="button"
        className="button button-small"
        disabled={isSetting}
        onClick={guarded(() => {
          set({ ...wishOf(silence), endsMs: anHourMore(silence.endsMs) });
        })}
      >
        One hour more
      </button>
      <button
        type="button"
        className="button button-small"
        disabled={isEnding}
        onClick={guarded(() => {
          end(silence.id);
        })}
      >
        End now
      </button>
      {isExplaining && (
        <OperatorOnly what="Changing a silence">
          <span />
        </OperatorOnly>
      )}
      {(setFailure ?? endFailure) !== null && <ChangeProblem failure={setFailure ?? endFailure} />}
    </div>
  );
}
