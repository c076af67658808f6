#include "tsdb/histogram.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "tsdb/bitpack.h"

/* Prometheus' staleness marker: these very bits, of no other NaN. */
#define STALE_NAN_BITS UINT64_C(0x7ff0000000000002)

bool histogram_is_stale(const struct histogram *histogram)
{
    return ap_double_to_bits(histogram->sum) == STALE_NAN_BITS;
}

void histogram_set_stale(struct histogram *histogram)
{
    static const uint64_t bits = STALE_NAN_BITS;
    *histogram = (struct histogram){.is_float = histogram->is_float, .reset_hint = histogram->reset_hint};
    memcpy(&histogram->sum, &bits, sizeof(bits));
}

/* ---- Checking, as Prometheus' native histogram specification has it ---- */

static enum ap_rc check_spans(const struct histogram_buckets *buckets, const char *sign, struct ap_err *err)
{
    if (buckets->span_count > HISTOGRAM_SPANS_MAX || buckets->count > HISTOGRAM_BUCKETS_MAX)
        return ap_fail(err, AP_E_LIMIT, "a histogram may have %d spans and %d buckets of one sign", HISTOGRAM_SPANS_MAX,
                       HISTOGRAM_BUCKETS_MAX);
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
                    return ap_fail(err, AP_E_PARSE, "a bucket of the histogram has the count %g", signs[s]->values[i]);
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
            return ap_fail(err, AP_E_PARSE, "bound %zu of the histogram is not above the one before, or infinite",
                           i + 1);
    }
    int64_t last = -1;
    for (size_t i = 0; i < histogram->positive.span_count; i++)
        last += (int64_t)histogram->positive.spans[i].offset + histogram->positive.spans[i].length;
    if (last > (int64_t)histogram->custom_value_count ||
        (histogram->positive.span_count && histogram->positive.spans[0].offset < 0))
        return ap_fail(err, AP_E_PARSE, "the spans of the histogram reach beyond its %zu bounds",
                       histogram->custom_value_count);
    return AP_OK;
}

enum ap_rc histogram_check(const struct histogram *histogram, struct ap_err *err)
{
    bool is_custom = histogram->schema == HISTOGRAM_SCHEMA_CUSTOM;
    if (histogram_is_stale(histogram))
        return AP_OK; /* whatever else is there is not kept */
    if ((unsigned)histogram->reset_hint > HISTOGRAM_RESET_GAUGE)
        return ap_fail(err, AP_E_PARSE, "the histogram has the unknown reset hint %u", (unsigned)histogram->reset_hint);
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
    return rc == AP_OK ? check_sum(histogram, err) : rc;
}

/* ---- Lower resolution: two neighbours become one bucket, for each step down ---- */

static int64_t halve(int64_t index, unsigned steps)
{
    for (; steps > 0; steps--)
        index = (index + 1) >> 1; /* rounds up: bucket i holds (b^(i-1), b^i] */
    return index;
}

struct reducing {
    struct histogram_span *spans;
    size_t span_count;
    uint64_t *counts; /* one of the two */
    double *values;
    size_t count;
    int64_t last; /* index of the last bucket written */
};

/* Makes bucket `to` the last one. It is that already, or comes behind it. False: too far behind it for a span. */
static bool reduce_to(struct reducing *reducing, int64_t to)
{
    int64_t offset = reducing->count ? to - reducing->last - 1 : to;
    if (reducing->count && offset < 0)
        return true; /* the one before */
    if (offset < INT32_MIN || offset > INT32_MAX)
        return false;
    if (reducing->count && offset == 0)
        reducing->spans[reducing->span_count - 1].length++;
    else
        reducing->spans[reducing->span_count++] = (struct histogram_span){(int32_t)offset, 1};
    if (reducing->counts)
        reducing->counts[reducing->count] = 0;
    else
        reducing->values[reducing->count] = 0;
    reducing->count++;
    reducing->last = to;
    return true;
}

static enum ap_rc reduce_buckets(struct histogram_buckets *buckets, bool is_float, unsigned steps,
                                 struct ap_arena *arena, struct ap_err *err)
{
    struct reducing reducing = {.spans = ap_arena_try_alloc(arena, buckets->count * sizeof(*reducing.spans) + 1)};
    void *numbers = ap_arena_try_alloc(arena, buckets->count * sizeof(uint64_t) + 1);
    if (!reducing.spans || !numbers)
        return ap_fail(err, AP_E_NOMEM, "no memory for a histogram of %zu buckets", buckets->count);
    if (is_float)
        reducing.values = numbers;
    else
        reducing.counts = numbers;
    bool is_sound = true;
    size_t from = 0;
    int64_t index = 0;
    for (size_t i = 0; i < buckets->span_count; i++) {
        index += buckets->spans[i].offset;
        for (uint32_t j = 0; is_sound && j < buckets->spans[i].length; j++, index++, from++) {
            is_sound = reduce_to(&reducing, halve(index, steps));
            if (is_sound && is_float)
                reducing.values[reducing.count - 1] += buckets->values[from];
            else if (is_sound)
                is_sound = !__builtin_add_overflow(reducing.counts[reducing.count - 1], buckets->counts[from],
                                                   &reducing.counts[reducing.count - 1]);
        }
    }
    if (!is_sound)
        return ap_fail(err, AP_E_PARSE, "the buckets of the histogram lie too far apart, or count more than 2^64");
    *buckets = (struct histogram_buckets){
        .spans = reducing.spans,
        .span_count = reducing.span_count,
        .counts = reducing.counts,
        .values = reducing.values,
        .count = reducing.count,
    };
    return AP_OK;
}

