import { expect, test } from 'vitest';
import type { Area, Metric, MetricCoverage } from '../api/catalogue';
import { filterAreas, matches, parseCatalogueSearch } from './filter';

const metric = (name: string, more: Partial<Metric> = {}): Metric => ({
  name,
  series: name.replaceAll('.', '_'),
  shortName: null,
  type: 'gauge',
  unit: '1',
  title: name,
  meaning: 'From a key that was pressed to the frame that shows it.',
  owner: 'terminal',
  query: name,
  queryUnit: 'ratio',
  target: null,
  attributes: [],
  ...more,
});

const areas: Area[] = [
  {
    id: 'a',
    title: 'Core',
    description: '',
    metrics: [metric('x.one', { shortName: 'first' }), metric('x.two')],
  },
  { id: 'b', title: 'Terminal', description: '', metrics: [metric('y.three')] },
];

const [core] = areas as [Area, Area];
const [one, two] = core.metrics as [Metric, Metric];

test('every word has to be somewhere', () => {
  expect(matches(one, core, 'FIRST key')).toBe(true);
  expect(matches(one, core, 'core gauge')).toBe(true);
  expect(matches(one, core, 'first lock')).toBe(false);
  expect(matches(one, core, '')).toBe(true);
  const labelled = metric('z', { attributes: [{ name: 'stage', meaning: '', values: ['refiner'] }] });
  expect(matches(labelled, core, 'stage refiner')).toBe(true);
});

const names = (found: Area[]) => found.map(({ id, metrics }) => [id, ...metrics.map(({ name }) => name)]);

test('areas without a metric that is left are gone', () => {
  const all = () => undefined;
  expect(names(filterAreas(areas, { q: 'three' }, all, () => false))).toEqual([['b', 'y.three']]);
  expect(names(filterAreas(areas, {}, all, () => false))).toEqual([
    ['a', 'x.one', 'x.two'],
    ['b', 'y.three'],
  ]);
});

test('what is not seen, and what misses its target', () => {
  const seen = (found: Metric) => ({ isSeen: found !== two }) as MetricCoverage;
  expect(names(filterAreas(areas, { show: 'unseen' }, seen, () => true))).toEqual([['a', 'x.two']]);
  expect(names(filterAreas(areas, { show: 'missed' }, seen, (found) => found === one))).toEqual([
    ['a', 'x.one'],
  ]);
  // As long as nothing is known, nothing is missing.
  expect(
    filterAreas(
      areas,
      { show: 'unseen' },
      () => undefined,
      () => true,
    ),
  ).toEqual([]);
});

test('keeps what makes sense of an address', () => {
  expect(parseCatalogueSearch({ q: 'a', show: 'unseen', range: '7d' })).toEqual({ q: 'a', show: 'unseen' });
  expect(parseCatalogueSearch({ q: '', show: 'all' })).toEqual({});
  expect(parseCatalogueSearch({ q: 7 })).toEqual({});
});
