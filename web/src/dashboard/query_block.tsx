import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { graphSearch } from '../graph/address';

const LANGUAGES = { sql: 'SQL', promql: 'PromQL' } as const;

interface Props {
  text: string;
  language: keyof typeof LANGUAGES;
  /** What it is the query of, where a page shows several. */
  subject?: string;
}

/** A definition, to be read and copied. */
export function QueryBlock({ text, language, subject }: Props) {
  const [isCopied, setIsCopied] = useState(false);
  const label = `${LANGUAGES[language]} query${subject === undefined ? '' : ` of ${subject}`}`;
  const copy = () => {
    navigator.clipboard.writeText(text).then(
      () => {
        setIsCopied(true);
      },
      () => {
        setIsCopied(false); // not allowed here; the text can still be selected
      },
    );
  };
  return (
    <div className="sql">
      <div className="sql-header">
        <span>Defined by this {LANGUAGES[language]}</span>
        <span className="sql-tools">
          {language === 'promql' && (
            <Link to="/graph" search={graphSearch(text)} className="button button-small">
              Open as graph
            </Link>
          )}
          <button type="button" className="button button-small" onClick={copy}>
            {isCopied ? 'Copied' : 'Copy'}
          </button>
        </span>
      </div>
      {/* Long lines scroll, so the block must be reachable by keyboard. */}
      {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex */}
      <pre tabIndex={0} role="group" aria-label={label}>
        <code>{text}</code>
      </pre>
    </div>
  );
}
