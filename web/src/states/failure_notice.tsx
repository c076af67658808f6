import type { Failure } from '../api/failure';

interface Wording {
  title: string;
  hint: string;
}

/** Every failure in words that say what happened and what to do. */
export function wordingOf(failure: Failure): Wording {
  switch (failure.kind) {
    case 'timeout':
      return {
        title: 'The answer took too long',
        hint: 'The server is busy or the time range is very long. Try again, or choose a shorter range.',
      };
    case 'unreachable':
      return {
        title: 'Apiary cannot be reached',
        hint: 'Is the server running, and is this device online? The page keeps trying.',
      };
    case 'unauthorized':
      return { title: 'A viewer key is needed', hint: 'The key is missing, or it has been revoked.' };
    case 'forbidden':
      return { title: 'This key may not see this', hint: failure.message };
    case 'not_found':
      return { title: 'Not here any more', hint: failure.message };
    case 'bad_query':
      return { title: 'The query was refused', hint: failure.message };
    case 'busy':
      return {
        title: 'The server asks for a pause',
        hint:
          failure.retryAfterSeconds === null
            ? 'It is busy or restarting. The page keeps trying.'
            : `It is busy or restarting, and wants to be asked again in ${failure.retryAfterSeconds} s.`,
      };
    case 'server':
      return { title: `The server failed (status ${failure.status})`, hint: failure.message };
    case 'malformed':
      return {
        title: 'The answer makes no sense',
        hint: `${failure.message}. Perhaps this page is older than the server: reload it.`,
      };
  }
}

interface Props {
  failure: Failure;
  onRetry: () => void;
}

export function FailureNotice({ failure, onRetry }: Props) {
  const { title, hint } = wordingOf(failure);
  return (
    <div className="notice notice-failure" role="alert">
      <p className="notice-title">{title}</p>
      <p className="notice-hint">{hint}</p>
      <button type="button" className="button" onClick={onRetry}>
        Try again
      </button>
    </div>
  );
}
