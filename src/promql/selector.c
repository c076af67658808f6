/*
 * Selectors: `up` as a column, `up[5m]` as samples, `timestamp(up)`.
 *
 * An instant selector sees at each step the newest sample that is not older than the look-back (left-open: Prometheus
 * 3), unless that is a staleness marker.
 */
#include <string.h>

#include "promql/run.h"
#include "tsdb/labels.h"
#include "tsdb/vectors.h"

struct selector {
    struct operator op;
    const struct promql_selector *what;
    void *set;
    bool is_timestamp;         /* give the samples' times in place of their values */
    struct window_plan window; /* of an instant selector: range_ms is the look-back */
};

static enum ap_rc selector_open(struct operator* op, struct ap_err *err)
{
    struct selector *selector = (struct selector *)op;
    struct run *run = op->run;
    int64_t first_ms = window_plan_end(&selector->window, op->steps.start_ms);
    int64_t last_ms = window_plan_end(&selector->window, step_time(&op->steps, op->steps.count - 1));
    enum ap_rc rc =
        run->storage.class->select(run->storage.context, selector->what->matchers,
                                   first_ms - selector->window.range_ms - selector->window.before_ms + 1,
                                   last_ms + selector->window.after_ms, run->options->series_max, &selector->set, err);
    if (rc != AP_OK)
        return rc;
    op->count = run->storage.class->count(selector->set);
    op->is_in_order = true;
    run->series_selected += op->count;
    op->cost = (uint64_t)(last_ms - first_ms + selector->window.range_ms) / 15000 + op->steps.count;
    op->labels = ap_arena_try_alloc(&run->arena, (op->count + 1) * sizeof(*op->labels));
    if (!op->labels)
        return ap_fail(err, AP_E_NOMEM, "no memory for the labels of %zu series", op->count);
    for (size_t i = 0; i < op->count; i++)
        op->labels[i] = run->storage.class->labels(selector->set, i);
    for (size_t i = 0; i < selector->what->matchers->count; i++) {
        const struct matcher *matcher = selector->what->matchers->items[i];
        if (matcher_kind_of(matcher) == MATCHER_EQUAL && ap_slice_equal_cstr(matcher_name(matcher), LABEL_METRIC_NAME))
            op->is_unique_without_name = true;
    }
    return AP_OK;
}

static void selector_close(struct operator* op)
{
    struct selector *selector = (struct selector *)op;
    op->run->storage.class->free(selector->set);
}

/* The series into the worker's columns, histograms decoded, staleness markers kept or not. */
static enum ap_rc read_series(struct selector *selector, struct worker *worker, size_t index,
                              struct float_histogram ***ret_histograms, struct ap_err *err)
{
    struct run *run = selector->op.run;
    struct tsdb_columns *columns = &worker->columns;
    *ret_histograms = NULL;
    enum ap_rc rc = run->storage.class->read(selector->set, index, columns, err);
    if (rc != AP_OK)
        return rc;
    worker->samples_read += columns->count + columns->histogram_count;
    if (columns->histogram_count == 0)
        return AP_OK;
    /* A marker has no histogram: NULL. */
    *ret_histograms = worker_histograms(worker, columns->histogram_count);
    for (size_t i = 0; i < columns->histogram_count && rc == AP_OK; i++)
        rc = float_histogram_decode(columns->histograms[i], &worker->arena, &(*ret_histograms)[i], err);
    return rc;
}

/* ---- Instant ---- */

static void choose_floats(const struct selector *selector, const struct tsdb_columns *columns, double *values)
{
    const struct steps *steps = &selector->op.steps;
    const struct window_plan *window = &selector->window;
    const int64_t *ts_ms = columns->ts_ms;
    size_t count = columns->count, at = 0;
    struct step_span span = {0, 0};
    if (count)
        span = steps_that_see(steps, window, ts_ms[0], ts_ms[count - 1]);
    fill_absent(values, 0, span.from);
    fill_absent(values, span.to, steps->count);
    for (size_t i = span.from; i < span.to; i++) {
        int64_t end_ms = window_plan_end(window, step_time(steps, i));
        at = times_pass(ts_ms, at, count, end_ms);
        bool is_there = at > 0 && ts_ms[at - 1] > end_ms - window->range_ms;
        values[i] = is_there ? columns->values[at - 1] : absent();
        if (selector->is_timestamp && !is_absent(values[i]))
            values[i] = (double)ts_ms[at - 1] / 1000;
    }
}

