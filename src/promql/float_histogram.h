/*
 * promql/float_histogram.h - native histograms to calculate with
 *
 * Counts are doubles, and buckets are kept as index and value, in rising order of index, so that adding two of them is
 * a merge and gaps cost nothing. Buckets are as tsdb/histogram.h has them; the meaning of every operation is
 * Prometheus' (its native-histogram specification).
 *
 * Memory: all arrays are from the arena that an operation is given, and live as long as it. A histogram that is a
 * result may be changed in place; what came from a sample is shared and must be copied first (float_histogram_copy()).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/rc.h"
#include "base/slice.h"
#include "tsdb/histogram.h"

struct float_buckets {
    int32_t *indexes; /* rising */
    double *values;
    uint32_t count;
    uint32_t capacity;
};

struct float_histogram {
    int32_t schema;
    enum histogram_reset_hint reset_hint;
    double zero_threshold;
    double zero_count;
    double count;
    double sum;
    struct float_buckets positive;
    struct float_buckets negative;
    const double *bounds; /* of schema HISTOGRAM_SCHEMA_CUSTOM: upper bounds, +Inf not among them */
    uint32_t bound_count;
};

static inline bool float_histogram_is_custom(const struct float_histogram *histogram)
{
    return histogram->schema == HISTOGRAM_SCHEMA_CUSTOM;
}

/* Of a sample's bytes (histogram_encode()'s); NULL of a staleness marker, which is nothing to calculate with.
 * AP_E_CORRUPT, AP_E_NOMEM. */
ap_nodiscard enum ap_rc float_histogram_decode(struct ap_slice blob, struct ap_arena *arena,
                                               struct float_histogram **ret_histogram, struct ap_err *err);
struct float_histogram *float_histogram_copy(const struct float_histogram *histogram, struct ap_arena *arena);

/* As how many samples Prometheus counts it: by 16 bytes of the memory that it would take there. */
uint64_t float_histogram_samples(const struct float_histogram *histogram);

/* What else there is to say about a sum or difference. */
struct float_histogram_notes {
    bool is_reset_colliding;    /* one was a counter reset, the other was surely none */
    bool are_bounds_reconciled; /* custom bounds differed: those that both have were kept */
};

/*
 * histogram += other, histogram -= other. Different schemas meet at the lower resolution, different zero buckets at the
 * wider one, different custom bounds at those that both have. Afterwards the reset hint is what Prometheus makes of the
 * two. False, and nothing done: one has custom buckets and the other has exponential ones. `other` is left alone.
 */
bool float_histogram_add(struct float_histogram *histogram, const struct float_histogram *other, struct ap_arena *arena,
                         struct float_histogram_notes *notes);
bool float_histogram_subtract(struct float_histogram *histogram, const struct float_histogram *other,
                              struct ap_arena *arena, struct float_histogram_notes *notes);

/*
 * The sum, or the mean, of histograms that come one by one, compensated like those of floats (promql/sums.h): every
 * bucket has what rounding lost. A mean whose sum would overflow becomes a running one.
 */
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
bool float_histogram_sum_merge(struct float_histogram_sum *sum, const struct float_histogram_sum *other, bool is_mean,
                               struct ap_arena *arena, struct float_histogram_notes *notes);
/* After the last: the result, or NULL. */
struct float_histogram *float_histogram_sum_total(struct float_histogram_sum *sum, bool is_mean,
                                                  struct ap_arena *arena);

/* Every count and the sum. A negative factor makes it a gauge. */
void float_histogram_multiply(struct float_histogram *histogram, double factor);
void float_histogram_divide(struct float_histogram *histogram, double divisor);

/* Between two samples; of a counter that was reset in between, from 0. NULL: custom buckets and exponential ones. notes
 * are of a subtraction and of an addition. */
struct float_histogram *float_histogram_interpolate(const struct float_histogram *before, int64_t before_ms,
                                                    const struct float_histogram *after, int64_t after_ms,
                                                    int64_t at_ms, bool is_counter, struct ap_arena *arena,
                                                    struct float_histogram_notes notes[2]);

/* Drops empty buckets. */
void float_histogram_compact(struct float_histogram *histogram);
/* To a lower resolution, in place; not of custom buckets. */
void float_histogram_reduce(struct float_histogram *histogram, int32_t schema);

/* Same layout and the same numbers; NaN sums are equal. */
bool float_histogram_equal(const struct float_histogram *a, const struct float_histogram *b);
/* Whether a counter was reset between `previous` and `histogram`: some count is lower, or the layout only fits so. */
bool float_histogram_is_reset(const struct float_histogram *histogram, const struct float_histogram *previous,
                              struct ap_arena *scratch);
bool float_histogram_has_overflow(const struct float_histogram *histogram); /* some count or the sum is infinite */

/* ---- Buckets in order of their bounds: negative ones, the zero bucket if its count is above 0, positive ones ---- */

struct float_bucket {
    double lower;
    double upper;
    double count;
    bool has_lower; /* whether the bound itself belongs to it */
    bool has_upper;
    int32_t index; /* of its sign; 0 of the zero bucket */
};
struct float_bucket_cursor {
    const struct float_histogram *histogram;
    uint32_t position;
    uint8_t part; /* 0 negative, 1 zero, 2 positive, 3 end */
    /* As they are kept: the zero bucket with a count below 0 as well, and others that overlap it. Otherwise those begin
     * where it ends. */
    bool is_whole;
};
/* `struct float_bucket_cursor cursor = {.histogram = h}; while (float_bucket_next(&cursor, &bucket))`. */
bool float_bucket_next(struct float_bucket_cursor *cursor, struct float_bucket *ret_bucket);

/* ---- Figures ---- */

/* Notes that a quantile or fraction may come with; Prometheus says them as infos. */
struct float_histogram_figure_notes {
    bool is_nan_counted; /* observations of NaN are in it: the quantile fell among them, so it is NaN */
    bool is_nan_skewing; /* they are in it, and the figure is only of the others' share */
};
/* As histogram_quantile() defines it: interpolation exponential, or linear in custom and zero buckets. */
double float_histogram_quantile(double q, const struct float_histogram *histogram,
                                struct float_histogram_figure_notes *notes);
/* The share of observations between the two. */
double float_histogram_fraction(double lower, double upper, const struct float_histogram *histogram,
                                struct float_histogram_figure_notes *notes);
double float_histogram_variance(const struct float_histogram *histogram);

/* Buckets outside are dropped, the one that is cut is taken in part (operators >/ and </); count and sum are estimated
 * anew. */
void float_histogram_trim(struct float_histogram *histogram, double bound, bool is_upper);

/* "{count:3, sum:2.5, [-1,1]:1, (1,2]:2}", as Prometheus prints it. */
void float_histogram_print(const struct float_histogram *histogram, struct ap_buf *out);
/* For storing it (recording rules), as a float histogram. */
void float_histogram_encode(const struct float_histogram *histogram, struct ap_arena *scratch, struct ap_buf *out);
