import AxeBuilder from '@axe-core/playwright';
import { expect, type Page, test } from '@playwright/test';
import { writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

import { makeDirectory, removeDirectory, type Running, startServer } from './program';

/** Two targets, one alert that is told to somebody, and what of the message links where. */
let site: Server;
let message = '';
let load = 1000.25;
let dir: string;
let server: Running;

test.beforeAll(async () => {
  site = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      if (request.method === 'POST') message = body;
      response.setHeader('Content-Type', 'text/plain; version=0.0.4');
      response.end(`# TYPE shop_load gauge\nshop_load ${load}\n`);
    });
  });
  await new Promise<void>((resolve) => site.listen(0, '127.0.0.1', resolve));
  const port = (site.address() as AddressInfo).port;
  dir = makeDirectory();
  const targets = [`127.0.0.1:${port}`];
  const scrape = {
    global: { scrape_interval: '5s' }, // so long may this process, which answers, be busy with a page
    scrape_configs: [
      { job_name: 'shop', static_configs: [{ targets }] },
      { job_name: 'gone', static_configs: [{ targets: ['127.0.0.1:1'] }] },
    ],
  };
  const rules = {
    groups: [
      {
        name: 'all',
        interval: '1s',
        rules: [{ alert: 'Gone', expr: 'up == 0', labels: { team: 'web & co' } }],
      },
    ],
  };
  // As default templates and those in the field write it.
  const blocks =
    'title: {{ template "slack.default.titlelink" . }} graph: {{ (index .Alerts 0).GeneratorURL }} ';
  const alerting = {
    route: { receiver: 'web & co', group_wait: '0s' },
    receivers: [
      {
        name: 'web & co',
        slack_configs: [{ api_url: `http://127.0.0.1:${port}/slack`, channel: '#x', text: blocks }],
      },
    ],
  };
  writeFileSync(join(dir, 'scrape.yml'), JSON.stringify(scrape));
  writeFileSync(join(dir, 'rules.yml'), JSON.stringify(rules));
  writeFileSync(join(dir, 'alertmanager.yml'), JSON.stringify(alerting));
  const files = ['scrape.yml', 'rules.yml', 'alertmanager.yml'].map((file) => join(dir, file));
  const [scrapeFile = '', rulesFile = '', alertingFile = ''] = files;
  const own = [
    '--set',
    'external_url=http://apiary.example.com',
    '--set',
    'scrape.host=false',
    '--set',
    'scrape.self=false',
  ];
  const options = ['--scrape', scrapeFile, '--rules', rulesFile, '--alerting', alertingFile, ...own];
  server = await startServer(join(dir, 'data'), 0, true, options, []);
  await expect.poll(() => figureOf('count(up)')).toBe('2');
});

/** What any other client of the query API sees. */
async function figureOf(query: string): Promise<string | undefined> {
  const response = await fetch(`${server.url}/api/v1/query?query=${encodeURIComponent(query)}`);
  const { data } = (await response.json()) as { data: { result: { value: [number, string] }[] } };
  return data.result[0]?.value[1];
}

test.afterAll(async () => {
  await server.stop();
  site.close();
  removeDirectory(dir);
});

/** The address in the message, at this server whatever its name was there. */
async function linkOf(before: string): Promise<string> {
  const link = new RegExp(`${before}: http://[^/]+(/\\S+)`);
  await expect.poll(() => link.exec(message)?.[1]).toBeDefined();
  return server.url + (link.exec(message)?.[1] ?? '');
}

const expression = (page: Page) => page.getByRole('textbox', { name: 'PromQL expression' });
const series = (page: Page) => page.getByRole('list', { name: 'Series' }).locator('> li');

test("a message's link leads to the alerts of its receiver, without a step more to go back", async ({
  page,
}) => {
  await page.goto(`${server.url}/targets`);
  await page.goto(await linkOf('title'));
  await expect(page.getByRole('heading', { name: 'Alerts', level: 1 })).toBeVisible();
  await expect(page).toHaveURL(`${server.url}/alerts?receiver=web+%26+co`);
  await expect(page.getByRole('combobox', { name: /receiver/i })).toHaveValue('web & co');
  await expect(page.locator('.alert')).toHaveCount(1);
  await page.goBack();
  await expect(page.getByRole('heading', { name: 'Targets', level: 1 })).toBeVisible();
});

test('a link to a new silence has its matchers and its reason, in an open page, too', async ({ page }) => {
  const filter = encodeURIComponent('{alertname="Gone", team=~"web & .*",}');
  await page.goto(`${server.url}/`);
  await page.goto(`${server.url}/#/silences/new?filter=${filter}&comment=new%20disks`);
  const form = page.getByRole('region', { name: 'New silence' });
  await expect(form.getByRole('textbox', { name: 'Why' })).toHaveValue('new disks');
  await expect(form).toContainText('Holds back 1 alert');
});

test("an alert's link leads to the graph of its expression", async ({ page }) => {
  await page.goto(await linkOf('graph'));
  await expect(expression(page)).toHaveValue('up == 0');
  await expect(series(page)).toHaveCount(1);
  await expect(series(page)).toContainText('job=gone');
});

