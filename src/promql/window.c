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
    for (size_t i = window->from; i < window->to; i++)
        kahan_add(&kahan, window->samples->values[i]);
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
    for (size_t i = window->from; i < window->to; i++)
        mean_add(&mean, window->samples->values[i]);
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

/* The position of the largest or smallest float; NaN only where there is nothing else. */
static size_t extreme(const struct window *window, bool is_max, bool is_last)
{
    const double *values = window->samples->values;
    size_t best = window->from;
    for (size_t i = window->from; i < window->to; i++) {
        bool is_better = is_max ? values[i] > values[best] : values[i] < values[best];
        if (is_better || isnan(values[best]) || (is_last && values[i] == values[best]))
            best = i;
    }
    return best;
}

static enum ap_rc run_extreme(const struct window *window, bool is_max, bool is_time, struct window_result *ret)
{
    if (window_floats(window) == 0)
        return AP_OK;
    window_note_ignored(window);
    size_t best = extreme(window, is_max, is_time);
    ret->value = is_time ? (double)window->samples->ts_ms[best] / 1000 : window->samples->values[best];
    return AP_OK;
}

static enum ap_rc run_max(const struct window *window, struct window_result *ret, struct ap_err *err)
{
    (void)err;
    return run_extreme(window, true, false, ret);
}

static enum ap_rc run_min(const struct window *window, struct window_result *ret, struct ap_err *err)
{
    (void)err;
    return run_extreme(window, false, false, ret);
}

static enum ap_rc run_ts_of_max(const struct window *window, struct window_result *ret, struct ap_err *err)
{
    (void)err;
    return run_extreme(window, true, true, ret);
}

static enum ap_rc run_ts_of_min(const struct window *window, struct window_result *ret, struct ap_err *err)
{
    (void)err;
    return run_extreme(window, false, true, ret);
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

static int compare_values(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    if (isnan(x) || isnan(y))
        return isnan(y) - isnan(x); /* NaN first */
    return (x > y) - (x < y);
}

double quantile_of(double q, double *values, size_t count)
{
    if (count == 0 || isnan(q))
        return NAN;
    if (q < 0 || q > 1)
        return q < 0 ? -INFINITY : INFINITY;
    qsort(values, count, sizeof(*values), compare_values);
    double rank = q * (double)(count - 1);
    double lower = floor(rank);
    double upper = fmin((double)(count - 1), lower + 1);
    double weight = rank - lower;
    return values[(size_t)lower] * (1 - weight) + values[(size_t)upper] * weight;
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
    double *values = worker_take(window->worker, count);
    memcpy(values, window->samples->values + window->from, count * sizeof(*values));
    double median = quantile_of(0.5, values, count);
    for (size_t i = 0; i < count; i++)
        values[i] = fabs(values[i] - median);
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
    {"absent_over_time", run_present, false, false, false},
    {"avg_over_time", run_avg, false, false, false},
    {"changes", run_changes, false, false, false},
    {"count_over_time", run_count, false, false, false},
    {"delta", run_delta, false, false, false},
    {"deriv", run_deriv, false, false, false},
    {"double_exponential_smoothing", run_smoothing, false, false, false},
    {"first_over_time", run_first, false, true, false},
    {"idelta", run_idelta, false, false, false},
    {"increase", run_increase, true, false, true},
    {"irate", run_irate, false, false, false},
    {"last_over_time", run_last, false, true, false},
    {"mad_over_time", run_mad, false, false, false},
    {"max_over_time", run_max, false, false, false},
    {"min_over_time", run_min, false, false, false},
    {"predict_linear", run_predict_linear, false, false, false},
    {"present_over_time", run_present, false, false, false},
    {"quantile_over_time", run_quantile, false, false, false},
    {"rate", run_rate, true, false, true},
    {"resets", run_resets, false, false, false},
    {"stddev_over_time", run_stddev, false, false, false},
    {"stdvar_over_time", run_stdvar, false, false, false},
    {"sum_over_time", run_sum, false, false, false},
    {"ts_of_first_over_time", run_ts_of_first, false, false, false},
    {"ts_of_last_over_time", run_ts_of_last, false, false, false},
    {"ts_of_max_over_time", run_ts_of_max, false, false, false},
    {"ts_of_min_over_time", run_ts_of_min, false, false, false},
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

/* Moves the window to where the step has it. False: there is nothing in it. */
static bool slide(struct window *window, size_t step, size_t drop_count)
{
    const struct window_call *call = window->call;
    const struct promql_points *samples = window->samples;
    window->ts_ms = step_time(&call->op.steps, step);
    window->end_ms = call->window.is_fixed ? call->window.fixed_ms : window->ts_ms - call->window.offset_ms;
    window->start_ms = window->end_ms - call->window.range_ms;
    int64_t behind_ms = window->start_ms - call->window.before_ms;
    int64_t until_ms = window->end_ms + call->window.after_ms;
    while (window->to < samples->count && samples->ts_ms[window->to] <= until_ms)
        window->to++;
    while (window->from < window->to && samples->ts_ms[window->from] <= behind_ms)
        window->from++;
    while (window->histogram_to < samples->histogram_count &&
           samples->histogram_ts_ms[window->histogram_to] <= until_ms)
        window->histogram_to++;
    while (window->histogram_from < window->histogram_to &&
           samples->histogram_ts_ms[window->histogram_from] <= behind_ms)
        window->histogram_from++;
    while (window->drop_to < drop_count && window->drops[window->drop_to] < window->to)
        window->drop_to++;
    while (window->drop_from < window->drop_to && window->drops[window->drop_from] <= window->from)
        window->drop_from++;
    return window->to > window->from || window->histogram_to > window->histogram_from;
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
    size_t drop_count = call->function->needs_drops ? find_drops(worker, &samples, &window.drops) : 0;
    bool has_floats = false;
    for (size_t i = 0; i < op->steps.count && rc == AP_OK; i++) {
        struct window_result result = {absent(), NULL};
        if (slide(&window, i, drop_count)) {
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
