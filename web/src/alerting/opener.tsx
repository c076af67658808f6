interface Props {
  isOpen: boolean;
  onToggle: (isOpen: boolean) => void;
  detailsId: string;
  name: string;
}

/** Shows and hides the details of a row. */
export function Opener({ isOpen, onToggle, detailsId, name }: Props) {
  return (
    <button
      type="button"
      className="icon-button icon-button-small opener"
      aria-expanded={isOpen}
      aria-controls={detailsId}
      aria-label={`Details of ${name}`}
      onClick={() => {
        onToggle(!isOpen);
      }}
    >
      <svg viewBox="0 0 20 20" aria-hidden="true">
        <path d="m5.5 7.5 4.5 5 4.5-5" fill="none" stroke="currentColor" strokeWidth="1.8" />
      </svg>
    </button>
  );
}