test('values, the line, and another expression', async ({ page }) => {
  await page.goto(`${server.url}/query?g0.expr=up&g0.tab=1&g1.expr=other`);
  await expect(page).toHaveURL(/\/graph\?g0\.expr=up/);
  await expect(page.getByText('The address has one more expression')).toBeVisible();
  await expect(series(page)).toHaveCount(2);
  await expect(series(page).filter({ hasText: 'job=gone' }).locator('strong')).toHaveText('0');
  await expect(series(page).filter({ hasText: 'job=shop' }).locator('strong')).toHaveText('1');

  await page.getByRole('link', { name: 'Graph', exact: true }).click();
  await expect(page).toHaveURL(/g0\.tab=0/);
  await page.getByRole('link', { name: '15 min' }).click();
  await expect(page).toHaveURL(/g0\.range_input=15m/);
  await expect(page.getByRole('slider', { name: 'Graph, point in time' })).toBeVisible();
  await expect(series(page)).toHaveCount(2);

  await expression(page).fill('shop_load\n  * 2');
  await expression(page).press('Control+Enter');
  await expect(series(page)).toHaveCount(1);
  await expect(series(page).locator('strong')).toHaveText('2,000.5');
  await expect(page).toHaveURL(/g0\.range_input=15m/);
  await page.reload();
  await expect(expression(page)).toHaveValue('shop_load\n  * 2');
  await page.goBack();
  await expect(expression(page)).toHaveValue('up');
});

test('asks again by itself, and its end moves along', async ({ page }) => {
  const asked: URL[] = [];
  page.on('request', (request) => {
    if (request.url().includes('/api/v1/query_range')) asked.push(new URL(request.url()));
  });
  await page.goto(`${server.url}/graph?g0.expr=shop_load&g0.range_input=15m`);
  await expect(series(page)).toHaveCount(1);
  await page.getByRole('combobox', { name: 'Refresh' }).selectOption('Refresh every 5 s');
  await expect(page).toHaveURL(/refresh=5s/);
  await expect.poll(() => asked.length).toBeGreaterThanOrEqual(3);
  const secondsOf = (url: URL | undefined, name: string) => Number(url?.searchParams.get(name));
  const [first, last] = [asked[0], asked.at(-1)];
  expect(secondsOf(last, 'end')).toBeGreaterThan(secondsOf(first, 'end'));
  expect(secondsOf(last, 'end') - secondsOf(last, 'start')).toBeCloseTo(900);

  await page.goto(`${server.url}/graph?g0.expr=shop_load&g0.tab=1&refresh=1s`);
  await expect(page.getByRole('combobox', { name: 'Refresh' })).toHaveValue('1s');
  await expect(series(page).locator('strong')).toHaveText('1000.25');
  load = 1001;
  await expect(series(page).locator('strong')).toHaveText('1001');
  load = 1000.25;
  await expect(series(page).locator('strong')).toHaveText('1000.25');
});

test('an error leaves the picture there until the next answer', async ({ page }) => {
  await page.goto(`${server.url}/graph?g0.expr=shop_load&refresh=1s`);
  await expect(page.locator('.graph canvas')).toBeVisible();
  await page.route('**/api/v1/query_range?*', (route) => route.abort());
  await expect(page.locator('.expression-note')).toContainText('Apiary cannot be reached');
  await expect(page.locator('.graph canvas')).toBeVisible();
  await expect(series(page)).toHaveCount(1);
  await page.unroute('**/api/v1/query_range?*');
  await expect(page.locator('.expression-note')).toHaveCount(0);
});

test('a tab that nobody sees asks nothing, and catches up', async ({ page }) => {
  let askedCount = 0;
  page.on('request', (request) => {
    if (request.url().includes('/api/v1/query_range')) askedCount += 1;
  });
  const setVisibility = (state: 'hidden' | 'visible') =>
    page.evaluate((wanted) => {
      Object.defineProperty(document, 'visibilityState', { value: wanted, configurable: true });
      window.dispatchEvent(new Event('visibilitychange'));
    }, state);
  await page.clock.install();
  await page.goto(`${server.url}/graph?g0.expr=shop_load&refresh=5m`);
  await expect(series(page)).toHaveCount(1);
  await setVisibility('hidden');
  const before = askedCount;
  await page.clock.runFor('11:00');
  expect(askedCount).toBe(before);
  await setVisibility('visible');
  await expect.poll(() => askedCount).toBe(before + 1);
  await page.clock.runFor('05:30');
  await expect.poll(() => askedCount).toBe(before + 2);
});

test('what is wrong with an expression is said below it', async ({ page }) => {
  await page.goto(`${server.url}/graph?g0.expr=sum(up`);
  await expect(page.getByRole('alert')).toContainText('unclosed left parenthesis');
  await expression(page).fill('up');
  await page.getByRole('button', { name: 'Run' }).click();
  await expect(series(page)).toHaveCount(2);
  await expect(page.getByRole('alert')).toHaveCount(0);
});

test('a query anywhere leads to its graph', async ({ page }) => {
  await page.goto(`${server.url}/rules?q=Gone`);
  await page.getByRole('button', { name: /Gone/ }).click();
  await page.getByRole('link', { name: 'Open as graph' }).click();
  await expect(expression(page)).toHaveValue('up == 0');
});

for (const theme of ['light', 'dark'] as const)
  test(`can be read by everybody, ${theme}`, async ({ page }) => {
    await page.emulateMedia({ colorScheme: theme, reducedMotion: 'reduce' });
    for (const address of [
      '/graph',
      '/graph?g0.expr=up',
      '/graph?g0.expr=up&g0.tab=1',
      '/graph?g0.expr=up%29',
    ]) {
      await page.goto(server.url + address);
      await expect(page.locator('.beginnings, .series, .expression-note').first()).toBeVisible();
      const { violations } = await new AxeBuilder({ page }).analyze();
      expect(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)])).toEqual([]);
    }
  });
