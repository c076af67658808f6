import { type SubmitEvent, useId, useState } from 'react';
import type { Matcher, Silence } from '../api/silences';
import { ChangeProblem } from '../alerting/rights';
import { toLocalField } from '../timerange/time_range';
import { useAuthor } from './author';
import { PRESET_TEXT, presetEnd, PRESETS } from './durations';
import { EMPTY_MATCHER, MatcherRows } from './matcher_rows';
import { SilencePreview } from './silence_preview';
import { useSetSilence } from './use_set_silence';
import { wishProblem } from './wish';

interface Props {
  /** The one that is changed. */
  before: Silence | undefined;
  /** What a new one begins with. */
  matchers: Matcher[];
  comment?: string;
  onDone: (state: 'pending' | undefined) => void;
  onCancel: () => void;
}

/** All of a silence: which alerts, from when until when, who and why. What it holds back is shown while it is made. */
export function SilenceForm({ before, matchers: given, comment: reason = '', onDone, onCancel }: Props) {
  const [openedMs] = useState(() => Date.now());
  const first = before?.matchers ?? given;
  const [matchers, setMatchers] = useState(first.length > 0 ? first : [EMPTY_MATCHER]);
  const [starts, setStarts] = useState(
    before === undefined || before.startsMs <= openedMs ? '' : toLocalField(before.startsMs),
  );
  const [ends, setEnds] = useState(toLocalField(before?.endsMs ?? presetEnd('1h', openedMs)));
  const [knownAuthor] = useAuthor();
  const [author, setAuthor] = useState(before?.createdBy ?? knownAuthor);
  const [comment, setComment] = useState(before?.comment ?? reason);
  const [problem, setProblem] = useState<string | null>(null);
  const { run, isSending, failure } = useSetSilence();
  const id = useId();

  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const nowMs = Date.now();
    const isNow = starts === '';
    // A silence that holds already keeps its beginning, and with it its id.
    const begunMs = before !== undefined && before.startsMs <= nowMs ? before.startsMs : null;
    const wish = {
      id: before?.id,
      matchers: matchers.filter(({ name, value }) => name !== '' || value !== ''),
      startsMs: isNow ? begunMs : Date.parse(starts),
      endsMs: Date.parse(ends),
      createdBy: author.trim(),
      comment: comment.trim(),
    };
    const found = wishProblem(wish, nowMs);
    setProblem(found);
    if (found !== null) return;
    run(wish, () => {
      onDone(wish.startsMs !== null && wish.startsMs > Date.now() ? 'pending' : undefined);
    });
  };

  return (
    <form className="silence-form" onSubmit={submit} noValidate>
      <h2>{before === undefined ? 'New silence' : 'Change this silence'}</h2>
      <div className="silence-form-columns">
        <div>
          <MatcherRows matchers={matchers} onChange={setMatchers} />
          <SilencePreview matchers={matchers} shownMax={5} />
        </div>
        <div className="silence-fields">
          <label htmlFor={`${id}-starts`}>Begins</label>
          <input
            id={`${id}-starts`}
            className="field"
            type="datetime-local"
            value={starts}
            aria-describedby={`${id}-starts-hint`}
            onChange={(event) => {
              setStarts(event.target.value);
            }}
          />
          <p id={`${id}-starts-hint`} className="field-hint">
            Empty: at once.
          </p>
          <label htmlFor={`${id}-ends`}>Ends</label>
          <input
            id={`${id}-ends`}
            className="field"
            type="datetime-local"
            value={ends}
            onChange={(event) => {
              setEnds(event.target.value);
            }}
          />
          <div className="presets" role="group" aria-label="Ends after">
            {PRESETS.map((preset) => (
              <button
                key={preset}
                type="button"
                className="button button-small"
                onClick={() => {
                  const fromMs = starts === '' ? Date.now() : Date.parse(starts);
                  setEnds(toLocalField(presetEnd(preset, fromMs)));
                }}
              >
                {PRESET_TEXT[preset]}
              </button>
            ))}
          </div>
          <label htmlFor={`${id}-author`}>Who</label>
          <input
            id={`${id}-author`}
            className="field"
            autoComplete="name"
            value={author}
            onChange={(event) => {
              setAuthor(event.target.value);
            }}
          />
          <label htmlFor={`${id}-comment`}>Why</label>
          <textarea
            id={`${id}-comment`}
            className="field"
            rows={2}
            value={comment}
            onChange={(event) => {
              setComment(event.target.value);
            }}
          />
        </div>
      </div>
      {problem === null ? (
        <ChangeProblem failure={failure} />
      ) : (
        <p className="field-problem" role="alert">
          {problem}
        </p>
      )}
      <div className="form-actions">
        <button type="submit" className="button button-primary" disabled={isSending}>
          {before === undefined ? 'Silence' : 'Save'}
        </button>
        <button type="button" className="button" onClick={onCancel}>
          Cancel
        </button>
      </div>
    </form>
  );
}
