import { type SubmitEvent, useId, useState } from 'react';
import { type Failure, failureOf } from '../api/failure';
import { openSession } from '../api/session';
import { wordingOf } from '../states/failure_notice';

type Kind = 'viewer' | 'operator';

interface Wording {
  title: string;
  hint: string;
  label: string;
  submit: string;
}

const WORDINGS: Record<Kind, Wording> = {
  viewer: {
    title: 'Paste a viewer key',
    hint: 'This server shows its dashboards to people with a viewer key.',
    label: 'Viewer key',
    submit: 'Open the dashboards',
  },
  operator: {
    title: 'Paste an operator key',
    hint: 'It reads as a viewer key does, and may silence alerts and send tests. It takes the place of the key that this browser has.',
    label: 'Operator key',
    submit: 'Use this key',
  },
};

function refusal(failure: Failure, kind: Kind): string {
  switch (failure.kind) {
    case 'unauthorized':
      return 'This key is not known, or it has been revoked.';
    case 'forbidden':
      return `This key can write but not read. Ask for ${kind === 'viewer' ? 'a viewer' : 'an operator'} key.`;
    case 'timeout':
    case 'unreachable':
    case 'not_found':
    case 'bad_query':
    case 'busy':
    case 'server':
    case 'malformed': {
      const { title, hint } = wordingOf(failure);
      return `${title}. ${hint}`;
    }
  }
}

/** What a page shows that the server does not yet trust, or not enough. */
export function KeyForm({ onOpened, kind = 'viewer' }: { onOpened: () => void; kind?: Kind }) {
  const [key, setKey] = useState('');
  const [isSending, setIsSending] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const id = useId();
  const { title, hint, label, submit: submitText } = WORDINGS[kind];

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    setIsSending(true);
    setProblem(null);
    try {
      await openSession(key.trim());
      onOpened();
    } catch (error) {
      setProblem(refusal(failureOf(error), kind));
    } finally {
      setIsSending(false);
    }
  };

  return (
    <form className="key-form" onSubmit={(event) => void submit(event)}>
      <h1>{title}</h1>
      <p>
        {hint} Whoever runs it makes one with <code>apiary key create --kind {kind}</code>.
      </p>
      <label htmlFor={id}>{label}</label>
      <input
        id={id}
        type="password"
        autoComplete="current-password"
        spellCheck={false}
        required
        value={key}
        aria-describedby={`${id}-problem`}
        aria-invalid={problem !== null}
        onChange={(event) => {
          setKey(event.target.value);
        }}
      />
      <p id={`${id}-problem`} className="field-problem" role="alert">
        {problem}
      </p>
      <button type="submit" className="button button-primary" disabled={isSending || key.trim() === ''}>
        {isSending ? 'Opening…' : submitText}
      </button>
    </form>
  );
}
