import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import { routedAlertsQuery } from '../api/alerts';
import { type Silence, silencesQuery } from '../api/silences';
import { AlertingPage } from '../alerting/alerting_page';
import { ChoiceTabs } from '../alerting/choice_tabs';
import { parseWording } from '../alerting/matcher_text';
import { OperatorOnly } from '../alerting/rights';
import { SearchField } from '../alerting/search_field';
import { findSilences, heldCounts, type SilenceSearch } from './filter';
import { SilenceForm } from './silence_form';
import { SilenceRow } from './silence_row';

/** `/silences`: which alerts nobody is told of, who said so, why, and until when. */
export function SilencesPage() {
  const search = useSearch({ from: '/silences' });
  const query = useQuery(silencesQuery());
  return (
    <AlertingPage
      title="Silences"
      description="Alerts that nobody is told of for a while: who said so, why, and until when."
      query={query}
      tools={
        search.form === undefined && (
          <Link
            to="/silences"
            search={{ ...search, form: 'new' }}
            className="button button-primary"
            activeProps={{}}
          >
            New silence
          </Link>
        )
      }
    >
      {(silences) => <SilencesView silences={silences} search={search} />}
    </AlertingPage>
  );
}

function SilencesView({ silences, search }: { silences: Silence[]; search: SilenceSearch }) {
  const navigate = useNavigate({ from: '/silences' });
  const { data: alerts } = useQuery(routedAlertsQuery());
  const held = heldCounts(alerts ?? []);
  const { silences: shown, state, counts } = findSilences(silences, search);
  return (
    <>
      {search.form !== undefined && (
        <FormPlace
          key={[search.form, search.matchers, search.comment].join(' ')}
          silences={silences}
          search={search}
        />
      )}
      <div className="filter-bar">
        <ChoiceTabs
          label="State of silences"
          name="show"
          chosen={state === 'active' ? undefined : state}
          choices={[
            { value: undefined, text: 'Active', count: counts.active },
            { value: 'pending', text: 'Pending', count: counts.pending },
            { value: 'expired', text: 'Expired', count: counts.expired },
          ]}
        />
        <SearchField
          label="Search silences"
          placeholder="Search by label, reason, person…"
          value={search.q}
          onChange={(q) => {
            void navigate({ search: { ...search, q }, replace: true });
          }}
        />
      </div>
      <ul className="silences" aria-label="Silences">
        {shown.map((silence) => (
          <SilenceRow
            key={silence.id}
            silence={silence}
            heldCount={held.get(silence.id) ?? 0}
            search={search}
          />
        ))}
      </ul>
      {shown.length === 0 && <NoSilences search={search} />}
    </>
  );
}

/** The form of a new silence, or of the one whose id the address has. */
function FormPlace({ silences, search }: { silences: Silence[]; search: SilenceSearch }) {
  const navigate = useNavigate({ from: '/silences' });
  const before = silences.find(({ id }) => id === search.form);
  const closed = { ...search, form: undefined, matchers: undefined, comment: undefined };
  return (
    <section
      className="panel silence-place"
      aria-label={before === undefined ? 'New silence' : 'Change a silence'}
    >
      <OperatorOnly what="Silencing alerts">
        <SilenceForm
          before={before}
          matchers={parseWording(search.matchers ?? '').matchers}
          comment={search.comment ?? ''}
          onDone={(state) => {
            void navigate({ search: { ...closed, show: state } });
          }}
          onCancel={() => {
            void navigate({ search: closed });
          }}
        />
      </OperatorOnly>
    </section>
  );
}

function NoSilences({ search }: { search: SilenceSearch }) {
  return (
    <div className="page-notice" role="status">
      <div className="notice">
        <p className="notice-title">
          {search.q !== undefined && `No silence fits “${search.q}”`}
          {search.q === undefined && search.show === undefined && 'No silence holds now'}
          {search.q === undefined && search.show === 'pending' && 'No silence is to begin'}
          {search.q === undefined && search.show === 'expired' && 'No silence has ended lately'}
        </p>
        {search.q === undefined && search.show === undefined && (
          <p className="notice-hint">
            Whoever is to be told of an alert is told. Silence one on the <Link to="/alerts">Alerts</Link>{' '}
            page, or make one here before planned work.
          </p>
        )}
      </div>
    </div>
  );
}
