import { type KeyboardEvent, type ReactNode, type SubmitEvent, useId, useState } from 'react';

interface Props {
  expression: string;
  onRun: (expression: string) => void;
  /** What stands beside the button. */
  children: ReactNode;
}

const LINES = { min: 2, max: 12 };

/** The expression, as long as it needs to be. Ctrl+Enter runs it: Enter alone is a new line. */
export function ExpressionForm({ expression, onRun, children }: Props) {
  const [draft, setDraft] = useState(expression);
  const [shown, setShown] = useState(expression);
  const id = useId();
  // Another one came by the address: back, forward, or a link.
  if (shown !== expression) {
    setShown(expression);
    setDraft(expression);
  }
  const run = () => {
    if (draft.trim() !== '') onRun(draft.trim());
  };
  const onSubmit = (event: SubmitEvent) => {
    event.preventDefault();
    run();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    run();
  };
  const lineCount = draft.split('\n').length;
  return (
    <form className="panel expression" onSubmit={onSubmit}>
      <label htmlFor={id} className="visually-hidden">
        PromQL expression
      </label>
      <textarea
        id={id}
        className="field expression-text"
        rows={Math.min(LINES.max, Math.max(LINES.min, lineCount))}
        value={draft}
        spellCheck={false}
        autoCapitalize="off"
        autoComplete="off"
        placeholder="A PromQL expression: sum by (job) (rate(http_requests_total[5m]))"
        onChange={(event) => {
          setDraft(event.target.value);
        }}
        onKeyDown={onKeyDown}
      />
      <div className="expression-tools">
        {children}
        <span className="expression-run">
          <span className="key-hint" aria-hidden="true">
            Ctrl + Enter
          </span>
          <button type="submit" className="button button-primary" disabled={draft.trim() === ''}>
            Run
          </button>
        </span>
      </div>
    </form>
  );
}
