import { describe, expect, it } from 'vitest';
import { decodeLines, decodeValues, SERIES_MAX } from '../api/expression';
import { panelDataOf, seriesNames } from './lines';

describe('names of series', () => {
  it('are the labels that tell them apart', () => {
    expect(
      seriesNames([
        { __name__: 'up', job: 'a', env: 'prod' },
        { __name__: 'up', job: 'b', env: 'prod', zone: '1' },
      ]),
    ).toEqual(['job="a"', 'job="b" zone="1"']);
    expect(seriesNames([{ __name__: 'a' }, { __name__: 'b' }, {}])).toEqual(['a', 'b', '{}']);
  });

  it('are all labels of a single one', () => {
    expect(seriesNames([{ __name__: 'up', job: 'a' }])).toEqual(['up job="a"']);
    expect(seriesNames([{}])).toEqual(['{}']);
  });
});

const answer = (resultType: string, result: unknown, more = {}) => ({
  status: 'success',
  data: { resultType, result },
  ...more,
});

describe('answers over time', () => {
  it('become a row for each moment', () => {
    const lines = decodeLines(0, 2_000)(
      answer('matrix', [
        { metric: { a: '1' }, values: [[1, '5'], [2, 'NaN']] }, // prettier-ignore
        { metric: { a: '2' }, values: [[2, '7']] },
      ]),
      'answer',
    );
    const data = panelDataOf(lines.series, lines);
    expect(data.columns.map(({ name }) => name)).toEqual(['time', 'a="1"', 'a="2"']);
    expect(data.rows).toEqual([
      [1_000, 5, null],
      [2_000, null, 7],
    ]);
    expect([data.fromMs, data.toMs]).toEqual([0, 2_000]);
  });

  it('have no line of native histograms', () => {
    const histograms = [[1, { count: '2', sum: '3' }]];
    const lines = decodeLines(0, 1)(answer('matrix', [{ metric: {}, histograms }]), 'answer');
    expect(lines.series).toEqual([{ labels: {}, points: [] }]);
  });

  it('say when there are more series, once', () => {
    const series = Array.from({ length: SERIES_MAX + 1 }, (_, n) => ({
      metric: { n: String(n) },
      values: [],
    }));
    const warnings = ['results truncated due to limit', 'something else'];
    const lines = decodeLines(0, 1)(answer('matrix', series, { warnings, infos: ['a hint'] }), 'answer');
    expect(lines.series).toHaveLength(SERIES_MAX);
    expect(lines.isCut).toBe(true);
    expect(lines.notes).toEqual(['something else', 'a hint']);
  });
});

describe('answers for one moment', () => {
  it('are values of series', () => {
    const values = decodeValues(answer('vector', [{ metric: { a: '1' }, value: [1.5, '+Inf'] }]), 'answer');
    expect(values.series).toEqual([{ labels: { a: '1' }, readings: [{ tsMs: null, value: '+Inf' }] }]);
    const histogram = [1, { count: '2', sum: '3', buckets: [] }];
    expect(decodeValues(answer('vector', [{ metric: {}, histogram }]), 'answer').series[0]?.readings).toEqual(
      [{ tsMs: null, value: 'histogram: count 2, sum 3' }],
    );
  });

  it('are a number or a text', () => {
    for (const [type, value] of [
      ['scalar', '2'],
      ['string', 'text'],
    ] as const)
      expect(decodeValues(answer(type, [1, value]), 'answer').series).toEqual([
        { labels: {}, readings: [{ tsMs: null, value }] },
      ]);
  });

  it('may be all values of a span', () => {
    const values = [[1, '5'], [2, '6']]; // prettier-ignore
    expect(decodeValues(answer('matrix', [{ metric: {}, values }]), 'answer').series[0]?.readings).toEqual([
      { tsMs: 1_000, value: '5' },
      { tsMs: 2_000, value: '6' },
    ]);
  });
});
