/*
 * promql/window.h - functions of range vectors: what they see of a series at one step
 *
 * Internal to promql/.
 */
#pragma once

#include "promql/quantile.h"
#include "promql/run.h"

enum { WINDOW_PARAMETERS_MAX = 2 };

struct window_call {
    struct operator op;
    const struct window_function *function;
    struct window_plan window;
    struct operator* parameters[WINDOW_PARAMETERS_MAX]; /* scalars */
    double *parameter_values[WINDOW_PARAMETERS_MAX];    /* for every step */
    const struct promql_expr *range_expr;               /* for positions */
};

/* The samples of one series in the window of one step: behind start_ms, up to end_ms. */
struct window {
    struct window_call *call;
    struct worker *worker;
    const struct promql_points *samples;
    size_t from, to;                     /* of the floats: from ≤ i < to */
    size_t histogram_from, histogram_to; /* of the histograms; at least one of both is there */
    int64_t start_ms, end_ms;
    int64_t ts_ms; /* of the step */
    double parameters[WINDOW_PARAMETERS_MAX];
    struct ap_slice metric;       /* the series' name, for annotations; may be empty */
    struct sorted_window *sorted; /* only where the function asks for it, and windows share most of their floats */
    /* Floats that are lower than the one before, over the whole series: those with from < position < to are the
     * window's resets. Only where the function asks for them. */
    const uint32_t *drops;
    size_t drop_from, drop_to; /* which of them have position > from and < to */
};

/* Floats of a window in order, kept from one step to the next. */
struct sorted_window {
    struct sorted_floats floats;
    size_t from, to; /* which are in it */
};

struct window_result {
    double value; /* absent() at first */
    struct float_histogram *histogram;
};

typedef enum ap_rc (*window_fn)(const struct window *window, struct window_result *ret, struct ap_err *err);

struct window_function {
    const char *name;
    window_fn run;
    enum { NEEDS_NOTHING, NEEDS_DROPS, NEEDS_ORDER } needs;
    bool is_keeping_name;
    bool looks_like_counter; /* info where the name does not */
};

static inline size_t window_floats(const struct window *window)
{
    return window->to - window->from;
}

static inline size_t window_histograms(const struct window *window)
{
    return window->histogram_to - window->histogram_from;
}

void window_annotate(const struct window *window, enum promql_annotation_kind kind, const char *format, ...)
    ap_printf(3, 4);
void window_warn_mixed(const struct window *window);
void window_note_ignored(const struct window *window);
/* "conflicting counter resets", "mismatched custom buckets" */
void window_note_sums(const struct window *window, const struct float_histogram_notes *notes, const char *operation);

/* window_extended.c */
void window_extended_rate(const struct window *window, bool is_counter, bool is_rate, struct window_result *ret);

/* window_histogram.c */
void window_warn_not_counter(const struct window *window);
void window_warn_not_gauge(const struct window *window);
void window_warn_schemas(const struct window *window);
struct float_histogram *window_histogram_rate(const struct window *window, bool is_counter);
enum ap_rc window_instant_rate(const struct window *window, bool is_counter, struct window_result *ret);
struct float_histogram *window_histogram_sum(const struct window *window, bool is_mean);
/* False: anchored, and no sample is behind the start. */
bool window_count_changes(const struct window *window, bool is_counting_resets, size_t *ret_changes);
