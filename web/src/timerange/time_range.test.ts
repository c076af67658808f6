import { describe, expect, it } from 'vitest';
import { parseCustom, parseSearch, rangeNoun, rangeOf, rangeParameters, toLocalField } from './time_range';

describe('parseSearch', () => {
  it('keeps what makes sense', () => {
    expect(parseSearch({ range: '30d' })).toEqual({ range: '30d' });
    expect(parseSearch({ from: '1000', to: 2000 })).toEqual({ from: 1000, to: 2000 });
  });

  it.each([
    { range: '0d' },
    { range: '7 days' },
    { range: 7 },
    { from: 2000, to: 1000 },
    { from: 'x', to: 1 },
    {},
  ])('drops %j', (search) => {
    expect(parseSearch(search)).toEqual({});
  });
});

it('asks for the default range unless the address names another', () => {
  expect(rangeParameters(rangeOf({}, '7d'))).toBe('range=7d');
  expect(rangeParameters(rangeOf({ range: '24h' }, '7d'))).toBe('range=24h');
  expect(rangeParameters(rangeOf({ from: 1, to: 2 }, '7d'))).toBe('from=1&to=2');
});

it('names a range in words', () => {
  expect(['24h', '1d', 'odd'].map(rangeNoun)).toEqual(['24 hours', '1 day', 'odd']);
});

describe('parseCustom', () => {
  const nowMs = Date.parse('2026-06-15T12:00');

  it('says what is wrong with two fields', () => {
    expect(parseCustom('', '2026-06-01T00:00', nowMs).kind).toBe('incomplete');
    expect(parseCustom('2026-06-02T00:00', '2026-06-01T00:00', nowMs).kind).toBe('reversed');
    expect(parseCustom('2026-06-16T00:00', '2026-06-17T00:00', nowMs).kind).toBe('future');
  });

  it('reads back what the fields were filled with', () => {
    const [fromMs, toMs] = [nowMs - 3_600_000, nowMs];
    expect(parseCustom(toLocalField(fromMs), toLocalField(toMs), nowMs)).toEqual({
      kind: 'range',
      range: { kind: 'absolute', fromMs, toMs },
    });
  });
});
