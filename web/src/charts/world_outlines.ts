import * as echarts from 'echarts/core';
import type { Geometry } from 'geojson';
import { feature } from 'topojson-client';
import type { GeometryCollection, Topology } from 'topojson-specification';
import outlines from 'world-atlas/countries-110m.json';
import { cutAtAntimeridian } from './antimeridian';
import { alpha2OfNumeric } from './countries';

export const WORLD = 'world';

const ANTARCTICA = 'AQ';

function flattened(geometry: Geometry): Geometry {
  switch (geometry.type) {
    case 'Polygon':
      return { type: 'MultiPolygon', coordinates: cutAtAntimeridian(geometry.coordinates) };
    case 'MultiPolygon':
      return { type: 'MultiPolygon', coordinates: geometry.coordinates.flatMap(cutAtAntimeridian) };
    case 'Point':
    case 'MultiPoint':
    case 'LineString':
    case 'MultiLineString':
    case 'GeometryCollection':
      return geometry;
  }
}

/** Registers the map with ECharts under alpha-2 names; returns the countries that it can show. */
function register(): ReadonlySet<string> {
  const topology = outlines as unknown as Topology<{ countries: GeometryCollection<{ name: string }> }>;
  const features = feature(topology, topology.objects.countries).features.flatMap((country) => {
    // Three disputed territories carry no code: they are drawn as land, under their own name.
    const code = country.id === undefined ? country.properties.name : alpha2OfNumeric(String(country.id));
    return code === null || code === ANTARCTICA
      ? []
      : [{ ...country, geometry: flattened(country.geometry), properties: { name: code } }];
  });
  echarts.registerMap(WORLD, JSON.stringify({ type: 'FeatureCollection', features }));
  return new Set(features.map((country) => country.properties.name));
}

export const drawnCountries = register();
