/**
 * What the fleet lives in: chance, hours, incidents, releases. Everything follows from a seed and the time, so that the
 * same moment looks the same to each installation, and to whoever asks twice.
 */
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** A stream of numbers from 0 to 1 (mulberry32), with the distributions that durations and counts have. */
export class Chance {
  constructor(seed) {
    this.state = seed >>> 0;
  }

  unit() {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let word = this.state;
    word = Math.imul(word ^ (word >>> 15), word | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    return ((word ^ (word >>> 14)) >>> 0) / 2 ** 32;
  }

  normal() {
    return Math.sqrt(-2 * Math.log(1 - this.unit())) * Math.cos(2 * Math.PI * this.unit());
  }

  /** How often something happened that happens `mean` times. */
  count(mean) {
    if (mean > 30) return Math.max(0, Math.round(mean + Math.sqrt(mean) * this.normal()));
    let count = 0;
    for (let left = Math.exp(-mean), product = this.unit(); product > left; product *= this.unit())
      count += 1;
    return count;
  }

  /** One of `[value, weight]`. */
  pick(weighted) {
    let left = this.unit() * weighted.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [value, weight] of weighted) {
      left -= weight;
      if (left < 0) return value;
    }
    return weighted.at(-1)[0];
  }
}

/** Between 0.35 and 1: people who write software, most of them between Europe's morning and America's evening. */
export function demand(nowMs) {
  const hour = (nowMs / HOUR_MS) % 24;
  return 0.35 + 0.65 * Math.exp(-(((hour - 14.5) / 5) ** 2));
}

/**
 * 0: all is well; 1: the way to the model providers is in trouble. Once in every three hours it is, for ten to twenty-five
 * minutes, so that whoever looks at the last six hours sees it.
 */
export function trouble(seed, nowMs) {
  const span = Math.floor(nowMs / (3 * HOUR_MS));
  const chance = new Chance(seed ^ Math.imul(span, 0x9e3779b1));
  const fromMs = span * 3 * HOUR_MS + chance.unit() * 2.5 * HOUR_MS;
  const untilMs = fromMs + (10 + 15 * chance.unit()) * MINUTE_MS;
  const edgeMs = Math.min(nowMs - fromMs, untilMs - nowMs);
  return Math.min(Math.max(edgeMs / (3 * MINUTE_MS), 0), 1);
}

/**
 * For who tries it out, what is to be seen within minutes: worse trouble (2) that is already there when the demo begins,
 * and again every twenty minutes. It ends seven minutes after the beginning, so that what waits for five or ten minutes
 * of a figure over five minutes fires, and resolves.
 */
export function demoTrouble(seed, beganMs, nowMs) {
  const sinceMs = nowMs - beganMs;
  if (sinceMs < 10 * MINUTE_MS) return sinceMs >= -4 * MINUTE_MS && sinceMs < 7 * MINUTE_MS ? 2 : 0;
  const turn = Math.floor(sinceMs / (20 * MINUTE_MS));
  const chance = new Chance(seed ^ Math.imul(turn + 1, 0x9e3779b1));
  const fromMs = (20 * turn + 2 * chance.unit()) * MINUTE_MS;
  const untilMs = fromMs + (4 + 2 * chance.unit()) * MINUTE_MS;
  return turn > 0 && sinceMs >= fromMs && sinceMs < untilMs ? 2 : 0;
}

/** In order of appearance. Shares are of the fleet, before anybody upgrades to the newest. */
export const RELEASES = [
  { version: '2.1.0', share: 0.2 },
  { version: '2.1.1', share: 0.3 },
  { version: '2.2.0', share: 0.5 },
];
