import type { PanelData } from '../api/panels';
import { countryName } from './countries';

export interface CountryValue {
  code: string;
  name: string;
  value: number;
}

/** Largest first. Rows without a number are left out. */
export function countriesOf(data: PanelData): CountryValue[] {
  return data.rows
    .flatMap(([code, value]) =>
      typeof value === 'number'
        ? [{ code: String(code ?? ''), name: countryName(String(code ?? '')), value }]
        : [],
    )
    .sort((a, b) => b.value - a.value);
}

/**
 * Where one colour ends and the next begins: `count - 1` bounds, each a constant factor above the one before, because
 * a few countries have most of the users and a linear scale would paint all others alike.
 */
export function rampBounds(values: readonly number[], count: number): number[] {
  const known = values.filter((value) => value > 0);
  if (known.length === 0) return [];
  const high = Math.max(...known);
  const low = Math.max(Math.min(...known), high / 1_000);
  const factor = (high / low) ** (1 / count);
  const bounds = Array.from({ length: count - 1 }, (_, index) => roundBound(low * factor ** (index + 1)));
  return [...new Set(bounds)];
}

function roundBound(value: number): number {
  const magnitude = 10 ** (Math.floor(Math.log10(value)) - (value >= 10 ? 1 : 0));
  return Math.round(value / magnitude) * magnitude;
}

export function rampIndex(value: number, bounds: readonly number[]): number {
  const index = bounds.findIndex((bound) => value < bound);
  return index === -1 ? bounds.length : index;
}