/* Where a histogram is newer than the float, it takes its place. */
static void choose_histograms(const struct selector *selector, const struct tsdb_columns *columns,
                              struct float_histogram *const *histograms, struct column *column)
{
    const struct steps *steps = &selector->op.steps;
    size_t at = 0, float_at = 0;
    for (size_t i = 0; i < steps->count; i++) {
        int64_t end_ms = window_plan_end(&selector->window, step_time(steps, i));
        while (at < columns->histogram_count && columns->histogram_ts_ms[at] <= end_ms)
            at++;
        while (float_at < columns->count && columns->ts_ms[float_at] <= end_ms)
            float_at++;
        if (at == 0 || columns->histogram_ts_ms[at - 1] <= end_ms - selector->window.range_ms ||
            (float_at > 0 && columns->ts_ms[float_at - 1] > columns->histogram_ts_ms[at - 1]))
            continue;
        column->values[i] = absent();
        if (selector->is_timestamp && histograms[at - 1])
            column->values[i] = (double)columns->histogram_ts_ms[at - 1] / 1000;
        else
            column->histograms[i] = histograms[at - 1];
    }
}

static void count_chosen(const struct operator* op, struct worker *worker, const struct column *column)
{
    for (size_t i = 0; i < op->steps.count; i++) {
        if (!is_absent(column->values[i]))
            operator_count(op, worker, i, 1);
        else if (column->histograms && column->histograms[i])
            operator_count(op, worker, i, float_histogram_samples(column->histograms[i]));
    }
}

static enum ap_rc smoothed_read(struct operator* op, struct worker *worker, size_t index, struct column *ret_column,
                                struct ap_err *err);

static enum ap_rc selector_read(struct operator* op, struct worker *worker, size_t index, struct column *ret_column,
                                struct ap_err *err)
{
    struct selector *selector = (struct selector *)op;
    struct float_histogram **histograms;
    if (selector->window.extension == EXTENSION_SMOOTHED)
        return smoothed_read(op, worker, index, ret_column, err);
    enum ap_rc rc = read_series(selector, worker, index, &histograms, err);
    if (rc != AP_OK)
        return rc;
    choose_floats(selector, &worker->columns, ret_column->values);
    if (histograms) {
        ret_column->histograms = worker_histograms(worker, op->steps.count);
        choose_histograms(selector, &worker->columns, histograms, ret_column);
    }
    if (operator_counts(op, index))
        count_chosen(op, worker, ret_column);
    return AP_OK;
}

/* ---- Ranges ---- */

/* Without a branch for each, so that it is many at a time: mostly there is none. */
WITH_VECTORS static bool has_absent(const double *values, size_t count)
{
    uint64_t found = 0;
    for (size_t i = 0; i < count; i++)
        found |= ap_double_to_bits(values[i]) == ABSENT_BITS;
    return found;
}

static void drop_markers(struct tsdb_columns *columns)
{
    size_t kept = 0;
    for (size_t i = 0; i < columns->count; i++) {
        columns->ts_ms[kept] = columns->ts_ms[i];
        columns->values[kept] = columns->values[i];
        kept += !is_absent(columns->values[i]);
    }
    columns->count = kept;
}

static enum ap_rc selector_read_samples(struct operator* op, struct worker *worker, size_t index,
                                        struct promql_points *ret_samples, struct ap_err *err)
{
    struct tsdb_columns *columns = &worker->columns;
    struct float_histogram **histograms;
    enum ap_rc rc = read_series((struct selector *)op, worker, index, &histograms, err);
    if (rc != AP_OK)
        return rc;
    if (has_absent(columns->values, columns->count))
        drop_markers(columns);
    size_t kept = 0;
    for (size_t i = 0; i < columns->histogram_count; i++) {
        if (!histograms[i])
            continue;
        columns->histogram_ts_ms[kept] = columns->histogram_ts_ms[i];
        histograms[kept++] = histograms[i];
    }
    columns->histogram_count = kept;
    *ret_samples = (struct promql_points){columns->ts_ms,           columns->values, columns->count,
                                          columns->histogram_ts_ms, histograms,      kept};
    return AP_OK;
}

