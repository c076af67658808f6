import { useQuery } from '@tanstack/react-query';
import { alertSummaryQuery } from '../api/alert_summary';
import { fireCounts } from '../alerting/fire_counts';

/** "(3) Metrics · Apiary": how many alerts fire stands first, because a tab shows little more. */
export function PageTitle({ text }: { text: string }) {
  const { data: summary } = useQuery(alertSummaryQuery());
  const total = summary === undefined ? 0 : fireCounts(summary).total;
  return <title>{`${total > 0 ? `(${total}) ` : ''}${text} · Apiary`}</title>;
}
