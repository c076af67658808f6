/*
 * The first byte chooses the precision, the others are lines. Whatever they are: the batch adds up, what it lends is
 * readable and canonical, and every refused line is told within the input.
 */
#include <math.h>
#include <stdint.h>

#include "base/assert.h"
#include "ingest/influx_write.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SEED = 7 };

static void check_batch(const struct batch *batch)
{
    struct ap_err err;
    AP_ASSERT(batch->series_count == batch->sample_count);
    for (size_t i = 0; i < batch->series_count; i++) {
        const struct batch_series *series = &batch->series[i];
        AP_ASSERT(series->sample_first == i && series->sample_count == 1);
        AP_ASSERT(labels_check(series->labels, &err) == AP_OK && metrics_body_has_name(series->labels));
        AP_ASSERT(labels_hash_equal(series->hash, labels_hash_of(SEED, series->labels)));
        AP_ASSERT(isfinite(batch->values[i]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int64_t units[] = {1, 1000, 1000000, 1000000000, INT64_C(3600000000000)};
    if (size == 0)
        return 0;
    struct influx_write_options options = {
        .separator = ap_slice_cstr("_"),
        .db = ap_slice_cstr(data[0] & 0x80 ? "db" : ""),
        .ns_per_unit = units[data[0] % AP_ARRAY_COUNT(units)],
    };
    AP_AUTO(metrics_body) struct metrics_body *body = metrics_body_new(SEED, false);
    struct influx_write_report report;
    struct ap_slice text = ap_slice(data + 1, size - 1);
    struct ap_err err;
    enum ap_rc rc = influx_write_decode(body, &options, text, &report, &err);
    AP_ASSERT(rc == AP_OK || rc == AP_E_LIMIT);
    AP_ASSERT(body->samples_refused == report.lines_refused && report.error_count <= report.lines_refused);
    for (size_t i = 0; i < report.error_count; i++) {
        struct ap_slice told = report.errors[i].text;
        AP_ASSERT(report.errors[i].reason[0] && told.bytes > 0);
        AP_ASSERT(told.data >= text.data && told.data + told.bytes <= text.data + text.bytes);
    }
    if (rc == AP_OK)
        check_batch(&body->batch);
    return 0;
}
