import AxeBuilder from '@axe-core/playwright';
import { expect, type Page, test } from '@playwright/test';
import { writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

import { makeDirectory, makeKey, removeDirectory, type Running, startServer } from './program';

/*
 * Rules that fire, are about to, fail and record; a receiver that takes messages and one that refuses them. What fires is
 * asked for over Alertmanager's API beside the page, so that the page cannot agree with itself only.
 */
let inbox: Server;
let bodies: string[] = [];
let dir: string;
let server: Running;

const rules = {
  groups: [
    {
      name: 'machines',
      interval: '1s',
      rules: [
        {
          alert: 'DiskFull',
          expr: 'label_replace(label_replace(vector(97.3), "host", "db-1", "", ""), "disk", "/var", "", "") > 90',
          labels: { severity: 'critical', team: 'db' },
          annotations: {
            summary: '{{ $labels.disk }} on {{ $labels.host }} is {{ $value | humanize }} % full',
            description: 'Writes stop at 100 %.',
            runbook_url: 'https://runbooks.example.com/disk-full',
          },
        },
        {
          alert: 'QueueLong',
          expr: 'label_replace(vector(1200), "queue", "mail", "", "") or label_replace(vector(3400), "queue", "sms", "", "") > 1000',
          labels: { severity: 'warning', team: 'web' },
          annotations: {
            summary: '{{ $value | humanize }} wait in {{ $labels.queue }}',
          },
        },
        {
          alert: 'Slow',
          expr: 'vector(1)',
          for: '1h',
          labels: { severity: 'warning' },
        },
        { alert: 'Watchdog', expr: 'vector(1)', labels: { severity: 'none' } },
        { record: 'job:up:sum', expr: 'sum(up)' },
        {
          alert: 'NoOrders',
          sql: 'SELECT count(*) AS value FROM events WHERE timestamp > $from HAVING count(*) > 0',
          threshold: '< 1',
          no_data: 'keep',
        },
      ],
    },
    {
      name: 'broken',
      interval: '1s',
      rules: [
        // Two series of the same labels: cannot be evaluated.
        {
          alert: 'Twice',
          expr: 'label_replace(vector(1), "a", "b", "", "") + on() group_left() (vector(1) or label_replace(vector(1), "c", "d", "", ""))',
        },
      ],
    },
  ],
};

test.beforeAll(async () => {
  inbox = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      bodies.push(`${request.url ?? ''} ${body}`);
      response.statusCode = request.url === '/refuses' ? 403 : 200;
      response.end(request.url === '/refuses' ? 'this token was revoked' : 'ok');
    });
  });
  await new Promise<void>((resolve) => inbox.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(inbox.address() as AddressInfo).port}`;
  const alerting = {
    route: {
      receiver: 'oncall',
      group_by: ['alertname'],
      group_wait: '0s',
      group_interval: '1s',
      routes: [{ receiver: 'web', matchers: ['team="web"'] }],
    },
    receivers: [
      { name: 'oncall', webhook_configs: [{ url: `${url}/oncall` }] },
      { name: 'web', webhook_configs: [{ url: `${url}/refuses` }] },
    ],
  };
  const settings = {
    alerting: { path_test: '30d', path_test_receivers: ['web'] },
    heartbeats: [
      { name: 'backup', every: '1d', grace: '2h', severity: 'critical' },
      { name: 'report', every: '1h' },
      { name: 'invoices', every: '1h', labels: { team: 'money' } },
    ],
  };
  dir = makeDirectory();
  writeFileSync(join(dir, 'apiary.yaml'), JSON.stringify(settings));
  writeFileSync(join(dir, 'rules.yml'), JSON.stringify(rules));
  writeFileSync(join(dir, 'alertmanager.yml'), JSON.stringify(alerting));
  server = await startAlerting(join(dir, 'data'), true);
});

test.afterAll(async () => {
  await server.stop();
  inbox.close();
  removeDirectory(dir);
});

const UNSEEN = ['--set', 'scrape.host=false', '--set', 'scrape.self=false'];

/** Without a pack, whose own rules would fire for want of data. */
function startAlerting(data: string, isOpen: boolean): Promise<Running> {
  const files = ['--config', 'apiary.yaml', '--rules', 'rules.yml', '--alerting', 'alertmanager.yml'];
  const placed = files.map((each) => (each.startsWith('--') ? each : join(dir, each)));
  return startServer(data, 0, isOpen, [...placed, ...UNSEEN], []);
}

interface ApiSilence {
  id: string;
  comment: string;
  createdBy: string;
  endsAt: string;
  status: { state: string };
  matchers: { name: string; value: string; isRegex: boolean }[];
}

/** What any other client of Alertmanager's API sees. */
async function silencesOf(comment: string): Promise<ApiSilence[]> {
  const response = await fetch(`${server.url}/api/v2/silences`);
  return ((await response.json()) as ApiSilence[]).filter((silence) => silence.comment === comment);
}

async function postAlert(alert: object): Promise<void> {
  const headers = { 'Content-Type': 'application/json' };
  await fetch(`${server.url}/api/v2/alerts`, { method: 'POST', headers, body: JSON.stringify([alert]) });
}

const alert = (page: Page, text: string) =>
  page
    .getByRole('listitem')
    .filter({ hasText: text })
    .filter({ has: page.locator('.alert-line') });

async function openAlerts(page: Page, address = '/alerts'): Promise<void> {
  await page.goto(`${server.url}${address}`);
  await expect(page.getByRole('heading', { name: 'Alerts', level: 1 })).toBeVisible();
}

test('what is on fire, the worst first, with what to do and who knows', async ({ page }) => {
  await openAlerts(page);
  const groups = page.locator('.alert-group');
  await expect(groups.first()).toContainText('DiskFull');
  const disk = alert(page, '/var on db-1 is 97.3 % full');
  await expect(disk).toContainText('Firing');
  await expect(disk).toContainText('97.3');
  await expect(disk.getByRole('link', { name: 'Runbook' })).toHaveAttribute(
    'href',
    'https://runbooks.example.com/disk-full',
  );
  await expect(disk).toContainText(/Told oncall by webhook \d+ (s|min) ago/);
  await expect(alert(page, '1.2k wait in mail')).toContainText(/web could not be told by webhook: .*403/);
  await expect(page.getByRole('region', { name: 'QueueLong' })).toContainText('2 warning');
  await expect(alert(page, 'Slow')).toContainText('Pending');
  await expect(page.getByRole('list', { name: 'Alerting itself' })).toContainText(
    'Watchdog fires, as it should',
  );
  await expect(page.getByRole('list', { name: 'Alerting itself' })).toContainText('1 rule fails');

  await disk.getByRole('button', { name: 'Details of DiskFull' }).click();
  await expect(disk).toContainText('Writes stop at 100 %.');
  await expect(disk.getByRole('region', { name: 'Who was told' })).toContainText('oncall · webhook');
  await expect(disk.getByRole('img', { name: /highest 97.3; it fires when > 90/ })).toBeVisible();
  await expect(disk.getByRole('group', { name: 'PromQL query of DiskFull' })).toContainText('vector(97.3)');
});

test('the number that fires is on every page', async ({ page }) => {
  await page.goto(`${server.url}/targets`);
  const badge = page.getByRole('link', {
    name: /^Alerts: 3 firing: 1 critical, 2 warning/,
  });
  await expect(badge).toHaveText('3');
  await expect(badge).toHaveAttribute('data-tone', 'critical');
  await expect(page).toHaveTitle('(3) Targets · Apiary');
  await badge.click();
  await expect(page).toHaveURL(/\/alerts$/);
});

test('the search and the choices are in the address', async ({ page }) => {
  await openAlerts(page);
  await page.getByRole('searchbox', { name: 'Search alerts' }).fill('team="web" sms');
  await expect(page.locator('.alert')).toHaveCount(1);
  await page.reload();
  await expect(page.locator('.alert')).toHaveCount(1);
  await expect(page.locator('.alert')).toContainText('3.4k wait in sms');
  await page.getByRole('searchbox', { name: 'Search alerts' }).fill('');
  await page
    .getByRole('navigation', { name: 'Severity' })
    .getByRole('link', { name: /critical/ })
    .click();
  await expect(page).toHaveURL(/severity=critical/);
  await expect(page.locator('.alert')).toHaveCount(1);
  await page.goto(`${server.url}/alerts?state=pending`);
  await expect(page.locator('.alert')).toContainText('Slow');
  await page.goto(`${server.url}/alerts`);
  await page.getByRole('button', { name: 'team=db' }).click();
  await expect(page).toHaveURL(/team/);
  await expect(page.locator('.alert-group')).toHaveCount(1);
  await page.goto(`${server.url}/alerts?by=route`);
  await expect(page.getByRole('region', { name: 'QueueLong' })).toContainText('to web');
});

test('silences an alert where it stands; the API has it, nobody is told, and it ends from the page', async ({
  page,
}) => {
  await openAlerts(page);
  const disk = alert(page, '/var on db-1');
  await disk.getByRole('button', { name: 'Silence DiskFull' }).click();
  const form = page.getByRole('dialog', { name: 'Silence DiskFull' });
  await expect(form).toContainText('Holds back 1 alert that fires now');
  await form.getByRole('button', { name: '1 h', exact: true }).click();
  await expect(form.getByRole('alert')).toContainText('Say who you are');
  await form.getByRole('textbox', { name: 'Who' }).fill('Ada');
  await form.getByRole('textbox', { name: 'Why' }).fill('new disk is on its way');
  await form.getByRole('button', { name: '1 h', exact: true }).click();
  await expect(disk).toHaveCount(0);
  await expect(page.getByRole('link', { name: /^Silenced 1$/ })).toBeVisible();
  await expect(page.getByRole('link', { name: /^Alerts: 2 firing: 2 warning$/ })).toHaveText('2');

  const [made] = await silencesOf('new disk is on its way');
  expect(made?.createdBy).toBe('Ada');
  expect(made?.status.state).toBe('active');
  expect(made?.matchers.map(({ name, value }) => `${name}=${value}`).sort()).toEqual([
    'alertname=DiskFull',
    'disk=/var',
    'host=db-1',
    'severity=critical',
    'team=db',
  ]);

  await page.getByRole('link', { name: /^Silenced 1$/ }).click();
  await alert(page, '/var on db-1').getByRole('button', { name: 'Details of DiskFull' }).click();
  await expect(alert(page, '/var on db-1')).toContainText('by Ada');
  await page.getByRole('navigation', { name: 'Alerting' }).getByRole('link', { name: 'Silences' }).click();
  const silence = page.getByRole('list', { name: 'Silences' }).locator('.silence');
  await expect(silence).toContainText('new disk is on its way');
  await expect(silence).toContainText('Holds back 1 alert');
  await silence.getByRole('button', { name: 'One hour more' }).click();
  await expect(silence).toContainText(/Ends in (2 h|1 h 59 min)/);
  await silence.getByRole('button', { name: 'End now' }).click();
  await expect(silence).toHaveCount(0);
  expect((await silencesOf('new disk is on its way')).map(({ status }) => status.state)).toEqual(['expired']);
  await page.getByRole('link', { name: /^Expired/ }).click();
  await expect(silence).toContainText('new disk is on its way');
});

test('a silence is made and changed in the form, which says what is missing', async ({ page }) => {
  await page.goto(`${server.url}/silences`);
  await page.getByRole('link', { name: 'New silence' }).click();
  const form = page.getByRole('region', { name: 'New silence' });
  await form.getByRole('button', { name: 'Silence', exact: true }).click();
  await expect(form.getByRole('alert')).toContainText('at least one label');
  const first = form.getByRole('group', { name: 'Matcher 1' });
  await first.getByLabel('Label').fill('queue');
  await first.getByLabel('Comparison').selectOption('=~');
  await first.getByLabel('Value').fill('(mail');
  await form.getByRole('button', { name: 'Silence', exact: true }).click();
  await expect(form.getByRole('alert')).toContainText('not a regular expression');
  await first.getByLabel('Value').fill('mail|sms');
  await expect(form).toContainText('Holds back 2 alerts that fire now');
  await form.getByLabel('Who').fill('Bob');
  await form.getByLabel('Why').fill('moving the queues');
  await form.getByLabel('Begins').fill('2030-01-01T10:00');
  await form.getByLabel('Ends', { exact: true }).fill('2030-01-01T12:00');
  await form.getByRole('button', { name: 'Silence', exact: true }).click();
  const silence = page.getByRole('list', { name: 'Silences' }).locator('.silence');
  await expect(silence).toContainText('moving the queues');
  const [made] = await silencesOf('moving the queues');
  expect(made?.status.state).toBe('pending');
  expect(made?.matchers).toEqual([{ name: 'queue', value: 'mail|sms', isRegex: true, isEqual: true }]);

  await silence.getByRole('link', { name: 'Edit' }).click();
  const change = page.getByRole('region', { name: 'Change a silence' });
  await change.getByLabel('Ends', { exact: true }).fill('2030-01-01T14:00');
  await change.getByRole('button', { name: 'Save' }).click();
  await expect(silence).toContainText('moving the queues');
  expect(
    (await silencesOf('moving the queues')).some(({ endsAt }) => endsAt.startsWith('2030-01-01T14:00')),
  ).toBe(true);
  await silence.getByRole('button', { name: 'End now' }).click();
  await expect(silence).toHaveCount(0);
});

test('what is as it was is not sent again, and what is new shows', async ({ page }) => {
  const statuses: number[] = [];
  page.on('response', (response) => {
    if (response.url().endsWith('/api/v2/alerts')) statuses.push(response.status());
  });
  await page.goto(`${server.url}/alerts`);
  await expect(alert(page, '/var on db-1')).toBeVisible();
  await expect.poll(() => statuses).toContain(304);
  await expect(alert(page, '/var on db-1')).toBeVisible();
  const labels = { alertname: 'FromElsewhere', severity: 'warning' };
  await postAlert({ labels, annotations: { summary: 'somebody else says so' } });
  await expect(alert(page, 'somebody else says so')).toBeVisible();
  await postAlert({ labels, endsAt: new Date().toISOString() });
  await expect(alert(page, 'somebody else says so')).toHaveCount(0);
});

test('rules: what fails first, with its error; what each asks', async ({ page }) => {
  await page.goto(`${server.url}/rules`);
  const groups = page.locator('.rule-group');
  await expect(groups.first()).toContainText('broken');
  await expect(groups.first().locator('.rule')).toContainText('Fails');
  await expect(groups.first().locator('.rule-error')).not.toBeEmpty();
  const disk = page.locator('.rule').filter({ hasText: 'DiskFull' });
  await expect(disk).toContainText('Firing');
  await expect(disk).toContainText(/\d+ s ago in/);
  await disk.getByRole('button', { name: 'Details of DiskFull' }).click();
  await expect(disk.getByRole('group', { name: 'PromQL query of DiskFull' })).toContainText('vector(97.3)');
  await disk.getByRole('link', { name: 'Its alerts' }).click();
  await expect(page.locator('.alert')).toHaveCount(1);
  await page.goto(`${server.url}/rules?show=recording`);
  await expect(page.locator('.rule')).toHaveCount(1);
  await expect(page.locator('.rule')).toContainText('job:up:sum');
});

test('notifications: each attempt with its answer, filtered by the address', async ({ page }) => {
  // It was told once, and what fails is told each second: of all, it may be on a page further back by now.
  await page.goto(`${server.url}/notifications?alert=DiskFull`);
  const rows = page.locator('.notification');
  await expect(rows.filter({ hasText: 'DiskFull' }).first()).toContainText('Told');
  await page.goto(`${server.url}/notifications`);
  const refused = rows.filter({ hasText: 'QueueLong' }).first();
  await expect(refused).toContainText('Refused');
  await expect(refused).toContainText('403');
  await refused.getByRole('button', { name: /^Details of the notification to web/ }).click();
  await expect(refused).toContainText('queue=“sms”');
  await expect(rows.filter({ hasText: /\d+ times, first \d+ (s|min) ago/ })).toHaveCount(1);
  await page.getByRole('navigation', { name: 'Outcome' }).getByRole('link', { name: 'Refused' }).click();
  await expect(rows.filter({ hasText: 'DiskFull' })).toHaveCount(0);
  await expect(page).toHaveURL(/outcome=refused/);
  await page.goto(`${server.url}/notifications?alert=DiskFull`);
  await expect(rows.filter({ hasText: 'QueueLong' })).toHaveCount(0);
  await expect(rows.filter({ hasText: 'DiskFull' }).first()).toBeVisible();
  await page.goto(`${server.url}/notifications?q=nothing-of-the-kind`);
  await expect(page.getByText('No notification fits')).toBeVisible();
});

test('receivers: which way works, which does not, and a test on demand', async ({ page }) => {
  await page.goto(`${server.url}/notifications`);
  const web = page.getByRole('listitem', { name: 'web', exact: true });
  await expect(web).toContainText(/fails since .*403/);
  const oncall = page.getByRole('listitem', { name: 'oncall', exact: true });
  await expect(oncall).toContainText(/worked \d+ (s|min) ago/);
  await expect(web).toContainText('next test in');
  await expect(oncall).not.toContainText('next test');
  bodies = [];
  await oncall.getByRole('button', { name: 'Send a test to oncall' }).click();
  await expect(oncall).toContainText('webhook: arrived');
  expect(bodies.filter((body) => body.startsWith('/oncall ')).length).toBeGreaterThan(0);
  await web.getByRole('button', { name: 'Send a test to web' }).click();
  await expect(web).toContainText(/webhook: did not arrive: .*403/);
  await page.getByRole('searchbox', { name: 'Search notifications' }).fill('');
  await expect(page.locator('.notification').filter({ hasText: 'test message' }).first()).toBeVisible();
});

test('a rule by SQL says what it asks, and that it finds no data', async ({ page }) => {
  await page.goto(`${server.url}/rules?show=no_data`);
  const rule = page.locator('.rule').filter({ hasText: 'NoOrders' });
  await expect(rule).toContainText('No data');
  await expect(rule).toContainText('SQL');
  await rule.getByRole('button', { name: 'Details of NoOrders' }).click();
  await expect(rule.getByRole('group', { name: 'SQL query of NoOrders' })).toContainText('FROM events');
  await expect(rule).toContainText('so it is now');
  await expect(rule).toContainText('< 1');
});

test('heart-beats: what is missing first, and what comes in shows', async ({ page }) => {
  await fetch(`${server.url}/api/apiary/v1/heartbeats/report/fail`, { method: 'POST' });
  await page.goto(`${server.url}/heartbeats`);
  const rows = page.getByRole('list', { name: 'Heart-beats' }).getByRole('listitem');
  await expect(rows.first()).toContainText('Failed');
  await expect(rows.first()).toContainText('report');
  const backup = rows.filter({ hasText: 'backup' });
  await expect(backup).toContainText('Waiting');
  await expect(backup).toContainText('Every 1 d, 2 h of grace');
  await fetch(`${server.url}/api/apiary/v1/heartbeats/backup`, { method: 'POST' });
  await expect(backup).toContainText('Up');
  await expect(backup).toContainText(/last \d+ s ago/);
});

test('works by keyboard alone', async ({ page }) => {
  await openAlerts(page);
  const disk = alert(page, '/var on db-1');
  const silence = disk.getByRole('button', { name: 'Silence DiskFull' });
  await silence.focus();
  await page.keyboard.press('Enter');
  await expect(page.getByRole('textbox', { name: 'Why' })).toBeFocused();
  await page.keyboard.press('Escape');
  await expect(silence).toBeFocused();
  await page.keyboard.press('Tab');
  const opener = disk.getByRole('button', { name: 'Details of DiskFull' });
  await expect(opener).toBeFocused();
  await page.keyboard.press('Space');
  await expect(opener).toHaveAttribute('aria-expanded', 'true');
  await expect(disk.getByRole('region', { name: 'Who was told' })).toBeVisible();
});

test('who only reads sees why not, and may use another key', async ({ page }) => {
  const data = join(dir, 'keyed');
  const viewer = makeKey(data, 'viewer');
  const operator = makeKey(data, 'operator');
  const keyed = await startAlerting(data, false);
  await page.goto(`${keyed.url}/alerts`);
  await page.getByLabel('Viewer key').fill(viewer);
  await page.getByRole('button', { name: 'Open the dashboards' }).click();
  await alert(page, '/var on db-1').getByRole('button', { name: 'Silence DiskFull' }).click();
  const popover = page.getByRole('dialog', { name: 'Silence DiskFull' });
  await expect(popover).toContainText('Your key only reads');
  await popover.getByRole('button', { name: 'Use an operator key' }).click();
  await popover.getByLabel('Operator key').fill(operator);
  await popover.getByRole('button', { name: 'Use this key' }).click();
  await popover.getByRole('textbox', { name: 'Who' }).fill('Cleo');
  await popover.getByRole('button', { name: '4 h', exact: true }).click();
  await expect(alert(page, '/var on db-1')).toHaveCount(0);
  await keyed.stop();
});

test('says so when nothing fires, and when the server is away', async ({ page }) => {
  const data = makeDirectory();
  const quiet = await startServer(data, 0, true, UNSEEN, []);
  await page.goto(`${quiet.url}/alerts`);
  await expect(page.getByText('All quiet')).toBeVisible();
  await page.goto(`${quiet.url}/silences`);
  await expect(page.getByText('No silence holds now')).toBeVisible();
  await page.goto(`${quiet.url}/heartbeats`);
  await expect(page.getByText('No heart-beats are expected')).toBeVisible();
  await page.goto(`${quiet.url}/notifications`);
  await expect(page.getByText(/Nobody was told of anything/)).toBeVisible();
  await page.route('**/api/apiary/v1/heartbeats', (route) => route.fulfill({ status: 404, json: {} }));
  await page.goto(`${quiet.url}/heartbeats`);
  await expect(page.getByText('This server does not take heart-beats')).toBeVisible();
  await page.route('**/api/v2/alerts', (route) => route.abort());
  await page.goto(`${quiet.url}/alerts`);
  await expect(page.getByText('Apiary cannot be reached')).toBeVisible();
  await page.unroute('**/api/v2/alerts');
  await page.getByRole('button', { name: 'Try again' }).click();
  await expect(page.getByText('All quiet')).toBeVisible();
  await quiet.stop();
  removeDirectory(data);
});

async function silenceSms(): Promise<void> {
  if ((await silencesOf('The gateway is being replaced.')).length > 0) return;
  const silence = {
    matchers: [{ name: 'queue', value: 'sms', isRegex: false, isEqual: true }],
    startsAt: new Date().toISOString(),
    endsAt: new Date(Date.now() + 5_400_000).toISOString(),
    createdBy: 'Ada',
    comment: 'The gateway is being replaced.',
  };
  const answer = await fetch(`${server.url}/api/v2/silences`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(silence),
  });
  expect(answer.status, await answer.text()).toBe(200);
}

const PAGES = {
  alerts: '/alerts',
  silences: '/silences',
  silence: '/silences?form=new&matchers=queue="mail"',
  rules: '/rules',
  notifications: '/notifications',
  heartbeats: '/heartbeats',
};

const LOOKS = [
  { colorScheme: 'light', width: 1440 },
  { colorScheme: 'dark', width: 390 },
  { colorScheme: 'dark', width: 1440 },
  { colorScheme: 'light', width: 390 },
] as const;
const shots = process.env['APIARY_SHOTS'];

/* Colours do not depend on the width, nor the layout on the colours: two of the four are enough, unless somebody looks. */
for (const { colorScheme, width } of shots === undefined ? LOOKS.slice(0, 2) : LOOKS)
  for (const [name, address] of Object.entries(PAGES))
    test(`${name} is readable for everybody: ${colorScheme}, ${width} pixels`, async ({ page }) => {
      await silenceSms();
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      await page.setViewportSize({ width, height: 900 });
      await page.goto(`${server.url}${address}`);
      await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
      await page.waitForLoadState('networkidle');
      const openers = page.getByRole('button', { name: /^Details of/ });
      if ((await openers.count()) > 0) await openers.first().click();
      const results = await new AxeBuilder({ page }).analyze();
      expect(results.violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html ?? ''}`)).toEqual([]);
      const overflow = await page.evaluate(
        () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
      );
      expect(overflow).toBeLessThanOrEqual(0);
      if (shots !== undefined)
        await page.screenshot({ path: join(shots, `${name}-${width}-${colorScheme}.png`), fullPage: true });
    });
