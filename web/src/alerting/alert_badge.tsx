import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useEffect } from 'react';
import { alertSummaryQuery } from '../api/alert_summary';
import icon from '../app/icon.svg';
import criticalIcon from '../app/icon_critical.svg';
import warningIcon from '../app/icon_warning.svg';
import { fireCounts, fireText } from './fire_counts';
import type { Tone } from './severity';

const ICONS: Record<Tone, string> = {
  critical: criticalIcon,
  warning: warningIcon,
  info: icon,
  none: warningIcon,
};

/** On every page: what fires, by severity; also in the icon of the page, for who has it in another tab. */
export function AlertBadge() {
  const { data: summary, error } = useQuery(alertSummaryQuery());
  const counts = summary === undefined ? null : fireCounts(summary);
  const isUnknown = counts === null || error !== null;
  useFavicon(counts?.worst ?? null);
  const text =
    counts === null
      ? 'alerts not known'
      : counts.total === 0
        ? 'no alert fires'
        : `${counts.total} firing: ${fireText(counts)}`;
  return (
    <Link
      to="/alerts"
      className="alert-badge"
      data-tone={counts?.worst ?? 'quiet'}
      data-unknown={isUnknown}
      activeProps={{}}
      activeOptions={{ includeSearch: false }}
      aria-label={`Alerts: ${text}`}
      title={isUnknown && counts !== null ? `${text}; not updated` : text}
    >
      <svg viewBox="0 0 20 20" aria-hidden="true">
        <path d="M10 2.8a4.6 4.6 0 0 0-4.6 4.6c0 4.4-1.9 5.6-1.9 5.6h13s-1.9-1.2-1.9-5.6A4.6 4.6 0 0 0 10 2.8ZM8.4 15.8a1.8 1.8 0 0 0 3.2 0" />
      </svg>
      {counts !== null && counts.total > 0 && <span className="alert-badge-count">{counts.total}</span>}
    </Link>
  );
}

function useFavicon(worst: Tone | null) {
  const href = worst === null ? icon : ICONS[worst];
  useEffect(() => {
    document.querySelector('link[rel="icon"]')?.setAttribute('href', href);
  }, [href]);
}
