/**
 * Turns many calls into few: the first runs at once, those that come within `intervalMs` or while `run` is still
 * busy become one more run afterwards. Nothing is lost: after the last call there is always a run that began later.
 */
export interface Coalesced {
  call: () => void;
  cancel: () => void;
}

export function coalesce(run: () => Promise<unknown>, intervalMs: number): Coalesced {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isBusy = false;
  let isWanted = false;
  let isCancelled = false;

  const start = () => {
    isBusy = true;
    isWanted = false;
    const isDone = run().catch(() => undefined);
    const isRested = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, intervalMs);
    });
    void Promise.all([isDone, isRested]).then(() => {
      isBusy = false;
      if (isWanted && !isCancelled) start();
    });
  };

  return {
    call: () => {
      if (isCancelled) return;
      isWanted = true;
      if (!isBusy) start();
    },
    cancel: () => {
      isCancelled = true;
      clearTimeout(timer);
    },
  };
}
