import { useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import { receiverNamesQuery } from '../api/alerts';
import { type Notification, notificationsQuery } from '../api/notifications';
import { AlertingPage } from '../alerting/alerting_page';
import { ChoiceTabs } from '../alerting/choice_tabs';
import { countSet, FilterBar } from '../alerting/filter_bar';
import { ReceiverChoice } from '../alerting/receiver_choice';
import { SearchField } from '../alerting/search_field';
import { rangeNoun } from '../timerange/time_range';
import { isFiltered, type NotificationSearch } from './filter';
import { foldAttempts } from './fold';
import { NotificationRow } from './notification_row';
import { ReceiverList } from './receiver_list';

/** `/notifications`: the ways by which people are told, and each attempt to tell them. Asks again by itself. */
export function NotificationsPage() {
  const search = useSearch({ from: '/notifications' });
  const query = useInfiniteQuery(notificationsQuery(search));
  return (
    <AlertingPage
      title="Notifications"
      description="Who can be told and whether that works; then each attempt, newest first, with the answer."
      before={<ReceiverList />}
      query={query}
      missing="This server keeps no log of notifications. A newer version of Apiary does."
    >
      {({ pages }) => (
        <NotificationsView
          notifications={pages.flatMap(({ notifications }) => notifications)}
          search={search}
          hasMore={query.hasNextPage}
          isLoadingMore={query.isFetchingNextPage}
          onMore={() => void query.fetchNextPage()}
        />
      )}
    </AlertingPage>
  );
}

interface ViewProps {
  notifications: Notification[];
  search: NotificationSearch;
  hasMore: boolean;
  isLoadingMore: boolean;
  onMore: () => void;
}

function NotificationsView({ notifications, search, hasMore, isLoadingMore, onMore }: ViewProps) {
  const navigate = useNavigate({ from: '/notifications' });
  const set = (more: NotificationSearch) => {
    void navigate({ search: { ...search, ...more }, replace: true });
  };
  return (
    <section className="section" aria-labelledby="log-title">
      <h2 id="log-title">Log</h2>
      <FilterBar setCount={countSet(search.q, search.receiver, search.outcome, search.alert, search.since)}>
        <SearchField
          label="Search notifications"
          placeholder="Search in labels, answers, receivers…"
          value={search.q}
          onChange={(q) => {
            set({ q });
          }}
        />
        <ReceiverChoice
          chosen={search.receiver}
          onChoose={(receiver) => {
            set({ receiver });
          }}
        />
        <ChoiceTabs
          label="Outcome"
          name="outcome"
          chosen={search.outcome}
          choices={[
            { value: undefined, text: 'All' },
            { value: 'done', text: 'Told' },
            { value: 'retry', text: 'Failed, tried again' },
            { value: 'refused', text: 'Refused' },
          ]}
        />
        <ChoiceTabs
          label="Since"
          name="since"
          chosen={search.since}
          choices={[
            { value: '1h', text: '1 h' },
            { value: undefined, text: '24 h' },
            { value: '7d', text: '7 d' },
            { value: '30d', text: '30 d' },
          ]}
        />
        {search.alert !== undefined && (
          <button
            type="button"
            className="button button-small"
            onClick={() => {
              set({ alert: undefined });
            }}
          >
            Only {search.alert} ✕<span className="visually-hidden"> remove this filter</span>
          </button>
        )}
      </FilterBar>
      {notifications.length > 0 && (
        <ol className="panel notification-rows" aria-label="Notifications, newest first">
          {foldAttempts(notifications).map((attempts) => (
            // By the first of them, so that a row stays open when one more is tried.
            <NotificationRow key={(attempts.earlier.at(-1) ?? attempts.newest).id} attempts={attempts} />
          ))}
        </ol>
      )}
      {hasMore && (
        <p className="more-note">
          <button type="button" className="button" disabled={isLoadingMore} onClick={onMore}>
            {isLoadingMore ? 'Loading…' : 'Show older ones'}
          </button>
        </p>
      )}
      {notifications.length === 0 && <NothingSent search={search} />}
    </section>
  );
}

function NothingSent({ search }: { search: NotificationSearch }) {
  const { data: names } = useQuery(receiverNamesQuery());
  const when = `in the last ${rangeNoun(search.since ?? '24h')}`;
  return (
    <div className="page-notice" role="status">
      <div className="notice">
        <p className="notice-title">
          {isFiltered(search) ? `No notification fits, ${when}` : `Nobody was told of anything ${when}`}
        </p>
        <p className="notice-hint">
          {isFiltered(search) && <Link to="/notifications">Show all notifications</Link>}
          {!isFiltered(search) && names?.length === 0 && (
            <>
              There is nobody to tell: no receiver is configured. Start the server with{' '}
              <code>--alerting alertmanager.yml</code>.
            </>
          )}
          {!isFiltered(search) && names?.length !== 0 && 'Send a test above to see that the way works.'}
        </p>
      </div>
    </div>
  );
}
