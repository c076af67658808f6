import type { Failure } from '../api/failure';
import { wordingOf } from '../states/failure_notice';

/** The panel shows its last figures although the newest could not be fetched. */
export function StaleMark({ failure }: { failure: Failure }) {
  const { title, hint } = wordingOf(failure);
  return (
    <span className="stale" role="status" title={`${title}. ${hint}`}>
      not updated<span className="visually-hidden">: {title}</span>
    </span>
  );
}
