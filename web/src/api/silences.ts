import { queryOptions } from '@tanstack/react-query';
import { fetchJson, request, sendJson } from './client';
import { type Decoder, flag, list, moment, oneOf, record, text, withDefault } from './decode';

export interface Matcher {
  name: string;
  value: string;
  isRegex: boolean;
  isEqual: boolean;
}

export type SilenceState = 'active' | 'pending' | 'expired';

export interface Silence {
  id: string;
  state: SilenceState;
  matchers: Matcher[];
  startsMs: number;
  endsMs: number;
  updatedMs: number;
  createdBy: string;
  comment: string;
}

/** What a new silence says; with an id it changes the one that has it. */
export interface SilenceWish {
  id?: string | undefined;
  matchers: Matcher[];
  /** null: now. */
  startsMs: number | null;
  endsMs: number;
  createdBy: string;
  comment: string;
}

const decodeMatcher: Decoder<Matcher> = (value, at) => {
  const o = record(value, at);
  return {
    name: text(o['name'], `${at}.name`),
    value: text(o['value'], `${at}.value`),
    isRegex: flag(o['isRegex'], `${at}.isRegex`),
    isEqual: withDefault(flag, true)(o['isEqual'], `${at}.isEqual`),
  };
};

const decodeSilence: Decoder<Silence> = (value, at) => {
  const o = record(value, at);
  return {
    id: text(o['id'], `${at}.id`),
    state: oneOf(['active', 'pending', 'expired'], 'expired')(
      record(o['status'], `${at}.status`)['state'],
      `${at}.status.state`,
    ),
    matchers: list(decodeMatcher)(o['matchers'], `${at}.matchers`),
    startsMs: moment(o['startsAt'], `${at}.startsAt`) ?? 0,
    endsMs: moment(o['endsAt'], `${at}.endsAt`) ?? 0,
    updatedMs: moment(o['updatedAt'], `${at}.updatedAt`) ?? 0,
    createdBy: text(o['createdBy'], `${at}.createdBy`),
    comment: text(o['comment'], `${at}.comment`),
  };
};

export const SILENCES_KEY = 'silences';

export function silencesQuery() {
  return queryOptions({
    queryKey: [SILENCES_KEY],
    queryFn: ({ signal }) => fetchJson('/api/v2/silences', list(decodeSilence), signal),
    refetchInterval: 5_000,
  });
}

/** Returns its id: that of the silence given, unless a change needed a new one. Throws ApiError. */
export function setSilence({ id, startsMs, endsMs, ...rest }: SilenceWish): Promise<string> {
  const body = {
    ...(id === undefined ? {} : { id }),
    ...rest,
    startsAt: new Date(startsMs ?? Date.now()).toISOString(),
    endsAt: new Date(endsMs).toISOString(),
  };
  return sendJson('/api/v2/silences', body, (value, at) =>
    text(record(value, at)['silenceID'], `${at}.silenceID`),
  );
}

/** It ends now. Throws ApiError. */
export async function endSilence(id: string): Promise<void> {
  await request(`/api/v2/silence/${encodeURIComponent(id)}`, { method: 'DELETE' });
}
