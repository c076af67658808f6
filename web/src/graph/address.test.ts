import { describe, expect, it } from 'vitest';
import { graphOf, graphSearch, otherCount, parseGraphSearch } from './address';

const HOUR_MS = 3_600_000;

describe('the address of a graph', () => {
  it('is what Prometheus and alerts link to', () => {
    const search = parseGraphSearch({ 'g0.expr': 'up == 0', 'g0.tab': '1', from: 'x', 'g0.stacked': '0' });
    expect(search).toEqual({ 'g0.expr': 'up == 0', 'g0.tab': '1' });
    expect(graphOf(search)).toEqual({
      expression: 'up == 0',
      view: 'table',
      spanMs: HOUR_MS,
      endMs: null,
      refreshMs: null,
    });
  });

  it('may name the view as Prometheus 2 or 3 does', () => {
    const viewOf = (tab: string) => graphOf({ 'g0.tab': tab }).view;
    expect(['0', 'graph', '', 'explain'].map(viewOf)).toEqual(['graph', 'graph', 'graph', 'graph']);
    expect(['1', 'table'].map(viewOf)).toEqual(['table', 'table']);
  });

  it('may name the span and its end', () => {
    const graph = graphOf({ 'g0.range_input': '1h30m', 'g0.end_input': '2026-03-01 12:00:00' });
    expect(graph.spanMs).toBe(1.5 * HOUR_MS);
    expect(graph.endMs).toBe(Date.UTC(2026, 2, 1, 12));
    expect(graphOf({ 'g0.moment_input': '2026-03-01 12:00' }).endMs).toBe(Date.UTC(2026, 2, 1, 12));
    for (const bad of ['', '0s', 'h', '99y', '-1h'])
      expect(graphOf({ 'g0.range_input': bad }).spanMs).toBe(HOUR_MS);
    expect(graphOf({ 'g0.end_input': 'yesterday' }).endMs).toBeNull();
    expect(graphOf({ 'g0.end_input': '2026-99-01 12:00:00' }).endMs).toBeNull();
  });

  it('may ask again and again, unless its end is given', () => {
    const refreshOf = (search: Record<string, unknown>) => graphOf(parseGraphSearch(search)).refreshMs;
    expect(refreshOf({ refresh: '15s' })).toBe(15_000);
    expect(refreshOf({ refresh: '1m', 'g0.range_input': '6h' })).toBe(60_000);
    for (const bad of ['', 'off', '5', '500ms', '-5s']) expect(refreshOf({ refresh: bad })).toBeNull();
    expect(refreshOf({ refresh: '15s', 'g0.end_input': '2026-03-01 12:00:00' })).toBeNull();
  });

  it('is written as it is read', () => {
    expect(graphOf(graphSearch('a > 1', 'table'))).toMatchObject({ expression: 'a > 1', view: 'table' });
  });

  it('may have more expressions', () => {
    expect(otherCount({ 'g0.expr': 'a', 'g1.expr': 'b', 'g1.tab': '0', 'g12.expr': 'c' })).toBe(2);
    expect(otherCount({ 'g0.expr': 'a' })).toBe(0);
  });
});
