import { queryOptions } from '@tanstack/react-query';
import { fetchJson, sendJson } from './client';
import { type Decoder, list, number, oneOf, optional, record, text, withDefault } from './decode';
import type { Outcome } from './notifications';

export interface Attempt {
  tsMs: number;
  outcome: Outcome;
  status: number | null;
  answer: string;
}

/** One way of a receiver, such as its second webhook. */
export interface Way {
  kind: string;
  index: number;
  last: Attempt | null;
  lastTest: Attempt | null;
  failingSinceMs: number | null;
}

export interface Receiver {
  name: string;
  ways: Way[];
  /** When the server tests it by itself; null: only when somebody asks. */
  nextTestMs: number | null;
}

export interface Receivers {
  receivers: Receiver[];
  /** The tests that the server makes by itself; null: it makes none. */
  pathTest: { intervalMs: number; nextMs: number } | null;
}

const decodeAttempt: Decoder<Attempt> = (value, at) => {
  const o = record(value, at);
  const status = withDefault(number, 0)(o['status'], `${at}.status`);
  return {
    tsMs: withDefault(number, 0)(o['ts_ms'], `${at}.ts_ms`),
    outcome: oneOf(['done', 'retry', 'refused'], 'refused')(o['outcome'], `${at}.outcome`),
    status: status === 0 ? null : status,
    answer: withDefault(text, '')(o['answer'], `${at}.answer`),
  };
};

const decodeWay: Decoder<Way> = (value, at) => {
  const o = record(value, at);
  return {
    kind: text(o['kind'], `${at}.kind`),
    index: withDefault(number, 0)(o['index'], `${at}.index`),
    last: optional(decodeAttempt)(o['last'], `${at}.last`),
    lastTest: optional(decodeAttempt)(o['last_test'], `${at}.last_test`),
    failingSinceMs: optional(number)(o['failing_since_ms'], `${at}.failing_since_ms`),
  };
};

const decodePathTest: Decoder<{ intervalMs: number; nextMs: number }> = (value, at) => {
  const o = record(value, at);
  return {
    intervalMs: number(o['interval_ms'], `${at}.interval_ms`),
    nextMs: number(o['next_ms'], `${at}.next_ms`),
  };
};

export const decodeReceivers: Decoder<Receivers> = (value, at) => {
  const o = record(value, at);
  return {
    receivers: list((entry, entryAt) => {
      const receiver = record(entry, entryAt);
      return {
        name: text(receiver['name'], `${entryAt}.name`),
        ways: list(decodeWay)(receiver['ways'], `${entryAt}.ways`),
        nextTestMs: optional(number)(receiver['next_test_ms'], `${entryAt}.next_test_ms`),
      };
    })(o['receivers'], `${at}.receivers`),
    pathTest: optional(decodePathTest)(o['path_test'], `${at}.path_test`),
  };
};

export const RECEIVERS_KEY = 'receivers';

export function receiversQuery() {
  return queryOptions({
    queryKey: [RECEIVERS_KEY],
    queryFn: ({ signal }) => fetchJson('/api/apiary/v1/receivers', decodeReceivers, signal),
    refetchInterval: 10_000,
  });
}

/** What came of a test by one way. */
export interface TestResult extends Attempt {
  kind: string;
  index: number;
}

const decodeTestResult: Decoder<TestResult> = (value, at) => {
  const o = record(value, at);
  return {
    ...decodeAttempt(value, at),
    kind: text(o['kind'], `${at}.kind`),
    index: withDefault(number, 0)(o['index'], `${at}.index`),
  };
};

export const decodeTestResults: Decoder<TestResult[]> = (value, at) =>
  withDefault(list(decodeTestResult), [])(record(value, at)['ways'], `${at}.ways`);

/** A receiver may take its time; the server waits for a minute. */
const TEST_TIMEOUT_MS = 65_000;

/** Sends a test message by each way of the receiver. Throws ApiError. */
export function sendTest(receiver: string): Promise<TestResult[]> {
  const path = `/api/apiary/v1/receivers/${encodeURIComponent(receiver)}/test`;
  return sendJson(path, undefined, decodeTestResults, TEST_TIMEOUT_MS);
}
