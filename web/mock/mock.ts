import type { Plugin } from 'vite';
import type { IncomingMessage, ServerResponse } from 'node:http';
const H = 3600e3, D = 24 * H;
let st = { users: 5123, dl: 842, p95: 0.0467, err: 0.00082, n: 0 };
const live = new Set<ServerResponse>();
function rnd(i: number) { const x = Math.sin(i * 127.1) * 43758.5453; return x - Math.floor(x); }
const P = (id: string, title: string, v: string, unit: string, o: object = {}) => ({ id, title, description: `What ${title.toLowerCase()} means, in one plain sentence for the reader.`, visualization: v, unit, target: null, better: 'higher', width: 6, uses_range: true, query: `SELECT COUNT(*)\n  FROM downloads\n WHERE date >= CURRENT_DATE -- ${id}`, ...o });
const dashboards: any[] = [{ id: 'executive', title: 'Executive', description: 'How many people use Hive, and whether it serves them well.', is_home: true, default_range: '7d', ranges: ['24h', '7d', '30d', '90d'], sections: [
  { title: 'Key figures', style: 'cards', panels: [
    P('active_users', 'Active users, 7 days', 'number', 'users', { width: 3, uses_range: false, target: { op: '>=', value: 5000, text: '≥ 5,000' } }),
    P('downloads_today', 'Downloads today', 'number', 'count', { width: 3, uses_range: false, target: { op: '>=', value: 1000, text: '≥ 1,000' } }),
    P('startup_p95', 'Start-up time, p95', 'number', 's', { width: 3, better: 'lower', uses_range: false, target: { op: '<', value: 0.05, text: '< 50 ms' } }),
    P('error_rate', 'Error rate', 'number', 'ratio', { width: 3, better: 'lower', uses_range: false, target: { op: '<', value: 0.001, text: '< 0.1 %' } }),
  ] },
  { title: 'Performance', panels: [
    P('startup_trend', 'Start-up time', 'line_chart', 'ms', { better: 'lower', target: { op: '<', value: 50, text: '< 50 ms' } }),
    P('consensus_trend', 'Consensus success rate', 'line_chart', 'ratio', { target: { op: '>=', value: 0.99, text: '≥ 99 %' } }),
  ] },
  { title: 'Adoption', panels: [
    P('features', 'Feature adoption', 'bar_chart', 'users', { width: 4 }),
    P('retention', 'Retention after 4 weeks', 'gauge', 'ratio', { width: 4, target: { op: '>=', value: 0.75, text: '≥ 75 %' } }),
    P('hist', 'Start-up times', 'histogram', 'ms', { width: 4 }),
  ] },
  { title: 'Where', panels: [P('countries', 'Active users by country', 'world_map', 'users', { width: 12 })] },
] }, { id: 'quality', title: 'Quality', description: 'Vitals.', is_home: false, default_range: '24h', ranges: ['24h', '7d'], sections: [
  { title: 'All', panels: [P('pct', 'Success', 'percentage', 'ratio', { width: 4, target: { op: '>=', value: 0.99, text: '≥ 99 %' } }), P('empty', 'Empty', 'line_chart', 'ms', { width: 4 }), P('bad', 'Broken', 'line_chart', 'ms', { width: 4 }), P('tab', 'Versions', 'table', 'count', { width: 12 }), P('num', 'Number', 'number', 'count', { width: 4 })] }] }];
