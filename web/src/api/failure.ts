/** Everything that can go wrong between this page and the server. A screen handles each kind by itself. */
export type Failure =
  | { kind: 'timeout'; afterMs: number }
  | { kind: 'unreachable' }
  | { kind: 'unauthorized' }
  | { kind: 'forbidden'; message: string }
  | { kind: 'not_found'; message: string }
  | { kind: 'bad_query'; message: string }
  | { kind: 'busy'; retryAfterSeconds: number | null }
  | { kind: 'server'; status: number; message: string }
  | { kind: 'malformed'; message: string };

/** The form in which a failure travels through promises, which want an Error. */
export class ApiError extends Error {
  constructor(readonly failure: Failure) {
    super(failure.kind);
    this.name = 'ApiError';
  }
}

/** What the query cache hands back as an error is ours, unless the program itself is at fault. */
export function failureOf(error: unknown): Failure {
  if (error instanceof ApiError) return error.failure;
  return { kind: 'malformed', message: error instanceof Error ? error.message : String(error) };
}

export function failureOfStatus(status: number, message: string, retryAfter: string | null): Failure {
  const seconds = Number(retryAfter);
  switch (status) {
    case 400:
    case 422:
      return { kind: 'bad_query', message };
    case 401:
      return { kind: 'unauthorized' };
    case 403:
      return { kind: 'forbidden', message };
    case 404:
      return { kind: 'not_found', message };
    case 408:
    case 504:
      return { kind: 'timeout', afterMs: 0 };
    case 429:
    case 503:
      return { kind: 'busy', retryAfterSeconds: retryAfter !== null && seconds > 0 ? seconds : null };
    default:
      return { kind: 'server', status, message };
  }
}

/** Whether asking again, unchanged, may help. */
export function isWorthRetrying(failure: Failure): boolean {
  switch (failure.kind) {
    case 'timeout':
    case 'unreachable':
    case 'busy':
      return true;
    case 'server':
      return failure.status >= 500;
    case 'unauthorized':
    case 'forbidden':
    case 'not_found':
    case 'bad_query':
    case 'malformed':
      return false;
  }
}
