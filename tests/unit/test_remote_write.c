/* The three decoders of metrics: remote write 1.0 and 2.0, and text. From bytes to a batch; no HTTP, no store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "codec/protobuf.h"
#include "ingest/metrics_body.h"
#include "ingest/metrics_import.h"
#include "ingest/remote_write.h"
#include "ingest/remote_write2.h"
#include "tsdb/histogram.h"

enum { SEED = 42 };
#define TS        INT64_C(1795435200000)
#define LIT(text) ap_slice((text), sizeof(text) - 1)

static int setup(void **state)
{
    *state = metrics_body_new(SEED, true);
    return 0;
}

static int teardown(void **state)
{
    metrics_body_free(*state);
    return 0;
}

/* ---- Writing messages ---- */

static void add_message(struct ap_buf *out, uint32_t field, struct ap_buf *clear_message)
{
    protobuf_add_bytes(out, field, ap_buf_slice(clear_message));
    ap_buf_clear(clear_message);
}

static void add_label(struct ap_buf *series, const char *name, const char *value)
{
    struct ap_buf label = {0};
    protobuf_add_text(&label, 1, name);
    protobuf_add_text(&label, 2, value);
    add_message(series, 1, &label);
}

static void add_sample(struct ap_buf *series, double value, int64_t ts_ms)
{
    struct ap_buf sample = {0};
    if (ap_double_to_bits(value)) /* proto3 leaves out what is 0 */
        protobuf_add_double(&sample, 1, value);
    protobuf_add_varint(&sample, 2, (uint64_t)ts_ms);
    add_message(series, 2, &sample);
}

static void add_deltas(struct ap_buf *out, uint32_t field, const int64_t *deltas, size_t count)
{
    struct ap_buf packed = {0};
    for (size_t i = 0; i < count; i++)
        ap_buf_add_varint(&packed, ap_zigzag(deltas[i]));
    add_message(out, field, &packed);
}

static void add_doubles(struct ap_buf *out, uint32_t field, const double *values, size_t count)
{
    struct ap_buf packed = {0};
    for (size_t i = 0; i < count; i++)
        ap_buf_add_u64(&packed, ap_double_to_bits(values[i]));
    add_message(out, field, &packed);
}

static void add_span(struct ap_buf *out, uint32_t field, int32_t offset, uint32_t length)
{
    struct ap_buf span = {0};
    protobuf_add_sint(&span, 1, offset);
    protobuf_add_varint(&span, 2, length);
    add_message(out, field, &span);
}

/* ---- Asking ---- */

/* A copy of exactly its size: the address sanitizer sees a read past its end. free() the data. */
static struct ap_slice exact(struct ap_slice bytes)
{
    char *copy = malloc(bytes.bytes ? bytes.bytes : 1);
    assert_non_null(copy);
    if (bytes.bytes)
        memcpy(copy, bytes.data, bytes.bytes);
    return ap_slice(copy, bytes.bytes);
}

typedef enum ap_rc (*decode_fn)(struct metrics_body *body, struct ap_slice message, struct ap_err *err);

static void decode(struct metrics_body *body, decode_fn decoder, const struct ap_buf *message)
{
    struct ap_err err;
    metrics_body_reset(body);
    if (decoder(body, ap_buf_slice(message), &err) != AP_OK)
        fail_msg("%s", err.text);
}

static void assert_labels(const struct batch_series *series, const char *want)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    struct ap_err err;
    labels_format(series->labels, &text);
    if (!ap_slice_equal_cstr(ap_buf_slice(&text), want))
        fail_msg("labels are %.*s, wanted %s", AP_SLICE_ARG(ap_buf_slice(&text)), want);
    if (labels_check(series->labels, &err) != AP_OK)
        fail_msg("%s: %s", want, err.text);
    assert_true(labels_hash_equal(series->hash, labels_hash_of(SEED, series->labels)));
}

static void assert_sample(const struct batch *batch, size_t index, double value, int64_t ts_ms)
{
    assert_true(index < batch->sample_count);
    assert_memory_equal(&batch->values[index], &value, sizeof(value));
    assert_int_equal(batch->ts_ms[index], ts_ms);
}

/* ---- 1.0 ---- */

