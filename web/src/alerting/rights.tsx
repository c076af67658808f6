import { useQuery, useQueryClient } from '@tanstack/react-query';
import { type ReactNode, useState } from 'react';
import { type Failure } from '../api/failure';
import { type SessionKind, sessionQuery } from '../api/session';
import { KeyForm } from '../session/key_form';
import { wordingOf } from '../states/failure_notice';

const MAY_CHANGE: Record<SessionKind, boolean> = {
  open: true,
  operator: true,
  secret: true,
  viewer: false,
  none: false,
};

/** Whether this page's key may change things; until the server has said so, trying is all that can be done. */
export function useMayChange(): boolean {
  const { data: kind } = useQuery(sessionQuery());
  return kind === undefined || MAY_CHANGE[kind];
}

/** Shows `children` to who may change things, and to all others why they may not, and how they could. */
export function OperatorOnly({ what, children }: { what: string; children: ReactNode }) {
  const mayChange = useMayChange();
  const queryClient = useQueryClient();
  const [isAsking, setIsAsking] = useState(false);
  if (mayChange) return children;
  if (isAsking)
    return (
      <KeyForm
        kind="operator"
        onOpened={() => {
          setIsAsking(false);
          void queryClient.invalidateQueries();
        }}
      />
    );
  return (
    <div className="rights-notice">
      <p className="notice-title">Your key only reads</p>
      <p className="notice-hint">
        {what} needs an operator key. Whoever runs this server makes one with{' '}
        <code>apiary key create --kind operator</code>.
      </p>
      <button
        type="button"
        className="button"
        onClick={() => {
          setIsAsking(true);
        }}
      >
        Use an operator key
      </button>
    </div>
  );
}

/** Why a change did not come about. */
export function ChangeProblem({ failure }: { failure: Failure | null }) {
  return (
    <p className="field-problem" role="alert">
      {failure !== null && changeProblemText(failure)}
    </p>
  );
}

function changeProblemText(failure: Failure): string {
  if (failure.kind === 'bad_query') return failure.message;
  const { title, hint } = wordingOf(failure);
  return `${title}. ${hint}`;
}
