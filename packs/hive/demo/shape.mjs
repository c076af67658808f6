/** What a metric's values look like: from shapes.yaml, and for what that does not say from the metric's own target. */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { targetOf } from './catalogue.mjs';

const SHAPES = parse(readFileSync(new URL('shapes.yaml', import.meta.url), 'utf8'));

const DEFAULT_PER_MINUTE = 6;
const DEFAULT_SPREAD = 0.3;

/** A share that is better high, such as of hits: how much of the first value there has to be. */
function goodShare(metric) {
  const target = targetOf(metric);
  return metric.query_unit === 'ratio' && target !== null && !target.isUpper && target.value < 1
    ? target.value + (1 - target.value) * 0.4
    : null;
}

function defaultWeights(metric, values) {
  const share = goodShare(metric);
  if (share === null || values.length < 2) return values.map(() => 1);
  return values.map((_, index) => (index === 0 ? share : (1 - share) / (values.length - 1)));
}

/** A level that keeps its target: of a quantile of many well below, of an average a little off. */
function defaultMedian(metric) {
  const target = targetOf(metric);
  if (target === null || metric.type === 'counter') return metric.unit === '1' ? 0.9 : 10;
  if (metric.type === 'histogram') return target.isUpper ? target.value * 0.4 : target.value * 2;
  if (metric.unit === '1') return target.isUpper ? target.value / 2 : target.value + (1 - target.value) * 0.4;
  return target.isUpper ? target.value * 0.7 : target.value * 1.2;
}

export function shapeOf(metric) {
  const own = SHAPES[metric.name] ?? {};
  const attributes = (metric.attributes ?? []).map(({ name, values }) => ({
    name,
    values: values ?? ['any'],
  }));
  const weighted = (weights) =>
    attributes.map(({ name, values }) => ({
      name,
      choices: values.map((value, index) => [
        value,
        (weights?.[name] ?? own.weights?.[name] ?? defaultWeights(metric, values))[index] ?? 1,
      ]),
    }));
  return {
    median: Number(own.median ?? defaultMedian(metric)),
    // Shares are all alike, durations are not.
    spread: own.spread ?? (metric.unit === '1' ? 0.01 : DEFAULT_SPREAD),
    perMinute: own.per_minute ?? DEFAULT_PER_MINUTE,
    attributes: weighted(),
    attributesInTrouble: weighted(own.weights_in_trouble),
    by: own.by ?? {},
    versions: own.versions ?? {},
    trouble: own.trouble ?? 1,
    growthPerHour: own.growth_per_hour ?? {},
  };
}

/** Bounds of a histogram's buckets around its median, each half as large again as the one before. */
export function boundaries({ median }) {
  return Array.from({ length: 15 }, (_, index) => Number((median * 1.5 ** (index - 6)).toPrecision(2)));
}
