/** Until when a silence lasts: what people choose most, and any time they name. */
const HOUR_MS = 3_600_000;

export const PRESETS = ['1h', '4h', 'tomorrow'] as const;
export type Preset = (typeof PRESETS)[number];

/** Tomorrow at nine, when people are back; in the reader's time zone. */
function tomorrowMorning(nowMs: number): number {
  const day = new Date(nowMs);
  day.setDate(day.getDate() + 1);
  day.setHours(9, 0, 0, 0);
  return day.getTime();
}

export function presetEnd(preset: Preset, nowMs: number): number {
  switch (preset) {
    case '1h':
      return nowMs + HOUR_MS;
    case '4h':
      return nowMs + 4 * HOUR_MS;
    case 'tomorrow':
      return tomorrowMorning(nowMs);
  }
}

export const PRESET_TEXT: Record<Preset, string> = {
  '1h': '1 h',
  '4h': '4 h',
  tomorrow: 'Until tomorrow, 09:00',
};

export function anHourMore(endsMs: number): number {
  return endsMs + HOUR_MS;
}
