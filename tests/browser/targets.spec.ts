import AxeBuilder from '@axe-core/playwright';
import { expect, type Page, test } from '@playwright/test';
import { writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

import { makeDirectory, removeDirectory, type Running, startScraper, startServer } from './program';

/** A job with three targets, one of which nobody answers for, and one that is dropped; a job of a file that comes later. */
let site: Server;
let isBroken = false;
let dir: string;
let server: Running;
let port: number;

test.beforeAll(async () => {
  site = createServer((request, response) => {
    response.statusCode = isBroken && request.url === '/metrics?n=2' ? 500 : 200;
    response.setHeader('Content-Type', 'text/plain; version=0.0.4');
    response.end('# TYPE a gauge\na 1\n');
  });
  await new Promise<void>((resolve) => site.listen(0, '127.0.0.1', resolve));
  port = (site.address() as AddressInfo).port;
  dir = makeDirectory();
  const config = {
    global: { scrape_interval: '1s' },
    scrape_configs: [
      {
        job_name: 'shop',
        static_configs: [
          {
            targets: [`127.0.0.1:${port}`],
            labels: { env: 'prod', __param_n: '1', region: 'north' },
          },
          {
            targets: [`127.0.0.1:${port}`],
            labels: { env: 'test', __param_n: '2' },
          },
          { targets: ['127.0.0.1:1'], labels: { env: 'prod' } },
          { targets: ['gone.example:80'], labels: { __meta_zone: 'eu-1' } },
        ],
        relabel_configs: [{ source_labels: ['__address__'], regex: 'gone.*', action: 'drop' }],
      },
      { job_name: 'later', file_sd_configs: [{ files: ['later.json'] }] },
    ],
  };
  writeFileSync(join(dir, 'scrape.yml'), JSON.stringify(config));
  server = await startScraper(dir, join(dir, 'scrape.yml'));
});

test.afterAll(async () => {
  await server.stop();
  site.close();
  removeDirectory(dir);
});

async function openTargets(page: Page): Promise<void> {
  await page.goto(`${server.url}/`);
  await page.getByRole('link', { name: 'Targets' }).click();
  await expect(page.getByRole('article', { name: 'Up now' })).toContainText('3 of 4');
}

const shop = (page: Page) => page.getByRole('region', { name: 'shop' });

test('each job with its targets, what is wrong first', async ({ page }) => {
  await openTargets(page);
  await expect(page).toHaveTitle('Targets · Apiary');
  const rows = shop(page).getByRole('row');
  await expect(rows).toHaveCount(4); // with the head
  await expect(rows.nth(1)).toContainText('Down');
  await expect(rows.nth(1)).toContainText('connection refused');
  await expect(rows.nth(2)).toContainText('Up');
  await expect(rows.nth(2)).toContainText('every 1 s');
  await expect(rows.nth(2)).toContainText(/\d+ s ago/);
  await expect(rows.nth(2)).toContainText('region=“north”');
  await expect(shop(page).getByRole('list', { name: 'Targets of shop by health' })).toHaveText('1 down2 up');
  const own = page.getByRole('region', { name: 'apiary', exact: true });
  await expect(own.getByRole('row').nth(1)).toContainText('self:');
  await expect(page.getByRole('region', { name: 'later' })).toContainText(
    'Nothing was found for this job yet',
  );
});

test('labels before relabelling, and what was dropped', async ({ page }) => {
  await openTargets(page);
  await shop(page).getByText('1 dropped by relabelling').click();
  await expect(shop(page)).toContainText('__meta_zone=“eu-1”');
  const second = shop(page).getByRole('row').nth(2);
  await expect(second.getByText('__param_n')).toBeHidden();
  await second.getByText('Before relabelling').click();
  await expect(second.getByText('__param_n')).toBeVisible();
});

test('the search and the choice are in the address', async ({ page }) => {
  await openTargets(page);
  await page.getByRole('link', { name: 'Show 1 that is down' }).click();
  await expect(page.getByRole('row', { name: /^Up/ })).toHaveCount(0);
  await expect(page).toHaveURL(/show=down/);
  await page.reload();
  await expect(page.getByRole('row', { name: /^Down/ })).toHaveCount(1);
  await page.getByRole('link', { name: 'Show all targets' }).click();
  await page.getByRole('searchbox', { name: 'Search targets' }).fill('shop env="test"');
  await expect(page.getByRole('row', { name: /^Up/ })).toHaveCount(1);
  await expect(page.getByRole('region', { name: 'apiary', exact: true })).toHaveCount(0);
  await page.getByRole('searchbox', { name: 'Search targets' }).fill('nothing of the kind');
  await expect(page.getByText('No target fits “nothing of the kind”')).toBeVisible();
});

test('what changes is shown without a reload', async ({ page }) => {
  await openTargets(page);
  isBroken = true;
  await expect(page.getByRole('article', { name: 'Up now' })).toContainText('2 of 4');
  await expect(shop(page)).toContainText('server returned HTTP status 500 Internal Server Error');
  isBroken = false;
  writeFileSync(join(dir, 'later.json'), JSON.stringify([{ targets: [`127.0.0.1:${port}`] }]));
  await expect(page.getByRole('article', { name: 'Up now' })).toContainText('4 of 5');
  await expect(page.getByRole('region', { name: 'later' }).getByRole('row')).toHaveCount(2);
});

test('is readable for everybody, on a phone too', async ({ page }) => {
  await page.emulateMedia({ reducedMotion: 'reduce' });
  for (const size of [
    { width: 1440, height: 900 },
    { width: 390, height: 844 },
  ]) {
    await page.setViewportSize(size);
    await page.goto(`${server.url}/targets`);
    await expect(shop(page).getByText('connection refused')).toBeVisible();
    const results = await new AxeBuilder({ page }).analyze();
    expect(results.violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html ?? ''}`)).toEqual([]);
    const overflow = await page.evaluate(
      () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
    );
    expect(overflow).toBeLessThanOrEqual(0);
    const shot = process.env['APIARY_SHOTS'];
    if (shot !== undefined)
      await page.screenshot({
        path: join(shot, `targets-${size.width}.png`),
        fullPage: true,
      });
  }
});

test('says so when nothing is scraped, and when the server is away', async ({ page }) => {
  const empty = makeDirectory();
  const quiet = await startServer(empty, 0, true, [
    '--set',
    'scrape.self=false',
    '--set',
    'scrape.host=false',
  ]);
  await page.goto(`${quiet.url}/targets`);
  await expect(page.getByRole('heading', { name: 'Nothing is scraped' })).toBeVisible();
  await page.route('**/api/v1/targets', (route) => route.abort());
  await page.reload();
  await expect(page.getByText('Apiary cannot be reached')).toBeVisible();
  await page.unroute('**/api/v1/targets');
  await page.getByRole('button', { name: 'Try again' }).click();
  await expect(page.getByRole('heading', { name: 'Nothing is scraped' })).toBeVisible();
  await quiet.stop();
  removeDirectory(empty);
});
