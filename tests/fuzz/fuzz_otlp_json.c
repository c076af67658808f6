/* Any bytes as OTLP's JSON: no crash, and the batch is sound as far as the store asks for it. */
#include "base/assert.h"
#include "ingest/metrics_body.h"
#include "ingest/otlp_json.h"
#include "ingest/otlp_streams.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    AP_AUTO(metrics_body) struct metrics_body *body = metrics_body_new(1, data[0] & 1);
    AP_AUTO(otlp_streams)
    struct otlp_streams *streams =
        otlp_streams_new(&(struct otlp_streams_options){.streams_max = 10, .idle_ms = 1000, .clock = &ap_clock_system});
    struct otlp_settings settings;
    otlp_settings_init(&settings);
    settings.naming.strategy = (enum otlp_strategy)(data[0] >> 1 & 3);
    settings.is_promoting_all = data[0] >> 3 & 1;
    settings.is_promoting_scope = data[0] >> 4 & 1;
    settings.is_making_custom_buckets = data[0] >> 5 & 1;
    struct ap_slice bytes = ap_slice(data + 1, size - 1);
    for (int i = 0; i < 2; i++) { /* the second time with what the first has left */
        AP_AUTO(otlp_sink)
        struct otlp_sink *sink = otlp_sink_new(&(struct otlp_sink_options){
            .body = body, .settings = &settings, .streams = streams, .source = bytes, .now_ms = i});
        struct ap_err err;
        enum ap_rc rc = otlp_json_decode(sink, bytes, &err);
        AP_ASSERT(rc == AP_OK || err.text[0]);
        (void)otlp_sink_settle(sink, NULL);
        for (size_t j = 0; rc == AP_OK && j < body->batch.series_count; j++) {
            const struct batch_series *series = &body->batch.series[j];
            AP_ASSERT(labels_hash_equal(series->hash, labels_hash_of(1, series->labels)));
            AP_ASSERT(series->sample_count + series->histogram_count > series->has_start_zero);
        }
        metrics_body_reset(body);
    }
    return 0;
}
