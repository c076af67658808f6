/*
 * promql/float_histogram_sum.h - the sum or the mean of native histograms that come one by one
 *
 * Compensated like those of floats (promql/sums.h): every bucket has what rounding lost. A mean whose sum would
 * overflow becomes a running one. `is_mean` is the same in every call for one sum.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "promql/float_histogram.h"

/* {0} to begin with. Its histograms are in the arena of the calls, which is always the same one. */
struct float_histogram_sum {
    struct float_histogram *sum; /* or the mean; NULL: nothing came yet */
    struct float_histogram *rest;
    double count;
    bool is_running;
    bool is_total;  /* `sum` is the result */
    bool has_reset; /* some of them was a counter reset */
    bool has_no_reset;
};

/* False, and nothing done: custom buckets met exponential ones. Of the notes only are_bounds_reconciled is set. */
bool float_histogram_sum_add(struct float_histogram_sum *sum, const struct float_histogram *histogram, bool is_mean,
                             struct ap_arena *arena, struct float_histogram_notes *notes);
/* Adds what another has, which has some and is left alone; `sum` has some as well. */
bool float_histogram_sum_merge(struct float_histogram_sum *sum, const struct float_histogram_sum *other, bool is_mean,
                               struct ap_arena *arena, struct float_histogram_notes *notes);
/* After the last: the result, or NULL when none came. */
struct float_histogram *float_histogram_sum_total(struct float_histogram_sum *sum, bool is_mean,
                                                  struct ap_arena *arena);
