/** "disk_used > 90": what is compared with which bound, where a query is that and nothing more. */
export interface Comparison {
  left: string;
  operator: string;
  bound: number;
}

const TOKEN =
  /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`|[([{]|[)\]}]|==|!=|>=|<=|>|<|\b(?:and|or|unless)\b/gi;
const NUMBER = /^[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?$/i;

/** null: it is something else, such as one of two series, or a comparison of series. */
export function readComparison(query: string): Comparison | null {
  if (query.includes('#')) return null;
  let depth = 0;
  let found: { at: number; operator: string } | null = null;
  for (const { 0: token, index } of query.matchAll(TOKEN)) {
    if ('([{'.includes(token)) depth += 1;
    else if (')]}'.includes(token)) depth -= 1;
    else if (depth === 0 && !'"\'`'.includes(token.charAt(0))) {
      if (found !== null || /^[a-z]/i.test(token)) return null;
      found = { at: index, operator: token };
    }
  }
  if (found === null) return null;
  const right = query.slice(found.at + found.operator.length).trim();
  if (!NUMBER.test(right)) return null;
  return { left: query.slice(0, found.at).trim(), operator: found.operator, bound: Number(right) };
}