static void test_labels_stay_where_they_are(void **state)
{
    struct metrics_body *body = *state;
    AP_AUTO_BUF struct ap_buf message = {0};
    double stale;
    memcpy(&stale, &(uint64_t){UINT64_C(0x7ff0000000000002)}, sizeof(stale));
    for (int i = 0; i < 3; i++) {
        struct ap_buf series = {0};
        char value[300];
        snprintf(value, sizeof(value), "%0*d", i * 140 + 1, i); /* lengths of one and two bytes */
        add_label(&series, "__name__", "up");
        add_label(&series, "job", value);
        add_sample(&series, i, TS);
        if (i == 1)
            add_sample(&series, stale, TS + 1);
        add_message(&message, 1, &series);
    }
    decode(body, remote_write_decode, &message);
    const struct batch *batch = &body->batch;
    assert_int_equal(batch->series_count, 3);
    assert_int_equal(batch->sample_count, 4);
    assert_labels(&batch->series[0], "up{job=\"0\"}");
    for (size_t i = 0; i < 3; i++) {
        struct ap_slice labels = batch->series[i].labels;
        assert_true(labels.data > message.data && labels.data + labels.bytes < message.data + message.bytes);
        assert_true(labels_hash_equal(batch->series[i].hash, labels_hash_of(SEED, labels)));
    }
    assert_sample(batch, 0, 0, TS);
    assert_sample(batch, 1, 1, TS);
    assert_sample(batch, 2, stale, TS + 1);
    assert_int_equal(batch->series[1].sample_first, 1);
    assert_int_equal(batch->series[1].sample_count, 2);
    assert_int_equal(batch->series[2].sample_first, 3);
    assert_int_equal(body->samples_refused, 0);
}

/* What no sender is known to write, and the format allows. */
static void test_unusual_order(void **state)
{
    struct metrics_body *body = *state;
    AP_AUTO_BUF struct ap_buf message = {0};
    struct ap_buf series = {0};
    struct ap_buf sample = {0};
    protobuf_add_varint(&message, 2, 7); /* a field of Cortex's */
    protobuf_add_text(&series, 99, "unknown");
    add_sample(&series, 1, TS);
    add_label(&series, "__name__", "up");
    protobuf_add_varint(&sample, 2, (uint64_t)TS + 1);
    protobuf_add_text(&sample, 9, "unknown");
    protobuf_add_double(&sample, 1, 2);
    add_message(&series, 2, &sample);
    add_label(&series, "job", "x");
    protobuf_add_bytes(&series, 2, LIT("")); /* 0 at 0 */
    add_sample(&series, 3, -5);
    add_message(&message, 1, &series);
    decode(body, remote_write_decode, &message);
    assert_int_equal(body->batch.series_count, 1);
    assert_labels(&body->batch.series[0], "up{job=\"x\"}");
    assert_sample(&body->batch, 0, 1, TS);
    assert_sample(&body->batch, 1, 2, TS + 1);
    assert_sample(&body->batch, 2, 0, 0);
    assert_sample(&body->batch, 3, 3, -5);
    assert_int_equal(body->batch.series[0].sample_count, 4);
}

static void test_series_without_name_or_samples(void **state)
{
    struct metrics_body *body = *state;
    AP_AUTO_BUF struct ap_buf message = {0};
    struct ap_buf series = {0};
    add_label(&series, "job", "a");
    add_sample(&series, 1, TS);
    add_sample(&series, 2, TS + 1);
    add_message(&message, 1, &series);
    add_label(&series, "__name__", "");
    add_label(&series, "job", "a");
    add_sample(&series, 1, TS);
    add_message(&message, 1, &series);
    add_label(&series, "__name__", "no_samples");
    add_message(&message, 1, &series);
    add_sample(&series, 1, TS); /* no labels at all */
    add_message(&message, 1, &series);
    add_label(&series, "A", "sorts before the name");
    add_label(&series, "__name__", "up");
    add_sample(&series, 4, TS);
    add_message(&message, 1, &series);
    decode(body, remote_write_decode, &message);
    assert_int_equal(body->batch.series_count, 1);
    assert_labels(&body->batch.series[0], "up{A=\"sorts before the name\"}");
    assert_int_equal(body->batch.series[0].sample_first, 0);
    assert_sample(&body->batch, 0, 4, TS);
    assert_int_equal(body->batch.sample_count, 1);
    assert_int_equal(body->samples_refused, 4);
    assert_string_equal(body->reason, "a series has no metric name (label __name__)");
    metrics_body_reset(body);
    assert_int_equal(body->samples_refused, 0);
    assert_string_equal(body->reason, "");
}

/* An integer histogram with 2, 3 in positive buckets 1 and 2, 1 below zero, 1 at zero. */
static void add_histogram(struct ap_buf *out, uint32_t field, int32_t schema, uint64_t count)
{
    struct ap_buf histogram = {0};
    protobuf_add_varint(&histogram, 1, count);
    protobuf_add_double(&histogram, 3, 12.5);
    protobuf_add_sint(&histogram, 4, schema);
    protobuf_add_double(&histogram, 5, 0.001);
    protobuf_add_varint(&histogram, 6, 1);
    add_span(&histogram, 8, -2, 1);
    add_deltas(&histogram, 9, (const int64_t[]){1}, 1);
    add_span(&histogram, 11, 1, 2);
    add_deltas(&histogram, 12, (const int64_t[]){2, 1}, 2);
    protobuf_add_varint(&histogram, 14, HISTOGRAM_RESET_NO);
    protobuf_add_varint(&histogram, 15, (uint64_t)TS);
    add_message(out, field, &histogram);
}

