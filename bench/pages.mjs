#!/usr/bin/env node
/*
 * bench/pages.mjs [--alerts N] [--rules N] [--seconds N]: what open pages of alerting cost, in a real Chromium
 *
 * A server of its own evaluates N rules every 15 seconds, a tenth of which fire for a hundred series each. Each page is
 * opened, and then left open: what it receives, how much CPU time its main thread takes, and for how long it works at
 * once, which is how long a click has to wait. APIARY_BIN: another program than build/apiary. docs/performance.md, "Pages".
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { chromium } = createRequire(join(root, 'tests/browser/package.json'))('@playwright/test');

const { values } = parseArgs({
  options: {
    alerts: { type: 'string', default: '10000' },
    rules: { type: 'string', default: '1000' },
    seconds: { type: 'string', default: '60' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.log(
    'bench/pages.mjs [--alerts 10000] [--rules 1000] [--seconds 60]: what open pages of alerting cost',
  );
  process.exit(0);
}
const [alertCount, ruleCount, seconds] = [values.alerts, values.rules, values.seconds].map(Number);
const SERIES_COUNT = 100; // of each rule that fires
const firingCount = Math.ceil(alertCount / SERIES_COUNT);

/** A hundred machines whose load is never the same twice. */
function metricsText() {
  const lines = Array.from(
    { length: SERIES_COUNT },
    (_, i) =>
      `machine_load{machine="machine-${i}.example.com",rack="r${i % 8}"} ${(1 + Math.random()).toFixed(3)}`,
  );
  return `# TYPE machine_load gauge\n${lines.join('\n')}\n`;
}

function rulesText() {
  const rules = Array.from({ length: ruleCount }, (_, i) => ({
    alert: `MachineLoad${i}`,
    expr: `machine_load > ${i < firingCount ? 0 : 100 + i}`,
    labels: { severity: i % 3 === 0 ? 'critical' : 'warning', team: `team-${i % 10}` },
    annotations: {
      summary: '{{ $labels.machine }} works too hard',
      description:
        'Its load is {{ $value }}. Look at what runs there before anything else is moved away from it.',
      runbook_url: `https://runbooks.example.com/machine-load-${i}`,
    },
  }));
  const groups = [];
  for (let i = 0; i < rules.length; i += 20)
    groups.push({ name: `machines-${i / 20}`, interval: '15s', rules: rules.slice(i, i + 20) });
  return JSON.stringify({ groups });
}

const listen = (server) => new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function startServer(dir) {
  const site = createServer((request, response) => {
    request.resume();
    response.setHeader('Content-Type', 'text/plain; version=0.0.4');
    response.end(request.method === 'GET' ? metricsText() : '');
  });
  await listen(site);
  const address = `127.0.0.1:${site.address().port}`;
  const scrape = {
    scrape_configs: [
      { job_name: 'machines', scrape_interval: '15s', static_configs: [{ targets: [address] }] },
    ],
  };
  const hook = { name: 'hook', webhook_configs: [{ url: `http://${address}/hook` }] };
  const route = { receiver: 'hook', group_by: ['alertname'], group_wait: '1s' };
  writeFileSync(join(dir, 'scrape.yml'), JSON.stringify(scrape));
  writeFileSync(join(dir, 'rules.yml'), rulesText());
  writeFileSync(join(dir, 'alerting.yml'), JSON.stringify({ route, receivers: [hook] }));
  const options = ['scrape', 'rules', 'alerting'].flatMap((name) => [`--${name}`, join(dir, `${name}.yml`)]);
  const own = ['scrape.host=false', 'scrape.self=false'].flatMap((setting) => ['--set', setting]);
  const child = spawn(
    process.env.APIARY_BIN ?? join(root, 'build/apiary'),
    ['serve', '--open', '--data', join(dir, 'data'), '--listen', '127.0.0.1:0', ...options, ...own],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const url = await new Promise((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`apiary ended with ${code}`)));
    let output = '';
    child.stdout.on('data', (chunk) => {
      output += chunk;
      const found = /http:\/\/[\d.]+:\d+/.exec(output);
      if (found) resolve(found[0]);
    });
  });
  child.removeAllListeners('exit');
  const stop = async () => {
    site.closeAllConnections();
    site.close();
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    await ended;
  };
  return { url, stop };
}

async function waitForAlerts(url) {
  for (;;) {
    const summary = await (await fetch(`${url}/api/apiary/v1/alerts/summary`)).json();
    if (summary.alerts.active >= firingCount * SERIES_COUNT && summary.rules.last_evaluation_ms !== null)
      return;
    await sleep(500);
  }
}

/** Opens a page and leaves it open. */
async function measure(browser, url, path, row) {
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('Network.enable');
  await devtools.send('Performance.enable', { timeDomain: 'threadTicks' }); // whatever else the machine does
  let bytes = 0;
  devtools.on('Network.loadingFinished', ({ encodedDataLength }) => (bytes += encodedDataLength));
  await page.addInitScript(() => {
    window.longest = 0;
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) window.longest = Math.max(window.longest, duration);
    }).observe({ type: 'longtask' });
  });
  const figures = async () => {
    const { metrics } = await devtools.send('Performance.getMetrics');
    const of = (name) => metrics.find((metric) => metric.name === name)?.value ?? 0;
    return { taskMs: of('TaskDuration') * 1000, heapMb: of('JSHeapUsedSize') / 2 ** 20 };
  };
  const startedMs = performance.now();
  await page.goto(url + path);
  await page.locator(row).first().waitFor({ timeout: 60_000 });
  const openMs = performance.now() - startedMs;
  const openBytes = bytes;
  await sleep(5_000); // the first answers of all that it asks for
  await page.evaluate(() => (window.longest = 0));
  const [before, bytesBefore] = [await figures(), bytes];
  await sleep(seconds * 1000);
  const [after, longest] = [await figures(), await page.evaluate(() => window.longest)];
  await page.close();
  const perMinute = 60 / seconds;
  return {
    page: path,
    'open, ms': Math.round(openMs),
    'open, KiB': Math.round(openBytes / 1024),
    'KiB a minute': Math.round(((bytes - bytesBefore) / 1024) * perMinute),
    'main thread, ms a minute': Math.round((after.taskMs - before.taskMs) * perMinute),
    'longest task, ms': Math.round(longest),
    'heap, MiB': Math.round(after.heapMb),
  };
}

const dir = mkdtempSync(join(tmpdir(), 'apiary-pages-'));
const { url, stop } = await startServer(dir);
const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu'],
});
try {
  await waitForAlerts(url);
  const rows = [
    ['/alerts', '.alert'],
    ['/alerts?by=route', '.alert'],
    ['/silences', 'h1'],
    ['/rules', '.rule'],
    ['/heartbeats', 'h1'],
  ];
  const results = [];
  for (const [path, row] of rows) results.push(await measure(browser, url, path, row));
  console.log(`${firingCount * SERIES_COUNT} alerts, ${ruleCount} rules, ${seconds} s a page`);
  console.table(results);
} finally {
  await browser.close();
  await stop();
  rmSync(dir, { recursive: true, force: true });
}
