#include "tsdb/histogram.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "tsdb/bitpack.h"

/* Prometheus' staleness marker: these very bits, of no other NaN. */
#define STALE_NAN_BITS UINT64_C(0x7ff0000000000002)

static uint64_t bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

/* ---- Checking, as Prometheus' native histogram specification has it ---- */

static enum ap_rc check_spans(const struct histogram_buckets *buckets, const char *sign, struct ap_err *err)
{
    if (buckets->span_count > HISTOGRAM_SPANS_MAX || buckets->count > HISTOGRAM_BUCKETS_MAX)
        return ap_fail(err, AP_E_LIMIT, "a histogram may have %d spans and %d buckets of one sign",
                       HISTOGRAM_SPANS_MAX, HISTOGRAM_BUCKETS_MAX);
    uint64_t length = 0;
    for (size_t i = 0; i < buckets->span_count; i++) {
        if (i > 0 && buckets->spans[i].offset < 0)
            return ap_fail(err, AP_E_PARSE, "%s span %zu of the histogram has the offset %" PRId32, sign, i + 1,
                           buckets->spans[i].offset);
        length += buckets->spans[i].length;
    }
    if (length != buckets->count)
        return ap_fail(err, AP_E_PARSE, "the %s spans of the histogram cover %" PRIu64 " buckets, but there are %zu",
                       sign, length, buckets->count);
    return AP_OK;
}

static enum ap_rc check_sum(const struct histogram *histogram, struct ap_err *err)
{
    const struct histogram_buckets *signs[] = {&histogram->positive, &histogram->negative};
    if (histogram->is_float) {
        for (size_t s = 0; s < AP_ARRAY_COUNT(signs); s++)
            for (size_t i = 0; i < signs[s]->count; i++)
                if (signs[s]->values[i] < 0)
                    return ap_fail(err, AP_E_PARSE, "a bucket of the histogram has the count %g",
                                   signs[s]->values[i]);
        if (histogram->zero_value < 0 || histogram->count_value < 0)
            return ap_fail(err, AP_E_PARSE, "the histogram has a negative count");
        return AP_OK;
    }
    uint64_t sum = histogram->zero_count;
    for (size_t s = 0; s < AP_ARRAY_COUNT(signs); s++)
        for (size_t i = 0; i < signs[s]->count; i++)
            if (__builtin_add_overflow(sum, signs[s]->counts[i], &sum))
                return ap_fail(err, AP_E_PARSE, "the buckets of the histogram count more than 2^64");
    /* Observations of NaN are in the count and in no bucket. */
    bool is_sound = isnan(histogram->sum) ? sum <= histogram->count : sum == histogram->count;
    if (!is_sound)
        return ap_fail(err, AP_E_PARSE, "the buckets of the histogram count %" PRIu64 ", its count is %" PRIu64, sum,
                       histogram->count);
    return AP_OK;
}

static enum ap_rc check_custom(const struct histogram *histogram, struct ap_err *err)
{
    if (histogram->custom_value_count > HISTOGRAM_BUCKETS_MAX)
        return ap_fail(err, AP_E_LIMIT, "a histogram may have %d bounds", HISTOGRAM_BUCKETS_MAX);
    if (histogram->negative.count || histogram->negative.span_count || histogram->zero_threshold != 0 ||
        histogram->zero_count || histogram->zero_value != 0)
        return ap_fail(err, AP_E_PARSE, "a histogram with custom buckets has neither negative buckets nor a zero one");
    for (size_t i = 0; i < histogram->custom_value_count; i++) {
        double bound = histogram->custom_values[i];
        if (isnan(bound) || (isinf(bound) && bound > 0) || (i && bound <= histogram->custom_values[i - 1]))
            return ap_fail(err, AP_E_PARSE, "bound %zu of the histogram is not above the one before, or not finite",
                           i + 1);
    }
    int64_t last = -1;
    for (size_t i = 0; i < histogram->positive.span_count; i++)
        last += (int64_t)histogram->positive.spans[i].offset + histogram->positive.spans[i].length;
    if (last > (int64_t)histogram->custom_value_count || (histogram->positive.span_count &&
                                                           histogram->positive.spans[0].offset < 0))
        return ap_fail(err, AP_E_PARSE, "the spans of the histogram reach beyond its %zu bounds",
                       histogram->custom_value_count);
    return AP_OK;
}