static struct histogram histogram_at(const struct batch *batch, size_t index, struct ap_arena *arena)
{
    struct histogram histogram;
    struct ap_err err;
    assert_true(index < batch->histogram_count);
    if (histogram_decode(batch->histograms[index].blob, arena, &histogram, &err) != AP_OK)
        fail_msg("%s", err.text);
    return histogram;
}

static void test_histograms(void **state)
{
    struct metrics_body *body = *state;
    AP_AUTO_ARENA struct ap_arena arena = {0};
    AP_AUTO_BUF struct ap_buf message = {0};
    struct ap_buf series = {0};
    struct ap_buf floats = {0};
    struct ap_buf custom = {0};
    add_label(&series, "__name__", "latency");
    add_histogram(&series, 4, 3, 7);
    protobuf_add_double(&floats, 2, 5.5);
    protobuf_add_double(&floats, 3, 1);
    protobuf_add_double(&floats, 7, 0.5);
    add_span(&floats, 11, 0, 1);
    add_span(&floats, 11, 3, 1);
    add_doubles(&floats, 13, (const double[]){2, 3}, 2);
    protobuf_add_varint(&floats, 15, (uint64_t)TS + 1);
    add_message(&series, 4, &floats);
    protobuf_add_varint(&custom, 1, 3);
    protobuf_add_sint(&custom, 4, HISTOGRAM_SCHEMA_CUSTOM);
    add_span(&custom, 11, 0, 2);
    protobuf_add_sint(&custom, 12, 1); /* not packed, as before proto3 */
    protobuf_add_sint(&custom, 12, 1);
    add_doubles(&custom, 16, (const double[]){0.5, 1}, 2);
    protobuf_add_varint(&custom, 15, (uint64_t)TS + 2);
    add_message(&series, 4, &custom);
    add_message(&message, 1, &series);
    decode(body, remote_write_decode, &message);
    const struct batch *batch = &body->batch;
    assert_int_equal(batch->series_count, 1);
    assert_int_equal(batch->series[0].histogram_count, 3);
    assert_int_equal(batch->series[0].sample_count, 0);

    struct histogram histogram = histogram_at(batch, 0, &arena);
    assert_int_equal(batch->histograms[0].ts_ms, TS);
    assert_int_equal(histogram.schema, 3);
    assert_int_equal(histogram.count, 7);
    assert_int_equal(histogram.zero_count, 1);
    assert_int_equal(histogram.reset_hint, HISTOGRAM_RESET_NO);
    assert_int_equal(histogram.positive.count, 2);
    assert_int_equal(histogram.positive.spans[0].offset, 1);
    assert_int_equal(histogram.positive.counts[0], 2);
    assert_int_equal(histogram.positive.counts[1], 3);
    assert_int_equal(histogram.negative.spans[0].offset, -2);
    assert_int_equal(histogram.negative.counts[0], 1);

    histogram = histogram_at(batch, 1, &arena);
    assert_true(histogram.is_float && histogram.count_value == 5.5 && histogram.zero_value == 0.5);
    assert_int_equal(histogram.positive.span_count, 2);
    assert_true(histogram.positive.values[1] == 3);

    histogram = histogram_at(batch, 2, &arena);
    assert_int_equal(histogram.schema, HISTOGRAM_SCHEMA_CUSTOM);
    assert_int_equal(histogram.positive.counts[1], 2);
    assert_int_equal(histogram.custom_value_count, 2);
    assert_true(histogram.custom_values[0] == 0.5);
}

static void test_histograms_reduced_and_refused(void **state)
{
    struct metrics_body *body = *state;
    AP_AUTO_ARENA struct ap_arena arena = {0};
    AP_AUTO_BUF struct ap_buf message = {0};
    struct ap_buf series = {0};
    struct ap_buf negative = {0};
    add_label(&series, "__name__", "latency");
    add_histogram(&series, 4, 10, 7); /* becomes schema 8 */
    add_histogram(&series, 4, 3, 8);  /* the buckets count 7 */
    add_histogram(&series, 4, 53, 7); /* no such schema */
    add_histogram(&series, 4, -5, 7);
    protobuf_add_varint(&negative, 1, 0);
    add_span(&negative, 11, 0, 2);
    add_deltas(&negative, 12, (const int64_t[]){1, -2}, 2);
    add_message(&series, 4, &negative);
    add_sample(&series, 1, TS);
    add_message(&message, 1, &series);
    decode(body, remote_write_decode, &message);
    assert_int_equal(body->batch.histogram_count, 1);
    assert_int_equal(body->histograms_refused, 4);
    assert_int_equal(body->batch.sample_count, 1);
    assert_non_null(strstr(body->reason, "count 7"));
    struct histogram histogram = histogram_at(&body->batch, 0, &arena);
    assert_int_equal(histogram.schema, 8);
    assert_int_equal(histogram.count, 7);
}

