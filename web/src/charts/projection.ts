/**
 * Equal Earth (Šavrič, Patterson, Jenny 2018): countries keep their true relative areas, which is what a map whose
 * colours mean numbers needs. Longitude and latitude in degrees; y grows downwards, as on a screen.
 */
type Point = [number, number];

const A1 = 1.340264;
const A2 = -0.081106;
const A3 = 0.000893;
const A4 = 0.003796;
const M = Math.sqrt(3) / 2;
const RADIANS = Math.PI / 180;

export function project([longitude, latitude]: Point): Point {
  const theta = Math.asin(M * Math.sin(latitude * RADIANS));
  const t2 = theta * theta;
  const t6 = t2 * t2 * t2;
  const x = (longitude * RADIANS * Math.cos(theta)) / (M * (A1 + 3 * A2 * t2 + t6 * (7 * A3 + 9 * A4 * t2)));
  const y = theta * (A1 + A2 * t2 + t6 * (A3 + A4 * t2));
  return [x / RADIANS, -y / RADIANS];
}

export function unproject([x, y]: Point): Point {
  const want = -y * RADIANS;
  let theta = want;
  for (let round = 0; round < 12; round += 1) {
    const t2 = theta * theta;
    const t6 = t2 * t2 * t2;
    const off = theta * (A1 + A2 * t2 + t6 * (A3 + A4 * t2)) - want;
    const slope = A1 + 3 * A2 * t2 + t6 * (7 * A3 + 9 * A4 * t2);
    theta -= off / slope;
    if (Math.abs(off) < 1e-9) break;
  }
  const t2 = theta * theta;
  const t6 = t2 * t2 * t2;
  const longitude = (M * x * RADIANS * (A1 + 3 * A2 * t2 + t6 * (7 * A3 + 9 * A4 * t2))) / Math.cos(theta);
  const latitude = Math.asin(Math.min(1, Math.max(-1, Math.sin(theta) / M)));
  return [longitude / RADIANS, latitude / RADIANS];
}
