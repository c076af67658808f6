/**
 * One installation of the product, as its own telemetry sees it: a MeterProvider of the OpenTelemetry SDK with a resource
 * of its own, and every metric of the catalogue.
 */
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { AggregationTemporality, MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics';
import { boundaries, shapeOf } from './shape.mjs';
import { Chance, demand, demoTrouble, RELEASES, trouble } from './world.mjs';

const HOUR_MS = 3_600_000;

/** Collects when it is told to, because the past is reported faster than it went by. */
class Reader extends MetricReader {
  async onForceFlush() {}
  async onShutdown() {}
}

const SYSTEMS = [
  { 'os.type': 'linux', 'os.version': '6.12', 'host.arch': 'amd64' },
  { 'os.type': 'darwin', 'os.version': '25.1', 'host.arch': 'arm64' },
  { 'os.type': 'windows', 'os.version': '10.0.26100', 'host.arch': 'amd64' },
  { 'os.type': 'linux', 'os.version': '6.1', 'host.arch': 'arm64' },
];

/** Any text to 32 bits (FNV-1a). */
function hash(text) {
  let word = 0x811c9dc5;
  for (const character of text) word = Math.imul(word ^ character.codePointAt(0), 0x01000193);
  return word >>> 0;
}

function instanceId(chance) {
  const digits = Array.from({ length: 32 }, () => Math.floor(chance.unit() * 16).toString(16)).join('');
  return digits.replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12})$/, '$1-$2-4$3-a$4-$5');
}

export class Installation {
  /** `index` of `count`. `upgradeAt`: when the release before the newest is replaced at a place from 0 to 1 of its users. */
  constructor({ url, catalogue, seed, index, count, startMs, beganMs, upgradeAt }) {
    this.catalogue = catalogue;
    this.seed = seed;
    this.beganMs = beganMs;
    this.index = index;
    this.chance = new Chance(seed ^ Math.imul(index + 1, 0x85ebca6b));
    this.id = instanceId(this.chance);
    this.slowness = Math.exp(0.12 * this.chance.normal());
    const { version, place } = releaseAt((index + 0.5) / count);
    this.version = version;
    this.upgradesMs = version === RELEASES.at(-2).version ? upgradeAt(place) : Infinity;
    // Both ways of adding up are in the field: every other installation reports what came since its last report.
    this.exporter = new OTLPMetricExporter({
      url: `${url}/v1/metrics`,
      temporalityPreference: index % 2 ? AggregationTemporality.DELTA : AggregationTemporality.CUMULATIVE,
      timeoutMillis: 10_000,
    });
    this.begin(startMs);
  }

  begin(nowMs) {
    this.begunMs = nowMs;
    this.reader = new Reader({
      aggregationTemporalitySelector: (type) => this.exporter.selectAggregationTemporality(type),
    });
    this.provider = new MeterProvider({
      resource: resourceFromAttributes({
        'service.name': this.catalogue.service,
        'service.version': this.version,
        'service.instance.id': this.id,
        'host.name': `dev-${String(this.index + 1).padStart(2, '0')}`,
        ...SYSTEMS[this.index % SYSTEMS.length],
      }),
      readers: [this.reader],
    });
    const meter = this.provider.getMeter(this.catalogue.service, this.version);
    this.metrics = this.catalogue.metrics.map((metric) => this.prepare(meter, metric));
  }

  prepare(meter, metric) {
    const shape = shapeOf(metric);
    const options = { unit: metric.unit, description: metric.meaning };
    const own = Math.exp(0.04 * new Chance(this.seed ^ hash(this.id + metric.name)).normal());
    const prepared = { metric, shape, own, level: 0 };
    if (metric.type === 'counter') prepared.instrument = meter.createCounter(metric.name, options);
    if (metric.type === 'up_down_counter')
      prepared.instrument = meter.createUpDownCounter(metric.name, options);
    if (metric.type === 'gauge') prepared.instrument = meter.createGauge(metric.name, options);
    if (metric.type === 'histogram')
      prepared.instrument = meter.createHistogram(metric.name, {
        ...options,
        advice: { explicitBucketBoundaries: boundaries(shape) },
      });
    return prepared;
  }

