/**
 * The time range of a page. It lives in the address, so that a link shows what its sender saw: `?range=7d`, or
 * `?from=…&to=…` in milliseconds since 1970.
 */
export type TimeRange =
  { kind: 'relative'; name: string } | { kind: 'absolute'; fromMs: number; toMs: number };

export interface RangeSearch {
  range?: string | undefined;
  from?: number | undefined;
  to?: number | undefined;
}

const NAME = /^([1-9]\d{0,3})([mhdw])$/;
const UNIT_NOUNS = { m: 'minute', h: 'hour', d: 'day', w: 'week' } as const;

function isUnit(letter: string | undefined): letter is keyof typeof UNIT_NOUNS {
  return letter !== undefined && letter in UNIT_NOUNS;
}

export function isRangeName(name: string): boolean {
  return NAME.test(name);
}

/** Keeps what makes sense of an address that anybody may have edited. */
export function parseSearch(search: Record<string, unknown>): RangeSearch {
  const fromMs = Number(search['from']);
  const toMs = Number(search['to']);
  if (Number.isSafeInteger(fromMs) && Number.isSafeInteger(toMs) && fromMs > 0 && toMs > fromMs)
    return { from: fromMs, to: toMs };
  const name = search['range'];
  return typeof name === 'string' && isRangeName(name) ? { range: name } : {};
}

export function rangeOf(search: RangeSearch, defaultName: string): TimeRange {
  if (search.from !== undefined && search.to !== undefined)
    return { kind: 'absolute', fromMs: search.from, toMs: search.to };
  return { kind: 'relative', name: search.range ?? defaultName };
}

export function searchOf(range: TimeRange): RangeSearch {
  return range.kind === 'relative' ? { range: range.name } : { from: range.fromMs, to: range.toMs };
}

/** As the API wants it. */
export function rangeParameters(range: TimeRange): string {
  return range.kind === 'relative'
    ? `range=${encodeURIComponent(range.name)}`
    : `from=${range.fromMs}&to=${range.toMs}`;
}

/** "7d" → "7 days". */
export function rangeNoun(name: string): string {
  const match = NAME.exec(name);
  const letter = match?.[2];
  if (!match || !isUnit(letter)) return name;
  const count = Number(match[1]);
  return `${count} ${UNIT_NOUNS[letter]}${count === 1 ? '' : 's'}`;
}

export type CustomRange =
  { kind: 'range'; range: TimeRange } | { kind: 'incomplete' } | { kind: 'reversed' } | { kind: 'future' };

/** What two `datetime-local` fields say, in the reader's time zone. */
export function parseCustom(from: string, to: string, nowMs: number): CustomRange {
  const fromMs = Date.parse(from);
  const toMs = Date.parse(to);
  if (Number.isNaN(fromMs) || Number.isNaN(toMs)) return { kind: 'incomplete' };
  if (fromMs >= toMs) return { kind: 'reversed' };
  if (fromMs > nowMs) return { kind: 'future' };
  return { kind: 'range', range: { kind: 'absolute', fromMs, toMs } };
}

/** The value of a `datetime-local` field, in the reader's time zone. */
export function toLocalField(tsMs: number): string {
  const local = new Date(tsMs - new Date(tsMs).getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 16);
}
