import AxeBuilder from '@axe-core/playwright';
import { expect, type Page, test } from '@playwright/test';

import { makeDirectory, removeDirectory, type Running, startDemo, startServer } from './program';

let demo: Running;

test.beforeAll(async () => {
  demo = await startDemo();
});

test.afterAll(async () => {
  await demo.stop();
});

const areas = ['Core', 'Planning', 'Repository analysis', 'Terminal interface'];

async function openMetrics(page: Page): Promise<void> {
  await page.goto(`${demo.url}/catalogue`);
  // All of them reported by OTLP, and each with a figure.
  await expect(page.getByRole('article', { name: 'Seen in the last day' })).toContainText('18 of 18');
  await expect(page.getByTestId('figure')).toHaveCount(18);
  for (const figure of await page.getByTestId('figure').all()) await expect(figure).toHaveText(/\d/);
}

test('every metric of the catalogue has a figure, a course, and versions that report it', async ({
  page,
}) => {
  await openMetrics(page);
  for (const name of areas) await expect(page.getByRole('region', { name })).toBeVisible();
  const startUp = page.getByRole('article', { name: 'Start-up, p95' });
  await expect(startUp).toContainText('From the first instruction of the process');
  await expect(startUp).toContainText(/Target < 50 ms (met|missed)/);
  await expect(startUp).toContainText('startup_time');
  await expect(startUp.locator('.sparkline-line')).toHaveCount(1);
  await expect(startUp.getByRole('list', { name: 'Versions' })).toContainText('2.2.0');
});

test('what defines a figure, and what came of it, is one step away', async ({ page }) => {
  await openMetrics(page);
  const latency = page.getByRole('article', { name: 'Input latency, p95' });
  await latency.getByText('Definition and coverage').click();
  await expect(latency.getByRole('group', { name: 'PromQL query' })).toContainText(
    'rate(hive_tui_input_latency_seconds_bucket{job="hive"}[5m])',
  );
  await expect(latency).toContainText('histogram, as reported');
  await expect(latency).toContainText('seconds, as reported');
  await expect(latency.getByRole('row', { name: /^2\.2\.0/ })).toContainText(/\d+ (s|min) ago/);
});

test('the search is in the address and survives a reload', async ({ page }) => {
  await openMetrics(page);
  await page.getByRole('searchbox', { name: 'Search metrics' }).fill('terminal frame');
  await expect(page.getByRole('article', { name: 'Frame rate, p10' })).toBeVisible();
  await expect(page.getByRole('article', { name: 'Start-up, p95' })).toHaveCount(0);
  await expect(page).toHaveURL(/q=terminal/);
  await page.reload();
  await expect(page.getByRole('searchbox', { name: 'Search metrics' })).toHaveValue('terminal frame');
  await expect(page.getByRole('region', { name: 'Core' })).toHaveCount(0);
  await page.getByRole('searchbox', { name: 'Search metrics' }).fill('nothing of the kind');
  await expect(page.getByRole('status').filter({ hasText: 'No metric fits' })).toBeVisible();
});

test('the engineering dashboard shows metrics', async ({ page }) => {
  await page.goto(demo.url);
  await page
    .getByRole('navigation', { name: 'Dashboards' })
    .getByRole('link', { name: 'Engineering' })
    .click();
  await expect(page.getByRole('heading', { level: 1, name: 'Engineering' })).toBeVisible();
  for (const name of ['Start-up, p95', 'Memory, p95', 'Cache hit rate', 'Execution success'])
    await expect(page.getByRole('article', { name, exact: true }).getByTestId('figure')).toHaveText(/\d/);
  for (const name of ['Start-up by version', 'Consensus by stage', 'Memory by version'])
    await expect(page.getByRole('article', { name, exact: true }).locator('canvas')).toBeVisible();
  await expect(page.getByText('Try again')).toHaveCount(0);
  await page.getByRole('button', { name: 'About Memory, p95' }).click();
  await expect(page.getByRole('group', { name: 'PromQL query' })).toContainText('hive_memory_usage_bytes');
});

/** A server that one installation reports to, with two metrics, one of them unknown to the catalogue. */
test('what is not seen, and what nobody has written down, is shown', async ({ page }) => {
  const dir = makeDirectory();
  const server = await startServer(dir, 0, true);
  try {
    const samples = [
      '# TYPE active_sessions gauge',
      'active_sessions{job="hive",instance="a"} 7',
      'target_info{job="hive",instance="a",service_version="3.0.0"} 1',
      'hive_secret_feature_uses_total{job="hive",instance="a"} 1',
    ];
    const report = async (lines: string[]): Promise<void> => {
      const body = `${lines.join('\n')}\n`;
      const answer = await fetch(`${server.url}/api/v1/import/prometheus`, { method: 'POST', body });
      expect(answer.status).toBe(204);
    };
    await report(samples);
    await page.goto(`${server.url}/catalogue`);
    const seen = page.getByRole('article', { name: 'Seen in the last day' });
    await expect(seen).toContainText('1 of 18');
    await expect(page.getByRole('region', { name: 'Not in the catalogue' })).toContainText(
      'hive_secret_feature_uses_total',
    );
    await page.getByRole('link', { name: 'Show 17 not seen' }).click();
    await expect(page).toHaveURL(/show=unseen/);
    await expect(page.getByRole('article', { name: 'Active sessions' })).toHaveCount(0);
    await expect(page.getByRole('article', { name: 'Commands' })).toContainText('Not seen in the last day');
    await page.getByRole('link', { name: 'Show all metrics' }).click();
    const sessions = page.getByRole('article', { name: 'Active sessions' });
    await expect(sessions.getByTestId('figure')).toHaveText('7');
    await expect(sessions.getByRole('list', { name: 'Versions' })).toHaveText('3.0.0');
    // Who instruments the product looks here for what is still missing: it comes by itself.
    await report(['hive_commands_total{job="hive",instance="a"} 1']);
    await expect(seen).toContainText('2 of 18');
  } finally {
    await page.goto('about:blank');
    await server.stop();
    removeDirectory(dir);
  }
});

test('fits a phone of 390 pixels', async ({ page }) => {
  await page.setViewportSize({ width: 390, height: 844 });
  await openMetrics(page);
  await page.getByText('Definition and coverage').first().click();
  const widths = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  expect(widths[0]).toBeLessThanOrEqual(widths[1] ?? 0);
});

for (const colorScheme of ['light', 'dark'] as const) {
  test(`has no serious accessibility fault, ${colorScheme}`, async ({ page }) => {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    await openMetrics(page);
    await page.getByText('Definition and coverage').first().click();
    const { violations } = await new AxeBuilder({ page }).analyze();
    const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
    expect(serious.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)])).toEqual([]);
  });
}
