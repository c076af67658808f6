import { addressOf } from './address';
import type { Decoder } from './decode';
import { ApiError, type Failure, failureOfStatus } from './failure';

const TIMEOUT_MS = 15_000;

/** One request with a deadline. Every way in which it can fail leaves as an ApiError. */
export async function request(
  path: string,
  init: RequestInit = {},
  timeoutMs = TIMEOUT_MS,
): Promise<Response> {
  const deadline = AbortSignal.timeout(timeoutMs);
  const signal = init.signal ? AbortSignal.any([init.signal, deadline]) : deadline;
  let response: Response;
  try {
    response = await fetch(addressOf(path), { ...init, signal, credentials: 'same-origin' });
  } catch (error) {
    if (init.signal?.aborted) throw error; // the caller gave up: not a failure
    throw new ApiError(deadline.aborted ? { kind: 'timeout', afterMs: timeoutMs } : { kind: 'unreachable' });
  }
  if (!response.ok) throw new ApiError(await failureIn(response));
  return response;
}

export async function fetchJson<T>(
  path: string,
  decode: Decoder<T>,
  signal?: AbortSignal,
  timeoutMs = TIMEOUT_MS,
): Promise<T> {
  const init = { headers: { Accept: 'application/json' }, ...(signal ? { signal } : {}) };
  const response = await request(path, init, timeoutMs);
  let body: unknown;
  try {
    body = await response.json();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError({ kind: 'malformed', message: `${path}: the answer is not JSON` });
  }
  return decode(body, 'answer');
}

/** Sends JSON, and decodes the answer. */
export async function sendJson<T>(
  path: string,
  body: unknown,
  decode: Decoder<T>,
  timeoutMs = TIMEOUT_MS,
): Promise<T> {
  const init = {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Accept: 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  };
  const response = await request(path, init, timeoutMs);
  let answer: unknown;
  try {
    answer = await response.json();
  } catch {
    throw new ApiError({ kind: 'malformed', message: `${path}: the answer is not JSON` });
  }
  return decode(answer, 'answer');
}

async function failureIn(response: Response): Promise<Failure> {
  let message = `HTTP status ${response.status}`;
  try {
    const body: unknown = await response.json();
    if (typeof body === 'string') message = body; // Alertmanager's API
    if (typeof body === 'object' && body !== null) {
      // Prometheus' API says so with the status of a server that is busy.
      if ('errorType' in body && body.errorType === 'timeout') return { kind: 'timeout', afterMs: 0 };
      if ('error' in body && typeof body.error === 'string') message = body.error;
    }
  } catch {
    // Not JSON, as from a proxy in between: the status says enough.
  }
  return failureOfStatus(response.status, message, response.headers.get('Retry-After'));
}
