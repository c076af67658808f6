/**
 * The real binary as a child process. APIARY_BIN names it; it says where it listens on its standard output, and dies with
 * the test run.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const binary = process.env['APIARY_BIN'] ?? '../../build/apiary';
const pack = '../../packs/hive';

export interface Running {
  url: string;
  stop: () => Promise<void>;
}

function start(args: string[], isReady: (output: string) => boolean): Promise<Running> {
  const child: ChildProcess = spawn(binary, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  // A test that fails does not come to stop().
  process.once('exit', () => child.kill('SIGKILL'));
  let output = '';
  let log = '';
  child.stderr?.on('data', (chunk: Buffer) => (log += chunk.toString()));
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  return new Promise((resolve, reject) => {
    child.once('exit', (code) =>
      reject(new Error(`apiary ${args[0] ?? ''} ended with ${String(code)}: ${output}${log}`)),
    );
    child.stdout?.on('data', (chunk: Buffer) => {
      output += chunk.toString();
      const url = /http:\/\/[\d.]+:\d+/.exec(output)?.[0];
      if (url === undefined || !isReady(output)) return;
      resolve({
        url,
        stop: async () => {
          child.kill('SIGTERM');
          await ended;
        },
      });
    });
  });
}

/** The demo, when its past is in. */
export function startDemo(): Promise<Running> {
  const given = process.env['APIARY_URL'];
  if (given !== undefined) return Promise.resolve({ url: given, stop: () => Promise.resolve() });
  const args = ['demo', '--quick', '--seed', '7', '--listen', '127.0.0.1:0', '--pack', pack];
  return start(args, (output) => output.includes('Live:'));
}

export function startServer(
  dir: string,
  port: number,
  isOpen: boolean,
  more: string[] = [],
  packs: string[] = [pack],
): Promise<Running> {
  const options = [...packs.flatMap((each) => ['--pack', each]), ...more];
  const args = ['serve', '--data', dir, '--listen', `127.0.0.1:${port}`, ...options];
  return start(isOpen ? [...args, '--open'] : args, (output) => output.includes('listening on'));
}

/** One that scrapes what the file says, and itself. */
export function startScraper(dir: string, file: string): Promise<Running> {
  const own = ['--set', 'scrape.host=false', '--set', 'scrape.interval=1s'];
  return startServer(join(dir, 'data'), 0, true, ['--scrape', file, ...own]);
}

export function makeKey(dir: string, kind: string): string {
  const made = spawnSync(binary, [
    'key',
    'create',
    '--data',
    dir,
    '--kind',
    kind,
    '--name',
    'test',
    '--json',
  ]);
  return (JSON.parse(made.stdout.toString()) as { token: string }).token;
}

export function makeDirectory(): string {
  return mkdtempSync(join(tmpdir(), 'apiary-browser-'));
}

export function removeDirectory(dir: string): void {
  rmSync(dir, { recursive: true, force: true });
}
