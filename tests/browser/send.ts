/** Rows as a fleet would send them, through the real endpoints. */
import { expect } from '@playwright/test';

export async function post(url: string, path: string, rows: object[]): Promise<void> {
  const body = rows.map((row) => JSON.stringify(row)).join('\n');
  const headers = { 'Content-Type': 'application/x-ndjson' };
  const answer = await fetch(url + path, { method: 'POST', headers, body });
  expect(answer.status, await answer.text()).toBe(204);
}

/** The bodies of the documentation, as they stand, but for times and ids. */
export async function postDocumentedBodies(url: string): Promise<void> {
  const timestamp = new Date().toISOString();
  await post(url, '/events', [
    {
      event_type: 'command_execution',
      session_id: 'browser-test',
      command: 'consensus',
      duration_ms: 412.2,
      success: true,
      timestamp,
      version: '2.1.0',
      platform: 'linux-x86_64',
    },
    {
      event_type: 'feature_usage',
      session_id: 'browser-test',
      feature: 'planning_mode',
      context: { tasks: 7 },
      timestamp,
      version: '2.1.0',
    },
  ]);
  const url_of_page = 'https://hive.example/docs';
  await post(url, '/vitals', [
    {
      name: 'LCP',
      value: 1834,
      id: 'v5-1',
      attribution: {},
      timestamp: Date.now(),
      url: url_of_page,
      user_agent: 'x',
    },
  ]);
  await post(url, '/downloads', [
    {
      platform: 'macos',
      method: 'homebrew',
      version: '2.1.0',
      timestamp: Date.now(),
      referrer: '',
      user_agent: 'x',
    },
  ]);
  await post(url, '/synthetic', [{ test: 'download_flow', duration: 5321, success: true, timestamp }]);
}

/** Enough of everything that each of the four figures must move: new users, slow starts, failing commands. */
export async function postTrouble(url: string, round: string): Promise<void> {
  const rows = [];
  for (let i = 0; i < 300; i++) {
    const who = {
      session_id: `s-${round}-${i}`,
      user_id: `u-${round}-${i}`,
      version: '2.1.0',
      platform: 'linux-x86_64',
    };
    rows.push({
      ...who,
      event_type: 'startup',
      duration_ms: 900,
      success: true,
    });
    rows.push({
      ...who,
      event_type: 'command_execution',
      command: 'consensus',
      duration_ms: 900,
      success: false,
    });
  }
  await post(url, '/events', rows);
  await post(
    url,
    '/downloads',
    Array.from({ length: 40 }, () => ({
      platform: 'linux',
      method: 'curl',
      version: '2.1.0',
    })),
  );
}
