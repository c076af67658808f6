/*
 * Ranges that look beyond their ends: `anchored` takes the last sample at or before the start for what is there,
 * `smoothed` interpolates at both ends. Nothing is extrapolated.
 */
#include <math.h>
#include <string.h>

#include "promql/window.h"

/* ---- In between ---- */

/* A counter that fell in between began again at 0. */
static double interpolate(double before, int64_t before_ms, double after, int64_t after_ms, int64_t at_ms,
                          bool is_counter)
{
    if (is_counter && after < before)
        before = 0;
    return before + (after - before) * (double)(at_ms - before_ms) / (double)(after_ms - before_ms);
}

/* ---- The ends of a window ---- */

/* The first and the last sample that count. */
struct ends {
    size_t first;
    size_t last;
};

/* The first of `from` ≤ i < `to` whose time is `at_ms` or behind (later than it), or `to`. */
static size_t find_time(const int64_t *ts_ms, size_t from, size_t to, int64_t at_ms, bool is_later)
{
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (is_later ? ts_ms[middle] > at_ms : ts_ms[middle] >= at_ms)
            to = middle;
        else
            from = middle + 1;
    }
    return from;
}

/* False: no sample is where it would count. */
static bool find_ends(const int64_t *ts_ms, size_t from, size_t to, int64_t start_ms, int64_t end_ms, bool is_smoothed,
                      struct ends *ret)
{
    size_t last = to - 1;
    size_t behind = find_time(ts_ms, from, last, start_ms, true);
    ret->first = behind > from ? behind - 1 : from;
    ret->last = is_smoothed ? find_time(ts_ms, from, last, end_ms, false) : last;
    return ts_ms[ret->last] > start_ms && !(is_smoothed && ts_ms[ret->first] > end_ms);
}

struct edge_values {
    double left;
    double right;
};

static struct edge_values edge_values(const int64_t *ts_ms, const double *values, size_t from, const struct ends *ends,
                                      int64_t start_ms, int64_t end_ms, bool is_smoothed, bool is_counter)
{
    size_t first = ends->first, last = ends->last;
    struct edge_values edges = {values[first], values[last]};
    if (is_smoothed && ts_ms[first] < start_ms)
        edges.left =
            interpolate(values[first], ts_ms[first], values[first + 1], ts_ms[first + 1], start_ms, is_counter);
    if (is_smoothed && last > from && ts_ms[last] > end_ms)
        edges.right = interpolate(values[last - 1], ts_ms[last - 1], values[last], ts_ms[last], end_ms, is_counter);
    return edges;
}

static bool is_smoothed(const struct window *window)
{
    return window->call->window.extension == EXTENSION_SMOOTHED;
}

/* ---- Rates of floats ---- */

static void float_rate(const struct window *window, bool is_counter, struct window_result *ret)
{
    const int64_t *ts_ms = window->samples->ts_ms;
    const double *values = window->samples->values;
    struct ends ends;
    if (!find_ends(ts_ms, window->from, window->to, window->start_ms, window->end_ms, is_smoothed(window), &ends))
        return;
    struct edge_values edges = edge_values(ts_ms, values, window->from, &ends, window->start_ms, window->end_ms,
                                           is_smoothed(window), is_counter);
    ret->value = edges.right - edges.left;
    if (!is_counter)
        return;
    double correction = 0, before = edges.left;
    size_t from = ends.first + (ts_ms[ends.first] <= window->start_ms);
    size_t to = ends.last + (ts_ms[ends.last] < window->end_ms);
    for (size_t i = from; i < to; i++) {
        if (values[i] < before)
            correction += before;
        before = values[i];
    }
    if (edges.right < before)
        correction += before;
    ret->value += correction;
}

/* ---- Rates of histograms ---- */

static void note_bounds(const struct window *window, const struct float_histogram_notes *notes, const char *operation)
{
    const struct float_histogram_notes bounds = {.are_bounds_reconciled = notes->are_bounds_reconciled};
    window_note_sums(window, &bounds, operation);
}

static bool check_range(const struct window *window, const struct ends *ends, bool is_counter)
{
    struct float_histogram *const *all = window->samples->histograms;
    for (size_t i = ends->first; i <= ends->last; i++) {
        if (float_histogram_is_custom(all[i]) != float_histogram_is_custom(all[ends->first])) {
            window_warn_schemas(window);
            return false;
        }
        if (is_counter && all[i]->reset_hint == HISTOGRAM_RESET_GAUGE)
            window_warn_not_counter(window);
    }
    return true;
}

/* At `at_ms`, between the histograms at `before` and behind it. */
static struct float_histogram *histogram_between(const struct window *window, size_t before, int64_t at_ms,
                                                 bool is_counter)
{
    const struct promql_points *samples = window->samples;
    struct float_histogram_notes notes[2] = {{0}, {0}};
    struct float_histogram *result = float_histogram_interpolate(
        samples->histograms[before], samples->histogram_ts_ms[before], samples->histograms[before + 1],
        samples->histogram_ts_ms[before + 1], at_ms, is_counter, &window->worker->arena, notes);
    note_bounds(window, &notes[0], "subtraction");
    note_bounds(window, &notes[1], "addition");
    if (!result)
        window_warn_schemas(window);
    return result;
}

