interface Props {
  label: string;
  placeholder: string;
  value: string | undefined;
  problem?: string | null;
  onChange: (value: string | undefined) => void;
}

/** A search that is kept in the address; '' is none. */
export function SearchField({ label, placeholder, value, problem = null, onChange }: Props) {
  return (
    <div className="search-field">
      <input
        type="search"
        className="search-box"
        aria-label={label}
        placeholder={placeholder}
        spellCheck={false}
        aria-invalid={problem !== null}
        value={value ?? ''}
        onChange={(event) => {
          const text = event.target.value;
          onChange(text === '' ? undefined : text);
        }}
      />
      {problem !== null && (
        <p className="field-problem" role="alert">
          {problem}
        </p>
      )}
    </div>
  );
}