const C: [string, number][] = [['US', 1830], ['DE', 640], ['IN', 590], ['GB', 410], ['BR', 300], ['FR', 280], ['JP', 260], ['CA', 240], ['NL', 150], ['AU', 130], ['SG', 90], ['SE', 80], ['PL', 70], ['ES', 66], ['IT', 60], ['KR', 50], ['MX', 40], ['ZA', 20], ['NG', 18], ['AR', 15], ['ID', 12], ['TR', 9], ['KE', 4], ['EG', 2], ['NZ', 30], ['CH', 45], ['UA', 33], ['CN', 77], ['RU', 12]];
function panel(id: string, q: URLSearchParams) {
  const now = Date.now(); const r = q.get('range') ?? '7d'; let from = now - (r === '24h' ? D : r === '7d' ? 7 * D : r === '30d' ? 30 * D : 90 * D), to = now;
  if (q.get('from')) { from = +q.get('from')!; to = +q.get('to')!; }
  const step = to - from > 20 * D ? D : to - from > 2 * D ? H : H / 4;
  const base = { panel: id, from, to, took_ms: 2 + rnd(st.n + id.length) * 12, value: null as number | null, previous: null as number | null, trend: [] as unknown[], columns: [] as unknown[], rows: [] as unknown[] };
  const trend = (v: number, amp: number) => Array.from({ length: 28 }, (_, i) => [now - (27 - i) * D, i === 27 ? v : v * (0.7 + 0.3 * i / 27 + amp * (rnd(i + v) - 0.5))]);
  const ts = () => { const a = []; for (let t = Math.ceil(from / step) * step; t <= to; t += step) a.push(t); return a; };
  switch (id) {
    case 'active_users': return { ...base, value: st.users, previous: 4926, trend: trend(st.users, 0.1) };
    case 'downloads_today': return { ...base, value: st.dl, previous: 910, trend: trend(st.dl, 0.5) };
    case 'startup_p95': return { ...base, value: st.p95, previous: 0.0492, trend: trend(st.p95, 0.2) };
    case 'error_rate': return { ...base, value: st.err, previous: 0.00061, trend: trend(st.err, 0.6) };
    case 'startup_trend': return { ...base, columns: ['time', 'p50', 'p95', 'p99'].map((name, i) => ({ name, type: i ? 'number' : 'timestamp' })), rows: ts().map((t) => { const k = t / step; const d = Math.sin(t / D * 6.28) * 3; return [t, 21 + d + rnd(k) * 2, 44 + d * 1.4 + rnd(k + 1) * 4, 66 + 2 * d + rnd(k + 2) * 9]; }) };
    case 'consensus_trend': return { ...base, columns: [{ name: 'time', type: 'timestamp' }, { name: 'success rate', type: 'number' }], rows: ts().map((t) => [t, 0.996 - rnd(t / step) * 0.006]) };
    case 'features': return { ...base, columns: [{ name: 'feature', type: 'text' }, { name: 'users', type: 'number' }], rows: [['tui', 3120], ['planning_mode', 2240], ['repository_analysis', 1411], ['consensus', 1290], ['memory', 320]] };
    case 'retention': return { ...base, value: 0.713, previous: 0.69 };
    case 'hist': return { ...base, columns: [{ name: 'bucket', type: 'number' }, { name: 'startups', type: 'number' }], rows: [10, 20, 30, 40, 50, 60, 70, 80, 90, 100].map((b, i) => [b, [120, 900, 2200, 1700, 800, 420, 200, 90, 40, 12][i]]) };
    case 'countries': return { ...base, columns: [{ name: 'country', type: 'text' }, { name: 'users', type: 'number' }], rows: C };
    case 'pct': return { ...base, value: 0.9937, previous: 0.991 };
    case 'num': return { ...base, value: 1234567, previous: 0 };
    case 'tab': return { ...base, columns: [{ name: 'version', type: 'text' }, { name: 'first_seen', type: 'timestamp' }, { name: 'installations', type: 'number' }, { name: 'stable', type: 'boolean' }], rows: Array.from({ length: 14 }, (_, i) => [`2.${14 - i}.0`, now - i * 9 * D, Math.round(4000 * rnd(i)), i > 0]) };
    case 'empty': return { ...base, columns: [{ name: 'time', type: 'timestamp' }, { name: 'x', type: 'number' }] };
    default: return null;
  }
}
function commit() { st.n++; for (const r of live) r.write(`event: commit\ndata: {"lsn":${st.n},"tables":["events"],"ts_ms":${Date.now()}}\n\n`); }
function handle(req: IncomingMessage, res: ServerResponse, next: () => void) {
  const u = new URL(req.url ?? '/', 'http://x'); const p = u.pathname;
  const json = (s: number, b: unknown) => { res.statusCode = s; res.setHeader('Content-Type', 'application/json'); res.end(JSON.stringify(b)); };
  if (req.method === 'POST') {
    if (!['/events', '/vitals', '/downloads', '/synthetic', '/api/apiary/v1/session'].includes(p)) { next(); return; }
    let body = ''; req.on('data', (c) => (body += c)); req.on('end', () => {
      if (p.endsWith('session')) { if (JSON.parse(body).key === 'good') { need = false; res.statusCode = 204; res.end(); } else json(401, { error: 'unknown key' }); return; }
      const rows = body.trim().startsWith('[') ? JSON.parse(body) : body.trim().split('\n').map((l) => JSON.parse(l));
      if (p === '/downloads') st.dl += rows.length;
      if (p === '/events') for (const r of rows) { if (r.user_id) st.users++; if (r.event_type === 'startup') st.p95 += 0.0001; if (r.success === false) st.err += 0.00001; }
      commit(); res.statusCode = 204; res.end();
    }); return;
  }
  if (p === '/__need') { need = true; res.end(); return; }
  if (p.startsWith('/api/') && need) { json(401, { error: 'no key' }); return; }
  if (p === '/api/apiary/v1/live') { res.writeHead(200, { 'Content-Type': 'text/event-stream' }); res.write(': hi\n\n'); live.add(res); req.on('close', () => live.delete(res)); return; }
  if (p === '/api/apiary/v1/status') { json(200, { version: '0.1.0' }); return; }
  if (p === '/api/apiary/v1/dashboards') { json(200, { dashboards: dashboards.map(({ sections, ...d }) => d) }); return; }
  let m = /^\/api\/apiary\/v1\/dashboards\/([^/]+)$/.exec(p);
  if (m) { const d = dashboards.find((x) => x.id === m![1]); if (d) json(200, d); else json(404, { error: `there is no dashboard "${m[1]}"` }); return; }
  m = /^\/api\/apiary\/v1\/dashboards\/([^/]+)\/panels\/([^/]+)$/.exec(p);
  if (m) { const d = panel(m[2]!, u.searchParams); if (d) json(200, d); else json(400, { error: 'Catalog Error: Table with name startups does not exist' }); return; }
  next();
}
let need = false;
export const mock: Plugin = { name: 'mock', configureServer(s) { s.middlewares.use(handle); }, configurePreviewServer(s) { s.middlewares.use(handle); } };
