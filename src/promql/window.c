/*
 * Functions of range vectors. The windows of a series slide over its samples, so that each sample is passed once;
 * what a function does with a window is its own affair.
 */
#include "promql/window.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "promql/float_text.h"
#include "promql/sums.h"
#include "tsdb/labels.h"

/* ---- Annotations ---- */

void window_annotate(const struct window *window, enum promql_annotation_kind kind, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    annotate(&window->call->op.run->annotations, kind, window->call->range_expr, "%s", text);
}

void window_warn_mixed(const struct window *window)
{
    window_annotate(window, PROMQL_WARNING, "encountered a mix of histograms and floats for metric name %s",
                    quoted(window->metric).text);
}

void window_note_ignored(const struct window *window)
{
    if (window_histograms(window))
        window_annotate(window, PROMQL_INFO,
                        "ignored histograms in a range containing both floats and histograms for metric name %s",
                        quoted(window->metric).text);
}

void window_note_sums(const struct window *window, const struct float_histogram_notes *notes, const char *operation)
{
    if (notes->is_reset_colliding)
        window_annotate(window, PROMQL_WARNING, "conflicting counter resets during histogram %s", operation);
    if (notes->are_bounds_reconciled)
        window_annotate(window, PROMQL_INFO, "mismatched custom buckets were reconciled during %s", operation);
}

/* ---- Rates ---- */

/*
 * Prometheus' extrapolation: to the window's ends where the samples nearest to them are about as near as samples are to
 * each other, else by half of that distance; a counter not to before it was 0.
 */
static double extrapolation(const struct window *window, int64_t first_ms, int64_t last_ms, size_t gaps,
                            double zero_share, bool has_zero)
{
    double to_start = (double)(first_ms - window->start_ms) / 1000;
    double to_end = (double)(window->end_ms - last_ms) / 1000;
    double covered = (double)(last_ms - first_ms) / 1000;
    double distance = covered / (double)gaps;
    double near = distance * 1.1;
    if (to_start >= near)
        to_start = distance / 2;
    if (has_zero) {
        double to_zero = covered * zero_share;
        if (to_zero < to_start)
            to_start = to_zero;
    }
    if (to_end >= near)
        to_end = distance / 2;
    return (covered + to_start + to_end) / covered;
}

static enum ap_rc extrapolate(const struct window *window, bool is_counter, bool is_rate, struct window_result *ret)
{
    const struct promql_points *samples = window->samples;
    double seconds = (double)window->call->window.range_ms / 1000;
    if (window->call->window.extension != EXTENSION_NONE) {
        window_extended_rate(window, is_counter, is_rate, ret);
        return AP_OK;
    }
    if (window_floats(window) && window_histograms(window)) {
        window_warn_mixed(window);
        return AP_OK;
    }
    if (window_histograms(window) > 1) {
        struct float_histogram *result = window_histogram_rate(window, is_counter);
        if (!result)
            return AP_OK;
        double first = samples->histograms[window->histogram_from]->count;
        bool has_zero = is_counter && result->count > 0 && first >= 0;
        double factor = extrapolation(window, samples->histogram_ts_ms[window->histogram_from],
                                      samples->histogram_ts_ms[window->histogram_to - 1], window_histograms(window) - 1,
                                      has_zero ? first / result->count : 0, has_zero);
        float_histogram_multiply(result, is_rate ? factor / seconds : factor);
        ret->histogram = result;
        return AP_OK;
    }
    if (window_floats(window) < 2)
        return AP_OK;
    double first = samples->values[window->from];
    double result = samples->values[window->to - 1] - first;
    if (is_counter)
        for (size_t i = window->drop_from; i < window->drop_to; i++)
            result += samples->values[window->drops[i] - 1];
    bool has_zero = is_counter && result > 0 && first >= 0;
    double factor = extrapolation(window, samples->ts_ms[window->from], samples->ts_ms[window->to - 1],
                                  window_floats(window) - 1, has_zero ? first / result : 0, has_zero);
    ret->value = result * (is_rate ? factor / seconds : factor);
    return AP_OK;
}

static enum ap_rc run_rate(const struct window *window, struct window_result *ret, struct ap_err *err)
{
    (void)err;
    return extrapolate(window, true, true, ret);
}

static enum ap_rc run_increase(const struct window *window, struct window_result *ret, struct ap_err *err)
{
    (void)err;
    return extrapolate(window, true, false, ret);
}