static void add_exemplar(struct ap_buf *series, const char *name, const char *value, double number)
{
    struct ap_buf exemplar = {0};
    if (name)
        add_label(&exemplar, name, value);
    protobuf_add_double(&exemplar, 2, number);
    protobuf_add_varint(&exemplar, 3, (uint64_t)TS);
    add_message(series, 3, &exemplar);
}

static void test_exemplars(void **state)
{
    struct metrics_body *body = *state;
    AP_AUTO_BUF struct ap_buf message = {0};
    struct ap_buf series = {0};
    char longest[130];
    memset(longest, 'x', sizeof(longest));
    longest[129] = '\0';
    add_label(&series, "__name__", "a");
    add_sample(&series, 1, TS);
    add_exemplar(&series, "trace_id", "a1b2", 0.5);
    add_exemplar(&series, NULL, NULL, 0.6);
    add_exemplar(&series, "t", longest, 0.7);     /* 130 characters */
    add_exemplar(&series, "t", longest + 2, 0.8); /* 128 */
    add_exemplar(&series, "t", "\xff", 0.9);      /* not UTF-8 */
    add_message(&message, 1, &series);
    decode(body, remote_write_decode, &message);
    const struct batch *batch = &body->batch;
    assert_int_equal(batch->exemplar_count, 3);
    assert_int_equal(batch->series[0].exemplar_count, 3);
    assert_int_equal(body->exemplars_refused, 2);
    assert_non_null(strstr(body->exemplar_reason, "130 characters"));
    assert_string_equal(body->reason, "");
    assert_true(batch->exemplars[0].value == 0.5 && batch->exemplars[0].ts_ms == TS);
    assert_true(ap_slice_equal_cstr(labels_get(batch->exemplars[0].labels, LIT("trace_id")), "a1b2"));
    assert_int_equal(batch->exemplars[1].labels.bytes, 0);
}

static void test_metadata(void **state)
{
    struct metrics_body *body = *state;
    AP_AUTO_BUF struct ap_buf message = {0};
    struct ap_buf metadata = {0};
    protobuf_add_varint(&metadata, 1, 4);
    protobuf_add_text(&metadata, 2, "latency");
    protobuf_add_text(&metadata, 4, "How long.");
    protobuf_add_text(&metadata, 5, "seconds");
    add_message(&message, 3, &metadata);
    protobuf_add_varint(&metadata, 1, 77); /* of a newer protocol */
    protobuf_add_text(&metadata, 2, "x");
    add_message(&message, 3, &metadata);
    decode(body, remote_write_decode, &message);
    const struct batch *batch = &body->batch;
    assert_int_equal(batch->metadata_count, 2);
    assert_true(ap_slice_equal_cstr(batch->metadata[0].metric, "latency"));
    assert_true(ap_slice_equal_cstr(batch->metadata[0].help, "How long."));
    assert_true(ap_slice_equal_cstr(batch->metadata[0].unit, "seconds"));
    assert_string_equal(metadata_type_name(batch->metadata[0].type), "gaugehistogram");
    assert_int_equal(batch->metadata[1].type, METADATA_UNKNOWN);
}

static void assert_malformed(struct metrics_body *body, decode_fn decoder, struct ap_slice message, const char *want)
{
    struct ap_err err = {0};
    struct ap_slice copy = exact(message);
    metrics_body_reset(body);
    assert_int_equal(decoder(body, copy, &err), AP_E_PARSE);
    if (!strstr(err.text, want))
        fail_msg("%s, wanted %s", err.text, want);
    free((void *)(uintptr_t)copy.data);
}

static void test_malformed(void **state)
{
    struct metrics_body *body = *state;
    assert_malformed(body, remote_write_decode, LIT("{\"streams\":[]}"), "at offset 0 ");
    assert_malformed(body, remote_write_decode, LIT("\x12\x01x\x0a\x03\x0a\x05x"), "a label, at offset 5 ");
    assert_malformed(body, remote_write_decode, LIT("\x0a\x04\x0a\x00\x12\x09"), "a series, at offset 4 ");
    assert_malformed(body, remote_write_decode, LIT("\x0a\x04\x12\x02\x10\x80"), "a sample, at offset 4 ");
    assert_malformed(body, remote_write_decode, LIT("\x0a\x05\x22\x03\x62\x01\x80"), "a histogram, at offset 6 ");
    assert_malformed(body, remote_write_decode, LIT("\x0a\x06\x1a\x04\x0a\x02\x0a\x09"), "an exemplar, at offset 6 ");
    assert_malformed(body, remote_write_decode, LIT("\x1a\x02\x12\x09"), "metadata, at offset 2 ");
}

