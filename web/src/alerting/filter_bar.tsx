import { type ReactNode, useId, useState } from 'react';

interface Props {
  /** How many filters are set: on a small screen they are not seen. */
  setCount: number;
  children: ReactNode;
}

/** Filters stand beside each other; on a small screen, where they would push the page out of sight, behind a button. */
export function FilterBar({ setCount, children }: Props) {
  const [isOpen, setOpen] = useState(false);
  const id = useId();
  return (
    <>
      <button
        type="button"
        className="button button-small filter-opener"
        aria-expanded={isOpen}
        aria-controls={id}
        onClick={() => {
          setOpen(!isOpen);
        }}
      >
        Filter{setCount > 0 && `: ${setCount} set`}
      </button>
      <div id={id} className="filter-bar" data-open={isOpen}>
        {children}
      </div>
    </>
  );
}

/** Of values of the address. */
export function countSet(...values: (string | undefined)[]): number {
  return values.filter((value) => value !== undefined).length;
}
