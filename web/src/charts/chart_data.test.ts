import { describe, expect, it } from 'vitest';
import type { PanelData } from '../api/panels';
import { EXACT } from '../format/unit';
import { gaugeEnd } from './gauge_end';
import { lineDataOf, yRange } from './line_data';
import { countriesOf, rampBounds, rampIndex } from './map_data';
import { project, unproject } from './projection';

function dataOf(rows: PanelData['rows'], names: string[]): PanelData {
  const columns = names.map((name) => ({ name, type: 'number' as const }));
  return { fromMs: 0, toMs: 0, tookMs: 0, value: null, previous: null, trend: [], columns, rows };
}

describe('lines', () => {
  it('are sorted by time and leave gaps', () => {
    const data = lineDataOf(
      dataOf(
        [
          [20, 2],
          [10, 1],
          [30, null],
        ],
        ['time', 'p95'],
      ),
    );
    expect(data).toEqual({
      timesMs: [10, 20, 30],
      lines: [{ name: 'p95', values: [1, 2, null] }],
      stepMs: 10,
    });
  });

  it('begin at zero, except ratios near the whole', () => {
    expect(yRange(20, 40, 'ms', null)[0]).toBe(0);
    expect(yRange(0.98, 0.99, 'ratio', null)[0]).toBeGreaterThan(0.97);
  });

  it('of any meaning show how they differ, with zero where it is near', () => {
    expect(yRange(1_000, 1_010, EXACT, null)).toEqual([999.2, 1010.8]);
    expect(yRange(-1_010, -1_000, EXACT, null)).toEqual([-1010.8, -999.2]);
    expect(yRange(4, 10, EXACT, null)[0]).toBe(0);
    expect(yRange(1, 1, EXACT, null)[0]).toBe(0);
    expect(yRange(-5, 10, EXACT, null)[0]).toBeLessThan(-5);
  });

  it('are not pressed flat by a target far away', () => {
    expect(yRange(0, 10, 'ms', { op: '<', value: 25, text: '' })[1]).toBeGreaterThan(25);
    expect(yRange(0, 10, 'ms', { op: '<', value: 5000, text: '' })[1]).toBeLessThan(20);
  });
});

describe('map', () => {
  it('lists the largest country first and skips rows without a number', () => {
    const countries = countriesOf(
      dataOf(
        [
          ['DE', 3],
          ['US', 9],
          ['FR', null],
        ],
        ['country', 'users'],
      ),
    );
    expect(countries.map(({ name }) => name)).toEqual(['United States', 'Germany']);
  });

  it('gives the largest the last colour and the smallest the first', () => {
    const bounds = rampBounds([1, 10, 100, 1000], 5);
    expect([rampIndex(1, bounds), rampIndex(1000, bounds)]).toEqual([0, bounds.length]);
  });

  it('projects there and back', () => {
    for (const point of [
      [0, 0],
      [13.4, 52.5],
      [-122.3, 47.6],
      [151.2, -33.9],
    ] as [number, number][]) {
      const [longitude, latitude] = unproject(project(point));
      expect(longitude).toBeCloseTo(point[0], 6);
      expect(latitude).toBeCloseTo(point[1], 6);
    }
  });
});

it('ends a gauge at the whole for ratios, at a round number otherwise', () => {
  expect(gaugeEnd(0.776, 'ratio', 0.75)).toBe(1);
  expect(gaugeEnd(37, 'ms', 50)).toBe(75);
});