enum ap_rc histogram_check(const struct histogram *histogram, struct ap_err *err)
{
    bool is_custom = histogram->schema == HISTOGRAM_SCHEMA_CUSTOM;
    if (!is_custom && (histogram->schema < HISTOGRAM_SCHEMA_MIN || histogram->schema > HISTOGRAM_SCHEMA_MAX))
        return ap_fail(err, AP_E_PARSE, "the histogram has the unknown schema %" PRId32, histogram->schema);
    if (isnan(histogram->zero_threshold) || histogram->zero_threshold < 0)
        return ap_fail(err, AP_E_PARSE, "the histogram's zero threshold is %g", histogram->zero_threshold);
    if (!is_custom && histogram->custom_value_count)
        return ap_fail(err, AP_E_PARSE, "only schema %d has bounds of its own", HISTOGRAM_SCHEMA_CUSTOM);
    enum ap_rc rc = check_spans(&histogram->positive, "positive", err);
    if (rc == AP_OK)
        rc = check_spans(&histogram->negative, "negative", err);
    if (rc == AP_OK && is_custom)
        rc = check_custom(histogram, err);
    if (rc != AP_OK || bits_of(histogram->sum) == STALE_NAN_BITS)
        return rc;
    return check_sum(histogram, err);
}

/* ---- Lower resolution: two neighbours become one bucket, for each step down ---- */

static int64_t halve(int64_t index, unsigned steps)
{
    for (; steps > 0; steps--)
        index = (index + 1) >> 1; /* rounds up: bucket i holds (b^(i-1), b^i] */
    return index;
}

static enum ap_rc reduce_buckets(struct histogram_buckets *buckets, bool is_float, unsigned steps,
                                 struct ap_arena *arena, struct ap_err *err)
{
    if (buckets->count == 0) {
        buckets->span_count = 0;
        return AP_OK;
    }
    struct histogram_span *spans = ap_arena_try_alloc(arena, buckets->count * sizeof(*spans));
    uint64_t *counts = ap_arena_try_alloc(arena, buckets->count * sizeof(*counts));
    double *values = ap_arena_try_alloc(arena, buckets->count * sizeof(*values));
    if (!spans || !counts || !values)
        return ap_fail(err, AP_E_NOMEM, "no memory for a histogram of %zu buckets", buckets->count);
    size_t span_count = 0;
    size_t count = 0;
    size_t from = 0;
    int64_t index = 0;
    int64_t last = 0;
    for (size_t i = 0; i < buckets->span_count; i++) {
        index += buckets->spans[i].offset;
        for (uint32_t j = 0; j < buckets->spans[i].length; j++, index++, from++) {
            int64_t to = halve(index, steps);
            if (count == 0 || to != last) {
                bool is_next = count && to == last + 1;
                if (is_next)
                    spans[span_count - 1].length++;
                else
                    spans[span_count++] =
                        (struct histogram_span){(int32_t)(count ? to - last - 1 : to), 1};
                counts[count] = 0;
                values[count++] = 0;
                last = to;
            }
            if (is_float)
                values[count - 1] += buckets->values[from];
            else
                counts[count - 1] += buckets->counts[from];
        }
    }
    buckets->spans = spans;
    buckets->span_count = span_count;
    buckets->counts = is_float ? NULL : counts;
    buckets->values = is_float ? values : NULL;
    buckets->count = count;
    return AP_OK;
}

enum ap_rc histogram_reduce(struct histogram *histogram, struct ap_arena *arena, struct ap_err *err)
{
    if (histogram->schema <= HISTOGRAM_SCHEMA_MAX || histogram->schema > HISTOGRAM_SCHEMA_WIRE_MAX)
        return AP_OK;
    enum ap_rc rc = check_spans(&histogram->positive, "positive", err);
    if (rc == AP_OK)
        rc = check_spans(&histogram->negative, "negative", err);
    unsigned steps = (unsigned)(histogram->schema - HISTOGRAM_SCHEMA_MAX);
    if (rc == AP_OK)
        rc = reduce_buckets(&histogram->positive, histogram->is_float, steps, arena, err);
    if (rc == AP_OK)
        rc = reduce_buckets(&histogram->negative, histogram->is_float, steps, arena, err);
    if (rc == AP_OK)
        histogram->schema = HISTOGRAM_SCHEMA_MAX;
    return rc;
}

/* ---- One sample as bytes: docs/format/tsdb.md, "Histogram samples" ---- */

enum { FLAG_FLOAT = 1, HINT_SHIFT = 1 };

static void add_double(struct ap_buf *out, double value)
{
    ap_buf_add_u64(out, bits_of(value));
}

static void add_buckets(const struct histogram_buckets *buckets, bool is_float, struct ap_buf *out)
{
    ap_buf_add_varint(out, buckets->span_count);
    for (size_t i = 0; i < buckets->span_count; i++) {
        ap_buf_add_varint(out, bitpack_zigzag(buckets->spans[i].offset));
        ap_buf_add_varint(out, buckets->spans[i].length);
    }
    for (size_t i = 0; i < buckets->count; i++) {
        if (is_float)
            add_double(out, buckets->values[i]);
        else
            ap_buf_add_varint(out, buckets->counts[i]);
    }
}

