import { expect, it } from 'vitest';
import { isTargetMet } from './target';

it.each([
  ['>=', true],
  ['<=', true],
  ['>', false],
  ['<', false],
] as const)('a value right at its target with %s: %s', (op, isMet) => {
  expect(isTargetMet(50, { op, value: 50, text: '' })).toBe(isMet);
});
