import { formatDuration, spanText } from '../format/duration';
import { REFRESHES } from './address';

interface Props {
  chosenMs: number | null;
  onChoose: (refresh: string | undefined) => void;
}

/** How often the expression is asked again; its end moves along. */
export function RefreshChoice({ chosenMs, onChoose }: Props) {
  const chosen = chosenMs === null ? '' : formatDuration(chosenMs);
  const isListed = chosen === '' || REFRESHES.some((refresh) => refresh === chosen);
  return (
    <select
      className="select"
      aria-label="Refresh"
      value={chosen}
      onChange={(event) => {
        onChoose(event.target.value === '' ? undefined : event.target.value);
      }}
    >
      <option value="">No refresh</option>
      {[...REFRESHES, ...(isListed ? [] : [chosen])].map((refresh) => (
        <option key={refresh} value={refresh}>
          Refresh every {spanText(refresh)}
        </option>
      ))}
    </select>
  );
}
