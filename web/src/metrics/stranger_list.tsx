import type { Stranger } from '../api/catalogue';
import { formatAge } from '../format/time';

const SHOWN_MAX = 50;

/** What the product reports and nobody has written down. */
export function StrangerList({ strangers }: { strangers: Stranger[] }) {
  return (
    <section className="section" aria-label="Not in the catalogue">
      <h2>Not in the catalogue</h2>
      <p className="section-description">
        The product reported these in the last day, and no entry says what they mean.
      </p>
      <div className="panel table-panel">
        <table>
          <thead>
            <tr>
              <th scope="col">Series</th>
              <th scope="col">Type</th>
              <th scope="col">Versions</th>
              <th scope="col" data-type="number">
                Series
              </th>
              <th scope="col" data-type="number">
                Newest
              </th>
            </tr>
          </thead>
          <tbody>
            {strangers.slice(0, SHOWN_MAX).map(({ series, type, versions, seriesCount, ageMs }) => (
              <tr key={series}>
                <td>
                  <code>{series}</code>
                </td>
                <td>{type ?? 'not told'}</td>
                <td>{versions.map(({ version }) => (version === '' ? 'not told' : version)).join(', ')}</td>
                <td data-type="number">{seriesCount}</td>
                <td data-type="number">{ageMs === null ? '–' : `${formatAge(ageMs)} ago`}</td>
              </tr>
            ))}
          </tbody>
        </table>
        {strangers.length > SHOWN_MAX && (
          <p className="section-description">and {strangers.length - SHOWN_MAX} more</p>
        )}
      </div>
    </section>
  );
}
