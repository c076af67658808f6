// An application with OpenTelemetry's own SDK: node sender.mjs OPTIONS, as JSON. Each line of standard input is a list of
// what to do, each line of standard output says that it was exported, or why not.
//
//   options   url, encoding (proto, json), temporality (delta, cumulative), resource, compression
//   steps     [instrument, value, attributes]
import readline from 'node:readline';
import { setTimeout } from 'node:timers/promises';

import { diag } from '@opentelemetry/api';
import { OTLPMetricExporter as JsonExporter } from '@opentelemetry/exporter-metrics-otlp-http';
import { OTLPMetricExporter as ProtoExporter } from '@opentelemetry/exporter-metrics-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  AggregationTemporality,
  AggregationType,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';

const options = JSON.parse(process.argv[2]);
let failure = null;
const note = (...words) => {
  failure = failure ?? words.map((word) => (word instanceof Error ? word.message : String(word))).join(' ');
};
diag.setLogger({
  error: note,
  warn: note,
  info() {},
  debug() {},
  verbose() {},
});

const Exporter = options.encoding === 'json' ? JsonExporter : ProtoExporter;
const reader = new PeriodicExportingMetricReader({
  exporter: new Exporter({
    url: options.url,
    compression: options.compression ?? 'none',
    temporalityPreference:
      options.temporality === 'delta' ? AggregationTemporality.DELTA : AggregationTemporality.CUMULATIVE,
    timeoutMillis: 20000,
  }),
  exportIntervalMillis: 3600_000,
  exportTimeoutMillis: 20000,
});
const provider = new MeterProvider({
  resource: resourceFromAttributes(options.resource),
  readers: [reader],
  views: [
    {
      instrumentName: 'size',
      aggregation: {
        type: AggregationType.EXPONENTIAL_HISTOGRAM,
        options: { maxSize: 160, recordMinMax: true },
      },
    },
  ],
});
const meter = provider.getMeter('shop', '1.2.3', {
  schemaUrl: 'https://example.com/schema',
});

const observed = new Map(); // instrument and attributes to the value that the next collection sees
function observable(instrument, name) {
  instrument.addCallback((result) => {
    for (const [key, [value, attributes]] of observed) {
      if (key.startsWith(`${name} `)) result.observe(value, attributes);
    }
  });
  return (value, attributes) => observed.set(`${name} ${JSON.stringify(attributes)}`, [value, attributes]);
}

const orders = meter.createCounter('orders', {
  unit: '{order}',
  description: 'Orders that came in.',
});
const queue = meter.createUpDownCounter('queue.length');
const temperature = meter.createGauge('temperature', { unit: 'Cel' });
const latency = meter.createHistogram('latency', {
  unit: 's',
  advice: { explicitBucketBoundaries: [0.1, 1, 2.5] },
});
const size = meter.createHistogram('size', { unit: 'By' });
const steps = {
  orders: (value, attributes) => orders.add(value, attributes),
  'queue.length': (value, attributes) => queue.add(value, attributes),
  temperature: (value, attributes) => temperature.record(value, attributes),
  latency: (value, attributes) => latency.record(value, attributes),
  size: (value, attributes) => size.record(value, attributes),
  'cpu.time': observable(meter.createObservableCounter('cpu.time', { unit: 's' }), 'cpu.time'),
  'pool.used': observable(meter.createObservableUpDownCounter('pool.used'), 'pool.used'),
  load: observable(meter.createObservableGauge('load', { unit: '1' }), 'load'),
};

for await (const line of readline.createInterface({ input: process.stdin })) {
  failure = null;
  for (const [name, value, attributes] of JSON.parse(line)) steps[name](value, attributes ?? {});
  // What is recorded and exported in one millisecond begins when it ends, which by the protocol means: nobody knows when.
  await setTimeout(5);
  await provider.forceFlush().catch(note);
  console.log(failure === null ? 'exported' : `failed: ${failure}`);
}
process.exit(0); // without a last export
