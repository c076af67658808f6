import { useQuery } from '@tanstack/react-query';
import { receiverNamesQuery } from '../api/alerts';

interface Props {
  chosen: string | undefined;
  onChoose: (receiver: string | undefined) => void;
}

/** Alerts that go to one receiver. With one receiver there is nothing to choose. */
export function ReceiverChoice({ chosen, onChoose }: Props) {
  const { data: names = [] } = useQuery(receiverNamesQuery());
  if (names.length < 2 && chosen === undefined) return null;
  const shown = chosen === undefined || names.includes(chosen) ? names : [...names, chosen];
  return (
    <select
      className="select"
      aria-label="Receiver"
      value={chosen ?? ''}
      onChange={(event) => {
        onChoose(event.target.value === '' ? undefined : event.target.value);
      }}
    >
      <option value="">All receivers</option>
      {shown.map((name) => (
        <option key={name} value={name}>
          {name}
        </option>
      ))}
    </select>
  );
}
