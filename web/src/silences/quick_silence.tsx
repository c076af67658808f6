import * as Popover from '@radix-ui/react-popover';
import { Link } from '@tanstack/react-router';
import { useId, useRef, useState } from 'react';
import type { Matcher } from '../api/silences';
import { useMinute } from '../alerting/clock';
import { MatcherList } from '../alerting/label_chips';
import { formatMatcher } from '../alerting/matcher_text';
import { ChangeProblem, OperatorOnly } from '../alerting/rights';
import { toLocalField } from '../timerange/time_range';
import { useAuthor } from './author';
import { PRESET_TEXT, presetEnd, PRESETS } from './durations';
import { SilencePreview } from './silence_preview';
import { useSetSilence } from './use_set_silence';

interface Props {
  matchers: Matcher[];
  text: string;
  /** For who cannot see what the button stands beside. */
  name: string;
}

/** Two clicks: this button, and for how long. */
export function QuickSilence({ matchers, text, name }: Props) {
  const [isOpen, setIsOpen] = useState(false);
  return (
    <Popover.Root open={isOpen} onOpenChange={setIsOpen}>
      <Popover.Trigger className="button button-small" aria-label={name}>
        {text}
      </Popover.Trigger>
      <Popover.Portal>
        <Popover.Content
          className="popover silence-popover"
          align="end"
          sideOffset={6}
          collisionPadding={12}
          aria-label={name}
        >
          <OperatorOnly what="Silencing alerts">
            <QuickForm
              matchers={matchers}
              onDone={() => {
                setIsOpen(false);
              }}
            />
          </OperatorOnly>
        </Popover.Content>
      </Popover.Portal>
    </Popover.Root>
  );
}

/** What is said where nobody gave a reason. */
const NO_REASON = 'silenced from the Alerts page';

function QuickForm({ matchers, onDone }: { matchers: Matcher[]; onDone: () => void }) {
  const [author, setAuthor] = useAuthor();
  const [isAuthorMissing, setAuthorMissing] = useState(false);
  const [comment, setComment] = useState('');
  const [custom, setCustom] = useState<string | null>(null);
  const authorRef = useRef<HTMLInputElement>(null);
  const { run, isSending, failure } = useSetSilence();
  const nowMs = useMinute();
  const id = useId();

  const silence = (endsMs: number) => {
    const createdBy = author.trim();
    setAuthorMissing(createdBy === '');
    if (createdBy === '') {
      authorRef.current?.focus();
      return;
    }
    const reason = comment.trim() === '' ? NO_REASON : comment.trim();
    run({ matchers, startsMs: null, endsMs, createdBy, comment: reason }, onDone);
  };
  const customMs = custom === null ? NaN : Date.parse(custom);

  return (
    <div className="quick-silence">
      <h2>Silence</h2>
      <MatcherList matchers={matchers} />
      <SilencePreview matchers={matchers} shownMax={0} />
      <label htmlFor={`${id}-comment`}>Why</label>
      <input
        id={`${id}-comment`}
        className="field"
        value={comment}
        placeholder="What is being done about it"
        onChange={(event) => {
          setComment(event.target.value);
        }}
      />
      <label htmlFor={`${id}-author`}>Who</label>
      <input
        id={`${id}-author`}
        ref={authorRef}
        className="field"
        value={author}
        autoComplete="name"
        placeholder="Your name; this browser remembers it"
        aria-invalid={isAuthorMissing}
        onChange={(event) => {
          setAuthor(event.target.value);
        }}
      />
      <div className="presets" role="group" aria-label="For how long">
        {PRESETS.map((preset) => (
          <button
            key={preset}
            type="button"
            className="button button-primary"
            disabled={isSending}
            onClick={() => {
              silence(presetEnd(preset, Date.now()));
            }}
          >
            {PRESET_TEXT[preset]}
          </button>
        ))}
        <button
          type="button"
          className="button"
          aria-expanded={custom !== null}
          onClick={() => {
            setCustom(custom === null ? toLocalField(nowMs + 7_200_000) : null);
          }}
        >
          Other…
        </button>
      </div>
      {custom !== null && (
        <div className="custom-end">
          <label htmlFor={`${id}-until`}>Until</label>
          <input
            id={`${id}-until`}
            className="field"
            type="datetime-local"
            value={custom}
            onChange={(event) => {
              setCustom(event.target.value);
            }}
          />
          <button
            type="button"
            className="button button-primary"
            disabled={isSending || !(customMs > nowMs)}
            onClick={() => {
              silence(customMs);
            }}
          >
            Silence
          </button>
        </div>
      )}
      {isAuthorMissing && author.trim() === '' ? (
        <p className="field-problem" role="alert">
          Say who you are, so that others can ask.
        </p>
      ) : (
        <ChangeProblem failure={failure} />
      )}
      <Link
        to="/silences"
        search={{ form: 'new', matchers: matchers.map(formatMatcher).join(' ') }}
        className="quick-more"
      >
        Other matchers, another beginning…
      </Link>
    </div>
  );
}
