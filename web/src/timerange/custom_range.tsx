import { useNavigate } from '@tanstack/react-router';
import { type SubmitEvent, useState } from 'react';
import { type CustomRange, parseCustom, searchOf, type TimeRange, toLocalField } from './time_range';

function problemOf(custom: CustomRange): string | null {
  switch (custom.kind) {
    case 'range':
      return null;
    case 'incomplete':
      return 'Give both a beginning and an end.';
    case 'reversed':
      return 'The beginning must be before the end.';
    case 'future':
      return 'The beginning lies in the future.';
  }
}

const WEEK_MS = 7 * 86_400_000;

interface Props {
  range: TimeRange;
  onDone: () => void;
}

export function CustomRangeForm({ range, onDone }: Props) {
  const navigate = useNavigate();
  const [nowMs] = useState(() => Date.now());
  const [from, setFrom] = useState(toLocalField(range.kind === 'absolute' ? range.fromMs : nowMs - WEEK_MS));
  const [to, setTo] = useState(toLocalField(range.kind === 'absolute' ? range.toMs : nowMs));
  const [problem, setProblem] = useState<string | null>(null);

  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const custom = parseCustom(from, to, Date.now());
    setProblem(problemOf(custom));
    if (custom.kind !== 'range') return;
    void navigate({ to: '.', search: searchOf(custom.range) });
    onDone();
  };

  return (
    <form className="custom-range" onSubmit={submit} noValidate>
      <label htmlFor="range-from">From</label>
      <input
        id="range-from"
        type="datetime-local"
        value={from}
        onChange={(event) => {
          setFrom(event.target.value);
        }}
      />
      <label htmlFor="range-to">To</label>
      <input
        id="range-to"
        type="datetime-local"
        value={to}
        onChange={(event) => {
          setTo(event.target.value);
        }}
      />
      <p className="field-problem" role="alert">
        {problem}
      </p>
      <button type="submit" className="button button-primary">
        Show this range
      </button>
    </form>
  );
}