/* result += what was lost at each reset. `left` and `right` stand for the samples at the ends. */
static bool add_resets(const struct window *window, const struct ends *ends, const struct float_histogram *left,
                       const struct float_histogram *right, struct float_histogram *result)
{
    struct float_histogram *const *all = window->samples->histograms;
    struct ap_arena *arena = &window->worker->arena;
    const struct float_histogram *before = left;
    size_t from = ends->first + 1;
    if (is_smoothed(window) && window->samples->histogram_ts_ms[ends->first] < window->start_ms &&
        float_histogram_is_reset(all[from], all[ends->first], arena))
        before = all[from++]; /* the interpolation has seen to this one */
    struct float_histogram *correction = NULL;
    for (size_t i = from; i <= ends->last; i++) {
        const struct float_histogram *now = i < ends->last ? all[i] : right;
        struct float_histogram_notes notes = {0};
        if (float_histogram_is_reset(now, before, arena)) {
            if (!correction) {
                correction = float_histogram_copy(before, arena);
            } else if (!float_histogram_add(correction, before, arena, &notes)) {
                window_warn_schemas(window);
                return false;
            }
            note_bounds(window, &notes, "addition");
        }
        before = now;
    }
    struct float_histogram_notes notes = {0};
    if (correction && !float_histogram_add(result, correction, arena, &notes)) {
        window_warn_schemas(window);
        return false;
    }
    note_bounds(window, &notes, "addition");
    return true;
}

static void histogram_rate(const struct window *window, bool is_counter, struct window_result *ret)
{
    const struct promql_points *samples = window->samples;
    const int64_t *ts_ms = samples->histogram_ts_ms;
    size_t from = window->histogram_from;
    struct ends ends;
    if (!find_ends(ts_ms, from, window->histogram_to, window->start_ms, window->end_ms, is_smoothed(window), &ends) ||
        !check_range(window, &ends, is_counter))
        return;
    struct float_histogram *left = samples->histograms[ends.first];
    struct float_histogram *right = samples->histograms[ends.last];
    if (is_smoothed(window) && ts_ms[ends.first] < window->start_ms)
        left = histogram_between(window, ends.first, window->start_ms, is_counter);
    if (left && is_smoothed(window) && ends.last > from && ts_ms[ends.last] > window->end_ms)
        right = histogram_between(window, ends.last - 1, window->end_ms, is_counter);
    if (!left || !right)
        return;
    if (!is_counter && !(left->reset_hint == HISTOGRAM_RESET_GAUGE && right->reset_hint == HISTOGRAM_RESET_GAUGE))
        window_warn_not_gauge(window);
    struct float_histogram_notes notes = {0};
    struct float_histogram *result = float_histogram_copy(right, &window->worker->arena);
    if (!float_histogram_subtract(result, left, &window->worker->arena, &notes)) {
        window_warn_schemas(window);
        return;
    }
    note_bounds(window, &notes, "subtraction");
    if (is_counter && !add_resets(window, &ends, left, right, result))
        return;
    result->reset_hint = HISTOGRAM_RESET_GAUGE;
    float_histogram_compact(result);
    ret->histogram = result;
}

void window_extended_rate(const struct window *window, bool is_counter, bool is_rate, struct window_result *ret)
{
    double seconds = (double)window->call->window.range_ms / 1000;
    if (window_floats(window) && window_histograms(window)) {
        window_warn_mixed(window);
        return;
    }
    if (window_floats(window))
        float_rate(window, is_counter, ret);
    else
        histogram_rate(window, is_counter, ret);
    if (is_rate && ret->histogram)
        float_histogram_divide(ret->histogram, seconds);
    else if (is_rate && !is_absent(ret->value))
        ret->value /= seconds;
}

/* ---- The range itself, as an answer ---- */

