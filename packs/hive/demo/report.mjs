/**
 * Simulated installations report every metric of the pack's catalogue by OTLP, through OpenTelemetry's own SDK and
 * exporter: first the last hours, then live.
 *
 *     node report.mjs --url http://127.0.0.1:8484 [--installations 12] [--interval 10] [--history 6] [--seed 1] [--no-live]
 *         [--began SECONDS]
 *
 * `apiary demo` starts it and ends it. --began is when that began, in seconds since 1970: there is trouble then, and every
 * twenty minutes. On standard output it says in single lines how far it is.
 */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { diag, DiagLogLevel } from '@opentelemetry/api';
import { readCatalogue } from './catalogue.mjs';
import { Installation } from './installation.mjs';

const HISTORY_STEP_MS = 60_000;
const HOUR_MS = 3_600_000;
const systemNow = Date.now;

function readArguments() {
  const number = (value, name, least) => {
    const parsed = Number(value);
    if (!Number.isFinite(parsed) || parsed < least)
      throw new Error(`--${name} wants a number from ${least} on, not '${value}'`);
    return parsed;
  };
  const { values } = parseArgs({
    options: {
      url: { type: 'string' },
      installations: { type: 'string', default: '12' },
      interval: { type: 'string', default: '10' },
      history: { type: 'string', default: '6' },
      seed: { type: 'string', default: '1' },
      'no-live': { type: 'boolean', default: false },
      began: { type: 'string' },
    },
  });
  if (values.url === undefined) throw new Error('--url is missing: where the server is');
  return {
    url: values.url.replace(/\/+$/, ''),
    count: Math.round(number(values.installations, 'installations', 1)),
    intervalMs: number(values.interval, 'interval', 0.1) * 1000,
    historyMs: number(values.history, 'history', 0) * HOUR_MS,
    seed: number(values.seed, 'seed', 0),
    isLive: !values['no-live'],
    beganMs: values.began === undefined ? null : number(values.began, 'began', 0) * 1000,
  };
}

/** The SDK stamps what it is given with Date.now(): a report of the past is made at the past's time. */
async function at(nowMs, work) {
  Date.now = () => nowMs;
  try {
    return await work();
  } finally {
    Date.now = systemNow;
  }
}

/** All installations at one moment, one after the other: the past must arrive in order. Returns how many failed. */
async function report(installations, nowMs, sinceMs) {
  let failures = 0;
  for (const installation of installations) {
    const metrics = await at(nowMs, () => installation.live(nowMs, sinceMs));
    await installation.export(metrics).catch((error) => {
      failures += 1;
      lastError = error;
    });
  }
  return failures;
}

let lastError;

function say(line) {
  process.stdout.write(`${line}\n`);
}

const said = new Set();

/** The SDK's warnings, such as of samples that the server refuses, come with every report: each is said once. */
function warn(...parts) {
  const line = parts.join(' ');
  if (said.has(line) || said.size >= 100) return;
  said.add(line);
  say(line);
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function run() {
  const { url, count, intervalMs, historyMs, seed, isLive, beganMs } = readArguments();
  diag.setLogger({ error: warn, warn, info() {}, debug() {}, verbose() {} }, DiagLogLevel.WARN);
  const catalogue = readCatalogue(join(dirname(fileURLToPath(import.meta.url)), '..'));
  const nowMs = systemNow();
  const startMs = nowMs - historyMs;
  const installations = Array.from(
    { length: count },
    (_, index) =>
      new Installation({
        url,
        catalogue,
        seed,
        index,
        count,
        startMs,
        beganMs,
        // One after the other; the last third has not followed an hour from now either.
        upgradeAt: (place) => startMs + historyMs / 3 + 1.5 * place * ((2 / 3) * historyMs + HOUR_MS),
      }),
  );

  let lastMs = startMs;
  for (; lastMs + HISTORY_STEP_MS < systemNow(); lastMs += HISTORY_STEP_MS) {
    if ((await report(installations, lastMs + HISTORY_STEP_MS, HISTORY_STEP_MS)) === count) throw lastError;
  }
  say(`reported: ${catalogue.metrics.length} metrics of ${count} installations`);

  let isReached = true;
  while (isLive) {
    const beginMs = systemNow();
    const failures = await report(installations, beginMs, beginMs - lastMs);
    lastMs = beginMs;
    if (failures > 0 && isReached) say(`not all reports arrive: ${lastError.message}`);
    isReached = failures === 0;
    await sleep(Math.max(0, beginMs + intervalMs - systemNow()));
  }
}

try {
  await run();
} catch (error) {
  process.stderr.write(`report.mjs: ${error.message}\n`);
  process.exitCode = 1;
}
