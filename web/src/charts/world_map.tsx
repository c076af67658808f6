import { useCallback, useMemo } from 'react';
import type { Panel } from '../api/dashboards';
import type { PanelData } from '../api/panels';
import { formatValue } from '../format/unit';
import { type Palette, usePalette } from '../theme/palette';
import { countryName } from './countries';
import { EChart } from './echart';
import { countriesOf, type CountryValue, rampBounds, rampIndex } from './map_data';
import { project, unproject } from './projection';
import { escapeHtml, tooltipStyle } from './tooltip';
import { drawnCountries, WORLD } from './world_outlines';

interface Props {
  panel: Panel;
  data: PanelData;
}

const LISTED_COUNT = 8;

export default function WorldMap({ panel, data }: Props) {
  const palette = usePalette();
  const countries = useMemo(() => countriesOf(data), [data]);
  const bounds = useMemo(
    () =>
      rampBounds(
        countries.map((country) => country.value),
        palette.ramp.length,
      ),
    [countries, palette],
  );
  const optionOf = useCallback(
    (remPx: number) => mapOption(panel, countries, bounds, palette, remPx),
    [panel, countries, bounds, palette],
  );
  const undrawn = countries.filter((country) => !drawnCountries.has(country.code));
  return (
    <div className="world">
      <div className="world-map">
        <EChart
          label={`${panel.title}: world map of ${countries.length} countries, the most in ${countries[0]?.name ?? 'none'}`}
          optionOf={optionOf}
        />
        <MapLegend bounds={bounds} palette={palette} unit={panel.unit} />
        {undrawn.length > 0 && (
          <p className="world-note">{undrawn.length} too small for this map or unknown: see the table.</p>
        )}
      </div>
      <TopCountries countries={countries} unit={panel.unit} />
    </div>
  );
}

function mapOption(
  panel: Panel,
  countries: CountryValue[],
  bounds: number[],
  palette: Palette,
  remPx: number,
) {
  return {
    tooltip: {
      ...tooltipStyle(palette, remPx),
      trigger: 'item' as const,
      formatter: ({ name, value }: { name: string; value: unknown }) => {
        const figure =
          typeof value === 'number' && !Number.isNaN(value) ? formatValue(value, panel.unit) : 'none';
        return `${escapeHtml(countryName(name))} <strong>${escapeHtml(figure)}</strong>`;
      },
    },
    series: [
      {
        type: 'map' as const,
        map: WORLD,
        projection: { project, unproject },
        left: 0,
        right: 0,
        top: 0,
        bottom: 0,
        roam: false,
        selectedMode: false as const,
        label: { show: false },
        itemStyle: { areaColor: palette.land, borderColor: palette.border, borderWidth: 0.6 },
        emphasis: {
          label: { show: false },
          itemStyle: { areaColor: null, borderColor: palette.ink, borderWidth: 1 },
        },
        data: countries
          .filter((country) => drawnCountries.has(country.code))
          .map((country) => {
            const areaColor = palette.ramp[rampIndex(country.value, bounds)] ?? palette.accent;
            return {
              name: country.code,
              value: country.value,
              itemStyle: { areaColor },
              emphasis: { itemStyle: { areaColor } },
            };
          }),
      },
    ],
  };
}

function MapLegend({ bounds, palette, unit }: { bounds: number[]; palette: Palette; unit: string }) {
  if (bounds.length === 0) return null;
  return (
    <ul className="ramp" aria-hidden="true">
      {palette.ramp.slice(0, bounds.length + 1).map((colour, index) => {
        const bound = bounds[index];
        const before = bounds[index - 1];
        return (
          <li key={colour}>
            <span style={{ background: colour }} />
            {bound !== undefined && index === 0
              ? `< ${formatValue(bound, unit)}`
              : before !== undefined
                ? `${formatValue(before, unit)}${bound === undefined ? '+' : ''}`
                : ''}
          </li>
        );
      })}
    </ul>
  );
}

function TopCountries({ countries, unit }: { countries: CountryValue[]; unit: string }) {
  const total = countries.reduce((sum, country) => sum + country.value, 0);
  const largest = countries[0]?.value ?? 1;
  return (
    <ol className="top-list" aria-label="Largest countries">
      {countries.slice(0, LISTED_COUNT).map((country) => (
        <li key={country.code}>
          <span className="top-name">{country.name}</span>
          <span className="top-value">{formatValue(country.value, unit)}</span>
          <span className="top-share">{total > 0 ? formatValue(country.value / total, 'ratio') : ''}</span>
          <span className="top-list-bar" aria-hidden="true">
            <span style={{ width: `${(100 * country.value) / largest}%` }} />
          </span>
        </li>
      ))}
    </ol>
  );
}
