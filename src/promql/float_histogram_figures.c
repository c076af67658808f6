/*
 * What native histograms are asked for: quantiles, shares, variance, and a histogram cut at a bound.
 *
 * Inside a bucket the observations are taken to be spread evenly on a logarithmic scale, which is what exponential
 * buckets are for; in custom buckets and the zero bucket evenly. As Prometheus' native-histogram specification has it.
 */
#include <math.h>

#include "base/mem.h"
#include "promql/float_histogram.h"
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

/* The share of a bucket that is up to the value, which is inside. */
static double share_up_to(const struct float_bucket *bucket, double value, bool is_linear)
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
        cursor.part = is_in_negative ? 0 : is_zero ? 1 : 2;
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
        rank->rank += bucket->count * share_up_to(bucket, rank->value, is_linear);
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

/* ---- Trimming ---- */

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
        double below = bucket->count * share_up_to(bucket, bound, trimming->is_custom);
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
    struct float_bucket_cursor cursor = {.histogram = histogram, .part = is_negative ? 0 : 2, .is_whole = true};
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
