/** Where the scale of a gauge ends: at 100 % for ratios, else at a round number above value and target. */
export function gaugeEnd(value: number | null, unit: string, target: number | null): number {
  const largest = Math.max(value ?? 0, target ?? 0);
  if (unit === 'ratio' && largest <= 1 && largest > 0.2) return 1;
  if (largest <= 0) return 1;
  const wanted = largest * 1.2;
  const magnitude = 10 ** Math.floor(Math.log10(wanted));
  const step = [1, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10].find((candidate) => candidate * magnitude >= wanted) ?? 10;
  return step * magnitude;
}
