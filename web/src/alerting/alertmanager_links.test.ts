import { describe, expect, it } from 'vitest';
import { parseSearchText } from '../app/search_text';
import { alertmanagerAddress } from './alertmanager_links';

/** Path and parameters of where it leads. */
function placeOf(hash: string) {
  const address = alertmanagerAddress(hash);
  if (address === null) return null;
  const [path, search = ''] = address.split('?');
  return [path, parseSearchText(search)];
}

const ID = '5f0b2c1e-8d0a-4c3e-9d65-0c4f3b1f8a77';

describe("Alertmanager's addresses", () => {
  it('lead to alerts, with receiver and matchers', () => {
    expect(placeOf('#/alerts')).toEqual(['/alerts', {}]);
    expect(placeOf('#/alerts?receiver=team+db%2Fnight')).toEqual(['/alerts', { receiver: 'team db/night' }]);
    expect(
      placeOf(
        '#/alerts?silenced=false&inhibited=false&active=true&filter=%7Ba%3D%22b%20%26%20%23c%22%2C%20d%3D~%22e.*%22%7D&receiver=R',
      ),
    ).toEqual(['/alerts', { receiver: 'R', q: 'a="b & #c" d=~"e.*"' }]);
  });

  it('may have a filter that nobody encoded', () => {
    expect(placeOf('#/alerts?filter={alertname="A?b",job!="x"}')).toEqual([
      '/alerts',
      { q: 'alertname="A?b" job!="x"' },
    ]);
  });

  it('lead to what is held back when only that is asked for', () => {
    expect(placeOf('#/alerts?silenced=true&active=false')).toEqual(['/alerts', { state: 'silenced' }]);
    expect(placeOf('#/alerts?silenced=true')).toEqual(['/alerts', {}]);
  });

  it('lead to silences: all, one, one to change', () => {
    expect(placeOf('#/silences')).toEqual(['/silences', {}]);
    expect(placeOf('#/silences/')).toEqual(['/silences', {}]);
    expect(placeOf('#/silences?filter=%7Bteam%3D%22db%22%7D')).toEqual(['/silences', { q: 'team="db"' }]);
    expect(placeOf(`#/silences/${ID}`)).toEqual(['/silences', { q: ID }]);
    expect(placeOf(`#/silences/${ID}/edit`)).toEqual(['/silences', { form: ID }]);
  });

  it('lead to a new silence with its matchers, as templates write them', () => {
    expect(placeOf('#/silences/new')).toEqual(['/silences', { form: 'new' }]);
    expect(
      placeOf('#/silences/new?filter=%7Balertname%3D%22X%22%2C%20team%3D%22db%22%2C%7D&comment=new%20disks'),
    ).toEqual(['/silences', { form: 'new', matchers: 'alertname="X" team="db"', comment: 'new disks' }]);
  });

  it('lead somewhere sensible from the status', () => {
    expect(placeOf('#/status')).toEqual(['/notifications', {}]);
  });

  it('are told from other fragments', () => {
    for (const hash of ['', '#', '#main', '#/', '#/nothing', '#/silences/a/b'])
      expect(alertmanagerAddress(hash)).toBeNull();
  });
});
