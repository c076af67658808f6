#include "promql/float_layout.h"

#include "base/mem.h"
#include "promql/float_bucket.h"

/* ---- Zero buckets of different width ---- */

static double bucket_lower(const struct float_histogram *histogram, const struct float_buckets *buckets, uint32_t at)
{
    return float_bucket_bound(histogram, (int64_t)buckets->indexes[at] - 1);
}

/* Where a zero bucket so wide would really end: a bucket that it cuts, and that is not empty, belongs to it. */
static double fitting_threshold(const struct float_histogram *histogram, double threshold)
{
    const struct float_buckets *signs[] = {&histogram->positive, &histogram->negative};
    for (bool is_changed = true; is_changed;) {
        is_changed = false;
        for (size_t sign = 0; sign < 2; sign++) {
            for (uint32_t i = 0; i < signs[sign]->count && bucket_lower(histogram, signs[sign], i) < threshold; i++) {
                double upper = float_bucket_bound(histogram, signs[sign]->indexes[i]);
                if (upper <= threshold || signs[sign]->values[i] == 0)
                    continue;
                threshold = upper;
                is_changed = true;
            }
        }
    }
    return threshold;
}

/* Takes the buckets below the threshold away. Returns what was in them. */
static double drop_below(const struct float_histogram *histogram, struct float_buckets *buckets, double threshold)
{
    uint32_t dropped = 0;
    double sum = 0;
    while (dropped < buckets->count && bucket_lower(histogram, buckets, dropped) < threshold)
        sum += buckets->values[dropped++];
    buckets->indexes += dropped;
    buckets->values += dropped;
    buckets->count -= dropped;
    return sum;
}

static void widen_zero_bucket(struct float_histogram *histogram, double threshold)
{
    if (threshold <= histogram->zero_threshold)
        return;
    histogram->zero_threshold = threshold;
    histogram->zero_count += drop_below(histogram, &histogram->positive, threshold);
    histogram->zero_count += drop_below(histogram, &histogram->negative, threshold);
}

/* ---- Custom bounds ---- */

bool float_layout_has_same_bounds(const struct float_histogram *a, const struct float_histogram *b)
{
    if (a->bound_count != b->bound_count)
        return false;
    for (uint32_t i = 0; i < a->bound_count; i++)
        if (a->bounds[i] != b->bounds[i])
            return false;
    return true;
}

/* Keeps those of the bounds that are given as well. */
static void take_bounds(struct float_histogram *histogram, const double *bounds, uint32_t count)
{
    struct float_buckets *buckets = &histogram->positive;
    uint32_t had = buckets->count, to = 0;
    buckets->count = 0;
    for (uint32_t i = 0; i < had; i++) {
        double upper = float_bucket_bound(histogram, buckets->indexes[i]);
        while (to < count && bounds[to] < upper)
            to++;
        float_buckets_push(buckets, (int32_t)to, buckets->values[i]);
    }
    histogram->bounds = bounds;
    histogram->bound_count = count;
}

static void share_bounds(struct float_histogram *a, struct float_histogram *b, struct ap_arena *arena)
{
    double *bounds = ap_arena_alloc0(arena, (AP_MIN(a->bound_count, b->bound_count) + 1) * sizeof(*bounds));
    uint32_t count = 0;
    for (uint32_t i = 0, j = 0; i < a->bound_count && j < b->bound_count;) {
        double left = a->bounds[i], right = b->bounds[j];
        if (left == right)
            bounds[count++] = left;
        i += left <= right;
        j += right <= left;
    }
    take_bounds(a, bounds, count);
    take_bounds(b, bounds, count);
}

/* ---- All of it ---- */

void float_histogram_reduce(struct float_histogram *histogram, int32_t schema)
{
    if (schema >= histogram->schema)
        return;
    float_buckets_reduce(&histogram->positive, histogram->schema - schema);
    float_buckets_reduce(&histogram->negative, histogram->schema - schema);
    histogram->schema = schema;
}

void float_layout_align(struct float_histogram *a, struct float_histogram *b, struct ap_arena *arena,
                        struct float_histogram_notes *notes)
{
    if (float_histogram_is_custom(a)) {
        if (float_layout_has_same_bounds(a, b))
            return;
        share_bounds(a, b, arena);
        notes->are_bounds_reconciled = true;
        return;
    }
    while (a->zero_threshold != b->zero_threshold) {
        widen_zero_bucket(b, fitting_threshold(b, AP_MAX(a->zero_threshold, b->zero_threshold)));
        widen_zero_bucket(a, fitting_threshold(a, AP_MAX(a->zero_threshold, b->zero_threshold)));
    }
    int32_t schema = AP_MIN(a->schema, b->schema);
    float_histogram_reduce(a, schema);
    float_histogram_reduce(b, schema);
}

void float_layout_follow(struct float_histogram *histogram, const struct float_histogram *other)
{
    if (float_histogram_is_custom(other)) {
        take_bounds(histogram, other->bounds, other->bound_count);
        return;
    }
    widen_zero_bucket(histogram, other->zero_threshold);
    float_histogram_reduce(histogram, other->schema);
}

bool float_layout_is_successor(const struct float_histogram *histogram, const struct float_histogram *previous)
{
    if (float_histogram_is_custom(histogram))
        return true;
    return histogram->schema <= previous->schema && histogram->zero_threshold >= previous->zero_threshold &&
           fitting_threshold(previous, histogram->zero_threshold) == histogram->zero_threshold;
}
