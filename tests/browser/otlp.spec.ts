/** What a web page may send: OpenTelemetry's data, from the origins that are named, by the browser's own rules. */
import { createServer, type Server } from 'node:http';
import { type AddressInfo } from 'node:net';

import { expect, type Page, test } from '@playwright/test';

import { makeDirectory, makeKey, removeDirectory, type Running, startServer } from './program';

let dir: string;
let site: Server;
let apiary: Running;
let token: string;

const origin = (host: string) => `http://${host}:${(site.address() as AddressInfo).port}`;

test.beforeAll(async () => {
  site = createServer((_, answer) => answer.setHeader('Content-Type', 'text/html').end('<title>app</title>'));
  await new Promise<void>((resolve) => site.listen(0, '127.0.0.1', resolve));
  dir = makeDirectory();
  // As it is needed in both cases, so that only the origin decides.
  apiary = await startServer(dir, 0, false, ['--set', `otlp.cors_origins=${origin('127.0.0.1')}`]);
  token = makeKey(dir, 'public');
});

test.afterAll(async () => {
  await apiary.stop();
  site.close();
  removeDirectory(dir);
});

/** The status, or "blocked" when the browser did not let the page ask. */
function send(page: Page, path: string): Promise<number | string> {
  return page.evaluate(
    async ([url, key]) => {
      const point = { timeUnixNano: `${Date.now()}000000`, asInt: '3' };
      const metrics = [{ name: 'page.clicks', gauge: { dataPoints: [point] } }];
      const body = JSON.stringify({ resourceMetrics: [{ scopeMetrics: [{ metrics }] }] });
      const headers = { 'Content-Type': 'application/json', 'X-Apiary-Key': key };
      return fetch(url, { method: 'POST', headers, body }).then(
        (answer) => answer.status,
        () => 'blocked',
      );
    },
    [`${apiary.url}${path}`, token] as const,
  );
}

test('a page of an origin that is named may send metrics with a public key', async ({ page }) => {
  await page.goto(origin('127.0.0.1'));
  // The keyring notices within a second that another process made a key.
  await expect.poll(() => send(page, '/v1/metrics')).toBe(200);
  expect(await send(page, '/api/v1/otlp/v1/metrics')).toBe(200);
  expect(await send(page, '/api/v1/import/prometheus')).toBe('blocked');
});

test('a page of another origin may not', async ({ page }) => {
  await page.goto(origin('localhost'));
  expect(await send(page, '/v1/metrics')).toBe('blocked');
});
