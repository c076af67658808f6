/*
 * Any bytes as OTLP in Protocol Buffers: no crash, and the batch is sound as far as the store asks for it. Points that
 * are known from an earlier request give what they give when nothing is known.
 */
#include "base/assert.h"
#include "base/bits.h"
#include "codec/protobuf.h"
#include "ingest/metrics_body.h"
#include "ingest/otlp_protobuf.h"
#include "ingest/otlp_streams.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One of two ways to decode the same requests. */
struct way {
    struct metrics_body *body;
    struct otlp_streams *streams;
    bool is_making_all_labels;
};

static void way_init(struct way *way, bool is_injecting, bool is_making_all_labels)
{
    way->body = metrics_body_new(1, is_injecting);
    way->streams =
        otlp_streams_new(&(struct otlp_streams_options){.streams_max = 10, .idle_ms = 1000, .clock = &ap_clock_system});
    way->is_making_all_labels = is_making_all_labels;
}

static void way_clear(struct way *way)
{
    metrics_body_free(way->body);
    otlp_streams_free(way->streams);
}

static enum ap_rc decode(struct way *way, const struct otlp_settings *settings, struct ap_slice bytes)
{
    metrics_body_reset(way->body);
    AP_AUTO(otlp_sink)
    struct otlp_sink *sink = otlp_sink_new(&(struct otlp_sink_options){
        .body = way->body,
        .settings = settings,
        .streams = way->streams,
        .source = bytes,
        .is_making_all_labels = way->is_making_all_labels,
    });
    struct ap_err err;
    enum ap_rc rc = otlp_protobuf_decode(sink, bytes, &err);
    AP_ASSERT(rc == AP_OK || err.text[0]);
    (void)otlp_sink_settle(sink, NULL);
    return rc;
}

static void check_series(const struct batch *batch, const struct batch *want, size_t index)
{
    const struct batch_series *series = &batch->series[index], *other = &want->series[index];
    AP_AUTO_BUF struct ap_buf found = {0};
    struct ap_slice labels = series->labels;
    if (!labels.data) {
        batch->find_labels(batch->find_labels_context, index, &found);
        labels = ap_buf_slice(&found);
    }
    AP_ASSERT(ap_slice_equal(labels, other->labels));
    AP_ASSERT(labels_hash_equal(series->hash, labels_hash_of(1, labels)));
    AP_ASSERT(series->sample_count + series->histogram_count > series->has_start_zero);
    AP_ASSERT(series->sample_count == other->sample_count && series->histogram_count == other->histogram_count &&
              series->exemplar_count == other->exemplar_count && series->has_start_zero == other->has_start_zero &&
              series->is_start_zero_for_restart == other->is_start_zero_for_restart);
    for (size_t i = 0; i < series->sample_count; i++) {
        size_t at = series->sample_first + i, other_at = other->sample_first + i;
        AP_ASSERT(batch->ts_ms[at] == want->ts_ms[other_at]);
        AP_ASSERT(ap_double_to_bits(batch->values[at]) == ap_double_to_bits(want->values[other_at]));
    }
}

static void check(const struct way *way, const struct way *plain)
{
    const struct metrics_body *body = way->body, *want = plain->body;
    AP_ASSERT(body->batch.series_count == want->batch.series_count);
    AP_ASSERT(body->samples_refused == want->samples_refused && body->exemplars_refused == want->exemplars_refused);
    AP_ASSERT(strcmp(body->reason, want->reason) == 0);
    for (size_t i = 0; i < body->batch.series_count; i++)
        check_series(&body->batch, &want->batch, i);
}

/* Without its first resource. */
static struct ap_slice rest_of(struct ap_slice message)
{
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    (void)protobuf_next(&reader, &field);
    return ap_slice(reader.next, (size_t)(reader.end - reader.next));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct otlp_settings settings;
    otlp_settings_init(&settings);
    settings.naming.strategy = (enum otlp_strategy)(data[0] >> 1 & 3);
    settings.is_promoting_all = data[0] >> 3 & 1;
    settings.is_promoting_scope = data[0] >> 4 & 1;
    settings.is_making_custom_buckets = data[0] >> 5 & 1;
    struct ap_slice all = ap_slice(data + 1, size - 1);
    const struct ap_slice requests[] = {all, rest_of(all), all};
    struct way way, plain;
    way_init(&way, data[0] & 1, false);
    way_init(&plain, data[0] & 1, true);
    for (size_t i = 0; i < AP_ARRAY_COUNT(requests); i++) {
        enum ap_rc rc = decode(&way, &settings, requests[i]);
        AP_ASSERT(rc == decode(&plain, &settings, requests[i]));
        if (rc == AP_OK)
            check(&way, &plain);
    }
    way_clear(&way);
    way_clear(&plain);
    return 0;
}
