/*
 * Native histograms in windows: rates, sums, and what concerns floats and histograms in the order of their times.
 */
#include <math.h>

#include "promql/float_histogram_sum.h"
#include "promql/window.h"

void window_warn_not_counter(const struct window *window)
{
    window_annotate(window, PROMQL_WARNING, "this native histogram metric is not a counter: %s",
                    quoted(window->metric).text);
}

void window_warn_not_gauge(const struct window *window)
{
    window_annotate(window, PROMQL_WARNING, "this native histogram metric is not a gauge: %s",
                    quoted(window->metric).text);
}

void window_warn_schemas(const struct window *window)
{
    window_annotate(
        window, PROMQL_WARNING,
        "vector contains a mix of histograms with exponential and custom buckets schemas for metric name %s",
        quoted(window->metric).text);
}

static bool is_gauge(const struct float_histogram *histogram)
{
    return histogram->reset_hint == HISTOGRAM_RESET_GAUGE;
}

/* Collisions of resets do not matter here: resets are looked at one by one. */
static void note_bounds(const struct window *window, struct float_histogram_notes notes, const char *operation)
{
    notes.is_reset_colliding = false;
    window_note_sums(window, &notes, operation);
}

/* The lowest resolution of all that a rate looks at. False, and told: they cannot be put together. */
static bool check_histograms(const struct window *window, struct float_histogram *const *all, size_t count,
                             const struct float_histogram *first, bool is_counter, int32_t *ret_schema)
{
    bool is_custom = float_histogram_is_custom(first);
    *ret_schema = AP_MIN(first->schema, all[count - 1]->schema);
    if (is_counter && (is_gauge(all[0]) || is_gauge(all[count - 1])))
        window_warn_not_counter(window);
    bool is_mixed = float_histogram_is_custom(all[count - 1]) != is_custom;
    for (size_t i = 1; i + 1 < count && is_counter && !is_mixed; i++) {
        if (is_gauge(all[i]))
            window_warn_not_counter(window);
        *ret_schema = AP_MIN(*ret_schema, all[i]->schema);
        is_mixed = float_histogram_is_custom(all[i]) != is_custom;
    }
    if (is_mixed)
        window_warn_schemas(window);
    return !is_mixed;
}

struct float_histogram *window_histogram_rate(const struct window *window, bool is_counter)
{
    struct ap_arena *arena = &window->worker->arena;
    struct float_histogram *const *all = window->samples->histograms + window->histogram_from;
    size_t count = window_histograms(window);
    const struct float_histogram *previous = all[0];
    /* Before a reset right behind it, the first one's layout is of no interest. */
    struct float_histogram nothing = {
        .schema = all[1]->schema, .bounds = all[1]->bounds, .bound_count = all[1]->bound_count};
    if (is_counter && float_histogram_is_reset(all[1], all[0], arena))
        previous = &nothing;
    int32_t schema;
    if (!check_histograms(window, all, count, previous, is_counter, &schema))
        return NULL;
    struct float_histogram *result = float_histogram_copy(all[count - 1], arena);
    if (!float_histogram_is_custom(result))
        float_histogram_reduce(result, schema);
    struct float_histogram_notes notes = {0};
    if (!float_histogram_subtract(result, previous, arena, &notes)) {
        window_warn_schemas(window);
        return NULL;
    }
    note_bounds(window, notes, "subtraction");
    if (!is_counter && !(is_gauge(all[0]) && is_gauge(all[count - 1])))
        window_warn_not_gauge(window);
    for (size_t i = 1; i < count && is_counter; i++) {
        notes = (struct float_histogram_notes){0};
        if (float_histogram_is_reset(all[i], previous, arena) &&
            !float_histogram_add(result, previous, arena, &notes)) {
            window_warn_schemas(window);
            return NULL;
        }
        note_bounds(window, notes, "addition");
        previous = all[i];
    }
    result->reset_hint = HISTOGRAM_RESET_GAUGE;
    float_histogram_compact(result);
    return result;
}

/* ---- Floats and histograms as one series ---- */

struct sample {
    int64_t ts_ms;
    double value;
    struct float_histogram *histogram; /* NULL: a float */
};

/* The next one in order of time, and moves. */
static struct sample next_sample(const struct window *window, size_t *float_at, size_t *histogram_at)
{
    const struct promql_points *samples = window->samples;
    bool is_float = *histogram_at >= window->histogram_to ||
                    (*float_at < window->to && samples->ts_ms[*float_at] < samples->histogram_ts_ms[*histogram_at]);
    struct sample sample = {0};
    if (is_float) {
        sample.ts_ms = samples->ts_ms[*float_at];
        sample.value = samples->values[(*float_at)++];
    } else {
        sample.ts_ms = samples->histogram_ts_ms[*histogram_at];
        sample.histogram = samples->histograms[(*histogram_at)++];
    }
    return sample;
}

