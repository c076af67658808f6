import { expect, type Page, test } from '@playwright/test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { makeDirectory, makeKey, removeDirectory, type Running, startServer } from './program';
import { PREFIX, type Proxy, startProxy } from './proxy';

const heading = (page: Page, name: string) => page.getByRole('heading', { level: 1, name });
const series = (page: Page) => page.getByRole('list', { name: 'Series' }).locator('> li');

for (const isStripping of [false, true])
  test.describe(
    isStripping ? 'behind a proxy that takes the path off' : 'behind a proxy that leaves the path',
    () => {
      let dir: string;
      let key: string;
      let proxy: Proxy;
      let server: Running;

      test.beforeAll(async () => {
        dir = makeDirectory();
        const data = join(dir, 'data');
        key = makeKey(data, 'operator');
        proxy = await startProxy(isStripping);
        const group = { name: 'all', interval: '1s', rules: [{ alert: 'Always', expr: 'vector(1)' }] };
        writeFileSync(join(dir, 'rules.yml'), JSON.stringify({ groups: [group] }));
        const options = ['--set', `external_url=${proxy.url}/`, '--rules', join(dir, 'rules.yml')];
        server = await startServer(data, 0, false, options);
        proxy.pointAt(server.url);
      });

      test.beforeEach(({ page }) => {
        page.on('pageerror', (error) => proxy.strays.push(String(error)));
      });

      test.afterAll(async () => {
        proxy.stop();
        await server.stop();
        removeDirectory(dir);
      });

      async function signIn(page: Page, url: string): Promise<void> {
        await page.goto(url);
        await page.getByLabel('Viewer key').fill(key);
        await page.getByRole('button', { name: 'Open the dashboards' }).click();
        await expect(page.getByLabel('Viewer key')).toHaveCount(0); // whoever leaves before the answer has no cookie
      }

      test('signing in, every page, and what they ask for stay below the path', async ({ page }) => {
        await signIn(page, proxy.url);
        await expect(heading(page, 'Executive')).toBeVisible();
        await expect(page.locator('.live')).toHaveAttribute('data-state', 'live');
        expect((await page.context().cookies(`${proxy.url}/`)).map(({ path }) => path)).toEqual([
          `${PREFIX}/`,
        ]);

        const dashboards = page.getByRole('navigation', { name: 'Dashboards' });
        await dashboards.getByRole('link', { name: 'Metrics' }).click();
        await expect(page).toHaveURL(`${proxy.url}/catalogue`);
        await expect(dashboards.getByRole('link', { name: 'Metrics' })).toHaveAttribute(
          'aria-current',
          'page',
        );
        await dashboards.getByRole('link', { name: 'Engineering' }).click();
        await expect(heading(page, 'Engineering')).toBeVisible();
        await page.reload();
        await expect(heading(page, 'Engineering')).toBeVisible();

        await page.goto(`${proxy.url}/alerts`);
        await expect(page.locator('.alert').filter({ hasText: 'Always' })).toHaveCount(1);
        await page.goto(`${proxy.url}/no/such/page`);
        await expect(heading(page, 'There is no such page')).toBeVisible();
        await page.getByRole('link', { name: 'Go to the first dashboard' }).click();
        await expect(heading(page, 'Executive')).toBeVisible();
        expect(proxy.strays).toEqual([]);
      });

      test('a silence is set and ended', async ({ page }) => {
        await signIn(page, `${proxy.url}/silences?form=new&matchers=${encodeURIComponent('a="b"')}`);
        const form = page.getByRole('region', { name: 'New silence' });
        await form.getByRole('textbox', { name: 'Who' }).fill('me');
        await form.getByRole('textbox', { name: 'Why' }).fill('new disks');
        await form.getByRole('button', { name: 'Silence', exact: true }).click();
        await expect(page.locator('.silence')).toContainText('new disks');
        expect(proxy.strays).toEqual([]);
      });

      test('links in messages lead below the path', async ({ page }) => {
        await signIn(page, `${proxy.url}/#/alerts?receiver=web`);
        await expect(page).toHaveURL(`${proxy.url}/alerts?receiver=web`);
        await page.goto(`${proxy.url}/#/silences/new?filter=${encodeURIComponent('{a="b"}')}`);
        await expect(page.getByRole('region', { name: 'New silence' })).toBeVisible();
        await expect(page).toHaveURL(new RegExp(`${PREFIX}/silences\\?form=new`));

        const link = async () => {
          const asked = await page
            .context()
            .request.get(`${proxy.url}/api/v2/alerts?filter=alertname%3DAlways`);
          const [alert] = (await asked.json()) as { generatorURL: string }[];
          return alert?.generatorURL ?? '';
        };
        await expect.poll(link).toMatch(new RegExp(`^${proxy.url}/graph\\?g0\\.expr=vector`));
        await page.goto(await link());
        await expect(series(page)).toHaveCount(1);
        await page.goto(`${proxy.url}/query?g0.expr=vector%282%29&g0.tab=1`);
        await expect(page).toHaveURL(new RegExp(`${PREFIX}/graph\\?g0\\.expr=vector`));
        await expect(series(page).locator('strong')).toHaveText('2');
        expect(proxy.strays).toEqual([]);
      });

      test('who asks the server itself gets the pages, too', async ({ page }) => {
        await signIn(page, `${server.url}/targets`);
        await expect(heading(page, 'Targets')).toBeVisible();
        await page.getByRole('link', { name: 'Alerting' }).click();
        await expect(heading(page, 'Alerts')).toBeVisible();
        await page.reload();
        await expect(heading(page, 'Alerts')).toBeVisible();
        for (const path of ['/-/healthy', `${PREFIX}/-/healthy`, '/index.html', `${PREFIX}/index.html`])
          expect((await fetch(server.url + path)).status, path).toBe(200);
        expect((await fetch(`${server.url}${PREFIX}/api/v1/nothing`)).status).toBe(404);
      });
    },
  );