static enum ap_rc run_delta(const struct window *window, struct window_result *ret, struct ap_err *err)
{
    (void)err;
    return extrapolate(window, false, false, ret);
}

static enum ap_rc run_irate(const struct window *window, struct window_result *ret, struct ap_err *err)
{
    (void)err;
    return window_instant_rate(window, true, ret);
}

static enum ap_rc run_idelta(const struct window *window, struct window_result *ret, struct ap_err *err)
{
    (void)err;
    return window_instant_rate(window, false, ret);
}

/* ---- Sums and the like ---- */

static enum ap_rc run_sum(const struct window *window, struct window_result *ret, struct ap_err *err)
{
    (void)err;
    if (window_floats(window) && window_histograms(window)) {
        window_warn_mixed(window);
        return AP_OK;
    }
    if (window_histograms(window)) {
        ret->histogram = window_histogram_sum(window, false);
        return AP_OK;
    }
    struct kahan kahan = {0, 0};
    const double *values = window->samples->values;
    if (!kahan_add_finite(&kahan, values + window->from, window_floats(window)))
        for (size_t i = window->from; i < window->to; i++)
            kahan_add(&kahan, values[i]);
    ret->value = kahan_total(&kahan);
    return AP_OK;
}

static enum ap_rc run_avg(const struct window *window, struct window_result *ret, struct ap_err *err)
{
    (void)err;
    if (window_floats(window) && window_histograms(window)) {
        window_warn_mixed(window);
        return AP_OK;
    }
    if (window_histograms(window)) {
        ret->histogram = window_histogram_sum(window, true);
        return AP_OK;
    }
    struct mean mean = {0};
    mean_add_all(&mean, window->samples->values + window->from, window_floats(window));
    ret->value = mean_total(&mean);
    return AP_OK;
}

static enum ap_rc run_count(const struct window *window, struct window_result *ret, struct ap_err *err)
{
    (void)err;
    ret->value = (double)(window_floats(window) + window_histograms(window));
    return AP_OK;
}

static enum ap_rc run_present(const struct window *window, struct window_result *ret, struct ap_err *err)
{
    (void)window;
    (void)err;
    ret->value = 1;
    return AP_OK;
}

/* The largest or smallest float; NaN only where there is nothing else. What is NaN is neither larger nor smaller. */
static inline enum ap_rc run_extreme(const struct window *window, bool is_max, struct window_result *ret)
{
    const double *values = window->samples->values;
    if (window_floats(window) == 0)
        return AP_OK;
    window_note_ignored(window);
    size_t at = window->from;
    while (isnan(values[at]) && at + 1 < window->to)
        at++;
    double best = values[at];
    for (; at < window->to; at++)
        best = (is_max ? values[at] > best : values[at] < best) ? values[at] : best;
    ret->value = best;
    return AP_OK;
}

static enum ap_rc run_max(const struct window *window, struct window_result *ret, struct ap_err *err)
{
    (void)err;
    return run_extreme(window, true, ret);
}

static enum ap_rc run_min(const struct window *window, struct window_result *ret, struct ap_err *err)
{
    (void)err;
    return run_extreme(window, false, ret);
}

/* When it was so the last time. */
static enum ap_rc run_ts_of_extreme(const struct window *window, window_fn run, struct window_result *ret,
                                    struct ap_err *err)
{
    size_t at = window->to;
    enum ap_rc rc = run(window, ret, err);
    if (rc != AP_OK || window_floats(window) == 0)
        return rc;
    do
        at--;
    while (at > window->from && window->samples->values[at] != ret->value && !isnan(ret->value));
    ret->value = (double)window->samples->ts_ms[at] / 1000;
    return AP_OK;
}

static enum ap_rc run_ts_of_max(const struct window *window, struct window_result *ret, struct ap_err *err)
{
    return run_ts_of_extreme(window, run_max, ret, err);
}

static enum ap_rc run_ts_of_min(const struct window *window, struct window_result *ret, struct ap_err *err)
{
    return run_ts_of_extreme(window, run_min, ret, err);
}

/* ---- First and last ---- */

