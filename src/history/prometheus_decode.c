#include "history/prometheus_decode.h"

#include <string.h>

#include "base/mem.h"
#include "codec/histogram_chunk.h"
#include "codec/xor2_chunk.h"
#include "codec/xor_chunk.h"
#include "history/prometheus_chunks.h"
#include "tsdb/histogram.h"

/* Of Prometheus' reset hints in the log; they are numbered as ours are. */
enum { HINT_GAUGE = 3 };

/* ---- Floats ---- */

static enum ap_rc add_floats(uint8_t encoding, struct ap_slice data, const struct prometheus_clip *clip,
                             struct ap_arena *arena, struct history_samples *samples, struct ap_err *err)
{
    size_t count;
    int64_t *ts_ms;
    double *values;
    enum ap_rc rc = encoding == PROMETHEUS_XOR ? xor_chunk_decode(data, arena, &count, &ts_ms, &values, err)
                                               : xor2_chunk_decode(data, arena, &count, &ts_ms, &values, err);
    if (rc != AP_OK)
        return rc;
    history_samples_reserve(samples, count);
    for (size_t i = 0; i < count; i++)
        if (prometheus_clip_wants(clip, ts_ms[i]))
            history_samples_add(samples, ts_ms[i], values[i]);
    return AP_OK;
}

/* ---- Histograms ---- */

/* The last step of both ways: checks it, and adds it or counts why not. */
static void keep(struct histogram *histogram, int64_t ts_ms, struct ap_arena *arena, struct history_samples *samples,
                 struct prometheus_refusals *refusals)
{
    struct ap_err reason;
    if (histogram_is_stale(histogram))
        histogram_set_stale(histogram);
    enum ap_rc rc = histogram_reduce(histogram, arena, &reason);
    if (rc == AP_OK)
        rc = histogram_check(histogram, &reason);
    if (rc != AP_OK) {
        if (refusals->histograms++ == 0)
            refusals->first = reason;
        return;
    }
    size_t offset = samples->blobs.bytes;
    histogram_encode(histogram, &samples->blobs);
    history_samples_add_histogram(samples, ts_ms, offset);
}

_Static_assert(sizeof(struct histogram_span) == sizeof(struct histogram_chunk_span), "the same thing on two floors");

static void set_figures(const struct histogram_chunk_layout *layout, const struct histogram_chunk_sample *sample,
                        const size_t bucket_counts[2], struct histogram *histogram)
{
    *histogram = (struct histogram){
        .schema = layout->schema,
        .is_float = layout->is_float,
        .reset_hint = layout->reset == HISTOGRAM_CHUNK_GAUGE ? HISTOGRAM_RESET_GAUGE : HISTOGRAM_RESET_UNKNOWN,
        .zero_threshold = layout->zero_threshold,
        .sum = sample->sum,
        .custom_values = layout->bounds,
        .custom_value_count = layout->bound_count,
    };
    if (!sample->figures)
        return;
    const uint64_t *figures = sample->figures;
    if (layout->is_float) {
        histogram->count_value = ap_double_of_bits(figures[0]);
        histogram->zero_value = ap_double_of_bits(figures[1]);
    } else {
        histogram->count = figures[0];
        histogram->zero_count = figures[1];
    }
    figures += 2;
    struct histogram_buckets *signs[] = {&histogram->positive, &histogram->negative};
    for (int sign = 0; sign < 2; sign++) {
        signs[sign]->spans = (const struct histogram_span *)(const void *)layout->spans[sign];
        signs[sign]->span_count = layout->span_counts[sign];
        signs[sign]->count = bucket_counts[sign];
        if (layout->is_float)
            signs[sign]->values = (const double *)(const void *)figures;
        else
            signs[sign]->counts = figures;
        figures += bucket_counts[sign];
    }
}

static enum ap_rc add_histograms(bool is_float, struct ap_slice data, const struct prometheus_clip *clip,
                                 struct ap_arena *arena, struct history_samples *samples,
                                 struct prometheus_refusals *refusals, struct ap_err *err)
{
    struct histogram_chunk_reader reader;
    enum ap_rc rc = histogram_chunk_open(data, is_float, arena, &reader, err);
    size_t count_before = samples->histogram_count, bytes_before = samples->blobs.bytes;
    struct histogram_chunk_sample sample;
    for (bool is_end = false; rc == AP_OK;) {
        rc = histogram_chunk_next(&reader, &sample, &is_end, err);
        if (rc != AP_OK || is_end)
            break;
        if (!prometheus_clip_wants(clip, sample.ts_ms))
            continue;
        struct histogram histogram;
        set_figures(&reader.layout, &sample, reader.bucket_counts, &histogram);
        keep(&histogram, sample.ts_ms, arena, samples, refusals);
    }
    if (rc != AP_OK) {
        samples->histogram_count = count_before;
        samples->blobs.bytes = bytes_before;
    }
    return rc;
}

enum ap_rc prometheus_decode_chunk(uint8_t encoding, struct ap_slice data, const struct prometheus_clip *clip,
                                   struct ap_arena *arena, struct history_samples *samples,
                                   struct prometheus_refusals *refusals, struct ap_err *err)
{
    enum ap_rc rc;
    switch (encoding) {
    case PROMETHEUS_XOR:
    case PROMETHEUS_XOR2:
        rc = add_floats(encoding, data, clip, arena, samples, err);
        break;
    case PROMETHEUS_HISTOGRAM:
    case PROMETHEUS_FLOAT_HISTOGRAM:
        rc = add_histograms(encoding == PROMETHEUS_FLOAT_HISTOGRAM, data, clip, arena, samples, refusals, err);
        break;
    default:
        rc = ap_fail(err, AP_E_LIMIT, "a chunk has the encoding %u, which this program does not read", encoding);
        break;
    }
    ap_arena_recycle(arena);
    return rc;
}

