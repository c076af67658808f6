#include "ingest/otlp_native.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

enum { GAP_MAX = 2 /* as many empty buckets in a row cost less than a new span */ };

struct bucket {
    int32_t index;
    uint64_t count;
};

struct side {
    struct bucket *buckets; /* owned; sorted by index, none empty */
    size_t count;
};

struct otlp_native {
    int32_t schema;
    double zero_threshold;
    uint64_t zero_count;
    uint64_t count;
    double sum;
    struct side positive;
    struct side negative;
    double *bounds; /* owned; of custom buckets */
    size_t bound_count;
};

/* ---- One sign's buckets ---- */

static void side_read(struct side *side, const struct histogram_buckets *from)
{
    int32_t index = 0;
    size_t at = 0;
    *side = (struct side){.buckets = from->count ? ap_realloc(NULL, from->count * sizeof(struct bucket)) : NULL};
    for (size_t i = 0; i < from->span_count; i++) {
        index += from->spans[i].offset;
        for (uint32_t j = 0; j < from->spans[i].length; j++, index++, at++)
            if (from->counts[at])
                side->buckets[side->count++] = (struct bucket){index, from->counts[at]};
    }
}

static void side_copy(struct side *side, const struct side *from)
{
    *side = (struct side){.count = from->count};
    if (from->count)
        side->buckets = memcpy(ap_realloc(NULL, from->count * sizeof(*from->buckets)), from->buckets,
                               from->count * sizeof(*from->buckets));
}

/* Bucket i spans (b^(i-1), b^i]; with half the resolution that is in bucket ceil(i / 2). */
static void side_halve(struct side *side, unsigned shift)
{
    size_t count = 0;
    for (size_t i = 0; i < side->count; i++) {
        int32_t index = ((side->buckets[i].index - 1) >> shift) + 1;
        if (count && side->buckets[count - 1].index == index)
            side->buckets[count - 1].count += side->buckets[i].count;
        else
            side->buckets[count++] = (struct bucket){index, side->buckets[i].count};
    }
    side->count = count;
}

/* Takes out what lies within the threshold, and returns how many that were. */
static uint64_t side_take_within(struct side *side, int32_t schema, double threshold)
{
    uint64_t taken = 0;
    size_t first = 0;
    while (first < side->count && exp2(ldexp(side->buckets[first].index, -schema)) <= threshold)
        taken += side->buckets[first++].count;
    if (first)
        memmove(side->buckets, side->buckets + first, (side->count - first) * sizeof(*side->buckets));
    side->count -= first;
    return taken;
}

static void side_add(struct side *side, const struct side *other)
{
    if (other->count == 0)
        return;
    struct bucket *merged = ap_realloc(NULL, (side->count + other->count) * sizeof(*merged));
    size_t count = 0, i = 0, j = 0;
    while (i < side->count || j < other->count) {
        bool is_ours = j == other->count || (i < side->count && side->buckets[i].index <= other->buckets[j].index);
        struct bucket bucket = is_ours ? side->buckets[i++] : other->buckets[j++];
        if (count && merged[count - 1].index == bucket.index)
            merged[count - 1].count += bucket.count;
        else
            merged[count++] = bucket;
    }
    free(side->buckets);
    *side = (struct side){merged, count};
}

static enum ap_rc side_histogram(const struct side *side, struct ap_arena *arena, struct histogram_buckets *ret_buckets,
                                 struct ap_err *err)
{
    *ret_buckets = (struct histogram_buckets){0};
    if (side->count == 0)
        return AP_OK;
    size_t counts_max = side->count * (GAP_MAX + 1);
    struct histogram_span *spans = ap_arena_try_alloc(arena, side->count * sizeof(*spans));
    uint64_t *counts = ap_arena_try_alloc(arena, counts_max * sizeof(*counts));
    if (!spans || !counts)
        return ap_fail(err, AP_E_LIMIT, "the request holds too many buckets; send it in smaller parts");
    size_t span_count = 0, count = 0;
    int64_t next_index = 0;
    for (size_t i = 0; i < side->count; i++) {
        int64_t gap = side->buckets[i].index - next_index;
        if (span_count == 0 || gap > GAP_MAX) {
            spans[span_count++] = (struct histogram_span){.offset = (int32_t)gap};
            gap = 0;
        }
        for (; gap > 0; gap--, spans[span_count - 1].length++)
            counts[count++] = 0;
        counts[count++] = side->buckets[i].count;
        spans[span_count - 1].length++;
        next_index = (int64_t)side->buckets[i].index + 1;
    }
    *ret_buckets =
        (struct histogram_buckets){.spans = spans, .span_count = span_count, .counts = counts, .count = count};
    return AP_OK;
}

/* ---- The sum ---- */

