import { expect, it } from 'vitest';
import { sparkPaths } from './spark_path';

it('needs two values', () => {
  expect(sparkPaths([], 100, 20)).toBeNull();
  expect(
    sparkPaths(
      [
        [1, 5],
        [2, null],
      ],
      100,
      20,
    ),
  ).toBeNull();
});

it('goes from corner to corner, within the margin', () => {
  const paths = sparkPaths(
    [
      [0, 0],
      [10, 1],
    ],
    100,
    20,
  );
  expect(paths?.line).toBe('M4 16L96 4');
  expect(paths?.end).toBe('M96 4h0');
});

it('interrupts the line where values are missing', () => {
  const paths = sparkPaths(
    [
      [0, 1],
      [1, null],
      [2, 1],
    ],
    100,
    20,
  );
  expect(paths?.line.match(/M/g)).toHaveLength(2);
});
