import { type SubmitEvent, useState } from 'react';
import { type Failure, failureOf } from '../api/failure';
import { openSession } from '../api/session';
import { wordingOf } from '../states/failure_notice';

function refusal(failure: Failure): string {
  switch (failure.kind) {
    case 'unauthorized':
      return 'This key is not known, or it has been revoked.';
    case 'forbidden':
      return 'This key can write but not read. Ask for a viewer key.';
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

/** What a page shows that the server does not yet trust. */
export function KeyForm({ onOpened }: { onOpened: () => void }) {
  const [key, setKey] = useState('');
  const [isSending, setIsSending] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    setIsSending(true);
    setProblem(null);
    try {
      await openSession(key.trim());
      onOpened();
    } catch (error) {
      setProblem(refusal(failureOf(error)));
    } finally {
      setIsSending(false);
    }
  };

  return (
    <form className="key-form" onSubmit={(event) => void submit(event)}>
      <h1>Paste a viewer key</h1>
      <p>
        This server shows its dashboards to people with a viewer key. Whoever runs it makes one with{' '}
        <code>apiary key create --kind viewer</code>.
      </p>
      <label htmlFor="viewer-key">Viewer key</label>
      <input
        id="viewer-key"
        type="password"
        autoComplete="current-password"
        spellCheck={false}
        required
        value={key}
        aria-describedby="viewer-key-problem"
        aria-invalid={problem !== null}
        onChange={(event) => {
          setKey(event.target.value);
        }}
      />
      <p id="viewer-key-problem" className="field-problem" role="alert">
        {problem}
      </p>
      <button type="submit" className="button button-primary" disabled={isSending || key.trim() === ''}>
        {isSending ? 'Opening…' : 'Open the dashboards'}
      </button>
    </form>
  );
}
