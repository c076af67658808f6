import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { failureOf } from '../api/failure';
import { NOTIFICATIONS_KEY } from '../api/notifications';
import { RECEIVERS_KEY, sendTest, type TestResult } from '../api/receivers';
import { ChangeProblem, OperatorOnly, useMayChange } from '../alerting/rights';
import { answerText, wayNoun } from './wording';

/** Sends a message to everybody of this receiver, now, and says what came of it. */
export function TestButton({ receiver }: { receiver: string }) {
  const mayChange = useMayChange();
  const [isExplaining, setExplaining] = useState(false);
  const queryClient = useQueryClient();
  const { mutate, data, isPending, error } = useMutation({
    mutationFn: async () => {
      const results = await sendTest(receiver);
      await Promise.all(
        [RECEIVERS_KEY, NOTIFICATIONS_KEY].map((key) => queryClient.invalidateQueries({ queryKey: [key] })),
      );
      return results;
    },
  });
  return (
    <div className="test">
      <button
        type="button"
        className="button button-small"
        disabled={isPending}
        onClick={() => {
          if (mayChange) mutate();
          else setExplaining(true);
        }}
      >
        {isPending ? 'Sending…' : 'Send a test'}
        <span className="visually-hidden"> to {receiver}</span>
      </button>
      {isExplaining && (
        <OperatorOnly what="Sending a test">
          <span className="tile-note">Now it works: press again.</span>
        </OperatorOnly>
      )}
      <div role="status" className="test-results">
        {data?.map((result) => (
          <p key={`${result.kind} ${result.index}`} data-verdict={result.outcome === 'done' ? 'good' : 'bad'}>
            {resultText(result)}
          </p>
        ))}
        {data?.length === 0 && <p>Sent. What came of it stands in the log below.</p>}
      </div>
      {error !== null && <ChangeProblem failure={failureOf(error)} />}
    </div>
  );
}

function resultText(result: TestResult): string {
  const way = wayNoun(result.kind);
  return result.outcome === 'done' ? `${way}: arrived` : `${way}: did not arrive: ${answerText(result)}`;
}
