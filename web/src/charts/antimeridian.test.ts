import { expect, it } from 'vitest';
import { cutAtAntimeridian } from './antimeridian';

const longitudes = (polygon: number[][][]) => polygon.flat().map(([longitude]) => longitude);

it('leaves a polygon alone that does not cross', () => {
  const square = [
    [
      [0, 0],
      [10, 0],
      [10, 10],
      [0, 0],
    ],
  ];
  expect(cutAtAntimeridian(square)).toEqual([square]);
});

it('cuts one that crosses into its eastern and its western part', () => {
  const across = [
    [
      [170, 0],
      [-170, 0],
      [-170, 10],
      [170, 10],
      [170, 0],
    ],
  ];
  const pieces = cutAtAntimeridian(across);
  expect(pieces).toHaveLength(2);
  const spans = pieces
    .map((piece) => longitudes(piece))
    .map((all) => [Math.min(...all.map(Number)), Math.max(...all.map(Number))]);
  expect(spans).toContainEqual([170, 180]);
  expect(spans).toContainEqual([-180, -170]);
  for (const [ring] of pieces) expect(ring?.[0]).toEqual(ring?.at(-1));
});
