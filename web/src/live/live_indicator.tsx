import { useEffect, useState } from 'react';
import { formatAge } from '../format/time';
import { type LiveState, useLive } from './live_provider';

const LABELS: Record<LiveState, string> = {
  connecting: 'Connecting',
  live: 'Live',
  reconnecting: 'Reconnecting',
};

export function LiveIndicator() {
  const { state, updatedMs } = useLive();
  return (
    <div className="live" data-state={state}>
      <span className="live-dot" aria-hidden="true" />
      {/* Only a change of state is worth saying aloud; the age below would interrupt every second. */}
      <span role="status">{LABELS[state]}</span>
      <Age sinceMs={updatedMs} />
    </div>
  );
}

function Age({ sinceMs }: { sinceMs: number }) {
  const [nowMs, setNowMs] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => {
      setNowMs(Date.now());
    }, 1_000);
    return () => {
      clearInterval(timer);
    };
  }, []);
  return <span className="live-age">updated {formatAge(nowMs - sinceMs)} ago</span>;
}