/* Whatever is cut off: a sentence, or what came before. */
static void cut_anywhere(struct metrics_body *body, decode_fn decoder, struct ap_slice message)
{
    for (size_t bytes = 0; bytes < message.bytes; bytes++) {
        struct ap_err err = {0};
        struct ap_slice copy = exact(ap_slice(message.data, bytes));
        metrics_body_reset(body);
        enum ap_rc rc = decoder(body, copy, &err);
        assert_true(rc == AP_OK || (rc == AP_E_PARSE && err.text[0]));
        free((void *)(uintptr_t)copy.data);
    }
}

static void make_all_kinds(struct ap_buf *message)
{
    struct ap_buf series = {0};
    struct ap_buf metadata = {0};
    add_label(&series, "__name__", "a");
    add_label(&series, "job", "b");
    add_sample(&series, 1, TS);
    add_exemplar(&series, "trace_id", "a1b2", 0.5);
    add_histogram(&series, 4, 3, 7);
    add_message(message, 1, &series);
    protobuf_add_text(&metadata, 2, "a");
    add_message(message, 3, &metadata);
}

static void test_cut_anywhere(void **state)
{
    AP_AUTO_BUF struct ap_buf message = {0};
    make_all_kinds(&message);
    cut_anywhere(*state, remote_write_decode, ap_buf_slice(&message));
}

static void test_limits(void **state)
{
    struct metrics_body *body = *state;
    struct ap_err err;
    AP_AUTO_BUF struct ap_buf message = {0};
    struct ap_buf series = {0};
    add_label(&series, "__name__", "a");
    for (int i = 0; i < METRICS_SAMPLES_MAX; i++)
        ap_buf_add(&series, "\x12\x00", 2);
    protobuf_add_bytes(&message, 1, ap_buf_slice(&series));
    decode(body, remote_write_decode, &message);
    assert_int_equal(body->batch.sample_count, METRICS_SAMPLES_MAX);
    ap_buf_reset(&message);
    add_sample(&series, 1, TS);
    add_message(&message, 1, &series);
    metrics_body_reset(body);
    assert_int_equal(remote_write_decode(body, ap_buf_slice(&message), &err), AP_E_LIMIT);
    assert_non_null(strstr(err.text, "samples"));

    ap_buf_reset(&message);
    add_label(&series, "__name__", "a");
    add_sample(&series, 1, TS);
    for (int i = 0; i <= METRICS_SERIES_MAX; i++)
        protobuf_add_bytes(&message, 1, ap_buf_slice(&series));
    ap_buf_clear(&series);
    metrics_body_reset(body);
    assert_int_equal(remote_write_decode(body, ap_buf_slice(&message), &err), AP_E_LIMIT);
    assert_non_null(strstr(err.text, "series"));
}

/* ---- 2.0 ---- */

static void add_symbols(struct ap_buf *message, const char *const *symbols)
{
    for (size_t i = 0; symbols[i]; i++)
        protobuf_add_text(message, 4, symbols[i]);
}

static void add_refs(struct ap_buf *out, const char *refs) /* each a character: '1' is 1, 'a' is 10 */
{
    struct ap_buf packed = {0};
    for (; *refs; refs++)
        ap_buf_add_varint(&packed, (uint64_t)(*refs >= 'a' ? *refs - 'a' + 10 : *refs - '0'));
    add_message(out, 1, &packed);
}

static void add_sample2(struct ap_buf *series, double value, int64_t ts_ms, int64_t start_ts_ms)
{
    struct ap_buf sample = {0};
    protobuf_add_double(&sample, 1, value);
    protobuf_add_varint(&sample, 2, (uint64_t)ts_ms);
    if (start_ts_ms)
        protobuf_add_varint(&sample, 3, (uint64_t)start_ts_ms);
    add_message(series, 2, &sample);
}

static void add_metadata2(struct ap_buf *series, unsigned type, unsigned help, unsigned unit)
{
    struct ap_buf metadata = {0};
    protobuf_add_varint(&metadata, 1, type);
    protobuf_add_varint(&metadata, 3, help);
    protobuf_add_varint(&metadata, 4, unit);
    add_message(series, 5, &metadata);
}

static const char *const symbols[] = {"",           "__name__",    "up",       "job",  "node",
                                      "Is it up?",  "ratio",       "trace_id", "a1b2", "rpc_count",
                                      "rpc_bucket", "rpc_bucket2", "\xff",     NULL};

