import { defineConfig } from '@playwright/test';

/* One worker: the tests share one server, and the machine has two cores. */
export default defineConfig({
  testDir: '.',
  outputDir: '../../build/browser-results',
  workers: 1,
  // Ends what hangs, the start of the demo included. How soon a page must show something is said by the next line.
  timeout: 180_000,
  expect: { timeout: 20_000 },
  use: {
    locale: 'en-GB',
    timezoneId: 'UTC',
    viewport: { width: 1440, height: 900 },
    launchOptions: {
      executablePath: '/usr/bin/chromium',
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    },
  },
});
