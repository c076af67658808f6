import { describe, expect, it } from 'vitest';
import { formatSearchText, parseSearchText } from './search_text';

describe('parameters of the address', () => {
  it('are texts, whatever they look like', () => {
    const search = { q: '500', 'g0.expr': '"a" + {b=~"c|d"} & #', state: 'true', list: '[1]' };
    expect(parseSearchText(formatSearchText(search))).toEqual(search);
    expect(formatSearchText({ q: '500' })).toBe('?q=500');
  });

  it('are read as other programs write them', () => {
    expect(parseSearchText('?g0.expr=sum%28up%29+%3E+1&g0.tab=1')).toEqual({
      'g0.expr': 'sum(up) > 1',
      'g0.tab': '1',
    });
    expect(parseSearchText('')).toEqual({});
  });

  it('are left out where there is nothing to say', () => {
    expect(formatSearchText({ q: undefined })).toBe('');
    expect(formatSearchText({ from: 1, to: 2, q: undefined })).toBe('?from=1&to=2');
  });
});
