import { useMutation, useQueryClient } from '@tanstack/react-query';
import { ALERTS_KEY } from '../api/alerts';
import { type Failure, failureOf } from '../api/failure';
import { endSilence, setSilence, SILENCES_KEY, type SilenceWish } from '../api/silences';
import { rememberAuthor } from './author';

/** Alerts change their state with a silence: both are asked for again, and waited for. */
function useRefresh() {
  const queryClient = useQueryClient();
  return async () => {
    await Promise.all([
      queryClient.invalidateQueries({ queryKey: [SILENCES_KEY] }),
      queryClient.invalidateQueries({ queryKey: [ALERTS_KEY] }),
    ]);
  };
}

export interface Change<T> {
  run: (wish: T, onDone?: () => void) => void;
  isSending: boolean;
  failure: Failure | null;
}

export function useSetSilence(): Change<SilenceWish> {
  const refresh = useRefresh();
  const { mutate, isPending, error } = useMutation({
    mutationFn: async (wish: SilenceWish) => {
      await setSilence(wish);
      rememberAuthor(wish.createdBy);
      await refresh();
    },
  });
  return {
    run: (wish, onDone) => {
      mutate(wish, onDone === undefined ? {} : { onSuccess: onDone });
    },
    isSending: isPending,
    failure: error === null ? null : failureOf(error),
  };
}

export function useEndSilence(): Change<string> {
  const refresh = useRefresh();
  const { mutate, isPending, error } = useMutation({
    mutationFn: async (id: string) => {
      await endSilence(id);
      await refresh();
    },
  });
  return {
    run: (id, onDone) => {
      mutate(id, onDone === undefined ? {} : { onSuccess: onDone });
    },
    isSending: isPending,
    failure: error === null ? null : failureOf(error),
  };
}