static void test_2_has_the_bytes_of_1(void **state)
{
    struct metrics_body *body = *state;
    AP_AUTO(metrics_body) struct metrics_body *other = metrics_body_new(SEED, false);
    AP_AUTO_BUF struct ap_buf first = {0};
    AP_AUTO_BUF struct ap_buf second = {0};
    struct ap_buf series = {0};
    struct ap_buf exemplar = {0};
    add_label(&series, "__name__", "up");
    add_label(&series, "job", "node");
    add_sample(&series, 1, TS);
    add_histogram(&series, 4, 3, 7);
    add_exemplar(&series, "trace_id", "a1b2", 0.5);
    add_message(&first, 1, &series);
    add_refs(&series, "1234");
    add_sample2(&series, 1, TS, 0);
    add_histogram(&series, 3, 3, 7);
    add_refs(&exemplar, "78");
    protobuf_add_double(&exemplar, 2, 0.5);
    protobuf_add_varint(&exemplar, 3, (uint64_t)TS);
    add_message(&series, 4, &exemplar);
    add_message(&second, 5, &series);
    add_symbols(&second, symbols); /* behind the series: any order is allowed */
    decode(body, remote_write_decode, &first);
    decode(other, remote_write2_decode, &second);
    assert_int_equal(other->batch.series_count, 1);
    assert_labels(&other->batch.series[0], "up{job=\"node\"}");
    assert_true(ap_slice_equal(body->batch.series[0].labels, other->batch.series[0].labels));
    assert_true(labels_hash_equal(body->batch.series[0].hash, other->batch.series[0].hash));
    assert_sample(&other->batch, 0, 1, TS);
    assert_true(ap_slice_equal(body->batch.histograms[0].blob, other->batch.histograms[0].blob));
    assert_true(ap_slice_equal(body->batch.exemplars[0].labels, other->batch.exemplars[0].labels));
}

static void test_2_bad_references(void **state)
{
    struct metrics_body *body = *state;
    AP_AUTO_BUF struct ap_buf message = {0};
    struct ap_buf series = {0};
    struct ap_buf exemplar = {0};
    struct ap_err err;
    static const char *const refs[] = {"123", "12zz", "34", ""};
    add_symbols(&message, symbols);
    for (size_t i = 0; i < AP_ARRAY_COUNT(refs); i++) {
        add_refs(&series, refs[i]);
        add_sample2(&series, 1, TS, TS - 1);
        add_metadata2(&series, 1, 5, 6);
        add_message(&message, 5, &series);
    }
    add_refs(&series, "12");
    add_sample2(&series, 7, TS, 0);
    add_refs(&exemplar, "7");
    add_message(&series, 4, &exemplar);
    add_message(&message, 5, &series);
    decode(body, remote_write2_decode, &message);
    assert_int_equal(body->batch.series_count, 1);
    assert_labels(&body->batch.series[0], "up");
    assert_sample(&body->batch, 0, 7, TS);
    assert_int_equal(body->samples_refused, 4); /* zeros at the start are nobody's */
    assert_int_equal(body->exemplars_refused, 1);
    assert_string_equal(body->reason, "a series has an odd number of label references");
    ap_buf_reset(&message);
    protobuf_add_text(&message, 4, "not empty");
    metrics_body_reset(body);
    assert_int_equal(remote_write2_decode(body, ap_buf_slice(&message), &err), AP_E_PARSE);
}

static void test_2_start_zeros(void **state)
{
    struct metrics_body *body = *state;
    AP_AUTO(metrics_body) struct metrics_body *without = metrics_body_new(SEED, false);
    AP_AUTO_BUF struct ap_buf message = {0};
    struct ap_buf series = {0};
    add_symbols(&message, symbols);
    add_refs(&series, "12");
    add_sample2(&series, 5, TS, TS - 1000);
    add_sample2(&series, 6, TS + 1000, TS - 1000);
    add_message(&message, 5, &series);
    add_refs(&series, "19");
    add_sample2(&series, 5, TS, TS); /* not before */
    add_message(&message, 5, &series);
    add_refs(&series, "1a");
    add_sample2(&series, 5, TS, 0);
    protobuf_add_varint(&series, 6, (uint64_t)TS - 7); /* as up to rc.3, and behind the samples */
    add_message(&message, 5, &series);
    decode(body, remote_write2_decode, &message);
    assert_int_equal(body->batch.sample_count, 6);
    assert_true(body->batch.series[0].has_start_zero);
    assert_sample(&body->batch, 0, 0, TS - 1000);
    assert_sample(&body->batch, 1, 5, TS);
    assert_sample(&body->batch, 2, 6, TS + 1000);
    assert_false(body->batch.series[1].has_start_zero);
    assert_sample(&body->batch, 3, 5, TS);
    assert_true(body->batch.series[2].has_start_zero);
    assert_sample(&body->batch, 4, 0, TS - 7);
    decode(without, remote_write2_decode, &message);
    assert_int_equal(without->batch.sample_count, 4);
    assert_false(without->batch.series[0].has_start_zero);
}

