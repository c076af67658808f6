import type { Palette } from '../theme/palette';

/** The look of ECharts' hover text, the same as that of our own readout. */
export function tooltipStyle(palette: Palette, remPx: number) {
  return {
    confine: true,
    transitionDuration: 0,
    backgroundColor: palette.surface,
    borderColor: palette.grid,
    textStyle: { color: palette.ink, fontSize: 0.8125 * remPx },
    padding: [0.5 * remPx, 0.75 * remPx] as [number, number],
  };
}

/** ECharts puts hover text into the page as HTML; names come from events that anybody can send. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
}
