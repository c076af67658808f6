/**
 * Messages link to Alertmanager's pages, which are behind a '#': `/#/alerts?receiver=oncall`. Templates everywhere write
 * such addresses, so each leads to the page here that shows the same.
 */
import { formatSearchText } from '../app/search_text';
import { formatMatcher, parseWording } from './matcher_text';

interface Page {
  /** Of what stands behind the '#', without parameters. */
  path: RegExp;
  /** Where it is here; `named` is what the path's group caught. */
  here: (
    asked: URLSearchParams,
    named: string,
  ) => { path: string; search: Record<string, string | undefined> };
}

const PAGES: readonly Page[] = [
  {
    path: /^\/alerts$/,
    here: (asked) => ({
      path: '/alerts',
      search: {
        receiver: given(asked, 'receiver'),
        q: wordingOf(asked),
        state: ['silenced', 'inhibited', 'muted'].find((state) => isOnlyAsked(asked, state)),
      },
    }),
  },
  {
    path: /^\/silences$/,
    here: (asked) => ({ path: '/silences', search: { q: wordingOf(asked) } }),
  },
  {
    path: /^\/silences\/new$/,
    here: (asked) => ({
      path: '/silences',
      search: { form: 'new', matchers: wordingOf(asked), comment: given(asked, 'comment') },
    }),
  },
  {
    path: /^\/silences\/([\w-]+)$/,
    here: (_asked, id) => ({ path: '/silences', search: { q: id } }),
  },
  {
    path: /^\/silences\/([\w-]+)\/edit$/,
    here: (_asked, id) => ({ path: '/silences', search: { form: id } }),
  },
  // Its version and configuration, which nobody is sent a link to: here, whether people can be told.
  { path: /^\/status$/, here: () => ({ path: '/notifications', search: {} }) },
];

function given(asked: URLSearchParams, name: string): string | undefined {
  const value = asked.get(name)?.trim() ?? '';
  return value === '' ? undefined : value;
}

/** `filter={a="b", c=~"d"}` as the pages here write it; a comma too many does no harm. */
function wordingOf(asked: URLSearchParams): string | undefined {
  const { matchers, words } = parseWording(asked.get('filter') ?? '');
  const wording = [...matchers.map(formatMatcher), ...words].join(' ');
  return wording === '' ? undefined : wording;
}

/** Alertmanager adds such alerts to what fires; here they are shown for themselves. */
function isOnlyAsked(asked: URLSearchParams, state: string): boolean {
  return asked.get(state) === 'true' && asked.get('active') === 'false';
}

/** The address here of one of Alertmanager's, whose '#' and what follows this is; null: it is none of its. */
export function alertmanagerAddress(hash: string): string | null {
  const [path = '', parameters = ''] = hash.replace(/^#/, '').split(/\?(.*)/s);
  const trimmed = path.replace(/(.)\/$/, '$1');
  for (const page of PAGES) {
    const found = page.path.exec(trimmed);
    if (found === null) continue;
    const here = page.here(new URLSearchParams(parameters), found[1] ?? '');
    return here.path + formatSearchText(here.search);
  }
  return null;
}