static void test_2_metadata_once(void **state)
{
    struct metrics_body *body = *state;
    AP_AUTO_BUF struct ap_buf message = {0};
    struct ap_buf series = {0};
    add_symbols(&message, symbols);
    for (int i = 0; i < 100; i++) {
        add_refs(&series, "1234");
        add_sample2(&series, 1, TS + i, 0);
        add_metadata2(&series, METADATA_GAUGE, 5, 6);
        add_message(&message, 5, &series);
    }
    static const char *const refs[] = {"19", "1a", "1b"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(refs); i++) {
        add_refs(&series, refs[i]);
        add_sample2(&series, 1, TS, 0);
        add_metadata2(&series, METADATA_HISTOGRAM, 0, 99); /* a symbol that is not there: no text */
        add_message(&message, 5, &series);
    }
    decode(body, remote_write2_decode, &message);
    const struct batch *batch = &body->batch;
    assert_int_equal(batch->series_count, 103);
    assert_int_equal(batch->metadata_count, 4);
    assert_true(ap_slice_equal_cstr(batch->metadata[0].metric, "up"));
    assert_true(ap_slice_equal_cstr(batch->metadata[0].help, "Is it up?"));
    assert_true(ap_slice_equal_cstr(batch->metadata[0].unit, "ratio"));
    assert_int_equal(batch->metadata[0].type, METADATA_GAUGE);
    assert_true(ap_slice_equal_cstr(batch->metadata[1].metric, "rpc"));
    assert_true(ap_slice_equal_cstr(batch->metadata[2].metric, "rpc"));
    assert_true(ap_slice_equal_cstr(batch->metadata[3].metric, "rpc_bucket2"));
    assert_int_equal(batch->metadata[1].unit.bytes, 0);
}

/* A symbol is sent once and can be used in every series: what that makes has a limit of its own. */
static void test_2_symbols_are_no_bomb(void **state)
{
    struct metrics_body *body = *state;
    AP_AUTO_BUF struct ap_buf message = {0};
    AP_AUTO_FREE char *large = malloc(LABEL_VALUE_BYTES_MAX);
    struct ap_buf series = {0};
    struct ap_err err;
    memset(large, 'x', LABEL_VALUE_BYTES_MAX);
    add_symbols(&message, (const char *const[]){"", "__name__", NULL});
    protobuf_add_bytes(&message, 4, ap_slice(large, LABEL_VALUE_BYTES_MAX));
    add_refs(&series, "12");
    add_sample2(&series, 1, TS, 0);
    for (int i = 0; i < 2000; i++)
        protobuf_add_bytes(&message, 5, ap_buf_slice(&series));
    ap_buf_clear(&series);
    metrics_body_reset(body);
    assert_int_equal(remote_write2_decode(body, ap_buf_slice(&message), &err), AP_E_LIMIT);
    assert_true(body->arena.used_bytes <= METRICS_ARENA_BYTES_MAX);
}

static void test_2_cut_anywhere(void **state)
{
    AP_AUTO_BUF struct ap_buf message = {0};
    struct ap_buf series = {0};
    struct ap_buf exemplar = {0};
    add_symbols(&message, symbols);
    add_refs(&series, "1234");
    add_sample2(&series, 1, TS, TS - 1);
    add_refs(&exemplar, "78");
    add_message(&series, 4, &exemplar);
    add_histogram(&series, 3, 3, 7);
    add_metadata2(&series, 1, 5, 6);
    add_message(&message, 5, &series);
    cut_anywhere(*state, remote_write2_decode, ap_buf_slice(&message));
    assert_malformed(*state, remote_write2_decode, LIT("\x22\x00\x2a\x03\x0a\x01\x80"), "a series, at offset ");
    assert_malformed(*state, remote_write2_decode, LIT("\x22\x00\x22\x05x"), "the request, at offset 2 ");
}

/* ---- Text ---- */

static void import_with(struct metrics_body *body, struct metrics_import_options options, const char *text,
                        struct metrics_import_report *report)
{
    struct ap_err err;
    metrics_body_reset(body);
    options.default_ts_ms = TS;
    if (metrics_import_decode(body, &options, ap_slice_cstr(text), report, &err) != AP_OK)
        fail_msg("%s", err.text);
}

static void test_import(void **state)
{
    struct metrics_body *body = *state;
    struct metrics_import_report report;
    const struct batch *batch = &body->batch;
    import_with(body, (struct metrics_import_options){0},
                "# HELP http_requests_total Requests,\\nby \"code\".\n"
                "# TYPE http_requests_total counter\n"
                "http_requests_total{method=\"post\",code=\"200\"} 1027 1395066363000\n"
                "http_requests_total{code=\"200\",method=\"post\"} 1028 1395066364000\n"
                "http_requests_total{code=\"400\",B=\"\"} 3\n"
                "{\"disk.free\",\"a b\"=\"c\"} 5\n",
                &report);
    assert_int_equal(report.lines_refused, 0);
    assert_int_equal(batch->series_count, 3);
    assert_labels(&batch->series[0], "http_requests_total{code=\"200\", method=\"post\"}");
    assert_int_equal(batch->series[0].sample_count, 2);
    assert_sample(batch, 0, 1027, INT64_C(1395066363000));
    assert_sample(batch, 1, 1028, INT64_C(1395066364000));
    assert_labels(&batch->series[1], "http_requests_total{code=\"400\"}");
    assert_sample(batch, 2, 3, TS);
    assert_labels(&batch->series[2], "{\"disk.free\", \"a b\"=\"c\"}");
    assert_int_equal(batch->metadata_count, 1);
    assert_true(ap_slice_equal_cstr(batch->metadata[0].help, "Requests,\nby \"code\"."));
    assert_int_equal(batch->metadata[0].type, METADATA_COUNTER);
}

