import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { alertSummaryQuery } from '../api/alert_summary';
import { useCurrentInView } from '../app/current_in_view';
import { fireCounts } from './fire_counts';
import type { Tone } from './severity';

/** The pages of alerting, on each of them. */
export function AlertingNav() {
  const { data: summary } = useQuery(alertSummaryQuery());
  const counts = summary === undefined ? null : fireCounts(summary);
  const firing = counts?.total ?? 0;
  const failing = summary?.failingCount ?? 0;
  const ref = useCurrentInView<HTMLElement>(Math.sign(firing) + Math.sign(failing));
  return (
    <nav ref={ref} className="tabs alerting-nav" aria-label="Alerting">
      <ul>
        <Entry to="/alerts" text="Alerts" count={firing} tone={counts?.worst ?? undefined} />
        <Entry to="/silences" text="Silences" />
        <Entry to="/rules" text="Rules" count={failing} noun="failing" />
        <Entry to="/notifications" text="Notifications" />
        <Entry to="/heartbeats" text="Heart-beats" />
      </ul>
    </nav>
  );
}

interface EntryProps {
  to: '/alerts' | '/silences' | '/rules' | '/notifications' | '/heartbeats';
  text: string;
  count?: number;
  noun?: string;
  tone?: Tone | undefined;
}

function Entry({ to, text, count = 0, noun = 'firing', tone }: EntryProps) {
  return (
    <li>
      <Link to={to} activeOptions={{ includeSearch: false }}>
        {text}
        {count > 0 && (
          <span className="nav-count" data-tone={tone}>
            {count}
            <span className="visually-hidden"> {noun}</span>
          </span>
        )}
      </Link>
    </li>
  );
}
