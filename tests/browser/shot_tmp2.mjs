import { chromium } from '@playwright/test';
const [url, out, w, h, scheme, click, y='0'] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
const page = await browser.newPage({ viewport: { width: +w, height: +h }, colorScheme: scheme });
page.on('pageerror', e => console.log('ERR', e));
await page.goto(url); await page.waitForTimeout(2000);
for (const c of (click||'').split('|').filter(Boolean)) { await page.locator(c).first().click(); await page.waitForTimeout(400); }
await page.evaluate((y) => scrollTo(0, y), +y);
await page.waitForTimeout(300);
await page.screenshot({ path: out });
await browser.close();