/* Whether the first (or last) sample is a histogram, and where the float and the histogram are. */
static bool is_edge_histogram(const struct window *window, bool is_last, size_t *ret_float, size_t *ret_histogram)
{
    const struct promql_points *samples = window->samples;
    *ret_float = is_last ? window->to - 1 : window->from;
    *ret_histogram = is_last ? window->histogram_to - 1 : window->histogram_from;
    if (!window_histograms(window) || !window_floats(window))
        return window_histograms(window) > 0;
    int64_t float_ms = samples->ts_ms[*ret_float], histogram_ms = samples->histogram_ts_ms[*ret_histogram];
    return is_last ? histogram_ms >= float_ms : histogram_ms <= float_ms;
}

static enum ap_rc run_edge(const struct window *window, bool is_last, bool is_time, struct window_result *ret)
{
    size_t float_at, histogram_at;
    bool is_histogram = is_edge_histogram(window, is_last, &float_at, &histogram_at);
    const struct promql_points *samples = window->samples;
    if (is_time)
        ret->value = (double)(is_histogram ? samples->histogram_ts_ms[histogram_at] : samples->ts_ms[float_at]) / 1000;
    else if (is_histogram)
        ret->histogram = samples->histograms[histogram_at];
    else
        ret->value = samples->values[float_at];
    return AP_OK;
}

static enum ap_rc run_first(const struct window *window, struct window_result *ret, struct ap_err *err)
{
    (void)err;
    return run_edge(window, false, false, ret);
}

static enum ap_rc run_last(const struct window *window, struct window_result *ret, struct ap_err *err)
{
    (void)err;
    return run_edge(window, true, false, ret);
}

static enum ap_rc run_ts_of_first(const struct window *window, struct window_result *ret, struct ap_err *err)
{
    (void)err;
    return run_edge(window, false, true, ret);
}

static enum ap_rc run_ts_of_last(const struct window *window, struct window_result *ret, struct ap_err *err)
{
    (void)err;
    return run_edge(window, true, true, ret);
}

/* ---- Distributions ---- */

/* As find_order() found them worth it: puts in what came, takes out what went. */
static double quantile_of_sorted(double q, const struct window *window)
{
    struct sorted_window *sorted = window->sorted;
    const double *values = window->samples->values;
    if (window->from >= sorted->to) { /* the first window, or one behind a gap */
        sorted_floats_fill(&sorted->floats, values + window->from, window_floats(window));
        sorted->from = window->from;
        sorted->to = window->to;
    }
    while (sorted->from < window->from && sorted->to < window->to)
        sorted_floats_replace(&sorted->floats, values[sorted->from++], values[sorted->to++]);
    while (sorted->from < window->from)
        sorted_floats_remove(&sorted->floats, values[sorted->from++]);
    while (sorted->to < window->to)
        sorted_floats_add(&sorted->floats, values[sorted->to++]);
    return sorted_floats_quantile(q, &sorted->floats);
}

static enum ap_rc run_quantile(const struct window *window, struct window_result *ret, struct ap_err *err)
{
    (void)err;
    double q = window->parameters[0];
    size_t count = window_floats(window);
    if (count == 0)
        return AP_OK;
    if (!(q >= 0 && q <= 1))
        window_annotate(window, PROMQL_WARNING, "quantile value should be between 0 and 1, got %s", go_float(q).text);
    window_note_ignored(window);
    if (window->sorted) {
        ret->value = quantile_of_sorted(q, window);
        return AP_OK;
    }
    double *values = worker_take(window->worker, count);
    memcpy(values, window->samples->values + window->from, count * sizeof(*values));
    ret->value = quantile_of(q, values, count);
    worker_give(window->worker);
    return AP_OK;
}

static enum ap_rc run_mad(const struct window *window, struct window_result *ret, struct ap_err *err)
{
    (void)err;
    size_t count = window_floats(window);
    if (count == 0)
        return AP_OK;
    window_note_ignored(window);
    const double *floats = window->samples->values + window->from;
    double *values = worker_take(window->worker, count);
    memcpy(values, floats, count * sizeof(*values));
    double median = quantile_of(0.5, values, count);
    for (size_t i = 0; i < count; i++)
        values[i] = fabs(floats[i] - median);
    ret->value = quantile_of(0.5, values, count);
    worker_give(window->worker);
    return AP_OK;
}