enum ap_rc window_extend_samples(const struct window_plan *plan, int64_t end_ms, struct worker *worker,
                                 struct promql_points *points, struct ap_err *err)
{
    bool is_smooth = plan->extension == EXTENSION_SMOOTHED;
    int64_t start_ms = end_ms - plan->range_ms;
    if (points->histogram_count)
        return ap_fail(err, AP_E_CONFLICT, "%s modifier is not supported with histograms",
                       is_smooth ? "smoothed" : "anchored");
    struct ends ends;
    if (points->count == 0 || (!find_ends(points->ts_ms, 0, points->count, start_ms, end_ms, is_smooth, &ends) &&
                               points->ts_ms[ends.last] <= start_ms)) {
        points->count = 0;
        return AP_OK;
    }
    struct edge_values edges = edge_values(points->ts_ms, points->values, 0, &ends, start_ms, end_ms, is_smooth, false);
    size_t from = ends.first + (points->ts_ms[ends.first] <= start_ms);
    size_t to = ends.last + (points->ts_ms[ends.last] < end_ms);
    size_t count = to > from ? to - from : 0;
    int64_t *ts_ms = worker_alloc(worker, (count + 2) * sizeof(*ts_ms));
    double *values = worker_alloc(worker, (count + 2) * sizeof(*values));
    ts_ms[0] = start_ms;
    values[0] = edges.left;
    if (count) {
        memcpy(ts_ms + 1, points->ts_ms + from, count * sizeof(*ts_ms));
        memcpy(values + 1, points->values + from, count * sizeof(*values));
    }
    ts_ms[count + 1] = end_ms;
    values[count + 1] = edges.right;
    points->ts_ms = ts_ms;
    points->values = values;
    points->count = count + 2;
    return AP_OK;
}

/* ---- One instant ---- */

static void smooth_float(const struct promql_points *points, size_t from, size_t to, int64_t at_ms, double *ret_value)
{
    size_t at = find_time(points->ts_ms, from, to, at_ms, false);
    if (at < to && points->ts_ms[at] == at_ms)
        *ret_value = points->values[at];
    else if (at > from && at < to)
        *ret_value = interpolate(points->values[at - 1], points->ts_ms[at - 1], points->values[at], points->ts_ms[at],
                                 at_ms, false);
    else if (at > from)
        *ret_value = points->values[at - 1];
}

static struct float_histogram *smooth_histogram(struct operator* op, struct ap_slice metric, struct worker *worker,
                                                const struct promql_points *points, size_t from, size_t to,
                                                int64_t at_ms)
{
    struct annotations *annotations = &op->run->annotations;
    struct float_histogram *const *all = points->histograms;
    const int64_t *ts_ms = points->histogram_ts_ms;
    size_t at = find_time(ts_ms, from, to, at_ms, false);
    if (at < to && ts_ms[at] == at_ms)
        return all[at];
    if (at == from)
        return NULL;
    if (at == to) {
        struct float_histogram *last = float_histogram_copy(all[at - 1], &worker->arena);
        last->reset_hint = HISTOGRAM_RESET_UNKNOWN; /* it tells of the sample before, not of this moment */
        return last;
    }
    bool is_counter = all[at - 1]->reset_hint != HISTOGRAM_RESET_GAUGE || all[at]->reset_hint != HISTOGRAM_RESET_GAUGE;
    struct float_histogram_notes notes[2] = {{0}, {0}};
    struct float_histogram *result = NULL;
    if (float_histogram_is_custom(all[at - 1]) == float_histogram_is_custom(all[at]))
        result = float_histogram_interpolate(all[at - 1], ts_ms[at - 1], all[at], ts_ms[at], at_ms, is_counter,
                                             &worker->arena, notes);
    for (size_t i = 0; i < 2; i++)
        if (notes[i].are_bounds_reconciled)
            annotate(annotations, PROMQL_INFO, op->expr, "mismatched custom buckets were reconciled during %s",
                     i ? "addition" : "subtraction");
    if (!result)
        annotate(annotations, PROMQL_WARNING, op->expr,
                 "vector contains a mix of histograms with exponential and custom buckets schemas for metric name %s",
                 quoted(metric).text);
    return result;
}

void window_smooth(struct operator* op, const struct window_plan *plan, struct ap_slice metric, struct worker *worker,
                   const struct promql_points *points, struct column *ret_column)
{
    size_t from = 0, to = 0, histogram_from = 0, histogram_to = 0;
    for (size_t i = 0; i < op->steps.count; i++) {
        int64_t at_ms = plan->is_fixed ? plan->fixed_ms : step_time(&op->steps, i) - plan->offset_ms;
        ret_column->values[i] = absent();
        while (to < points->count && points->ts_ms[to] <= at_ms + plan->after_ms)
            to++;
        while (from < to && points->ts_ms[from] <= at_ms - plan->range_ms)
            from++;
        while (histogram_to < points->histogram_count &&
               points->histogram_ts_ms[histogram_to] <= at_ms + plan->after_ms)
            histogram_to++;
        while (histogram_from < histogram_to && points->histogram_ts_ms[histogram_from] <= at_ms - plan->range_ms)
            histogram_from++;
        if (to > from && histogram_to > histogram_from) {
            annotate(&op->run->annotations, PROMQL_WARNING, op->expr,
                     "encountered a mix of histograms and floats for metric name %s", quoted(metric).text);
        } else if (to > from) {
            smooth_float(points, from, to, at_ms, &ret_column->values[i]);
        } else if (histogram_to > histogram_from) {
            if (!ret_column->histograms)
                ret_column->histograms = worker_histograms(worker, op->steps.count);
            ret_column->histograms[i] =
                smooth_histogram(op, metric, worker, points, histogram_from, histogram_to, at_ms);
        }
    }
}
