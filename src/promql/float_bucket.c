#include "promql/float_bucket.h"

#include <float.h>
#include <math.h>
#include <pthread.h>

#include "base/mem.h"

/* ---- Bounds ---- */

enum { FRACTIONS = 1 << HISTOGRAM_SCHEMA_MAX };

static double fractions[FRACTIONS]; /* 2^(i / 256) */

/*
 * Bounds are what clients see and what the label of count_values() is made of, so they are Prometheus' to the last bit:
 * the product of the roots of 2 that i is made of, largest first, with a square root that is one bit below the nearest
 * double.
 */
static void make_fractions(void)
{
    fractions[0] = 1;
    for (int bit = FRACTIONS / 2; bit > 0; bit /= 2) {
        double root = (double)exp2l((long double)bit / FRACTIONS);
        if (bit == FRACTIONS / 2)
            root = nextafter(root, 0);
        for (int i = 0; i < FRACTIONS; i += 2 * bit)
            fractions[i + bit] = fractions[i] * root;
    }
}

/* Upper bound of a bucket: 2^(index * 2^-schema). The last bucket of finite values ends at the largest double, the one
 * behind it at infinity. */
static double exponential_bound(int32_t schema, int64_t index)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_fractions);
    int64_t exponent = index;
    double fraction = 1;
    if (schema <= 0) {
        exponent = index * ((int64_t)1 << -schema);
    } else {
        exponent = index >> schema;
        int64_t part = index - exponent * ((int64_t)1 << schema);
        fraction = fractions[part << (HISTOGRAM_SCHEMA_MAX - schema)];
    }
    if (exponent >= 1024)
        return exponent == 1024 && fraction == 1 ? DBL_MAX : INFINITY;
    return ldexp(fraction, (int)AP_MAX(exponent, (int64_t)-1100));
}

double float_bucket_bound(const struct float_histogram *histogram, int64_t index)
{
    if (!float_histogram_is_custom(histogram))
        return exponential_bound(histogram->schema, index);
    if (index < 0)
        return -INFINITY;
    return index < (int64_t)histogram->bound_count ? histogram->bounds[index] : INFINITY;
}

/* ---- Inside a bucket ---- */

double float_bucket_share(const struct float_bucket *bucket, double value, bool is_linear)
{
    if (is_linear && isinf(bucket->lower))
        return 1;
    if (is_linear)
        return (value - bucket->lower) / (bucket->upper - bucket->lower);
    double lower = log2(fabs(bucket->lower)), upper = log2(fabs(bucket->upper)), at = log2(fabs(value));
    if (bucket->lower > 0 || bucket->upper > 0)
        return (at - lower) / (upper - lower);
    return 1 - (at - upper) / (lower - upper);
}

/* ---- In order ---- */

static struct float_bucket bucket_at(const struct float_histogram *histogram, const struct float_buckets *buckets,
                                     uint32_t at, bool is_negative)
{
    double lower = float_bucket_bound(histogram, (int64_t)buckets->indexes[at] - 1);
    double upper = float_bucket_bound(histogram, buckets->indexes[at]);
    struct float_bucket bucket = {.lower = is_negative ? -upper : lower,
                                  .upper = is_negative ? -lower : upper,
                                  .count = buckets->values[at],
                                  .index = buckets->indexes[at]};
    bool is_custom = float_histogram_is_custom(histogram);
    bucket.has_lower = is_custom ? bucket.index == 0 : bucket.lower < 0;
    bucket.has_upper = is_custom || bucket.upper > 0;
    return bucket;
}

/* Observations in what a bucket shares with the zero bucket are in the latter. */
static struct float_bucket beside_zero(struct float_bucket bucket, double zero_threshold)
{
    if (bucket.lower > 0 && bucket.lower < zero_threshold)
        bucket.lower = zero_threshold;
    else if (bucket.upper < 0 && bucket.upper > -zero_threshold)
        bucket.upper = -zero_threshold;
    return bucket;
}

static bool next_whole(struct float_bucket_cursor *cursor, struct float_bucket *ret_bucket)
{
    const struct float_histogram *histogram = cursor->histogram;
    uint32_t at = cursor->position++;
    switch (cursor->part) {
    case FLOAT_BUCKETS_NEGATIVE:
        if (at < histogram->negative.count) {
            *ret_bucket = bucket_at(histogram, &histogram->negative, histogram->negative.count - 1 - at, true);
            return true;
        }
        cursor->part = FLOAT_BUCKETS_ZERO;
        at = 0;
        /* fall through */
    case FLOAT_BUCKETS_ZERO:
        cursor->part = FLOAT_BUCKETS_POSITIVE;
        cursor->position = 0;
        if (cursor->is_whole ? histogram->zero_count != 0 : histogram->zero_count > 0) {
            *ret_bucket = (struct float_bucket){
                -histogram->zero_threshold, histogram->zero_threshold, histogram->zero_count, true, true, 0};
            return true;
        }
        at = cursor->position++;
        /* fall through */
    case FLOAT_BUCKETS_POSITIVE:
        if (at < histogram->positive.count) {
            *ret_bucket = bucket_at(histogram, &histogram->positive, at, false);
            return true;
        }
        cursor->part = FLOAT_BUCKETS_END;
        /* fall through */
    default:
        return false;
    }
}

bool float_bucket_next(struct float_bucket_cursor *cursor, struct float_bucket *ret_bucket)
{
    if (!next_whole(cursor, ret_bucket))
        return false;
    if (!cursor->is_whole)
        *ret_bucket = beside_zero(*ret_bucket, cursor->histogram->zero_threshold);
    return true;
}