/* Welford's method (B. P. Welford 1962), its sums compensated. */
static enum ap_rc run_variance(const struct window *window, bool is_root, struct window_result *ret)
{
    if (window_floats(window) == 0)
        return AP_OK;
    window_note_ignored(window);
    struct kahan mean = {0, 0}, squares = {0, 0};
    double count = 0;
    for (size_t i = window->from; i < window->to; i++) {
        double value = window->samples->values[i];
        count++;
        double delta = value - (mean.sum + mean.rest);
        kahan_add(&mean, delta / count);
        kahan_add(&squares, delta * (value - (mean.sum + mean.rest)));
    }
    double variance = (squares.sum + squares.rest) / count;
    ret->value = is_root ? sqrt(variance) : variance;
    return AP_OK;
}

static enum ap_rc run_stddev(const struct window *window, struct window_result *ret, struct ap_err *err)
{
    (void)err;
    return run_variance(window, true, ret);
}

static enum ap_rc run_stdvar(const struct window *window, struct window_result *ret, struct ap_err *err)
{
    (void)err;
    return run_variance(window, false, ret);
}

/* ---- Trends ---- */

/* Least squares; the intercept is at `at_ms`. */
static void regress(const struct window *window, int64_t at_ms, double *ret_slope, double *ret_intercept)
{
    const struct promql_points *samples = window->samples;
    double first = samples->values[window->from], count = (double)window_floats(window);
    struct kahan x_sum = {0, 0}, y_sum = {0, 0}, xy_sum = {0, 0}, xx_sum = {0, 0};
    bool is_constant = true;
    for (size_t i = window->from; i < window->to; i++) {
        double x = (double)(samples->ts_ms[i] - at_ms) / 1e3, y = samples->values[i];
        if (i > window->from && y != first)
            is_constant = false;
        kahan_add(&x_sum, x);
        kahan_add(&y_sum, y);
        kahan_add(&xy_sum, x * y);
        kahan_add(&xx_sum, x * x);
    }
    if (is_constant) {
        *ret_slope = isinf(first) ? NAN : 0;
        *ret_intercept = isinf(first) ? NAN : first;
        return;
    }
    double x = x_sum.sum + x_sum.rest, y = y_sum.sum + y_sum.rest;
    double covariance = xy_sum.sum + xy_sum.rest - x * y / count;
    double variance = xx_sum.sum + xx_sum.rest - x * x / count;
    *ret_slope = covariance / variance;
    *ret_intercept = y / count - *ret_slope * x / count;
}

/* At least two floats; histograms beside them are told of. */
static bool has_trend(const struct window *window)
{
    if (window_floats(window))
        window_note_ignored(window);
    return window_floats(window) >= 2;
}

static enum ap_rc run_deriv(const struct window *window, struct window_result *ret, struct ap_err *err)
{
    (void)err;
    double intercept;
    if (has_trend(window))
        regress(window, window->samples->ts_ms[window->from], &ret->value, &intercept);
    return AP_OK;
}

static enum ap_rc run_predict_linear(const struct window *window, struct window_result *ret, struct ap_err *err)
{
    (void)err;
    double slope, intercept;
    if (!has_trend(window))
        return AP_OK;
    regress(window, window->ts_ms, &slope, &intercept);
    ret->value = slope * window->parameters[0] + intercept;
    return AP_OK;
}

/* Holt's linear smoothing: a level and a trend, each weighted with what it was before. */
static enum ap_rc run_smoothing(const struct window *window, struct window_result *ret, struct ap_err *err)
{
    double level_factor = window->parameters[0], trend_factor = window->parameters[1];
    if (level_factor <= 0 || level_factor >= 1)
        return ap_fail(err, AP_E_CONFLICT, "invalid smoothing factor. Expected: 0 < sf < 1, got: %f", level_factor);
    if (trend_factor <= 0 || trend_factor >= 1)
        return ap_fail(err, AP_E_CONFLICT, "invalid trend factor. Expected: 0 < tf < 1, got: %f", trend_factor);
    if (!has_trend(window))
        return AP_OK;
    const double *values = window->samples->values + window->from;
    double before = 0, level = values[0], trend = values[1] - values[0];
    for (size_t i = 1; i < window_floats(window); i++) {
        double scaled = level_factor * values[i];
        if (i > 1)
            trend = trend_factor * (level - before) + (1 - trend_factor) * trend;
        double next = scaled + (1 - level_factor) * (level + trend);
        before = level;
        level = next;
    }
    ret->value = level;
    return AP_OK;
}