static bool is_change(const struct sample *before, const struct sample *now, bool is_counting_resets,
                      struct ap_arena *arena)
{
    if (!before->histogram != !now->histogram)
        return true;
    if (now->histogram)
        return is_counting_resets ? float_histogram_is_reset(now->histogram, before->histogram, arena)
                                  : !float_histogram_equal(now->histogram, before->histogram);
    if (is_counting_resets)
        return now->value < before->value;
    return now->value != before->value && !(isnan(now->value) && isnan(before->value));
}

bool window_count_changes(const struct window *window, bool is_counting_resets, size_t *ret_changes)
{
    const struct promql_points *samples = window->samples;
    size_t float_at = window->from, histogram_at = window->histogram_from, changes = 0;
    struct sample before = {0};
    bool has_before = false;
    if (window->call->window.extension == EXTENSION_ANCHORED) {
        /* Of all up to the start the last one counts. */
        while ((float_at < window->to && samples->ts_ms[float_at] <= window->start_ms) ||
               (histogram_at < window->histogram_to && samples->histogram_ts_ms[histogram_at] <= window->start_ms)) {
            before = next_sample(window, &float_at, &histogram_at);
            has_before = true;
        }
        if (float_at == window->to && histogram_at == window->histogram_to)
            return false;
    }
    while (float_at < window->to || histogram_at < window->histogram_to) {
        struct sample now = next_sample(window, &float_at, &histogram_at);
        changes += has_before && is_change(&before, &now, is_counting_resets, &window->worker->arena);
        before = now;
        has_before = true;
    }
    *ret_changes = changes;
    return true;
}

/* ---- The last two ---- */

static void last_two(const struct window *window, struct sample ret[2])
{
    size_t float_at = window_floats(window) > 2 ? window->to - 2 : window->from;
    size_t histogram_at = window_histograms(window) > 2 ? window->histogram_to - 2 : window->histogram_from;
    while (float_at < window->to || histogram_at < window->histogram_to) {
        ret[0] = ret[1];
        ret[1] = next_sample(window, &float_at, &histogram_at);
    }
}

/* False: they do not go together, which was told. */
static bool subtract_last(const struct window *window, const struct sample last[2], bool is_counter,
                          struct float_histogram **ret)
{
    struct ap_arena *arena = &window->worker->arena;
    struct float_histogram *result = float_histogram_copy(last[1].histogram, arena);
    if (is_counter && (is_gauge(last[0].histogram) || is_gauge(last[1].histogram)))
        window_warn_not_counter(window);
    if (!is_counter && !(is_gauge(last[0].histogram) && is_gauge(last[1].histogram)))
        window_warn_not_gauge(window);
    if (!is_counter || !float_histogram_is_reset(last[1].histogram, last[0].histogram, arena)) {
        struct float_histogram_notes notes = {0};
        if (!float_histogram_subtract(result, last[0].histogram, arena, &notes)) {
            window_warn_schemas(window);
            return false;
        }
        note_bounds(window, notes, "subtraction");
    }
    result->reset_hint = HISTOGRAM_RESET_GAUGE;
    float_histogram_compact(result);
    *ret = result;
    return true;
}

enum ap_rc window_instant_rate(const struct window *window, bool is_counter, struct window_result *ret)
{
    struct sample last[2] = {{0}, {0}};
    if (window_floats(window) + window_histograms(window) < 2)
        return AP_OK;
    last_two(window, last);
    double seconds = (double)(last[1].ts_ms - last[0].ts_ms) / 1000;
    if (seconds == 0)
        return AP_OK;
    if (!last[0].histogram != !last[1].histogram) {
        window_warn_mixed(window);
        return AP_OK;
    }
    if (last[1].histogram) {
        if (subtract_last(window, last, is_counter, &ret->histogram) && is_counter)
            float_histogram_divide(ret->histogram, seconds);
        return AP_OK;
    }
    bool is_reset = is_counter && last[1].value < last[0].value;
    ret->value = is_reset ? last[1].value : last[1].value - last[0].value;
    if (is_counter)
        ret->value /= seconds;
    return AP_OK;
}

/* ---- Sums ---- */

struct float_histogram *window_histogram_sum(const struct window *window, bool is_mean)
{
    struct ap_arena *arena = &window->worker->arena;
    struct float_histogram *const *all = window->samples->histograms + window->histogram_from;
    struct float_histogram_sum sum = {0};
    struct float_histogram_notes notes = {0};
    for (size_t i = 0; i < window_histograms(window); i++) {
        if (!float_histogram_sum_add(&sum, all[i], is_mean, arena, &notes)) {
            window_warn_schemas(window);
            return NULL;
        }
    }
    notes.is_reset_colliding = sum.has_reset && sum.has_no_reset;
    window_note_sums(window, &notes, "aggregation");
    return float_histogram_sum_total(&sum, is_mean, arena);
}
