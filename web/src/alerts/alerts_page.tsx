import { useQuery } from '@tanstack/react-query';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { memo, useDeferredValue, useMemo } from 'react';
import { pastAlertsQuery, routedAlertsQuery, routeGroupsQuery, ruleAlertsQuery } from '../api/alerts';
import type { Matcher } from '../api/silences';
import { AlertingPage } from '../alerting/alerting_page';
import { ChoiceTabs } from '../alerting/choice_tabs';
import { countSet, FilterBar } from '../alerting/filter_bar';
import { toggledMatcher } from '../alerting/matcher_text';
import { SearchField } from '../alerting/search_field';
import { type Alert, type Alerts, putTogether } from './alert';
import { AlertGroupView } from './alert_group';
import { AllQuiet } from './all_quiet';
import { type AlertSearch, findAlerts, groupByName, groupByRoute } from './filter';
import { PulseLine } from './pulse_line';
import { ReceiverChoice } from '../alerting/receiver_choice';

/** `/alerts`: what is on fire, what is held back, and what was lately. Asks again by itself. */
export function AlertsPage() {
  const search = useSearch({ from: '/alerts' });
  const navigate = useNavigate({ from: '/alerts' });
  const query = useAlerts();
  return (
    <AlertingPage
      title="Alerts"
      description="What is on fire, worst first: since when, who was told, and what holds it back."
      query={query}
    >
      {(alerts) => (
        <AlertsView
          alerts={alerts}
          search={search}
          onSearch={(more) => {
            // No entry in the history for every letter.
            void navigate({ search: { ...search, ...more }, replace: true });
          }}
        />
      )}
    </AlertingPage>
  );
}

/** Routing and rules are asked at once; what fired lately may come later, or not at all. */
function useAlerts() {
  const routed = useQuery(routedAlertsQuery());
  const rules = useQuery(ruleAlertsQuery());
  const past = useQuery(pastAlertsQuery());
  const data = useMemo(
    () =>
      routed.data === undefined || rules.data === undefined
        ? undefined
        : putTogether(routed.data, rules.data, past.data ?? []),
    [routed.data, rules.data, past.data],
  );
  return {
    data,
    error: routed.error ?? rules.error,
    refetch: () => Promise.all([routed.refetch(), rules.refetch(), past.refetch()]),
  };
}

const GROUPS_SHOWN_MAX = 100;

interface ViewProps {
  alerts: Alerts;
  search: AlertSearch;
  onSearch: (more: AlertSearch) => void;
}

function AlertsView({ alerts, search, onSearch }: ViewProps) {
  const found = useMemo(() => findAlerts(alerts.shown, search), [alerts, search]);
  // The rows may come a moment later than the letter that was typed, which has to be there at once.
  const shown = useDeferredValue(found);
  const { q = '', by } = useDeferredValue(search);
  const { counts } = found;
  return (
    <>
      <PulseLine alwaysOn={alerts.alwaysOn} />
      <FilterBar setCount={countSet(search.q, search.receiver, search.severity, search.by)}>
        <SearchField
          label="Search alerts"
          placeholder='Search, or severity="critical" team=~"db.*"'
          value={search.q}
          problem={found.problem}
          onChange={(q) => {
            onSearch({ q });
          }}
        />
        <ReceiverChoice
          chosen={search.receiver}
          onChoose={(receiver) => {
            onSearch({ receiver });
          }}
        />
        {(found.severities.length > 1 || search.severity !== undefined) && (
          <ChoiceTabs
            label="Severity"
            name="severity"
            chosen={search.severity}
            choices={[
              { value: undefined, text: 'Any severity' },
              ...found.severities.map(({ severity, count }) => ({ value: severity, text: severity, count })),
            ]}
          />
        )}
        <ChoiceTabs
          label="Grouped by"
          name="by"
          chosen={search.by}
          choices={[
            { value: undefined, text: 'By name' },
            { value: 'route', text: 'By route' },
          ]}
        />
      </FilterBar>
      <ChoiceTabs
        label="State of alerts"
        name="state"
        chosen={search.state}
        choices={[
          { value: undefined, text: 'Open', count: counts.firing + counts.pending },
          { value: 'firing', text: 'Firing', count: counts.firing },
          { value: 'pending', text: 'Pending', count: counts.pending },
          { value: 'silenced', text: 'Silenced', count: counts.silenced },
          { value: 'inhibited', text: 'Inhibited', count: counts.inhibited },
          { value: 'muted', text: 'Muted', count: counts.muted },
          { value: 'resolved', text: 'Resolved in the last hour', count: counts.resolved },
        ]}
      />
      <AlertGroups alerts={shown.alerts} q={q} isByRoute={by === 'route'} />
      {found.alerts.length === 0 && <AllQuiet search={search} counts={counts} />}
    </>
  );
}

/** So many rows in all, unless there are more groups; each can be opened. */
const ROWS_SHOWN_MAX = 200;
const ROWS_OF_GROUP = { min: 3, max: 20 };

interface GroupsProps {
  alerts: Alert[];
  q: string;
  isByRoute: boolean;
}

const AlertGroups = memo(function AlertGroups({ alerts, q, isByRoute }: GroupsProps) {
  const navigate = useNavigate({ from: '/alerts' });
  const { data: routes } = useQuery({ ...routeGroupsQuery(), enabled: isByRoute });
  const groups = isByRoute ? groupByRoute(alerts, routes ?? []) : groupByName(alerts);
  const shown = groups.slice(0, GROUPS_SHOWN_MAX);
  const share = Math.floor(ROWS_SHOWN_MAX / Math.max(1, shown.length));
  const toggle = (matcher: Matcher) => {
    const toggled = toggledMatcher(q, matcher);
    void navigate({
      search: (before) => ({ ...before, q: toggled === '' ? undefined : toggled }),
      replace: true,
    });
  };
  return (
    <>
      <div className="alert-groups">
        {shown.map((group) => (
          <AlertGroupView
            key={group.key}
            group={group}
            shownMax={Math.min(Math.max(share, ROWS_OF_GROUP.min), ROWS_OF_GROUP.max)}
            search={q}
            onToggle={toggle}
          />
        ))}
      </div>
      {groups.length > shown.length && (
        <p className="more-note">
          {groups.length - shown.length} more groups are not shown: search for what you mean.
        </p>
      )}
    </>
  );
});
