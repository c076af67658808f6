import type { Labels } from '../api/labels';

export interface AlertLink {
  title: string;
  url: string;
}

const LINK_NAMES: readonly (readonly [RegExp, string])[] = [
  [/^runbook(_?url|_?link)?$/i, 'Runbook'],
  [/^dashboard(_?url|_?link)?$/i, 'Dashboard'],
];

/** Only addresses that a page may open: an annotation comes from whoever sends alerts. */
export function isWebAddress(text: string): boolean {
  return /^https?:\/\/[^\s]+$/i.test(text);
}

export interface Annotations {
  summary: string | null;
  description: string | null;
  owner: string | null;
  /** What to do first. */
  links: AlertLink[];
  others: [string, string][];
}

/** What teams write most, told apart from the rest. */
export function readAnnotations(annotations: Labels, labels: Labels): Annotations {
  const links: AlertLink[] = [];
  const others: [string, string][] = [];
  const known = ['summary', 'description', 'message', 'owner'];
  for (const [name, value] of Object.entries(annotations)) {
    if (known.includes(name) || value === '') continue;
    const title = LINK_NAMES.find(([pattern]) => pattern.test(name))?.[1];
    if (isWebAddress(value)) links.push({ title: title ?? name, url: value });
    else others.push([name, value]);
  }
  const some = (text: string | undefined) => (text === undefined || text === '' ? null : text);
  return {
    summary: some(annotations['summary']) ?? some(annotations['message']),
    description: some(annotations['description']),
    owner: some(annotations['owner']) ?? some(labels['owner']) ?? some(labels['team']),
    links: links.sort((a, b) => Number(b.title === 'Runbook') - Number(a.title === 'Runbook')),
    others: others.sort(([a], [b]) => (a < b ? -1 : 1)),
  };
}