/* ---- Changes ---- */

static enum ap_rc run_changes(const struct window *window, struct window_result *ret, struct ap_err *err)
{
    (void)err;
    size_t changes;
    if (window_count_changes(window, false, &changes))
        ret->value = (double)changes;
    return AP_OK;
}

static enum ap_rc run_resets(const struct window *window, struct window_result *ret, struct ap_err *err)
{
    (void)err;
    size_t resets;
    if (window_count_changes(window, true, &resets))
        ret->value = (double)resets;
    return AP_OK;
}

/* ---- The operator ---- */

static const struct window_function window_functions[] = {
    {"absent_over_time", run_present, NEEDS_NOTHING, false, false},
    {"avg_over_time", run_avg, NEEDS_NOTHING, false, false},
    {"changes", run_changes, NEEDS_NOTHING, false, false},
    {"count_over_time", run_count, NEEDS_NOTHING, false, false},
    {"delta", run_delta, NEEDS_NOTHING, false, false},
    {"deriv", run_deriv, NEEDS_NOTHING, false, false},
    {"double_exponential_smoothing", run_smoothing, NEEDS_NOTHING, false, false},
    {"first_over_time", run_first, NEEDS_NOTHING, true, false},
    {"idelta", run_idelta, NEEDS_NOTHING, false, false},
    {"increase", run_increase, NEEDS_DROPS, false, true},
    {"irate", run_irate, NEEDS_NOTHING, false, false},
    {"last_over_time", run_last, NEEDS_NOTHING, true, false},
    {"mad_over_time", run_mad, NEEDS_NOTHING, false, false},
    {"max_over_time", run_max, NEEDS_NOTHING, false, false},
    {"min_over_time", run_min, NEEDS_NOTHING, false, false},
    {"predict_linear", run_predict_linear, NEEDS_NOTHING, false, false},
    {"present_over_time", run_present, NEEDS_NOTHING, false, false},
    {"quantile_over_time", run_quantile, NEEDS_ORDER, false, false},
    {"rate", run_rate, NEEDS_DROPS, false, true},
    {"resets", run_resets, NEEDS_NOTHING, false, false},
    {"stddev_over_time", run_stddev, NEEDS_NOTHING, false, false},
    {"stdvar_over_time", run_stdvar, NEEDS_NOTHING, false, false},
    {"sum_over_time", run_sum, NEEDS_NOTHING, false, false},
    {"ts_of_first_over_time", run_ts_of_first, NEEDS_NOTHING, false, false},
    {"ts_of_last_over_time", run_ts_of_last, NEEDS_NOTHING, false, false},
    {"ts_of_max_over_time", run_ts_of_max, NEEDS_NOTHING, false, false},
    {"ts_of_min_over_time", run_ts_of_min, NEEDS_NOTHING, false, false},
};

static enum ap_rc window_call_open(struct operator* op, struct ap_err *err)
{
    struct window_call *call = (struct window_call *)op;
    enum ap_rc rc = operator_open_inputs(op, err);
    for (size_t i = 0; i < WINDOW_PARAMETERS_MAX && rc == AP_OK; i++) {
        if (!call->parameters[i])
            continue;
        call->parameter_values[i] = ap_arena_alloc0(&op->run->arena, op->steps.count * sizeof(double));
        rc = operator_open(call->parameters[i], err);
        if (rc == AP_OK)
            rc = operator_read_scalar(call->parameters[i], call->parameter_values[i], err);
    }
    return rc == AP_OK ? operator_take_labels(op, !call->function->is_keeping_name, err) : rc;
}

static bool ends_with(struct ap_slice text, const char *end)
{
    size_t bytes = strlen(end);
    return text.bytes >= bytes && memcmp(text.data + text.bytes - bytes, end, bytes) == 0;
}

static void note_counter(const struct window *window)
{
    static const char *const ends[] = {"_total", "_sum", "_count", "_bucket"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(ends); i++)
        if (ends_with(window->metric, ends[i]))
            return;
    if (window->metric.bytes)
        window_annotate(window, PROMQL_INFO,
                        "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: %s",
                        quoted(window->metric).text);
}

