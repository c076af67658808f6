/** A reverse proxy that shows one server below a path, and nothing else: a request for any other path is a mistake. */
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export const PREFIX = '/apiary';

export interface Proxy {
  url: string;
  /** What was asked for outside the path. */
  strays: string[];
  pointAt: (serverUrl: string) => void;
  stop: () => void;
}

export async function startProxy(isStripping: boolean): Promise<Proxy> {
  let target = '';
  const strays: string[] = [];
  const server: Server = createServer((asked, answer) => {
    const path = asked.url ?? '/';
    if (path !== PREFIX && !path.startsWith(`${PREFIX}/`)) {
      if (path !== '/favicon.ico') strays.push(path);
      answer.writeHead(404).end();
      return;
    }
    const forwarded = request(
      target + (isStripping ? path.slice(PREFIX.length) || '/' : path),
      { method: asked.method, headers: asked.headers },
      (got) => {
        answer.writeHead(got.statusCode ?? 502, got.headers);
        got.pipe(answer);
      },
    );
    forwarded.on('error', () => answer.destroy());
    answer.on('close', () => forwarded.destroy());
    asked.pipe(forwarded);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}${PREFIX}`,
    strays,
    pointAt: (serverUrl) => (target = serverUrl),
    stop: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
