import { addressOf } from './address';
import type { Decoder } from './decode';
import { ApiError, type Failure, failureOfStatus } from './failure';

const TIMEOUT_MS = 15_000;
/** Only to who asks with an ETag. */
const UNCHANGED = 304;

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
  if (!response.ok && response.status !== UNCHANGED) throw new ApiError(await failureIn(response));
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
  return decode(await jsonIn(response, path, signal), 'answer');
}

async function jsonIn(response: Response, path: string, signal?: AbortSignal): Promise<unknown> {
  try {
    return await response.json();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError({ kind: 'malformed', message: `${path}: the answer is not JSON` });
  }
}

/** Of each decoded answer the ETag that it came with. */
const tags = new WeakMap<object, string>();

/**
 * For what is asked again and again and may be large: an answer that is as it was (`before`) is not sent, and stays the
 * same object. Its query has `structuralSharing: false`, which would put another in its place.
 */
export async function fetchUnlessSame<T extends object>(
  path: string,
  decode: Decoder<T>,
  before: T | undefined,
  signal: AbortSignal,
): Promise<T> {
  const known = before === undefined ? undefined : tags.get(before);
  const headers = { Accept: 'application/json', ...(known === undefined ? {} : { 'If-None-Match': known }) };
  const response = await request(path, { headers, signal });
  if (before !== undefined && response.status === UNCHANGED) return before;
  const answer = decode(await jsonIn(response, path, signal), 'answer');
  const tag = response.headers.get('ETag');
  if (tag !== null) tags.set(answer, tag);
  return answer;
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
  return decode(await jsonIn(response, path), 'answer');
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