/* Positions of floats below the one before. */
static size_t find_drops(struct worker *worker, const struct promql_points *samples, const uint32_t **ret_drops)
{
    size_t count = 0;
    for (size_t i = 1; i < samples->count; i++)
        count += samples->values[i] < samples->values[i - 1];
    *ret_drops = NULL;
    if (count == 0)
        return 0;
    uint32_t *drops = worker_alloc(worker, count * sizeof(*drops));
    count = 0;
    for (size_t i = 1; i < samples->count; i++)
        if (samples->values[i] < samples->values[i - 1])
            drops[count++] = (uint32_t)i;
    *ret_drops = drops;
    return count;
}

/*
 * Replacing one float of many costs a small part of looking at all of them; where windows share too few, each is looked
 * at by itself: NULL.
 */
static struct sorted_window *find_order(struct worker *worker, const struct window_call *call,
                                        const struct promql_points *samples)
{
    enum { REPLACED_MAX = 16 };
    const struct steps *steps = &call->op.steps;
    if (samples->count == 0 || steps->count == 1)
        return NULL;
    int64_t covered_ms = samples->ts_ms[samples->count - 1] - samples->ts_ms[0];
    double replaced = (double)samples->count * (double)steps->step_ms / (double)AP_MAX(covered_ms, 1);
    if (replaced > REPLACED_MAX || call->window.is_fixed || call->window.range_ms < 4 * steps->step_ms)
        return NULL;
    struct sorted_window *sorted = worker_alloc(worker, sizeof(*sorted));
    *sorted = (struct sorted_window){.floats.keys = worker_alloc(worker, samples->count * sizeof(uint64_t))};
    return sorted;
}

/* Moves the window to where the step has it. False: there is nothing in it. */
static bool slide(struct window *window, size_t step, size_t drop_count)
{
    const struct window_call *call = window->call;
    const struct promql_points *samples = window->samples;
    window->ts_ms = step_time(&call->op.steps, step);
    window->end_ms = window_plan_end(&call->window, window->ts_ms);
    window->start_ms = window->end_ms - call->window.range_ms;
    int64_t behind_ms = window->start_ms - call->window.before_ms;
    int64_t until_ms = window->end_ms + call->window.after_ms;
    window->to = times_pass(samples->ts_ms, window->to, samples->count, until_ms);
    window->from = times_pass(samples->ts_ms, window->from, window->to, behind_ms);
    if (samples->histogram_count) {
        window->histogram_to =
            times_pass(samples->histogram_ts_ms, window->histogram_to, samples->histogram_count, until_ms);
        window->histogram_from =
            times_pass(samples->histogram_ts_ms, window->histogram_from, window->histogram_to, behind_ms);
    }
    while (window->drop_to < drop_count && window->drops[window->drop_to] < window->to)
        window->drop_to++;
    while (window->drop_from < window->drop_to && window->drops[window->drop_from] <= window->from)
        window->drop_from++;
    return window->to > window->from || window->histogram_to > window->histogram_from;
}

/* What the histograms in front of each one count for; one number more than there are histograms. */
static const uint64_t *sum_histograms(struct worker *worker, const struct promql_points *samples)
{
    uint64_t *sums = worker_alloc(worker, (samples->histogram_count + 1) * sizeof(*sums));
    sums[0] = 0;
    for (size_t i = 0; i < samples->histogram_count; i++)
        sums[i + 1] = sums[i] + float_histogram_samples(samples->histograms[i]);
    return sums;
}

static struct step_span span_of(const struct window_call *call, const struct promql_points *samples)
{
    const struct steps *steps = &call->op.steps;
    struct step_span floats = {0, 0}, histograms = {0, 0};
    if (samples->count)
        floats = steps_that_see(steps, &call->window, samples->ts_ms[0], samples->ts_ms[samples->count - 1]);
    if (samples->histogram_count == 0)
        return floats;
    histograms = steps_that_see(steps, &call->window, samples->histogram_ts_ms[0],
                                samples->histogram_ts_ms[samples->histogram_count - 1]);
    if (samples->count == 0)
        return histograms;
    return (struct step_span){AP_MIN(floats.from, histograms.from), AP_MAX(floats.to, histograms.to)};
}

