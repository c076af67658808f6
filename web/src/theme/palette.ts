/**
 * Colours of the charts, which are drawn on canvas and in SVG by libraries that do not read CSS. The page's own colours
 * are in styles/tokens.css. Neighbouring series differ in lightness too, for readers who see few hues.
 */
import { type Theme, useTheme } from './theme';

export interface Palette {
  ink: string;
  muted: string;
  grid: string;
  surface: string;
  track: string;
  accent: string;
  good: string;
  bad: string;
  series: readonly string[];
  /** From few to many, for maps. */
  ramp: readonly string[];
  land: string;
  border: string;
}

const LIGHT: Palette = {
  ink: '#1f1b16',
  muted: '#6b6358',
  grid: '#eeebe5',
  surface: '#ffffff',
  track: '#efece6',
  accent: '#c98a12',
  good: '#177a4c',
  bad: '#c2333a',
  series: ['#c98209', '#2f6db5', '#12897c', '#8a55b8', '#c04a74', '#6b7686', '#8c6239', '#3f8f3f'],
  ramp: ['#fbe9bf', '#f6d184', '#ecb345', '#d08f15', '#9a6204'],
  land: '#efece6',
  border: '#ffffff',
};

const DARK: Palette = {
  ink: '#f3efe8',
  muted: '#a49b8d',
  grid: '#2b2722',
  surface: '#1c1916',
  track: '#2b2722',
  accent: '#eeb33f',
  good: '#4fc48c',
  bad: '#ff8a86',
  series: ['#f0b441', '#74aaf0', '#45c2b1', '#bd90ea', '#ef83a8', '#9ca8b8', '#cda074', '#8bcf82'],
  ramp: ['#4a3a17', '#6f5417', '#a0771a', '#d09a28', '#f7c75f'],
  land: '#292520',
  border: '#1c1916',
};

export function paletteOf(theme: Theme): Palette {
  return theme === 'dark' ? DARK : LIGHT;
}

export function usePalette(): Palette {
  return paletteOf(useTheme());
}

export function seriesColour(palette: Palette, index: number): string {
  return palette.series[index % palette.series.length] ?? palette.accent;
}
