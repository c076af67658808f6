/**
 * How a number is written for people, by its unit. The number and its sign of unit are kept apart, because a card sets
 * them in different sizes.
 */
export interface Formatted {
  number: string;
  /** What follows the number, with its leading space where one belongs there. May be ''. */
  suffix: string;
}

const NO_VALUE = '–';

/** Of figures that nobody has told the meaning of: all digits count, and zero is a value like others. */
export const EXACT = 'exact';

function grouped(value: number, minDigits: number, maxDigits: number): string {
  return value.toLocaleString('en-US', {
    minimumFractionDigits: minDigits,
    maximumFractionDigits: maxDigits,
  });
}

/** Three significant digits, which is what a reader compares; never scientific notation. */
function significant(value: number): string {
  const size = Math.abs(value);
  if (size === 0) return '0';
  if (size >= 100) return grouped(value, 0, 0);
  if (size >= 10) return grouped(value, 0, 1);
  if (size >= 1) return grouped(value, 0, 2);
  return value.toLocaleString('en-US', { maximumSignificantDigits: 2, maximumFractionDigits: 6 });
}

interface Step {
  from: number;
  per: number;
  suffix: string;
}

function scaled(value: number, steps: readonly Step[]): Formatted {
  const size = Math.abs(value);
  const step = steps.find((candidate) => size >= candidate.from) ?? steps[steps.length - 1];
  if (!step) return { number: significant(value), suffix: '' };
  return { number: significant(value / step.per), suffix: step.suffix };
}

const LARGE: readonly Step[] = [
  { from: 999_500_000_000, per: 1e12, suffix: 'T' },
  { from: 999_500_000, per: 1e9, suffix: 'B' },
  { from: 999_500, per: 1e6, suffix: 'M' },
];

const THOUSAND: Step = { from: 10_000, per: 1e3, suffix: 'k' };
const ONE: Step = { from: 0, per: 1, suffix: '' };

const MILLISECONDS: readonly Step[] = [
  { from: 86_400_000, per: 86_400_000, suffix: ' d' },
  { from: 3_600_000, per: 3_600_000, suffix: ' h' },
  { from: 60_000, per: 60_000, suffix: ' min' },
  { from: 999.5, per: 1_000, suffix: ' s' },
  { from: 0.9995, per: 1, suffix: ' ms' },
  { from: Number.MIN_VALUE, per: 0.001, suffix: ' µs' },
  { from: 0, per: 1, suffix: ' ms' },
];

const BYTES: readonly Step[] = [
  { from: 1024 ** 4, per: 1024 ** 4, suffix: ' TiB' },
  { from: 1024 ** 3, per: 1024 ** 3, suffix: ' GiB' },
  { from: 1024 ** 2, per: 1024 ** 2, suffix: ' MiB' },
  { from: 1024, per: 1024, suffix: ' KiB' },
  { from: 0, per: 1, suffix: ' B' },
];

const DECIMAL_BYTES: readonly Step[] = [
  { from: 1e12, per: 1e12, suffix: ' TB' },
  { from: 1e9, per: 1e9, suffix: ' GB' },
  { from: 1e6, per: 1e6, suffix: ' MB' },
  { from: 1e3, per: 1e3, suffix: ' kB' },
  { from: 0, per: 1, suffix: ' B' },
];

/**
 * Bytes are counted by 1,024, but beside a target in MB they have to be in MB too: 23.9 MiB do not look like more than
 * 25 MB, and are.
 */
export function shownUnit(unit: string, targetText: string | undefined): string {
  return unit === 'bytes' && /[kMGT]B$/.test(targetText ?? '') ? 'decimal_bytes' : unit;
}

function formatCount(value: number): Formatted {
  if (Math.abs(value) >= 999_500) return scaled(value, LARGE);
  return { number: Number.isInteger(value) ? grouped(value, 0, 0) : significant(value), suffix: '' };
}

