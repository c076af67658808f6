/*
 * The operators >/ and </: a native histogram without what is above or below a bound.
 *
 * Whole buckets stay or go. Of one that the bound cuts the share of the observations stays that is taken to be on this
 * side (float_bucket_share()), and the sum is what the middles of what stays add up to.
 */
#include <math.h>

#include "promql/float_bucket.h"

struct trimming {
    double bound;
    bool is_upper; /* what is above goes */
    bool is_custom;
    bool is_changed; /* some bucket lost something */
    double count;    /* kept */
    double sum;      /* of what is kept: each bucket's count in its middle */
};

/* What stands for the observations of a bucket, or of what is left of it. */
static double middle_of(double lower, double upper, bool is_custom)
{
    if (isinf(lower) || isinf(upper))
        return isinf(lower) && isinf(upper) ? 0 : isinf(upper) ? lower : upper > 0 ? upper / 2 : upper;
    if (is_custom)
        return (lower + upper) / 2;
    return copysign(sqrt(fabs(lower * upper)), lower < 0 || upper < 0 ? -1 : 1);
}

/* What stays of a bucket that ends nowhere and has the bound inside: it goes whole or not at all, unless it can be
 * taken to begin at 0. */
static double cut_infinite(const struct trimming *trimming, const struct float_bucket *bucket, double *ret_middle)
{
    double bound = trimming->bound;
    bool is_finite_positive = bucket->upper > 0 && !isinf(bucket->upper);
    *ret_middle = bound;
    if (!isinf(bucket->lower))
        return trimming->is_upper ? 0 : bucket->count;
    if (trimming->is_upper && bound > 0 && is_finite_positive) {
        *ret_middle = bound / 2;
        return bucket->count * bound / bucket->upper;
    }
    if (!trimming->is_upper && bound >= 0 && is_finite_positive) {
        *ret_middle = (bound + bucket->upper) / 2;
        return bucket->count * (1 - bound / bucket->upper);
    }
    return trimming->is_upper && bucket->upper <= 0 ? bucket->count : 0;
}

/* Returns what stays of the bucket. */
static double trim_bucket(struct trimming *trimming, const struct float_bucket *bucket)
{
    double bound = trimming->bound;
    bool is_kept = trimming->is_upper ? bucket->upper <= bound : bucket->lower >= bound;
    bool is_cut = trimming->is_upper ? bucket->lower < bound : bucket->upper > bound;
    double kept = is_kept ? bucket->count : 0;
    double middle = 0;
    if (is_kept) {
        middle = middle_of(bucket->lower, bucket->upper, trimming->is_custom);
    } else if (is_cut && (isinf(bucket->lower) || isinf(bucket->upper))) {
        kept = cut_infinite(trimming, bucket, &middle);
    } else if (is_cut) {
        double below = bucket->count * float_bucket_share(bucket, bound, trimming->is_custom);
        kept = trimming->is_upper ? below : bucket->count - below;
        middle = middle_of(trimming->is_upper ? bucket->lower : bound, trimming->is_upper ? bound : bucket->upper,
                           trimming->is_custom);
    }
    if (kept != 0)
        trimming->sum += middle * kept;
    trimming->count += kept;
    trimming->is_changed |= kept != bucket->count;
    return kept;
}

/* Returns whether there are any. */
static bool trim_sign(struct trimming *trimming, struct float_histogram *histogram, bool is_negative)
{
    struct float_buckets *buckets = is_negative ? &histogram->negative : &histogram->positive;
    struct float_bucket_cursor cursor = {.histogram = histogram,
                                         .part = is_negative ? FLOAT_BUCKETS_NEGATIVE : FLOAT_BUCKETS_POSITIVE,
                                         .is_whole = true};
    struct float_bucket bucket;
    bool has_any = false;
    for (uint32_t i = 0; i < buckets->count; i++) {
        (void)float_bucket_next(&cursor, &bucket);
        if (bucket.count == 0)
            continue;
        has_any = true;
        buckets->values[is_negative ? buckets->count - 1 - i : i] = trim_bucket(trimming, &bucket);
    }
    return has_any;
}

/* Evenly spread, on both sides of 0 or on the one where there are other observations. */
static void trim_zero(struct trimming *trimming, struct float_histogram *histogram, double lower, double upper)
{
    double from = trimming->is_upper ? lower : fmin(fmax(lower, trimming->bound), upper);
    double to = trimming->is_upper ? fmax(fmin(upper, trimming->bound), lower) : upper;
    double share = upper > lower ? (to - from) / (upper - lower) : 1;
    if (upper == lower)
        share = trimming->is_upper ? trimming->bound > lower : trimming->bound <= lower;
    double kept = histogram->zero_count * share;
    trimming->is_changed |= kept != histogram->zero_count;
    trimming->sum += (from + to) / 2 * kept;
    trimming->count += kept;
    histogram->zero_count = kept;
}

void float_histogram_trim(struct float_histogram *histogram, double bound, bool is_upper)
{
    struct trimming trimming = {
        .bound = bound, .is_upper = is_upper, .is_custom = float_histogram_is_custom(histogram)};
    bool has_positive = trim_sign(&trimming, histogram, false);
    bool has_negative = trim_sign(&trimming, histogram, true);
    if (histogram->zero_count > 0)
        trim_zero(&trimming, histogram, has_positive && !has_negative ? 0 : -histogram->zero_threshold,
                  has_negative && !has_positive ? 0 : histogram->zero_threshold);
    if (!trimming.is_changed)
        return;
    histogram->count = trimming.count;
    histogram->sum = trimming.sum;
    float_histogram_compact(histogram);
}
