/*
 * promql/float_bucket.h - where the buckets of a native histogram begin and end
 *
 * A histogram keeps indexes (float_buckets.h); what they mean depends on its schema: bucket i of an exponential one
 * ends at 2^(i * 2^-schema), one of custom buckets at its bound i. The formula is Prometheus' (its native-histogram
 * specification), and so is which of its bounds belongs to a bucket.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "promql/float_histogram.h"

/* A positive bucket's upper bound, inclusive, and at once the lower one of the bucket behind it. Any index: before the
 * first custom bound it is -Inf, behind the last one +Inf. */
double float_bucket_bound(const struct float_histogram *histogram, int64_t index);

/* One bucket on the axis of values, whatever its sign. */
struct float_bucket {
    double lower;
    double upper;
    double count;
    bool has_lower; /* whether the bound itself belongs to it */
    bool has_upper;
    int32_t index; /* of its sign; 0 of the zero bucket */
};

/*
 * The share, 0 to 1, of a bucket's observations that are taken to be up to `value`, which is inside: spread evenly, or
 * not linear, evenly on a logarithmic scale, which is what exponential buckets are for.
 */
double float_bucket_share(const struct float_bucket *bucket, double value, bool is_linear);

/*
 * All buckets in order of their bounds: negative ones, the zero bucket if its count is above 0, positive ones.
 *
 *     struct float_bucket_cursor cursor = {.histogram = h};
 *     while (float_bucket_next(&cursor, &bucket)) …
 */
enum { FLOAT_BUCKETS_NEGATIVE, FLOAT_BUCKETS_ZERO, FLOAT_BUCKETS_POSITIVE, FLOAT_BUCKETS_END };
struct float_bucket_cursor {
    const struct float_histogram *histogram; /* lent */
    uint32_t position;                       /* in its part */
    uint8_t part;                            /* FLOAT_BUCKETS_… */
    /* As they are kept: the zero bucket with a count below 0 as well, and others that overlap it. Otherwise those begin
     * where it ends. */
    bool is_whole;
};
bool float_bucket_next(struct float_bucket_cursor *cursor, struct float_bucket *ret_bucket);