static enum ap_rc smoothed_read(struct operator* op, struct worker *worker, size_t index, struct column *ret_column,
                                struct ap_err *err)
{
    struct promql_points points;
    enum ap_rc rc = selector_read_samples(op, worker, index, &points, err);
    if (rc == AP_OK)
        window_smooth(op, &((struct selector *)op)->window,
                      labels_get(op->labels[index], ap_slice_cstr(LABEL_METRIC_NAME)), worker, &points, ret_column);
    if (rc == AP_OK && operator_counts(op, index))
        count_chosen(op, worker, ret_column);
    return rc;
}

/* ---- Planning ---- */

static const struct operator_class selector_class = {
    .open = selector_open,
    .read = selector_read,
    .read_samples = selector_read_samples,
    .close = selector_close,
};

static enum ap_rc plan_window(struct run *run, const struct promql_when *when, int64_t range_ms,
                              struct window_plan *ret_window, struct ap_err *err)
{
    *ret_window = (struct window_plan){.range_ms = range_ms};
    enum ap_rc rc = AP_OK;
    if (when->has_offset)
        rc = plan_duration(run, &when->offset, false, &ret_window->offset_ms, err);
    if (when->at == AT_NONE)
        return rc;
    int64_t at_ms = when->at == AT_START ? run->steps.start_ms : when->at == AT_END ? run->end_ms : when->at_ms;
    ret_window->is_fixed = true;
    ret_window->fixed_ms = at_ms - ret_window->offset_ms;
    return rc;
}

struct operator* plan_selector(struct run *run, const struct promql_expr *expr, const struct steps *steps,
                               bool is_timestamp, struct ap_err *err)
{
    struct selector *selector = operator_new(run, sizeof(*selector), &selector_class, expr, steps);
    selector->what = &expr->selector;
    selector->is_timestamp = is_timestamp;
    if (plan_window(run, &expr->selector.when, run->lookback_ms, &selector->window, err) != AP_OK)
        return NULL;
    if (expr->selector.extension == EXTENSION_SMOOTHED && !is_timestamp) {
        selector->window.extension = EXTENSION_SMOOTHED;
        selector->window.after_ms = run->lookback_ms;
    }
    return &selector->op;
}

/* ---- Sub-queries: an expression's column as samples ---- */

struct subquery {
    struct operator op;
};

static enum ap_rc subquery_open(struct operator* op, struct ap_err *err)
{
    enum ap_rc rc = operator_open_inputs(op, err);
    if (rc == AP_OK)
        rc = operator_take_labels(op, false, err);
    op->cost += op->inputs[0]->steps.count;
    return rc;
}

/* Whether a counter was reset is not to be seen any more between the samples that a sub-query leaves. */
static struct float_histogram *forget_reset(struct worker *worker, struct float_histogram *histogram)
{
    if (histogram->reset_hint == HISTOGRAM_RESET_GAUGE || histogram->reset_hint == HISTOGRAM_RESET_UNKNOWN)
        return histogram;
    struct float_histogram *copy = worker_alloc(worker, sizeof(*copy));
    *copy = *histogram;
    copy->reset_hint = HISTOGRAM_RESET_UNKNOWN;
    return copy;
}

