/** Names of metrics that a query asks for, each once: enough of PromQL to leave out all other words. */
const NOT_METRICS = new Set([
  ...[
    'and',
    'or',
    'unless',
    'by',
    'without',
    'on',
    'ignoring',
    'group_left',
    'group_right',
    'offset',
    'bool',
  ],
  ...['inf', 'nan', 'start', 'end', 'atan2'],
]);

export function metricNames(query: string): string[] {
  const bare = query
    .replace(/#.*$/gm, ' ')
    .replace(/"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`/g, ' ')
    .replace(/\{[^}]*\}|\[[^\]]*\]/g, ' ')
    .replace(/\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)/gi, ' ')
    .replace(/\boffset\s+-?\w+/gi, ' ');
  const names = new Set<string>();
  for (const [, name = '', opening = ''] of bare.matchAll(/(?<![\w:.])([A-Za-z_:][\w:]*)(\s*\()?/g))
    if (opening === '' && !NOT_METRICS.has(name.toLowerCase())) names.add(name);
  return [...names];
}