static void test_import_bad_lines(void **state)
{
    struct metrics_body *body = *state;
    struct metrics_import_report report;
    AP_AUTO_BUF struct ap_buf text = {0};
    import_with(body, (struct metrics_import_options){0}, "a 1\nb{x=1} 2\nc{x=\"1\",x=\"2\"} 3\nd{x=\"\xff\"} 1\ne 5\n",
                &report);
    assert_int_equal(body->batch.series_count, 2);
    assert_sample(&body->batch, 1, 5, TS);
    assert_int_equal(report.lines_refused, 3);
    assert_int_equal(body->samples_refused, 3);
    assert_int_equal(report.error_count, 3);
    assert_int_equal(report.errors[0].line, 2);
    assert_int_equal(report.errors[0].column, 5);
    assert_int_equal(report.errors[1].line, 3);
    assert_non_null(strstr(report.errors[1].text, "twice"));
    assert_int_equal(report.errors[2].line, 4);
    assert_non_null(strstr(report.errors[2].text, "UTF-8"));
    for (int i = 0; i < 100; i++)
        ap_buf_add_cstr(&text, "bad\n");
    ap_buf_add_char(&text, '\0');
    import_with(body, (struct metrics_import_options){0}, text.data, &report);
    assert_int_equal(report.lines_refused, 100);
    assert_int_equal(report.error_count, METRICS_IMPORT_ERRORS_MAX);
}

static void test_import_openmetrics(void **state)
{
    struct metrics_body *body = *state;
    struct metrics_import_report report;
    struct metrics_import_options options = {.format = EXPOSITION_OPENMETRICS};
    import_with(body, options,
                "# TYPE a counter\n# UNIT a seconds\n# HELP a What.\n"
                "a_total{b=\"c\"} 17 1520879607.789 # {trace_id=\"x\"} 0.5 1520879607.5\na_created{b=\"c\"} 5\n# EOF\n",
                &report);
    const struct batch *batch = &body->batch;
    assert_int_equal(report.lines_refused, 0);
    assert_int_equal(batch->series_count, 2);
    assert_sample(batch, 0, 17, INT64_C(1520879607789));
    assert_int_equal(batch->exemplar_count, 1);
    assert_int_equal(batch->exemplars[0].ts_ms, INT64_C(1520879607500));
    assert_labels(&batch->series[1], "a_created{b=\"c\"}");
    assert_int_equal(batch->metadata_count, 1);
    assert_true(ap_slice_equal_cstr(batch->metadata[0].unit, "seconds"));
    import_with(body, options, "a 1\nb 2\n", &report);
    assert_int_equal(report.lines_refused, 1);
    assert_int_equal(report.errors[0].line, 3);
    assert_non_null(strstr(report.errors[0].text, "# EOF"));
    assert_int_equal(body->batch.sample_count, 2);
}

static void test_import_extra_labels(void **state)
{
    struct metrics_body *body = *state;
    struct metrics_import_report report;
    struct label extra[] = {{LIT("job"), LIT("mine")}, {LIT("Zone"), LIT("b")}};
    import_with(body, (struct metrics_import_options){.extra_labels = extra, .extra_label_count = 2},
                "a{job=\"theirs\",x=\"y\"} 1\n", &report);
    assert_labels(&body->batch.series[0], "a{Zone=\"b\", job=\"mine\", x=\"y\"}");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_labels_stay_where_they_are),
        TEST(test_unusual_order),
        TEST(test_series_without_name_or_samples),
        TEST(test_histograms),
        TEST(test_histograms_reduced_and_refused),
        TEST(test_exemplars),
        TEST(test_metadata),
        TEST(test_malformed),
        TEST(test_cut_anywhere),
        TEST(test_limits),
        TEST(test_2_has_the_bytes_of_1),
        TEST(test_2_bad_references),
        TEST(test_2_start_zeros),
        TEST(test_2_metadata_once),
        TEST(test_2_symbols_are_no_bomb),
        TEST(test_2_cut_anywhere),
        TEST(test_import),
        TEST(test_import_bad_lines),
        TEST(test_import_openmetrics),
        TEST(test_import_extra_labels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
