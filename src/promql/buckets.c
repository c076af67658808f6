#include "promql/buckets.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

/* Smaller relative differences of neighbouring counts are rounding. */
#define ROUNDING 1e-12

static int compare_bounds(const void *a, const void *b)
{
    double x = ((const struct bucket *)a)->upper_bound, y = ((const struct bucket *)b)->upper_bound;
    return (x > y) - (x < y);
}

/* Sorted, each bound once. 0: the last is not +Inf. */
static size_t prepare(struct bucket *buckets, size_t count)
{
    size_t sorted = 1;
    while (sorted < count && buckets[sorted - 1].upper_bound <= buckets[sorted].upper_bound)
        sorted++;
    if (sorted < count)
        qsort(buckets, count, sizeof(*buckets), compare_bounds);
    if (count == 0 || !isinf(buckets[count - 1].upper_bound) || buckets[count - 1].upper_bound < 0)
        return 0;
    size_t kept = 0;
    for (size_t i = 1; i < count; i++) {
        if (buckets[i].upper_bound == buckets[kept].upper_bound)
            buckets[kept].count += buckets[i].count;
        else
            buckets[++kept] = buckets[i];
    }
    return kept + 1;
}

static bool is_rounding(double a, double b)
{
    double sum = fabs(a) + fabs(b), difference = fabs(a - b);
    if (isnan(a) || isnan(b))
        return isnan(a) && isnan(b);
    if (a == 0 || b == 0 || sum < DBL_MIN)
        return difference < ROUNDING * DBL_MIN;
    return difference / fmin(sum, DBL_MAX) < ROUNDING;
}

/* Counts that fall stay at what was before. */
static void make_monotonic(struct bucket *buckets, size_t count, struct forced_buckets *forced)
{
    double before = buckets[0].count;
    for (size_t i = 1; i < count; i++) {
        double now = buckets[i].count;
        if (is_rounding(before, now)) {
            buckets[i].count = before;
        } else if (now < before) {
            double bound = buckets[i].upper_bound;
            buckets[i].count = before;
            forced->lowest = forced->is_forced ? fmin(forced->lowest, bound) : bound;
            forced->highest = forced->is_forced ? fmax(forced->highest, bound) : bound;
            forced->difference = fmax(forced->difference, before - now);
            forced->is_forced = true;
        } else {
            before = now;
        }
    }
}

double bucket_quantile(double q, struct bucket *buckets, size_t count, struct forced_buckets *ret_forced)
{
    *ret_forced = (struct forced_buckets){0};
    if (isnan(q))
        return NAN;
    if (q < 0 || q > 1)
        return q < 0 ? -INFINITY : INFINITY;
    count = prepare(buckets, count);
    if (count == 0)
        return NAN;
    make_monotonic(buckets, count, ret_forced);
    double observations = buckets[count - 1].count;
    if (count < 2 || observations == 0)
        return NAN;
    double rank = q * observations;
    size_t at = 0;
    while (at < count - 1 && !(buckets[at].count >= rank))
        at++;
    if (at == count - 1)
        return buckets[count - 2].upper_bound;
    if (at == 0 && buckets[0].upper_bound <= 0)
        return buckets[0].upper_bound;
    double start = at ? buckets[at - 1].upper_bound : 0, below = at ? buckets[at - 1].count : 0;
    return start + (buckets[at].upper_bound - start) * ((rank - below) / (buckets[at].count - below));
}

/* How many observations are up to `value`. */
static double rank_of(double value, const struct bucket *buckets, size_t count)
{
    double below = 0;
    for (size_t i = 0; i < count; i++) {
        double start = i ? buckets[i - 1].upper_bound : buckets[0].upper_bound > 0 ? 0 : -INFINITY;
        double end = buckets[i].upper_bound;
        if (start >= value)
            return below;
        if (end > value) /* a bucket without an end tells nothing about where in it */
            return isinf(end)     ? below
                   : isinf(start) ? buckets[i].count
                                  : below + (buckets[i].count - below) * (value - start) / (end - start);
        below = buckets[i].count;
    }
    return buckets[count - 1].count;
}

double bucket_fraction(double lower, double upper, struct bucket *buckets, size_t count)
{
    count = prepare(buckets, count);
    if (count == 0 || buckets[count - 1].count == 0 || isnan(lower) || isnan(upper))
        return NAN;
    if (lower >= upper)
        return 0;
    double all = buckets[count - 1].count;
    return (fmin(rank_of(upper, buckets, count), all) - fmin(rank_of(lower, buckets, count), all)) / all;
}