function formatRatio(value: number): Formatted {
  const percent = value * 100;
  const size = Math.abs(percent);
  // 99.95 % and 100 % are different news, so the digits grow towards both ends of the scale.
  const isNearWhole = size > 99 && size < 100;
  const digits = size === 0 ? 0 : isNearWhole || size < 10 ? (size < 1 ? 3 : 2) : 1;
  return { number: grouped(percent, 0, digits), suffix: '%' };
}

export function formatParts(value: number | null, unit: string): Formatted {
  if (value === null || !Number.isFinite(value)) return { number: NO_VALUE, suffix: '' };
  switch (unit) {
    case 'count':
    case 'users':
    case '':
      return formatCount(value);
    case EXACT:
      return { number: value.toLocaleString('en-US', { maximumSignificantDigits: 7 }), suffix: '' };
    case 'ms':
      return scaled(value, MILLISECONDS);
    case 's':
      return scaled(value * 1_000, MILLISECONDS);
    case 'ratio':
      return formatRatio(value);
    case 'percent':
      return formatRatio(value / 100);
    case 'bytes':
      return scaled(value, BYTES);
    case 'decimal_bytes':
      return scaled(value, DECIMAL_BYTES);
    case 'per_second':
      return { number: formatCount(value).number, suffix: `${formatCount(value).suffix}/s` };
    default: {
      const count = formatCount(value);
      return { number: count.number, suffix: `${count.suffix} ${unit}` };
    }
  }
}

export function formatValue(value: number | null, unit: string): string {
  const { number, suffix } = formatParts(value, unit);
  return number + suffix;
}

/** What the unit is called beside a number that does not carry it: "users"; '' where the number says it all. */
export function unitNoun(unit: string): string {
  return unit === 'users' ? 'users' : '';
}

/**
 * Labels of an axis: all of one scale, chosen by the largest tick, and with as many digits as tell them apart.
 */
export function formatTicks(ticks: readonly (number | null)[], unit: string): string[] {
  const values = ticks.filter((tick): tick is number => tick !== null);
  const largest = Math.max(0, ...values.map((tick) => Math.abs(tick)));
  const step = tickStep(largest, unit);
  const gaps = values
    .slice(1)
    .map((tick, index) => Math.abs(tick - (values[index] ?? tick)) / step.per)
    .filter((gap) => gap > 0);
  const digits = decimalsFor(gaps.length > 0 ? Math.min(...gaps) : 1);
  return ticks.map((tick) => (tick === null ? '' : grouped(tick / step.per, digits, digits) + step.suffix));
}

/** One label of an axis that ends at `largest`, for a library that asks for them one by one. */
export function formatTick(tick: number, largest: number, unit: string): string {
  const step = tickStep(largest, unit);
  return grouped(tick / step.per, 0, 2) + step.suffix;
}

function tickStep(largest: number, unit: string): Step {
  const pick = (steps: readonly Step[]) => steps.find((step) => largest >= step.from) ?? ONE;
  switch (unit) {
    case 'ms':
      return pick(MILLISECONDS);
    case 's': {
      const step = MILLISECONDS.find((candidate) => largest * 1_000 >= candidate.from) ?? ONE;
      return { ...step, per: step.per / 1_000 };
    }
    case 'ratio':
      return { from: 0, per: 0.01, suffix: '%' };
    case 'percent':
      return { from: 0, per: 1, suffix: '%' };
    case 'bytes':
      return pick(BYTES);
    case 'decimal_bytes':
      return pick(DECIMAL_BYTES);
    default:
      return pick([...LARGE, THOUSAND, ONE]);
  }
}

/** How many decimals tell two ticks apart that lie `gap` from each other (at most 6). */
function decimalsFor(gap: number): number {
  for (let digits = 0; digits < 6; digits += 1) {
    const shifted = gap * 10 ** digits;
    if (Math.abs(shifted - Math.round(shifted)) < 1e-6 && Math.round(shifted) > 0) return digits;
  }
  return 6;
}
