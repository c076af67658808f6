#include "promql/float_histogram_figures.h"

#include <math.h>

#include "base/mem.h"
#include "promql/float_bucket.h"
#include "promql/sums.h"

/* ---- Inside a bucket ---- */

static bool spans_zero(const struct float_bucket *bucket)
{
    return bucket->lower <= 0 && bucket->upper >= 0;
}

/* A zero bucket ends at 0 where there is nothing on that side; so does the first custom one, which has no lower bound.
 */
static void cut_at_zero(const struct float_histogram *histogram, struct float_bucket *bucket)
{
    if (!spans_zero(bucket))
        return;
    if (histogram->negative.count == 0 && histogram->positive.count > 0)
        bucket->lower = 0;
    else if (histogram->positive.count == 0 && histogram->negative.count > 0)
        bucket->upper = 0;
}

/* ---- Quantile ---- */

/* Fills the bucket where the rank falls, counted from the front or from the back. Returns the count up to its end. */
static double find_bucket(const struct float_histogram *histogram, double rank, bool is_backwards,
                          struct float_bucket *ret_bucket)
{
    struct float_bucket_cursor cursor = {.histogram = histogram};
    struct float_bucket bucket;
    double count = 0;
    *ret_bucket = (struct float_bucket){0};
    if (!is_backwards) {
        while (float_bucket_next(&cursor, &bucket)) {
            if (bucket.count == 0)
                continue;
            *ret_bucket = bucket;
            count += bucket.count;
            if (count >= rank)
                break;
        }
        return count;
    }
    /* The cursor goes one way only: the last buckets are at the places from its end. */
    bool has_zero = histogram->zero_count > 0;
    size_t total = (size_t)histogram->negative.count + histogram->positive.count + has_zero;
    for (size_t left = total; left > 0; left--) {
        size_t at = left - 1;
        bool is_in_negative = at < histogram->negative.count;
        size_t behind = at - histogram->negative.count;
        bool is_zero = !is_in_negative && has_zero && behind == 0;
        cursor.part = is_in_negative ? FLOAT_BUCKETS_NEGATIVE : is_zero ? FLOAT_BUCKETS_ZERO : FLOAT_BUCKETS_POSITIVE;
        cursor.position = (uint32_t)(is_in_negative ? at : is_zero ? 0 : behind - has_zero);
        (void)float_bucket_next(&cursor, &bucket);
        if (bucket.count == 0)
            continue;
        *ret_bucket = bucket;
        count += bucket.count;
        if (count >= rank)
            break;
    }
    return count;
}

/* Whether some observations are in no bucket, which those of NaN are. */
static bool has_unbucketed(const struct float_histogram *histogram)
{
    struct float_bucket_cursor cursor = {.histogram = histogram};
    struct float_bucket bucket;
    double count = 0;
    while (float_bucket_next(&cursor, &bucket))
        count += bucket.count;
    return isnan(histogram->sum) && count < histogram->count;
}

double float_histogram_quantile(double q, const struct float_histogram *histogram,
                                struct float_histogram_figure_notes *notes)
{
    if (q < 0 || q > 1)
        return q < 0 ? -INFINITY : INFINITY;
    if (histogram->count == 0 || isnan(q))
        return NAN;
    /* Observations of NaN are in no bucket, as if they were behind the last one. */
    bool has_nan = isnan(histogram->sum);
    bool is_backwards = !has_nan && q >= 0.5;
    bool is_custom = float_histogram_is_custom(histogram);
    double rank = (is_backwards ? 1 - q : q) * histogram->count;
    struct float_bucket bucket;
    double count = find_bucket(histogram, rank, is_backwards, &bucket);
    if (is_custom && isinf(bucket.lower)) {
        if (bucket.upper <= 0)
            return bucket.upper;
        bucket.lower = 0;
    } else if (is_custom && isinf(bucket.upper)) {
        return bucket.lower;
    } else if (!is_custom && bucket.lower < 0 && bucket.upper > 0) {
        cut_at_zero(histogram, &bucket);
    }
    count = fmin(count, histogram->count);
    if (count < rank) {
        notes->is_nan_counted = has_nan;
        return has_nan ? NAN : bucket.upper;
    }
    notes->is_nan_skewing = has_unbucketed(histogram);
    rank = is_backwards ? count - rank : rank - (count - bucket.count);
    double fraction = rank / bucket.count;
    if (is_custom || spans_zero(&bucket))
        return bucket.lower + (bucket.upper - bucket.lower) * fraction;
    double lower = log2(fabs(bucket.lower)), upper = log2(fabs(bucket.upper));
    return bucket.lower > 0 ? exp2(lower + (upper - lower) * fraction)
                            : -exp2(upper + (lower - upper) * (1 - fraction));
}

/* ---- Fraction ---- */

struct rank {
    double value;
    double rank;
    bool is_found;
};

static void find_rank(struct rank *rank, const struct float_bucket *bucket, double before, bool is_linear)
{
    if (rank->is_found || bucket->upper <= rank->value)
        return;
    rank->is_found = true;
    rank->rank = before;
    if (bucket->lower < rank->value)
        rank->rank += bucket->count * float_bucket_share(bucket, rank->value, is_linear);
}

double float_histogram_fraction(double lower, double upper, const struct float_histogram *histogram,
                                struct float_histogram_figure_notes *notes)
{
    if (histogram->count == 0 || isnan(lower) || isnan(upper))
        return NAN;
    if (lower >= upper)
        return 0;
    struct rank ranks[] = {{.value = lower}, {.value = upper}};
    struct float_bucket_cursor cursor = {.histogram = histogram};
    struct float_bucket bucket;
    double before = 0;
    while (float_bucket_next(&cursor, &bucket)) {
        bool is_linear = float_histogram_is_custom(histogram) || spans_zero(&bucket);
        cut_at_zero(histogram, &bucket);
        for (size_t i = 0; i < 2; i++)
            find_rank(&ranks[i], &bucket, before, is_linear);
        before += bucket.count;
    }
    bool has_nan = isnan(histogram->sum);
    notes->is_nan_skewing = has_nan && before < histogram->count;
    double count = has_nan ? fmin(before, histogram->count) : histogram->count;
    for (size_t i = 0; i < 2; i++)
        if (!ranks[i].is_found || ranks[i].rank > count)
            ranks[i].rank = count;
    return (ranks[1].rank - ranks[0].rank) / histogram->count;
}

/* ---- Variance ---- */

double float_histogram_variance(const struct float_histogram *histogram)
{
    double mean = histogram->sum / histogram->count;
    struct kahan squares = {0};
    struct float_bucket_cursor cursor = {.histogram = histogram};
    struct float_bucket bucket;
    while (float_bucket_next(&cursor, &bucket)) {
        if (bucket.count == 0)
            continue;
        double value = sqrt(bucket.upper * bucket.lower);
        if (float_histogram_is_custom(histogram))
            value = (bucket.upper + bucket.lower) / 2;
        else if (spans_zero(&bucket))
            value = 0;
        else if (bucket.upper < 0)
            value = -value;
        kahan_add(&squares, bucket.count * (value - mean) * (value - mean));
    }
    return (squares.sum + squares.rest) / histogram->count;
}