static enum ap_rc window_call_read(struct operator* op, struct worker *worker, size_t index, struct column *ret_column,
                                   struct ap_err *err)
{
    struct window_call *call = (struct window_call *)op;
    struct promql_points samples;
    enum ap_rc rc = op->inputs[0]->class->read_samples(op->inputs[0], worker, index, &samples, err);
    if (rc != AP_OK)
        return rc;
    struct window window = {.call = call, .worker = worker, .samples = &samples};
    window.metric = labels_get(op->inputs[0]->labels[index], ap_slice_cstr(LABEL_METRIC_NAME));
    size_t drop_count = 0;
    if (call->function->needs == NEEDS_DROPS)
        drop_count = find_drops(worker, &samples, &window.drops);
    else if (call->function->needs == NEEDS_ORDER)
        window.sorted = find_order(worker, call, &samples);
    struct step_span span = span_of(call, &samples);
    fill_absent(ret_column->values, 0, span.from);
    fill_absent(ret_column->values, span.to, op->steps.count);
    bool has_floats = false;
    const uint64_t *histogram_sums = operator_counts(op, index) ? sum_histograms(worker, &samples) : NULL;
    for (size_t i = span.from; i < span.to && rc == AP_OK; i++) {
        struct window_result result = {absent(), NULL};
        if (slide(&window, i, drop_count)) {
            rc = worker_check(worker, window_floats(&window) + window_histograms(&window), err);
            if (rc != AP_OK)
                return rc;
            if (histogram_sums)
                operator_count(op, worker, i,
                               window_floats(&window) + histogram_sums[window.histogram_to] -
                                   histogram_sums[window.histogram_from]);
            for (size_t j = 0; j < WINDOW_PARAMETERS_MAX; j++)
                if (call->parameter_values[j])
                    window.parameters[j] = call->parameter_values[j][i];
            rc = call->function->run(&window, &result, err);
        }
        ret_column->values[i] = result.value;
        has_floats |= !is_absent(result.value);
        if (result.histogram && !ret_column->histograms)
            ret_column->histograms = worker_histograms(worker, op->steps.count);
        if (result.histogram)
            ret_column->histograms[i] = result.histogram;
    }
    if (has_floats && call->function->looks_like_counter)
        note_counter(&window);
    return rc;
}

/* Few functions have a meaning for a range that is anchored or smoothed. */
static bool check_extension(const struct window_call *call, struct ap_err *err)
{
    static const char *const names[] = {"changes", "resets", "delta", "increase", "rate"};
    bool is_smoothed = call->window.extension == EXTENSION_SMOOTHED;
    for (size_t i = is_smoothed ? 2 : 0; i < AP_ARRAY_COUNT(names); i++)
        if (call->window.extension == EXTENSION_NONE || strcmp(call->function->name, names[i]) == 0)
            return true;
    (void)ap_fail(err, AP_E_CONFLICT, "%s modifier can only be used with: %s - not with %s",
                  is_smoothed ? "smoothed" : "anchored",
                  is_smoothed ? "delta, increase, rate" : "changes, delta, increase, rate, resets",
                  call->function->name);
    return false;
}

static const struct operator_class window_call_class = {.open = window_call_open, .read = window_call_read};

struct operator*
    plan_window_call(struct run *run, const struct promql_expr *expr, const struct steps *steps, struct ap_err *err)
{
    struct window_call *call = operator_new(run, sizeof(*call), &window_call_class, expr, steps);
    for (size_t i = 0; i < AP_ARRAY_COUNT(window_functions); i++)
        if (strcmp(window_functions[i].name, expr->call.function->name) == 0)
            call->function = &window_functions[i];
    if (!call->function) {
        (void)ap_fail(err, AP_E_INTERNAL, "%s() is not known", expr->call.function->name);
        return NULL;
    }
    size_t parameter_count = 0;
    for (size_t i = 0; i < expr->call.count; i++) {
        const struct promql_expr *argument = expr->call.arguments[i];
        if (argument->type == TYPE_MATRIX) {
            struct operator* input = plan_range(run, argument, steps, &call->window, err);
            if (!input || !check_extension(call, err))
                return NULL;
            if (call->function->run != run_quantile)
                call->range_expr = argument;
            operator_set_inputs(&call->op, &input, 1);
        } else {
            if (call->function->run == run_quantile) /* told of at the quantile */
                call->range_expr = argument;
            call->parameters[parameter_count] = plan(run, argument, steps, err);
            if (!call->parameters[parameter_count++])
                return NULL;
        }
    }
    return call->function->is_keeping_name ? &call->op : plan_merge(&call->op);
}
