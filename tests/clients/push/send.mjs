// node send.mjs URL STATSD_PORT KEY: points by both InfluxDB clients of npm, which it says then, and when it has been sent a line, StatsD by
// hot-shots. Fails when one of them does.
import { once } from 'node:events';

import { InfluxDB, Point } from '@influxdata/influxdb-client';
import { InfluxDB as InfluxDB1 } from 'influx';
import StatsD from 'hot-shots';

const [url, statsdPort, key] = process.argv.slice(2);
const { hostname, port } = new URL(url);

async function writeVersion2() {
  const writer = new InfluxDB({ url, token: key }).getWriteApi('any', 'npm2', 'ms', { maxRetries: 0 });
  writer.writePoint(
    new Point('npm climate')
      .tag('room', 'living room, east=side')
      .floatField('temperature', 21.25)
      .intField('humidity', 40)
      .uintField('lux', 700)
      .booleanField('open', true)
      .stringField('note', 'quotes " and\nlines, spaces = all here'),
  );
  await writer.close();
}

async function writeVersion1() {
  const influx = new InfluxDB1({
    host: hostname,
    port: Number(port),
    database: 'npm1',
    username: 'any',
    password: key,
  });
  const names = await influx.getDatabaseNames();
  if (!names.includes('npm1')) await influx.createDatabase('npm1');
  await influx.writePoints(
    [
      {
        measurement: 'npm_disk',
        tags: { path: '/var/lib,x y' },
        fields: { free: 12.5, used: 7, mode: 'rw' },
        timestamp: new Date(),
      },
    ],
    { precision: 'ms' },
  );
  const hosts = await influx.ping(5000);
  if (!hosts.every((host) => host.online)) throw new Error(`ping: ${JSON.stringify(hosts)}`);
}

// What a 2.x client makes of a bad line.
async function refuseVersion2() {
  const writer = new InfluxDB({ url, token: key }).getWriteApi('any', 'npm2', 'ms', {
    maxRetries: 0,
    writeFailed: () => {},
  });
  writer.writeRecord('npm_bad field=');
  const failure = await writer
    .flush(false)
    .then(() => writer.close())
    .then(
      () => null,
      (error) => error,
    );
  if (
    failure?.statusCode !== 400 ||
    failure.code !== 'invalid' ||
    !failure.message.includes('missing field value')
  )
    throw new Error(`a bad line: ${failure?.statusCode} ${failure?.code} ${failure?.message}`);
}

async function sendStatsd() {
  const client = new StatsD({
    host: hostname,
    port: Number(statsdPort),
    prefix: 'npm.',
    globalTags: { from: 'hot-shots' },
  });
  for (let i = 0; i < 10; i++) client.increment('requests', 2, { code: '200' });
  client.decrement('level', 1); // a counter that falls: refused
  client.gauge('queue', 7);
  client.gaugeDelta('queue', -2);
  for (const ms of [10, 20, 30, 40, 50]) client.timing('latency', ms);
  client.histogram('size', 512);
  client.distribution('size', 1024);
  client.set('users', 'alice');
  client.set('users', 'bob');
  client.set('users', 'alice');
  client.event('deploy', 'not a metric');
  client.check('health', client.CHECKS.OK);
  await new Promise((resolve, reject) => client.close((error) => (error ? reject(error) : resolve())));
}

await writeVersion2();
await writeVersion1();
await refuseVersion2();
console.log('InfluxDB is done');
await once(process.stdin, 'data');
await sendStatsd();
process.exit(0);
