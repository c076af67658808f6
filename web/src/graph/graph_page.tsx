import { useQuery } from '@tanstack/react-query';
import { Link, useLocation, useNavigate, useSearch } from '@tanstack/react-router';
import { useEffect } from 'react';
import { ChoiceTabs } from '../alerting/choice_tabs';
import { linesQuery, valuesQuery } from '../api/expression';
import { PageTitle } from '../app/page_title';
import { formatDuration, spanText } from '../format/duration';
import { formatExact } from '../format/time';
import { type Graph, graphOf, graphSearch, otherCount, SPANS, TABS } from './address';
import { ExpressionForm } from './expression_form';
import { GraphView } from './graph_view';
import { RefreshChoice } from './refresh_choice';
import { TableView } from './table_view';

/** `/graph`: one expression of PromQL over time, or what it is now. Links of alerts lead here, as to Prometheus. */
export function GraphPage() {
  const search = useSearch({ from: '/graph' });
  const navigate = useNavigate({ from: '/graph' });
  const others = useLocation({ select: (location) => otherCount(location.search) });
  const graph = graphOf(search);
  const { expression, view, spanMs, endMs, refreshMs } = graph;
  const lines = useQuery({
    ...linesQuery(expression, spanMs, endMs, refreshMs),
    enabled: expression !== '' && view === 'graph',
  });
  const values = useQuery({
    ...valuesQuery(expression, endMs, refreshMs),
    enabled: expression !== '' && view === 'table',
  });
  const shown = view === 'graph' ? lines : values;
  useRefreshAtOnce(refreshMs, shown);
  return (
    <>
      <PageTitle text="Graph" />
      <div className="page-head">
        <div>
          <h1>Graph</h1>
          <p className="page-description">
            One expression of PromQL, over time or as it is now. The address is a link to what is shown.
          </p>
        </div>
      </div>
      <ExpressionForm
        expression={expression}
        onRun={(wanted) => {
          if (wanted === expression) void shown.refetch();
          else void navigate({ search: (before) => ({ ...before, 'g0.expr': wanted }) });
        }}
      >
        <Choices
          graph={graph}
          onRefresh={(refresh) =>
            void navigate({ search: (before) => ({ ...before, refresh }), replace: true })
          }
        />
      </ExpressionForm>
      {others > 0 && (
        <p className="more-note">
          The address has {others === 1 ? 'one more expression' : `${others} more expressions`}: the first is
          shown.
        </p>
      )}
      {expression === '' && <Beginnings />}
      {expression !== '' && view === 'graph' && <GraphView query={lines} />}
      {expression !== '' && view === 'table' && <TableView query={values} />}
    </>
  );
}

/** Who begins to refresh does not want to look at what is old until then. */
function useRefreshAtOnce(
  refreshMs: number | null,
  shown: { isStale: boolean; refetch: (how: object) => unknown },
) {
  const { isStale, refetch } = shown;
  useEffect(() => {
    if (refreshMs !== null && isStale) void refetch({ cancelRefetch: false });
    // isStale as it was when the choice was made
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [refreshMs]);
}

interface ChoicesProps {
  graph: Graph;
  onRefresh: (refresh: string | undefined) => void;
}

/** The view, for how long, and until when where that is not now. */
function Choices({ graph: { view, spanMs, endMs, refreshMs }, onRefresh }: ChoicesProps) {
  const chosen = formatDuration(spanMs);
  const spans = SPANS.some((span) => span === chosen) ? SPANS : [...SPANS, chosen];
  return (
    <>
      <ChoiceTabs
        label="View"
        name="g0.tab"
        chosen={TABS[view]}
        choices={[
          { value: TABS.graph, text: 'Graph' },
          { value: TABS.table, text: 'Table' },
        ]}
      />
      {view === 'graph' && (
        <ChoiceTabs
          label="Span"
          name="g0.range_input"
          chosen={chosen}
          choices={spans.map((span) => ({ value: span, text: span === '1d' ? '24 h' : spanText(span) }))}
        />
      )}
      {endMs === null && <RefreshChoice chosenMs={refreshMs} onChoose={onRefresh} />}
      {endMs !== null && (
        <span className="graph-end">
          {view === 'graph' ? 'until' : 'at'} {formatExact(endMs).local}
          <Link
            to="/graph"
            search={(before) => ({ ...before, 'g0.end_input': undefined, 'g0.moment_input': undefined })}
          >
            Now
          </Link>
        </span>
      )}
    </>
  );
}

const EXAMPLES = [
  { expression: 'up', meaning: 'which targets answer' },
  { expression: 'topk(5, scrape_duration_seconds)', meaning: 'the slowest of them' },
  { expression: 'ALERTS{alertstate="firing"}', meaning: 'what fired, and for how long' },
  { expression: 'sum by (job) (scrape_samples_scraped)', meaning: 'how many samples each job brings' },
];

function Beginnings() {
  return (
    <section className="panel beginnings" aria-label="To begin with">
      <h2>To begin with</h2>
      <ul>
        {EXAMPLES.map(({ expression, meaning }) => (
          <li key={expression}>
            <Link to="/graph" search={(before) => ({ ...before, ...graphSearch(expression) })}>
              <code>{expression}</code>
            </Link>
            <span>{meaning}</span>
          </li>
        ))}
      </ul>
      <p>
        What there is to ask for is in <Link to="/catalogue">Metrics</Link> and, as queries, in{' '}
        <Link to="/rules">Rules</Link>.
      </p>
    </section>
  );
}