  /** Lives until `nowMs`, `sinceMs` after the last time, and gives what there is to report; null: nothing. */
  async live(nowMs, sinceMs) {
    if (nowMs >= this.upgradesMs) {
      this.upgradesMs = Infinity;
      this.version = RELEASES.at(-1).version;
      await this.provider.shutdown();
      this.begin(nowMs);
    }
    const severity = Math.max(
      trouble(this.seed, nowMs),
      this.beganMs === null ? 0 : demoTrouble(this.seed, this.beganMs, nowMs),
    );
    const busy = demand(nowMs);
    for (const prepared of this.metrics)
      this.record(prepared, { nowMs, minutes: sinceMs / 60_000, severity, busy });
    const { resourceMetrics, errors } = await this.reader.collect();
    if (errors.length > 0) throw errors[0];
    return resourceMetrics;
  }

  record(prepared, moment) {
    const { metric, shape, instrument } = prepared;
    const during = 1 + (shape.trouble - 1) * moment.severity;
    switch (metric.type) {
      case 'counter': {
        const mean =
          shape.perMinute * moment.minutes * moment.busy * during * (shape.versions[this.version] ?? 1);
        for (const [attributes, count] of this.share(shape, moment, this.chance.count(mean)))
          instrument.add(count, attributes);
        return;
      }
      case 'histogram': {
        const count = this.chance.count(shape.perMinute * moment.minutes * moment.busy);
        for (let i = 0; i < count; i += 1) {
          const attributes = this.attributes(shape, moment);
          instrument.record(this.draw(prepared, moment, attributes) * this.slowness * during, attributes);
        }
        return;
      }
      case 'up_down_counter': {
        const level = Math.max(0, Math.round(this.draw(prepared, moment, {}) * moment.busy));
        instrument.add(level - prepared.level);
        prepared.level = level;
        return;
      }
      case 'gauge': {
        const value = this.draw(prepared, moment, {}) * during;
        instrument.record(metric.unit === '1' ? Math.min(value, 1) : value, this.attributes(shape, moment));
      }
    }
  }

  attributes(shape, { severity }) {
    const weighted = severity > 0.5 ? shape.attributesInTrouble : shape.attributes;
    return Object.fromEntries(weighted.map(({ name, choices }) => [name, this.chance.pick(choices)]));
  }

  /** `count` events as pairs of attributes and how many of them. */
  share(shape, moment, count) {
    const shares = new Map();
    for (let i = 0; i < count; i += 1) {
      const attributes = this.attributes(shape, moment);
      const key = JSON.stringify(attributes);
      shares.set(key, [attributes, (shares.get(key)?.[1] ?? 0) + 1]);
    }
    return shares.values();
  }

  draw({ metric, shape, own }, { nowMs }, attributes) {
    let median = shape.median * own * (shape.versions[this.version] ?? 1);
    for (const [name, value] of Object.entries(attributes)) median *= shape.by[name]?.[value] ?? 1;
    const growth = (shape.growthPerHour[this.version] ?? 0) * ((nowMs - this.begunMs) / HOUR_MS);
    // Shares have no room for an installation's own factor.
    if (metric.unit === '1') median = shape.median * (shape.versions[this.version] ?? 1);
    return median * (1 + growth) * Math.exp(shape.spread * this.chance.normal());
  }

  /** Hands a report to the exporter; a failure is thrown when the exporter gives up. */
  export(resourceMetrics) {
    return new Promise((resolve, reject) => {
      this.exporter.export(resourceMetrics, ({ code, error }) => {
        if (code === 0) resolve();
        else reject(error ?? new Error('the exporter gave up'));
      });
    });
  }
}

/** Who runs what: `place` of the whole fleet, and, in the answer, of those with the same release. */
function releaseAt(place) {
  let sum = 0;
  for (const { version, share } of RELEASES) {
    if (place < sum + share) return { version, place: (place - sum) / share };
    sum += share;
  }
  return { version: RELEASES.at(-1).version, place: 1 };
}
