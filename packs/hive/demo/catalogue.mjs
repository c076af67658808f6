/** The pack's catalogue of metrics, as its files say. The server checks them; here they are taken as they are. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';

const readYaml = (path) => parse(readFileSync(path, 'utf8'));

/** `{ service, metrics: [{ name, type, unit, meaning, attributes, target, query_unit, … }] }` */
export function readCatalogue(packDir) {
  const folder = join(packDir, 'metrics');
  const files = readdirSync(folder).filter((file) => file.endsWith('.yaml'));
  return {
    service: [readYaml(join(packDir, 'pack.yaml')).services].flat()[0],
    metrics: files.sort().flatMap((file) => readYaml(join(folder, file)).metrics),
  };
}

const SCALES = {
  us: 1e-6,
  ms: 1e-3,
  s: 1,
  min: 60,
  '%': 1e-2,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
};

/** `"<50ms"` → `{ isUpper: true, value: 0.05 }`; null where a metric has no target. */
export function targetOf(metric) {
  const match = /^\s*([<>≤≥]=?)\s*([\d.]+)\s*(\S*)$/.exec(metric.target ?? '');
  if (match === null) return null;
  const [, comparison, number, suffix] = match;
  const scale = metric.unit === 'ms' ? (SCALES[suffix] ?? 1e-3) * 1e3 : (SCALES[suffix] ?? 1);
  return { isUpper: /[<≤]/.test(comparison), value: Number(number) * scale };
}