enum ap_rc histogram_reduce_to(struct histogram *histogram, int32_t schema_max, struct ap_arena *arena,
                               struct ap_err *err)
{
    if (histogram->schema <= schema_max || histogram->schema > HISTOGRAM_SCHEMA_WIRE_MAX)
        return AP_OK;
    enum ap_rc rc = check_spans(&histogram->positive, "positive", err);
    if (rc == AP_OK)
        rc = check_spans(&histogram->negative, "negative", err);
    unsigned steps = (unsigned)(histogram->schema - schema_max);
    if (rc == AP_OK)
        rc = reduce_buckets(&histogram->positive, histogram->is_float, steps, arena, err);
    if (rc == AP_OK)
        rc = reduce_buckets(&histogram->negative, histogram->is_float, steps, arena, err);
    if (rc == AP_OK)
        histogram->schema = schema_max;
    return rc;
}

enum ap_rc histogram_reduce(struct histogram *histogram, struct ap_arena *arena, struct ap_err *err)
{
    return histogram_reduce_to(histogram, HISTOGRAM_SCHEMA_MAX, arena, err);
}

/* ---- One sample as bytes: docs/format/tsdb.md, "Histogram samples" ---- */

enum {
    FLAG_FLOAT = 1,
    HINT_SHIFT = 1,
    HINT_MASK = 3,
    FLAG_STALE = 8, /* nothing follows */
    PIECE = 64,     /* counts */
    VARINT_BYTES_MAX = 10,
};

static void add_double(struct ap_buf *out, double value)
{
    ap_buf_add_u64(out, ap_double_to_bits(value));
}

static void add_buckets(const struct histogram_buckets *buckets, bool is_float, struct ap_buf *out)
{
    ap_buf_add_varint(out, buckets->span_count);
    for (size_t i = 0; i < buckets->span_count; i++) {
        ap_buf_add_varint(out, ap_zigzag(buckets->spans[i].offset));
        ap_buf_add_varint(out, buckets->spans[i].length);
    }
    if (is_float) {
        ap_buf_add(out, buckets->values, buckets->count * sizeof(*buckets->values));
        return;
    }
    /* One look at the room that is left for all of a piece, not one for each byte: this is most of the work. */
    for (size_t i = 0; i < buckets->count;) {
        size_t end = AP_MIN(buckets->count, i + PIECE);
        char *start = ap_buf_reserve(out, (end - i) * VARINT_BYTES_MAX);
        if (!start)
            return;
        char *to = start;
        for (; i < end; i++) {
            uint64_t count = buckets->counts[i];
            for (; count >= 0x80; count >>= 7)
                *to++ = (char)(count | 0x80);
            *to++ = (char)count;
        }
        out->bytes += (size_t)(to - start);
    }
}

void histogram_encode(const struct histogram *histogram, struct ap_buf *out)
{
    bool is_stale = histogram_is_stale(histogram);
    ap_buf_add_char(out, (char)((histogram->is_float ? FLAG_FLOAT : 0) | (int)histogram->reset_hint << HINT_SHIFT |
                                (is_stale ? FLAG_STALE : 0)));
    if (is_stale)
        return;
    ap_buf_add_varint(out, ap_zigzag(histogram->schema));
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
        int64_t offset = ap_unzigzag(take_varint(decoding));
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

static enum ap_rc malformed(struct ap_err *err)
{
    return ap_fail(err, AP_E_CORRUPT, "a histogram sample is malformed");
}

enum ap_rc histogram_decode(struct ap_slice bytes, struct ap_arena *arena, struct histogram *ret_histogram,
                            struct ap_err *err)
{
    struct decoding decoding = {bytes, arena, true};
    struct histogram histogram = {0};
    uint8_t flags = 0;
    if (!bitpack_take(&decoding.rest, &flags, 1) || flags >= FLAG_STALE << 1)
        return malformed(err);
    histogram.is_float = flags & FLAG_FLOAT;
    histogram.reset_hint = (enum histogram_reset_hint)(flags >> HINT_SHIFT & HINT_MASK);
    if (flags & FLAG_STALE) {
        if (decoding.rest.bytes)
            return malformed(err);
        histogram_set_stale(&histogram);
        *ret_histogram = histogram;
        return AP_OK;
    }
    int64_t schema = ap_unzigzag(take_varint(&decoding));
    histogram.schema = (int32_t)schema;
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
    if (!decoding.is_sound || decoding.rest.bytes || schema != histogram.schema)
        return malformed(err);
    struct ap_err reason;
    if (histogram_check(&histogram, &reason) != AP_OK)
        return ap_fail(err, AP_E_CORRUPT, "a histogram sample contradicts itself: %s", reason.text);
    *ret_histogram = histogram;
    return AP_OK;
}
