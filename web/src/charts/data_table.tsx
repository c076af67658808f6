import type { Cell } from '../api/decode';
import type { Panel } from '../api/dashboards';
import type { Column, PanelData } from '../api/panels';
import { formatMoment } from '../format/time';
import { formatValue } from '../format/unit';
import { humanName } from './bar_data';
import { countryName } from './countries';

interface Props {
  panel: Panel;
  data: PanelData;
}

/** The rows as they are: the form of a `table` panel, and the alternative to every chart. */
export function DataTable({ panel, data }: Props) {
  return (
    // It scrolls by itself, so it must be reachable by keyboard.
    // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex
    <div className="table-box" role="region" aria-label={`${panel.title}, table`} tabIndex={0}>
      <table>
        <thead>
          <tr>
            {data.columns.map((column) => (
              <th key={column.name} scope="col" data-type={column.type}>
                {humanName(column.name)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {data.rows.map((row, rowIndex) => (
            <tr key={rowIndex}>
              {data.columns.map((column, index) => (
                <td key={column.name} data-type={column.type}>
                  {cellText(row[index] ?? null, column, index, panel)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function cellText(value: Cell, column: Column, index: number, panel: Panel): string {
  if (value === null) return '–';
  if (column.type === 'timestamp' && typeof value === 'number') return formatMoment(value);
  if (typeof value === 'number') return formatValue(value, cellUnit(index, panel));
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  return index === 0 && panel.visualization === 'world_map' ? countryName(value) : value;
}

function cellUnit(index: number, panel: Panel): string {
  switch (panel.visualization) {
    case 'table':
      return 'count'; // a table mixes units: plain numbers
    case 'histogram':
      return index === 0 ? panel.unit : 'count';
    case 'number':
    case 'gauge':
    case 'percentage':
    case 'line_chart':
    case 'bar_chart':
    case 'world_map':
      return index === 0 ? 'count' : panel.unit;
  }
}
