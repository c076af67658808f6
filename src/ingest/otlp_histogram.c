#include "ingest/otlp_histogram.h"

#include <inttypes.h>

#include "base/assert.h"
#include "base/mem.h"

enum {
    GAP_MAX = 2,    /* as many empty buckets in a row cost less than a new span */
    SHIFT_MAX = 40, /* behind it all indexes are 0 or -1 */
};

/* One sign's buckets in the making. */
struct making {
    struct histogram_span *spans;
    uint64_t *counts;
    size_t span_count;
    size_t count;
    int64_t next_index; /* behind the last bucket */
};

static void add_bucket(struct making *making, int64_t index, uint64_t count)
{
    int64_t gap = index - making->next_index;
    if (making->span_count == 0 || gap > GAP_MAX) {
        making->spans[making->span_count++] = (struct histogram_span){.offset = (int32_t)gap};
        gap = 0;
    }
    struct histogram_span *span = &making->spans[making->span_count - 1];
    for (; gap > 0; gap--) {
        making->counts[making->count++] = 0;
        span->length++;
    }
    making->counts[making->count++] = count;
    span->length++;
    making->next_index = index + 1;
}

/* Buckets at offset, offset + 1 …; `shift`: 2^shift of them become one. `base` is added to the index then. */
static enum ap_rc make_buckets(const uint64_t *counts, size_t count, int64_t offset, unsigned shift, int64_t base,
                               struct ap_arena *arena, struct histogram_buckets *ret_buckets, struct ap_err *err)
{
    *ret_buckets = (struct histogram_buckets){0};
    while (count && counts[count - 1] == 0)
        count--;
    size_t first = 0;
    while (first < count && counts[first] == 0)
        first++;
    if (first == count)
        return AP_OK;
    if (((offset + (int64_t)count - 1) >> shift) + base > INT32_MAX ||
        ((offset + (int64_t)first) >> shift) + base < INT32_MIN)
        return ap_fail(err, AP_E_PARSE, "the histogram has a bucket with an index beyond 32 bits");
    /* A bucket of its own costs at most one span, or GAP_MAX empty ones. */
    size_t spans_bytes = (count - first) * sizeof(struct histogram_span);
    size_t counts_bytes = (count - first) * sizeof(uint64_t);
    struct making making = {.spans = ap_arena_try_alloc(arena, spans_bytes),
                            .counts = ap_arena_try_alloc(arena, counts_bytes)};
    if (!making.spans || !making.counts)
        return ap_fail(err, AP_E_LIMIT, "the request holds too many buckets; send it in smaller parts");
    uint64_t sum = 0;
    for (size_t i = first; i < count; i++) {
        int64_t index = (offset + (int64_t)i) >> shift;
        if (__builtin_add_overflow(sum, counts[i], &sum))
            return ap_fail(err, AP_E_PARSE, "the histogram's buckets sum up to more than 2^64");
        if (i + 1 < count && (offset + (int64_t)i + 1) >> shift == index)
            continue;
        if (sum)
            add_bucket(&making, index + base, sum);
        sum = 0;
    }
    *ret_buckets = (struct histogram_buckets){
        .spans = making.spans, .span_count = making.span_count, .counts = making.counts, .count = making.count};
    return AP_OK;
}

static enum ap_rc make_exponential(const struct otlp_point *point, struct ap_arena *arena, struct histogram *histogram,
                                   struct ap_err *err)
{
    const struct otlp_buckets *positive = &point->positive, *negative = &point->negative;
    if (point->scale < HISTOGRAM_SCHEMA_MIN)
        return ap_fail(err, AP_E_PARSE, "the histogram has the scale %" PRId32 "; %d is the smallest that can be kept",
                       point->scale, HISTOGRAM_SCHEMA_MIN);
    histogram->schema = AP_MIN(point->scale, HISTOGRAM_SCHEMA_MAX);
    histogram->zero_threshold = point->zero_threshold > 0 ? point->zero_threshold : OTLP_ZERO_THRESHOLD;
    histogram->zero_count = point->zero_count;
    unsigned shift = (unsigned)AP_MIN(point->scale - histogram->schema, SHIFT_MAX);
    enum ap_rc rc = make_buckets(positive->counts.items, positive->counts.count, positive->offset, shift, 1, arena,
                                 &histogram->positive, err);
    return rc == AP_OK ? make_buckets(negative->counts.items, negative->counts.count, negative->offset, shift, 1, arena,
                                      &histogram->negative, err)
                       : rc;
}

/* Without buckets all that is known is the count: then it is that of the one from -Inf to +Inf. */
static enum ap_rc make_custom(const struct otlp_point *point, struct ap_arena *arena, struct histogram *histogram,
                              struct ap_err *err)
{
    histogram->schema = HISTOGRAM_SCHEMA_CUSTOM;
    if (point->bucket_counts.count == 0)
        return make_buckets(&point->count, 1, 0, 0, 0, arena, &histogram->positive, err);
    histogram->custom_values = point->bounds.doubles;
    histogram->custom_value_count = point->bounds.count;
    return make_buckets(point->bucket_counts.items, point->bucket_counts.count, 0, 0, 0, arena, &histogram->positive,
                        err);
}

enum ap_rc otlp_histogram_make(enum otlp_kind kind, const struct otlp_point *point, struct ap_arena *arena,
                               struct histogram *ret_histogram, struct ap_err *err)
{
    AP_ASSERT(kind == OTLP_EXPONENTIAL || kind == OTLP_HISTOGRAM);
    *ret_histogram = (struct histogram){.count = point->count, .sum = point->has_sum ? point->sum : 0};
    if (point->flags & OTLP_FLAG_NO_RECORDED_VALUE) {
        histogram_set_stale(ret_histogram);
        return AP_OK;
    }
    enum ap_rc rc = kind == OTLP_EXPONENTIAL ? make_exponential(point, arena, ret_histogram, err)
                                             : make_custom(point, arena, ret_histogram, err);
    return rc == AP_OK ? histogram_check(ret_histogram, err) : rc;
}
