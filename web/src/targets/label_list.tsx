import type { Labels } from '../api/labels';

/** name="value", in order of names. */
export function LabelList({ labels, without }: { labels: Labels; without?: readonly string[] }) {
  const shown = Object.entries(labels)
    .filter(([name]) => without?.includes(name) !== true)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return (
    <ul className="labels">
      {shown.map(([name, value]) => (
        <li key={name}>
          <span className="label-name">{name}</span>=<span className="label-value">“{value}”</span>
        </li>
      ))}
    </ul>
  );
}
