/*
 * The first byte chooses the decoder (remote write 1.0, 2.0, text, OpenMetrics), the others are the body. The batch
 * adds up, everything it lends is readable, and what labels are said to be canonical are.
 */
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "ingest/metrics_body.h"
#include "ingest/metrics_import.h"
#include "ingest/remote_write.h"
#include "ingest/remote_write2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned touched; /* so that reading is not optimised away */

enum { SEED = 7 };

/* Reads every byte, so that the address sanitizer sees what is not there. */
static unsigned touch(struct ap_slice text)
{
    unsigned sum = 0;
    for (size_t i = 0; i < text.bytes; i++)
        sum += (uint8_t)text.data[i];
    return sum;
}

static void check_series(const struct batch *batch, size_t index, bool is_canonical)
{
    const struct batch_series *series = &batch->series[index];
    AP_ASSERT(series->sample_first + (size_t)series->sample_count <= batch->sample_count);
    AP_ASSERT(series->histogram_first + (size_t)series->histogram_count <= batch->histogram_count);
    AP_ASSERT(series->exemplar_first + (size_t)series->exemplar_count <= batch->exemplar_count);
    AP_ASSERT(series->sample_count + series->histogram_count + series->exemplar_count > 0);
    AP_ASSERT(!series->has_start_zero || series->sample_count > 1);
    AP_ASSERT(labels_hash_equal(series->hash, labels_hash_of(SEED, series->labels)));
    struct ap_err err;
    if (is_canonical)
        AP_ASSERT(labels_check(series->labels, &err) == AP_OK);
}

static void check_batch(const struct batch *batch, bool is_canonical)
{
    unsigned sum = 0;
    struct ap_err err;
    size_t samples = 0;
    for (size_t i = 0; i < batch->series_count; i++) {
        check_series(batch, i, is_canonical);
        samples += batch->series[i].sample_count;
    }
    AP_ASSERT(samples == batch->sample_count);
    for (size_t i = 0; i < batch->histogram_count; i++) {
        AP_AUTO_ARENA struct ap_arena arena = {0};
        struct histogram histogram;
        AP_ASSERT(histogram_decode(batch->histograms[i].blob, &arena, &histogram, &err) == AP_OK);
        AP_ASSERT(histogram_check(&histogram, &err) == AP_OK);
    }
    for (size_t i = 0; i < batch->exemplar_count; i++) {
        struct ap_slice labels = batch->exemplars[i].labels;
        AP_ASSERT(labels.bytes == 0 || labels_check(labels, &err) == AP_OK);
    }
    for (size_t i = 0; i < batch->metadata_count; i++) {
        AP_ASSERT(batch->metadata[i].type < METADATA_TYPE_COUNT && batch->metadata[i].metric.bytes > 0);
        sum += touch(batch->metadata[i].metric) + touch(batch->metadata[i].help) + touch(batch->metadata[i].unit);
    }
    touched = sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    AP_AUTO(metrics_body) struct metrics_body *body = metrics_body_new(SEED, true);
    struct metrics_import_report report;
    struct metrics_import_options options = {
        .format = data[0] % 4 == 3 ? EXPOSITION_OPENMETRICS : EXPOSITION_TEXT,
        .default_ts_ms = 1,
    };
    struct ap_slice input = ap_slice(data + 1, size - 1);
    struct ap_err err = {0};
    enum ap_rc rc = data[0] % 4 == 0   ? remote_write_decode(body, input, &err)
                    : data[0] % 4 == 1 ? remote_write2_decode(body, input, &err)
                                       : metrics_import_decode(body, &options, input, &report, &err);
    if (rc != AP_OK) {
        AP_ASSERT((rc == AP_E_PARSE || rc == AP_E_LIMIT) && err.text[0]);
        return 0;
    }
    AP_ASSERT((body->samples_refused + body->histograms_refused > 0) == (body->reason[0] != '\0'));
    check_batch(&body->batch, data[0] % 4 >= 2);
    metrics_body_reset(body);
    AP_ASSERT(body->batch.series_count == 0 && body->reason[0] == '\0');
    return 0;
}
