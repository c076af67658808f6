import { type Decoder, record, text } from './decode';

export type Labels = Record<string, string>;

export const labels: Decoder<Labels> = (value, at) =>
  Object.fromEntries(
    Object.entries(record(value, at)).map(([name, entry]) => [name, text(entry, `${at}.${name}`)]),
  );

/** The same text for the same labels. */
export function labelsKey(set: Labels): string {
  return JSON.stringify(Object.entries(set).sort(([a], [b]) => (a < b ? -1 : 1)));
}
