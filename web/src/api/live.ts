import { addressOf } from './address';

/**
 * The server's commit stream. EventSource reconnects by itself after a broken connection, but gives up for good
 * when the answer is an error; then we try again ourselves, later each time.
 */
export interface LiveHandlers {
  onOpen: () => void;
  onCommit: () => void;
  onLost: () => void;
}

const RETRY_MS = [1_000, 2_000, 5_000, 10_000, 30_000] as const;

/** Returns the function that closes the stream. */
export function openLive(handlers: LiveHandlers): () => void {
  let source: EventSource | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let failedCount = 0;

  const connect = () => {
    source = new EventSource(addressOf('/api/apiary/v1/live'));
    source.addEventListener('open', () => {
      failedCount = 0;
      handlers.onOpen();
    });
    source.addEventListener('commit', handlers.onCommit);
    source.addEventListener('error', () => {
      handlers.onLost();
      if (source?.readyState !== EventSource.CLOSED) return;
      const waitMs = RETRY_MS[Math.min(failedCount, RETRY_MS.length - 1)];
      failedCount += 1;
      timer = setTimeout(connect, waitMs);
    });
  };

  connect();
  return () => {
    clearTimeout(timer);
    source?.close();
  };
}
