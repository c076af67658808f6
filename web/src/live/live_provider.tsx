import { useQueryClient } from '@tanstack/react-query';
import { createContext, type ReactNode, useContext, useEffect, useState } from 'react';
import { openLive } from '../api/live';
import { PANEL_KEY } from '../api/panels';
import { coalesce } from './coalesce';

export type LiveState = 'connecting' | 'live' | 'reconnecting';

interface Live {
  state: LiveState;
  /** When the panels were last brought up to date, by this page's clock. */
  updatedMs: number;
}

const LiveContext = createContext<Live>({ state: 'connecting', updatedMs: 0 });

/** At most one round of panel requests a second, however often the server commits. */
const REFRESH_INTERVAL_MS = 1_000;

export function LiveProvider({ children }: { children: ReactNode }) {
  const queryClient = useQueryClient();
  const [state, setState] = useState<LiveState>('connecting');
  const [updatedMs, setUpdatedMs] = useState(() => Date.now());

  useEffect(() => {
    const refresh = coalesce(async () => {
      await queryClient.invalidateQueries({ queryKey: [PANEL_KEY] });
      setUpdatedMs(Date.now());
    }, REFRESH_INTERVAL_MS);
    // A page that nobody sees asks nothing; it catches up when it is looked at again.
    let isMissed = false;
    const onCommit = () => {
      if (document.hidden) isMissed = true;
      else refresh.call();
    };
    const onVisible = () => {
      if (document.hidden || !isMissed) return;
      isMissed = false;
      refresh.call();
    };
    let isFirst = true;
    const close = openLive({
      onOpen: () => {
        setState('live');
        if (!isFirst) onCommit(); // what was committed while we were away
        isFirst = false;
      },
      onCommit,
      onLost: () => {
        setState((before) => (before === 'connecting' ? 'connecting' : 'reconnecting'));
      },
    });
    document.addEventListener('visibilitychange', onVisible);
    return () => {
      close();
      refresh.cancel();
      document.removeEventListener('visibilitychange', onVisible);
    };
  }, [queryClient]);

  return <LiveContext value={{ state, updatedMs }}>{children}</LiveContext>;
}

export function useLive(): Live {
  return useContext(LiveContext);
}