/* ---- Histograms of the log ---- */

static void skip_numbers(struct byte_reader *reader, unsigned varints_each, bool is_double)
{
    uint64_t count = byte_reader_varint(reader);
    if (is_double) {
        (void)byte_reader_slice(reader, count > SIZE_MAX / 8 ? SIZE_MAX : count * 8);
        return;
    }
    for (uint64_t i = 0; i < count && !reader->is_cut; i++)
        for (unsigned j = 0; j < varints_each; j++)
            (void)byte_reader_varint(reader);
}

void prometheus_histogram_skip(struct byte_reader *reader, bool is_float, struct ap_slice *ret_raw)
{
    const uint8_t *begin = reader->next;
    (void)byte_reader_u8(reader);
    int32_t schema = (int32_t)byte_reader_zigzag(reader); /* of more bits Prometheus takes the lower ones as well */
    (void)byte_reader_u64(reader);
    for (int i = 0; i < 2; i++) { /* zero count, count */
        if (is_float)
            (void)byte_reader_u64(reader);
        else
            (void)byte_reader_varint(reader);
    }
    (void)byte_reader_u64(reader);
    for (int sign = 0; sign < 2; sign++)
        skip_numbers(reader, 2, false);
    for (int sign = 0; sign < 2; sign++)
        skip_numbers(reader, 1, is_float);
    if (schema == HISTOGRAM_SCHEMA_CUSTOM)
        skip_numbers(reader, 1, true);
    *ret_raw = reader->is_cut ? ap_slice("", 0) : ap_slice(begin, (size_t)(reader->next - begin));
}

/* An array for as many things as the reader says, each of at least one byte; NULL when there are not so many. */
static void *take_array(struct byte_reader *reader, size_t item_bytes, struct ap_arena *arena, size_t *ret_count)
{
    uint64_t count = byte_reader_varint(reader);
    void *array = NULL;
    if (count <= byte_reader_left(reader))
        array = ap_arena_try_alloc(arena, (size_t)count * item_bytes + 1);
    if (!array)
        reader->is_cut = true;
    *ret_count = array ? (size_t)count : 0;
    return array;
}

static void read_spans(struct byte_reader *reader, struct ap_arena *arena, struct histogram_buckets *buckets)
{
    struct histogram_span *spans = take_array(reader, sizeof(*spans), arena, &buckets->span_count);
    for (size_t i = 0; i < buckets->span_count; i++) {
        spans[i].offset = (int32_t)byte_reader_zigzag(reader);
        spans[i].length = (uint32_t)byte_reader_varint(reader);
    }
    buckets->spans = spans;
}

static const double *read_doubles(struct byte_reader *reader, struct ap_arena *arena, size_t *ret_count)
{
    double *doubles = take_array(reader, sizeof(*doubles), arena, ret_count);
    for (size_t i = 0; i < *ret_count; i++)
        doubles[i] = byte_reader_double(reader);
    return doubles;
}

/* Differences to the bucket before. One that falls below 0 makes a count that no check lets through. */
static void read_counts(struct byte_reader *reader, struct ap_arena *arena, struct histogram_buckets *buckets)
{
    uint64_t *counts = take_array(reader, sizeof(*counts), arena, &buckets->count);
    uint64_t count = 0;
    for (size_t i = 0; i < buckets->count; i++)
        counts[i] = count += (uint64_t)byte_reader_zigzag(reader);
    buckets->counts = counts;
}

enum ap_rc prometheus_histogram_add(struct ap_slice raw, bool is_float, int64_t ts_ms, struct ap_arena *arena,
                                    struct history_samples *samples, struct prometheus_refusals *refusals,
                                    struct ap_err *err)
{
    struct byte_reader reader = byte_reader(raw);
    struct histogram histogram = {.is_float = is_float};
    if (byte_reader_u8(&reader) == HINT_GAUGE)
        histogram.reset_hint = HISTOGRAM_RESET_GAUGE;
    histogram.schema = (int32_t)byte_reader_zigzag(&reader);
    histogram.zero_threshold = byte_reader_double(&reader);
    if (is_float) {
        histogram.zero_value = byte_reader_double(&reader);
        histogram.count_value = byte_reader_double(&reader);
    } else {
        histogram.zero_count = byte_reader_varint(&reader);
        histogram.count = byte_reader_varint(&reader);
    }
    histogram.sum = byte_reader_double(&reader);
    read_spans(&reader, arena, &histogram.positive);
    read_spans(&reader, arena, &histogram.negative);
    struct histogram_buckets *signs[] = {&histogram.positive, &histogram.negative};
    for (int sign = 0; sign < 2; sign++) {
        if (is_float)
            signs[sign]->values = read_doubles(&reader, arena, &signs[sign]->count);
        else
            read_counts(&reader, arena, signs[sign]);
    }
    if (histogram.schema == HISTOGRAM_SCHEMA_CUSTOM)
        histogram.custom_values = read_doubles(&reader, arena, &histogram.custom_value_count);
    if (!reader.is_cut)
        keep(&histogram, ts_ms, arena, samples, refusals);
    ap_arena_recycle(arena);
    return reader.is_cut ? ap_fail(err, AP_E_CORRUPT, "a histogram of the log ends too early") : AP_OK;
}
