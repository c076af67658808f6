import { chromium } from '@playwright/test';
const [url, out, w='1440', h='1000', scheme='light'] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
const page = await browser.newPage({ viewport: { width: +w, height: +h }, colorScheme: scheme });
page.on('pageerror', e => console.log('ERR', e));
page.on('console', m => { if (m.type()==='error') console.log('CON', m.text()); });
await page.goto(url);
await page.waitForTimeout(2500);
if (process.argv[7]) { await page.locator(process.argv[7]).first().click(); await page.waitForTimeout(500); }
await page.screenshot({ path: out, fullPage: true });
await browser.close();
