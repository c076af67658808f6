import AxeBuilder from '@axe-core/playwright';
import { expect, type Locator, type Page, test } from '@playwright/test';

import { makeDirectory, makeKey, removeDirectory, type Running, startDemo, startServer } from './program';
import { post, postDocumentedBodies, postTrouble } from './send';

let demo: Running;

test.beforeAll(async () => {
  demo = await startDemo();
});

test.afterAll(async () => {
  await demo.stop();
});

/** What must not happen on any page; filled while a test runs, checked behind each. */
const complaints: string[] = [];

test.beforeEach(({ page }) => {
  complaints.length = 0;
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('request', (request) => {
    if (!/^(http:\/\/127\.0\.0\.1:|data:|blob:)/.test(request.url()))
      complaints.push(`asked ${request.url()}`);
  });
  page.on('console', (message) => {
    if (message.text().includes('Content Security Policy')) complaints.push(message.text());
  });
});

test.afterEach(() => {
  expect(complaints).toEqual([]);
});

const cardNames = ['Active users, 7 days', 'Downloads today', 'Start-up, p95 today', 'Error rate today'];

function figureOf(page: Page, title: string): Locator {
  return page.getByRole('article', { name: title, exact: true }).getByTestId('figure');
}

async function openHome(page: Page): Promise<void> {
  await page.goto(demo.url);
  for (const name of cardNames) await expect(figureOf(page, name)).toHaveText(/\d/);
}

test('the picture of the README: cards, charts and the map are drawn', async ({ page }) => {
  await openHome(page);
  await expect(page.getByRole('status').filter({ hasText: 'Live' })).toBeVisible();
  for (const name of ['Start-up time', 'Consensus duration'])
    await expect(page.getByRole('article', { name }).locator('canvas')).toBeVisible();
  await expect(page.getByRole('article', { name: 'Feature adoption' })).toContainText('planning mode');
  const map = page.getByRole('article', { name: 'Users by country' });
  await map.scrollIntoViewIfNeeded();
  await expect(map.getByRole('list', { name: 'Largest countries' })).toContainText('Germany');
  await page.evaluate(() => scrollTo(0, 0));
  await page.screenshot({
    path: '../../docs/images/dashboard.png',
    animations: 'disabled',
  });
});

test('all four cards change live, without a reload', async ({ page }) => {
  await openHome(page);
  await page.evaluate(() => Object.assign(window, { wasLoadedOnce: true }));
  const before = await Promise.all(cardNames.map((name) => figureOf(page, name).textContent()));
  await postDocumentedBodies(demo.url);
  await postTrouble(demo.url, String(Date.now()));
  for (const [index, name] of cardNames.entries())
    await expect(figureOf(page, name), name).not.toHaveText(before[index] ?? '');
  expect(await page.evaluate(() => 'wasLoadedOnce' in window)).toBe(true);
});

test('says whether a change is good, in words too', async ({ page }) => {
  // More than on any day of the demo: whatever the hour, today is not just as yesterday was by now.
  const download = { platform: 'linux', method: 'curl', version: '2.1.0' };
  await post(demo.url, '/downloads', Array<object>(2_000).fill(download));
  await openHome(page);
  const card = page.getByRole('article', {
    name: 'Downloads today',
    exact: true,
  });
  await expect(card).toContainText(/up .* good/);
  await expect(card).toContainText(/Target .* (met|missed)/);
});

test('the time range is in the address and survives a reload', async ({ page }) => {
  await openHome(page);
  await page.getByRole('link', { name: /last 30 days/ }).click();
  await expect(page).toHaveURL(/range=30d/);
  await page.reload();
  await expect(page.getByRole('link', { name: /last 30 days/ })).not.toHaveAttribute('aria-current', 'false');
  await expect(figureOf(page, cardNames[0] ?? '')).toHaveText(/\d/);
});

test('a second dashboard opens from the navigation', async ({ page }) => {
  await openHome(page);
  await page.getByRole('navigation', { name: 'Dashboards' }).getByRole('link', { name: 'Product' }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'Product' })).toBeVisible();
  await expect(page).toHaveURL(/\/d\/product/);
  await expect(page.getByText('Try again')).toHaveCount(0);
});

test('every figure shows the SQL that defines it', async ({ page }) => {
  await openHome(page);
  await page.getByRole('button', { name: 'About Downloads today' }).click();
  await expect(page.getByRole('group', { name: 'SQL query' })).toContainText(
    'SELECT COUNT(*) FROM downloads WHERE date >= CURRENT_DATE',
  );
});

test('works by keyboard alone', async ({ page }) => {
  await openHome(page);
  await page.keyboard.press('Tab');
  await expect(page.getByRole('link', { name: 'Skip to the figures' })).toBeFocused();
  await page.keyboard.press('Enter');
  const range = page.getByRole('link', { name: /last 24 hours/ });
  await range.focus();
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(/range=24h/);
});

test('fits a phone of 390 pixels', async ({ page }) => {
  await page.setViewportSize({ width: 390, height: 844 });
  await openHome(page);
  const widths = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  expect(widths[0]).toBeLessThanOrEqual(widths[1] ?? 0);
  for (const name of cardNames) {
    const box = await page.getByRole('article', { name, exact: true }).boundingBox();
    expect(box === null ? 0 : box.x + box.width).toBeLessThanOrEqual(390);
  }
});

for (const colorScheme of ['light', 'dark'] as const) {
  test(`has no serious accessibility fault, ${colorScheme}`, async ({ page }) => {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    await openHome(page);
    const { violations } = await new AxeBuilder({ page }).analyze();
    const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
    expect(serious.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)])).toEqual([]);
  });
}

test('a server with keys asks for one, and opens with it', async ({ page }) => {
  const dir = makeDirectory();
  const key = makeKey(dir, 'viewer');
  const server = await startServer(dir, 0, false);
  try {
    await page.goto(server.url);
    await page.getByLabel('Viewer key').fill('apk_view_wrong');
    await page.getByRole('button', { name: 'Open the dashboards' }).click();
    await expect(page.getByRole('alert')).toContainText('not known');
    await page.getByLabel('Viewer key').fill(key);
    await page.getByRole('button', { name: 'Open the dashboards' }).click();
    await expect(page.getByRole('heading', { level: 1, name: 'Executive' })).toBeVisible();
    await page.reload();
    await expect(page.getByRole('heading', { level: 1, name: 'Executive' })).toBeVisible();
  } finally {
    await page.goto('about:blank');
    await server.stop();
    removeDirectory(dir);
  }
});

test('goes on by itself when the server comes back', async ({ page }) => {
  const dir = makeDirectory();
  let server = await startServer(dir, 0, true);
  const port = Number(new URL(server.url).port);
  try {
    await page.goto(server.url);
    await expect(page.getByRole('status').filter({ hasText: 'Live' })).toBeVisible();
    await page.evaluate(() => Object.assign(window, { wasLoadedOnce: true }));
    await server.stop();
    await expect(page.getByRole('status').filter({ hasText: 'Reconnecting' })).toBeVisible();
    server = await startServer(dir, port, true);
    await expect(page.getByRole('status').filter({ hasText: 'Live' })).toBeVisible();
    await postTrouble(server.url, 'again');
    await expect(figureOf(page, 'Downloads today')).toHaveText('40');
    expect(await page.evaluate(() => 'wasLoadedOnce' in window)).toBe(true);
  } finally {
    await page.goto('about:blank');
    await server.stop();
    removeDirectory(dir);
  }
});
