import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { alertSummaryQuery } from '../api/alert_summary';
import { useCurrentInView } from '../app/current_in_view';
import { fireCounts } from './fire_counts';

/** The pages of alerting, on each of them. */
export function AlertingNav() {
  const { data: summary } = useQuery(alertSummaryQuery());
  const firing = summary === undefined ? 0 : fireCounts(summary).total;
  const failing = summary?.failingCount ?? 0;
  const ref = useCurrentInView<HTMLElement>(Math.sign(firing) + Math.sign(failing));
  return (
    <nav ref={ref} className="alerting-nav" aria-label="Alerting">
      <ul>
        <Entry to="/alerts" text="Alerts" count={firing} />
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
}

function Entry({ to, text, count = 0, noun = 'firing' }: EntryProps) {
  return (
    <li>
      <Link to={to} activeOptions={{ includeSearch: false }}>
        {text}
        {count > 0 && (
          <span className="nav-count">
            {count}
            <span className="visually-hidden"> {noun}</span>
          </span>
        )}
      </Link>
    </li>
  );
}