static enum ap_rc subquery_read_samples(struct operator* op, struct worker *worker, size_t index,
                                        struct promql_points *ret_samples, struct ap_err *err)
{
    struct operator* input = op->inputs[0];
    size_t steps = input->steps.count;
    struct column column = {.values = worker_alloc(worker, (steps + 1) * sizeof(double))};
    enum ap_rc rc = operator_read(input, worker, index, &column, err);
    if (rc != AP_OK)
        return rc;
    int64_t *ts_ms = worker_alloc(worker, (steps + 1) * sizeof(*ts_ms));
    size_t count = 0, histogram_count = 0;
    int64_t *histogram_ts_ms = column.histograms ? worker_alloc(worker, (steps + 1) * sizeof(*ts_ms)) : NULL;
    struct float_histogram **histograms = column.histograms ? worker_histograms(worker, steps) : NULL;
    for (size_t i = 0; i < steps; i++) {
        if (!is_absent(column.values[i])) {
            ts_ms[count] = step_time(&input->steps, i);
            column.values[count++] = column.values[i];
        } else if (column.histograms && column.histograms[i]) {
            histogram_ts_ms[histogram_count] = step_time(&input->steps, i);
            histograms[histogram_count++] = forget_reset(worker, column.histograms[i]);
        }
    }
    *ret_samples = (struct promql_points){ts_ms, column.values, count, histogram_ts_ms, histograms, histogram_count};
    return AP_OK;
}

static const struct operator_class subquery_class = {.open = subquery_open, .read_samples = subquery_read_samples};

static struct operator* plan_subquery(struct run *run, const struct promql_expr *expr, const struct steps *steps,
                                      struct window_plan *ret_window, struct ap_err *err)
{
    int64_t range_ms, step_ms = run->options->subquery_step_ms;
    if (plan_duration(run, &expr->subquery.range, true, &range_ms, err) != AP_OK ||
        (expr->subquery.has_step && plan_duration(run, &expr->subquery.step, true, &step_ms, err) != AP_OK) ||
        plan_window(run, &expr->subquery.when, range_ms, ret_window, err) != AP_OK)
        return NULL;
    if (step_ms == 0) /* less than a millisecond, once calculated: Prometheus takes it for none, too */
        step_ms = run->options->subquery_step_ms;
    int64_t first_ms = window_plan_end(ret_window, steps->start_ms) - range_ms;
    int64_t last_ms = window_plan_end(ret_window, step_time(steps, steps->count - 1));
    /* Steps are multiples of the step since 1970, the first one behind the (open) start. */
    struct steps inner = {.start_ms = first_ms / step_ms * step_ms, .step_ms = step_ms};
    if (inner.start_ms <= first_ms)
        inner.start_ms += step_ms;
    inner.count = last_ms < inner.start_ms ? 0 : (size_t)((last_ms - inner.start_ms) / step_ms) + 1;
    if (inner.count > run->options->samples_max) {
        (void)run_hold(run, inner.count, err);
        return NULL;
    }
    bool is_empty = inner.count == 0;
    inner.count += is_empty; /* operators have one step at least; the window leaves it out */
    enum counting_kind counting = run->counting;
    run->counting = run->of_subquery;
    run->of_subquery = COUNTING_NOTHING;
    struct operator* input = plan(run, expr->subquery.of, &inner, err);
    run->counting = counting;
    if (!input)
        return NULL;
    struct subquery *subquery = operator_new(run, sizeof(*subquery), &subquery_class, expr, steps);
    operator_set_inputs(&subquery->op, &input, 1);
    return &subquery->op;
}

struct operator* plan_range(struct run *run, const struct promql_expr *expr, const struct steps *steps,
                            struct window_plan *ret_window, struct ap_err *err)
{
    expr = without_parens(expr);
    if (expr->kind == EXPR_SUBQUERY)
        return plan_subquery(run, expr, steps, ret_window, err);
    const struct promql_expr *inner = expr->range.selector;
    int64_t range_ms;
    if (plan_duration(run, &expr->range.range, true, &range_ms, err) != AP_OK ||
        plan_window(run, &inner->selector.when, range_ms, ret_window, err) != AP_OK)
        return NULL;
    ret_window->extension = inner->selector.extension;
    ret_window->before_ms = ret_window->extension != EXTENSION_NONE ? run->lookback_ms : 0;
    ret_window->after_ms = ret_window->extension == EXTENSION_SMOOTHED ? run->lookback_ms : 0;
    struct selector *selector = operator_new(run, sizeof(*selector), &selector_class, expr, steps);
    selector->what = &inner->selector;
    selector->window = *ret_window;
    return &selector->op;
}
