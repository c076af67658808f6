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
#include "promql/float_buckets.h"
#include "tsdb/histogram.h"

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

/* What is made of the hints of two that are added; notes->is_reset_colliding is set, never cleared. */
enum histogram_reset_hint float_histogram_join_hints(enum histogram_reset_hint a, enum histogram_reset_hint b,
                                                     struct float_histogram_notes *notes);

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

/* Buckets outside are dropped, the one that is cut is taken in part (operators >/ and </); count and sum are estimated
 * anew. */
void float_histogram_trim(struct float_histogram *histogram, double bound, bool is_upper);

/* "{count:3, sum:2.5, [-1,1]:1, (1,2]:2}", as Prometheus prints it. */
void float_histogram_print(const struct float_histogram *histogram, struct ap_buf *out);
/* For storing it (recording rules), as a float histogram. */
void float_histogram_encode(const struct float_histogram *histogram, struct ap_arena *scratch, struct ap_buf *out);
