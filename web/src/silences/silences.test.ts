import { expect, test } from 'vitest';
import type { Silence } from '../api/silences';
import { presetEnd } from './durations';
import { findSilences, heldCounts, parseSilenceSearch } from './filter';
import { filtersOf, wishProblem } from './wish';

const matcher = { name: 'team', value: 'db', isRegex: false, isEqual: true };
const silence = (id: string, more: Partial<Silence> = {}): Silence => ({
  id,
  state: 'active',
  matchers: [matcher],
  startsMs: 0,
  endsMs: 10_000,
  updatedMs: 0,
  createdBy: 'Ada',
  comment: 'new disks',
  ...more,
});

test('presets', () => {
  const now = new Date(2026, 10, 29, 22, 30).getTime();
  expect(presetEnd('1h', now) - now).toBe(3_600_000);
  expect(presetEnd('tomorrow', now)).toBe(new Date(2026, 10, 30, 9).getTime());
});

test('active ones by their end, counts of all that fit', () => {
  const all = [
    silence('late', { endsMs: 20_000 }),
    silence('soon'),
    silence('old', { state: 'expired' }),
    silence('other', { comment: 'elsewhere', createdBy: 'Bob' }),
  ];
  const found = findSilences(all, { q: 'ada disks' });
  expect(found.silences.map(({ id }) => id)).toEqual(['soon', 'late']);
  expect(found.counts).toEqual({ active: 2, pending: 0, expired: 1 });
  expect(findSilences(all, { show: 'expired' }).silences.map(({ id }) => id)).toEqual(['old']);
  expect(findSilences(all, { q: 'team="db"' }).silences).toHaveLength(3);
});

test('a link to one holds whatever has become of it', () => {
  const all = [silence('soon'), silence('old', { state: 'expired' })];
  const found = findSilences(all, { q: 'old' });
  expect([found.state, found.silences.map(({ id }) => id)]).toEqual(['expired', ['old']]);
  expect(findSilences(all, { q: 'old', show: 'pending' }).silences).toEqual([]);
});

test('what each holds back', () => {
  const alert = (silencedBy: string[]) => ({
    fingerprint: '',
    labels: {},
    annotations: {},
    startsMs: 0,
    receivers: [],
    generatorUrl: null,
    silencedBy,
    inhibitedBy: [],
    mutedBy: [],
  });
  const counts = heldCounts([alert(['a']), alert(['a', 'b']), alert([])]);
  expect([...counts]).toEqual([
    ['a', 2],
    ['b', 1],
  ]);
});

test('what is missing is told', () => {
  const wish = { matchers: [matcher], startsMs: 0, endsMs: 10, createdBy: 'Ada', comment: 'why' };
  expect(wishProblem(wish, 5)).toBeNull();
  expect(wishProblem({ ...wish, matchers: [] }, 5)).toContain('at least one label');
  expect(wishProblem({ ...wish, matchers: [{ ...matcher, value: '.*', isRegex: true }] }, 5)).toContain(
    'at least one label',
  );
  expect(wishProblem({ ...wish, matchers: [{ ...matcher, value: '(', isRegex: true }] }, 5)).toContain(
    'regular expression',
  );
  expect(wishProblem({ ...wish, comment: ' ' }, 5)).toContain('why');
  expect(wishProblem({ ...wish, createdBy: '' }, 5)).toContain('who you are');
  expect(wishProblem({ ...wish, endsMs: NaN }, 5)).toContain('ends');
  expect(wishProblem(wish, 11)).toContain('passed');
  expect(wishProblem({ ...wish, startsMs: null }, 5)).toBeNull();
  expect(wishProblem({ ...wish, startsMs: 10 }, 5)).toContain('after the beginning');
});

test('only whole matchers are asked for', () => {
  expect(filtersOf([matcher, { ...matcher, name: '' }, { ...matcher, isRegex: true, value: '(' }])).toEqual([
    'team="db"',
  ]);
});

test('keeps what makes sense of an address', () => {
  expect(parseSilenceSearch({ q: '', show: 'odd', form: 'new', matchers: 'a=b' })).toEqual({
    form: 'new',
    matchers: 'a=b',
  });
});
