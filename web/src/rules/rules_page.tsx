import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import { type RuleGroup, rulesQuery } from '../api/rules';
import { AlertingPage } from '../alerting/alerting_page';
import { ChoiceTabs } from '../alerting/choice_tabs';
import { SearchField } from '../alerting/search_field';
import { findRules, type RuleSearch } from './filter';
import { RuleGroupView } from './rule_group';

/** Ten thousand rules are one page; the first of these are what is wrong. */
const GROUPS_SHOWN_MAX = 50;

/** `/rules`: what is watched, how each rule is, and what it asks. Asks again by itself. */
export function RulesPage() {
  const query = useQuery(rulesQuery());
  return (
    <AlertingPage
      title="Rules"
      description="What is watched, how often, and whether the last look worked. What is wrong stands first."
      query={query}
    >
      {(groups) => (groups.length === 0 ? <NoRules /> : <RulesView groups={groups} />)}
    </AlertingPage>
  );
}

function RulesView({ groups }: { groups: RuleGroup[] }) {
  const search = useSearch({ from: '/rules' });
  const navigate = useNavigate({ from: '/rules' });
  const { groups: found, counts, problem } = findRules(groups, search);
  const shown = found.slice(0, GROUPS_SHOWN_MAX);
  return (
    <>
      <div className="filter-bar">
        <SearchField
          label="Search rules"
          placeholder="Search by name, query, label, file…"
          value={search.q}
          problem={problem}
          onChange={(q) => {
            void navigate({ search: { ...search, q }, replace: true });
          }}
        />
        <ChoiceTabs
          label="State of rules"
          name="show"
          chosen={search.show}
          choices={[
            { value: undefined, text: 'All', count: counts.all },
            { value: 'failing', text: 'Failing', count: counts.failing },
            { value: 'no_data', text: 'No data', count: counts.no_data },
            { value: 'firing', text: 'Firing', count: counts.firing },
            { value: 'pending', text: 'Pending', count: counts.pending },
            { value: 'recording', text: 'Recording', count: counts.recording },
          ]}
        />
      </div>
      {shown.map((group) => (
        <RuleGroupView key={`${group.file} ${group.name}`} group={group} />
      ))}
      {found.length > shown.length && (
        <p className="more-note">
          {found.length - shown.length} more groups are not shown: search for what you mean.
        </p>
      )}
      {found.length === 0 && <NothingFound search={search} />}
    </>
  );
}

const NOTHING = {
  failing: 'No rule fails',
  no_data: 'Every rule finds data',
  firing: 'No rule fires',
  pending: 'No rule is about to fire',
  recording: 'No rule records a series',
} as const;

function NothingFound({ search: { q, show } }: { search: RuleSearch }) {
  return (
    <div className="page-notice" role="status">
      <div className="notice">
        <p className="notice-title">
          {q === undefined && show !== undefined ? NOTHING[show] : `No rule fits “${q ?? ''}”`}
        </p>
        <p className="notice-hint">
          <Link to="/rules">Show all rules</Link>
        </p>
      </div>
    </div>
  );
}

function NoRules() {
  return (
    <div className="page-notice">
      <div className="notice">
        <p className="notice-title">There are no rules</p>
        <p className="notice-hint">
          Start the server with <code>--rules &apos;rules/*.yml&apos;</code>: it takes Prometheus’ rule files
          as they are. Packs bring rules of their own with <code>--pack DIR</code>.
        </p>
      </div>
    </div>
  );
}
