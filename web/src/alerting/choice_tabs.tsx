import { Link } from '@tanstack/react-router';

export interface Choice {
  /** undefined: what is shown when nothing is chosen. */
  value: string | undefined;
  text: string;
  count?: number | undefined;
}

interface Props {
  label: string;
  choices: readonly Choice[];
  chosen: string | undefined;
  /** What a choice is called in the address. */
  name: string;
}

/** A choice that is part of the address, so that each is a link. Counts do not move what stands beside them. */
export function ChoiceTabs({ label, choices, chosen, name }: Props) {
  return (
    <nav className="choice-tabs" aria-label={label}>
      {choices.map(({ value, text, count }) => (
        <Link
          key={text}
          to="."
          search={(search: Record<string, unknown>) => ({ ...search, [name]: value })}
          className="choice"
          activeProps={{}}
          activeOptions={{ exact: true }}
          data-chosen={chosen === value}
          replace
        >
          {text}
          {count !== undefined && (
            <span className="choice-count" data-empty={count === 0}>
              {count}
            </span>
          )}
        </Link>
      ))}
    </nav>
  );
}
