/**
 * The outlines of the world are made for a globe: those of Russia and Fiji run across 180° and go on at -180°. On a
 * flat map such a ring would be drawn as a band from edge to edge, so it is cut in two there.
 */
export type Position = number[];
export type Ring = Position[];

/** A polygon (its outer ring first, then its holes) as the polygons that lie within -180° to 180°. */
export function cutAtAntimeridian(polygon: readonly Ring[]): Ring[][] {
  const rings = polygon.map(unwrap);
  if (!rings.some((ring) => ring.some(([longitude = 0]) => Math.abs(longitude) > 180))) return [rings];
  return [-360, 0, 360].flatMap((shift) => {
    const pieces = rings
      .map((ring) => ring.map(([longitude = 0, latitude = 0]) => [longitude + shift, latitude]))
      .map((ring) => clip(clip(ring, -180, 1), 180, -1))
      .filter((ring) => ring.length > 3);
    return pieces.length > 0 ? [pieces] : [];
  });
}

/** Longitudes without jumps: after 179° comes 181°, not -179°. */
function unwrap(ring: Ring): Ring {
  let before: number | null = null;
  return ring.map(([longitude = 0, latitude = 0]) => {
    const turns: number = before === null ? 0 : Math.round((before - longitude) / 360);
    before = longitude + 360 * turns;
    return [before, latitude];
  });
}

/** What of a closed ring lies east (`side` 1) or west (-1) of a meridian, closed along it (Sutherland-Hodgman). */
function clip(ring: Ring, meridian: number, side: 1 | -1): Ring {
  const kept: Ring = [];
  ring.slice(1).forEach(([x = 0, y = 0], index) => {
    const [x0 = 0, y0 = 0] = ring[index] ?? [];
    const isInside = (x - meridian) * side >= 0;
    const wasInside = (x0 - meridian) * side >= 0;
    if (isInside !== wasInside) kept.push([meridian, y0 + ((y - y0) * (meridian - x0)) / (x - x0)]);
    if (isInside) kept.push([x, y]);
  });
  const first = kept[0];
  return first ? [...kept, first] : [];
}