struct otlp_native *otlp_native_new(const struct histogram *histogram)
{
    AP_ASSERT(!histogram->is_float && !histogram_is_stale(histogram));
    struct otlp_native *native = ap_new0(struct otlp_native);
    native->schema = histogram->schema;
    native->zero_threshold = histogram->zero_threshold;
    native->zero_count = histogram->zero_count;
    native->count = histogram->count;
    native->sum = histogram->sum;
    side_read(&native->positive, &histogram->positive);
    side_read(&native->negative, &histogram->negative);
    native->bound_count = histogram->custom_value_count;
    if (native->bound_count)
        native->bounds = memcpy(ap_realloc(NULL, native->bound_count * sizeof(double)), histogram->custom_values,
                                native->bound_count * sizeof(double));
    return native;
}

struct otlp_native *otlp_native_copy(const struct otlp_native *native)
{
    struct otlp_native *copy = ap_new0(struct otlp_native);
    *copy = *native;
    side_copy(&copy->positive, &native->positive);
    side_copy(&copy->negative, &native->negative);
    if (native->bound_count)
        copy->bounds = memcpy(ap_realloc(NULL, native->bound_count * sizeof(double)), native->bounds,
                              native->bound_count * sizeof(double));
    return copy;
}

void otlp_native_free(struct otlp_native *native)
{
    if (!native)
        return;
    free(native->positive.buckets);
    free(native->negative.buckets);
    free(native->bounds);
    free(native);
}

size_t otlp_native_bytes(const struct otlp_native *native)
{
    return sizeof(*native) + (native->positive.count + native->negative.count) * sizeof(struct bucket) +
           native->bound_count * sizeof(double);
}

bool otlp_native_fits(const struct otlp_native *native, const struct histogram *histogram)
{
    bool is_custom = native->schema == HISTOGRAM_SCHEMA_CUSTOM;
    if (is_custom != (histogram->schema == HISTOGRAM_SCHEMA_CUSTOM))
        return false;
    return native->bound_count == histogram->custom_value_count &&
           (native->bound_count == 0 ||
            memcmp(native->bounds, histogram->custom_values, native->bound_count * sizeof(double)) == 0);
}

static void bring_to_schema(struct otlp_native *native, int32_t schema)
{
    if (native->schema == HISTOGRAM_SCHEMA_CUSTOM || native->schema <= schema)
        return;
    side_halve(&native->positive, (unsigned)(native->schema - schema));
    side_halve(&native->negative, (unsigned)(native->schema - schema));
    native->schema = schema;
}

static void widen_zero(struct otlp_native *native, double threshold)
{
    if (native->schema == HISTOGRAM_SCHEMA_CUSTOM || native->zero_threshold >= threshold)
        return;
    native->zero_count += side_take_within(&native->positive, native->schema, threshold) +
                          side_take_within(&native->negative, native->schema, threshold);
    native->zero_threshold = threshold;
}

enum ap_rc otlp_native_add(struct otlp_native *native, const struct histogram *histogram, struct ap_err *err)
{
    AP_ASSERT(otlp_native_fits(native, histogram));
    uint64_t count;
    if (__builtin_add_overflow(native->count, histogram->count, &count))
        return ap_fail(err, AP_E_LIMIT, "the histogram's running count passes 2^64");
    AP_AUTO(otlp_native) struct otlp_native *added = otlp_native_new(histogram);
    AP_AUTO(otlp_native) struct otlp_native *sum = otlp_native_copy(native);
    int32_t schema = AP_MIN(sum->schema, added->schema);
    double threshold = fmax(sum->zero_threshold, added->zero_threshold);
    bring_to_schema(sum, schema);
    bring_to_schema(added, schema);
    widen_zero(sum, threshold);
    widen_zero(added, threshold);
    side_add(&sum->positive, &added->positive);
    side_add(&sum->negative, &added->negative);
    if (sum->positive.count > HISTOGRAM_BUCKETS_MAX || sum->negative.count > HISTOGRAM_BUCKETS_MAX)
        return ap_fail(err, AP_E_LIMIT, "the histogram's running sum has more than %d buckets", HISTOGRAM_BUCKETS_MAX);
    sum->count = count;
    sum->zero_count += added->zero_count;
    sum->sum += added->sum;
    struct otlp_native before = *native;
    *native = *sum;
    *sum = before;
    return AP_OK;
}

enum ap_rc otlp_native_histogram(const struct otlp_native *native, bool is_zero, struct ap_arena *arena,
                                 struct histogram *ret_histogram, struct ap_err *err)
{
    *ret_histogram = (struct histogram){
        .schema = native->schema,
        .zero_threshold = native->zero_threshold,
        .custom_values = native->bounds,
        .custom_value_count = native->bound_count,
    };
    if (is_zero)
        return AP_OK;
    ret_histogram->zero_count = native->zero_count;
    ret_histogram->count = native->count;
    ret_histogram->sum = native->sum;
    enum ap_rc rc = side_histogram(&native->positive, arena, &ret_histogram->positive, err);
    return rc == AP_OK ? side_histogram(&native->negative, arena, &ret_histogram->negative, err) : rc;
}
