/**
 * Small decoders for what comes from outside. A decoder returns the value in its type or throws an ApiError of kind
 * 'malformed' that names the place, so that an unexpected answer is an error on the page and never a blank screen.
 */
import { ApiError } from './failure';

export type Decoder<T> = (value: unknown, at: string) => T;

export function malformed(at: string, expected: string): never {
  throw new ApiError({ kind: 'malformed', message: `${at}: expected ${expected}` });
}

export const text: Decoder<string> = (value, at) =>
  typeof value === 'string' ? value : malformed(at, 'a text');

export const number: Decoder<number> = (value, at) =>
  typeof value === 'number' ? value : malformed(at, 'a number');

export const flag: Decoder<boolean> = (value, at) =>
  typeof value === 'boolean' ? value : malformed(at, 'true or false');

export type Cell = string | number | boolean | null;

export const cell: Decoder<Cell> = (value, at) => {
  if (value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean')
    return value;
  return malformed(at, 'a text, a number, true, false or null');
};

export function record(value: unknown, at: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  return malformed(at, 'an object');
}

export function list<T>(item: Decoder<T>): Decoder<T[]> {
  return (value, at) =>
    Array.isArray(value)
      ? value.map((entry: unknown, index) => item(entry, `${at}[${index}]`))
      : malformed(at, 'a list');
}

/** null and a missing field mean the same. */
export function optional<T>(inner: Decoder<T>): Decoder<T | null> {
  return (value, at) => (value === null || value === undefined ? null : inner(value, at));
}

export function withDefault<T>(inner: Decoder<T>, otherwise: T): Decoder<T> {
  return (value, at) => (value === null || value === undefined ? otherwise : inner(value, at));
}

export function oneOf<const T extends string>(choices: readonly T[], otherwise: T): Decoder<T> {
  return (value) => choices.find((choice) => choice === value) ?? otherwise;
}

/** RFC 3339 to milliseconds since 1970. What never was is in the year 1, and null here. */
export const moment: Decoder<number | null> = (value, at) => {
  const ms = Date.parse(text(value, at));
  return ms > 0 ? ms : null;
};

/** As Prometheus writes the values of samples, because JSON has no infinity. */
export const numberText: Decoder<number> = (value, at) => {
  const word = text(value, at);
  if (word === 'NaN') return NaN;
  if (/^[+-]?Inf$/.test(word)) return word.startsWith('-') ? -Infinity : Infinity;
  return Number(word);
};