void histogram_encode(const struct histogram *histogram, struct ap_buf *out)
{
    ap_buf_add_char(out, (char)((histogram->is_float ? FLAG_FLOAT : 0) | (int)histogram->reset_hint << HINT_SHIFT));
    ap_buf_add_varint(out, bitpack_zigzag(histogram->schema));
    add_double(out, histogram->zero_threshold);
    add_double(out, histogram->sum);
    if (histogram->is_float) {
        add_double(out, histogram->count_value);
        add_double(out, histogram->zero_value);
    } else {
        ap_buf_add_varint(out, histogram->count);
        ap_buf_add_varint(out, histogram->zero_count);
    }
    add_buckets(&histogram->positive, histogram->is_float, out);
    add_buckets(&histogram->negative, histogram->is_float, out);
    ap_buf_add_varint(out, histogram->custom_value_count);
    for (size_t i = 0; i < histogram->custom_value_count; i++)
        add_double(out, histogram->custom_values[i]);
}

struct decoding {
    struct ap_slice rest;
    struct ap_arena *arena;
    bool is_sound;
};

static uint64_t take_varint(struct decoding *decoding)
{
    uint64_t value = 0;
    decoding->is_sound = decoding->is_sound && bitpack_take_varint(&decoding->rest, &value);
    return value;
}

static double take_double(struct decoding *decoding)
{
    double value = 0;
    decoding->is_sound = decoding->is_sound && bitpack_take(&decoding->rest, &value, sizeof(value));
    return value;
}

/* An array of `count` elements of which each takes `bytes_min` of what is left. */
static void *take_array(struct decoding *decoding, uint64_t count, size_t bytes_min, size_t element_bytes)
{
    if (!decoding->is_sound || count > decoding->rest.bytes / bytes_min) {
        decoding->is_sound = false;
        return NULL;
    }
    void *array = ap_arena_try_alloc(decoding->arena, (size_t)count * element_bytes + 1);
    decoding->is_sound = array != NULL;
    return array;
}

static void take_buckets(struct decoding *decoding, bool is_float, struct histogram_buckets *ret_buckets)
{
    uint64_t span_count = take_varint(decoding);
    struct histogram_span *spans = take_array(decoding, span_count, 2, sizeof(*spans));
    uint64_t count = 0;
    for (uint64_t i = 0; decoding->is_sound && i < span_count; i++) {
        int64_t offset = bitpack_unzigzag(take_varint(decoding));
        uint64_t length = take_varint(decoding);
        if (offset < INT32_MIN || offset > INT32_MAX || length > HISTOGRAM_BUCKETS_MAX) {
            decoding->is_sound = false;
            return;
        }
        spans[i] = (struct histogram_span){(int32_t)offset, (uint32_t)length};
        count += length;
    }
    uint64_t *counts = NULL;
    double *values = NULL;
    if (is_float)
        values = take_array(decoding, count, sizeof(double), sizeof(*values));
    else
        counts = take_array(decoding, count, 1, sizeof(*counts));
    for (uint64_t i = 0; decoding->is_sound && i < count; i++) {
        if (is_float)
            values[i] = take_double(decoding);
        else
            counts[i] = take_varint(decoding);
    }
    *ret_buckets = (struct histogram_buckets){
        .spans = spans, .span_count = (size_t)span_count, .counts = counts, .values = values, .count = (size_t)count};
}

enum ap_rc histogram_decode(struct ap_slice bytes, struct ap_arena *arena, struct histogram *ret_histogram,
                            struct ap_err *err)
{
    struct decoding decoding = {bytes, arena, true};
    struct histogram histogram = {0};
    uint8_t flags = 0;
    decoding.is_sound = bitpack_take(&decoding.rest, &flags, 1) && flags >> HINT_SHIFT <= HISTOGRAM_RESET_GAUGE;
    histogram.is_float = flags & FLAG_FLOAT;
    histogram.reset_hint = (enum histogram_reset_hint)(flags >> HINT_SHIFT);
    histogram.schema = (int32_t)bitpack_unzigzag(take_varint(&decoding));
    histogram.zero_threshold = take_double(&decoding);
    histogram.sum = take_double(&decoding);
    if (histogram.is_float) {
        histogram.count_value = take_double(&decoding);
        histogram.zero_value = take_double(&decoding);
    } else {
        histogram.count = take_varint(&decoding);
        histogram.zero_count = take_varint(&decoding);
    }
    take_buckets(&decoding, histogram.is_float, &histogram.positive);
    take_buckets(&decoding, histogram.is_float, &histogram.negative);
    uint64_t custom_count = take_varint(&decoding);
    double *custom = take_array(&decoding, custom_count, sizeof(double), sizeof(double));
    for (uint64_t i = 0; decoding.is_sound && i < custom_count; i++)
        custom[i] = take_double(&decoding);
    histogram.custom_values = custom;
    histogram.custom_value_count = (size_t)custom_count;
    if (!decoding.is_sound || decoding.rest.bytes)
        return ap_fail(err, AP_E_CORRUPT, "a histogram sample is malformed");
    *ret_histogram = histogram;
    return AP_OK;
}
