/* Any text as a query of a few series: an answer or a reason, within the limits. */
#include <stdint.h>
#include <stdlib.h>

#include "base/assert.h"
#include "promql/engine.h"
#include "promql/memory_storage.h"
#include "promql/series_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct adding {
    struct memory_storage *storage;
    struct ap_slice labels;
    int64_t ts_ms;
};

static void add_sample(bool is_missing, double value, const struct float_histogram *histogram, void *context)
{
    struct adding *adding = context;
    if (!is_missing)
        memory_storage_add(adding->storage, adding->labels, adding->ts_ms, value, histogram);
    adding->ts_ms += 60000;
}

static struct memory_storage *make_storage(void)
{
    static const char *const series[][2] = {
        {"x{a=\"1\",b=\"2\"}", "0+1x5 stale 3 NaN Inf -Inf"},
        {"x{a=\"2\"}", "1 _ 5 2 1e300 -1e300 0.5x5"},
        {"y{a=\"1\"}", "5x3 _x3 0x3"},
        {"h{a=\"1\"}",
         "{{schema:1 sum:3 count:4 z_bucket:1 z_bucket_w:0.1 buckets:[1 2]}}+{{schema:0 sum:1 count:1 buckets:[1]}}x6"},
        {"h{a=\"2\"}", "{{schema:-53 sum:3 count:3 custom_values:[1 2] buckets:[1 1 1]}}x6 4"},
        {"b_bucket{le=\"1\"}", "1+1x9"},
        {"b_bucket{le=\"+Inf\"}", "2+3x9"},
        {"target_info{instance=\"i\",job=\"j\",version=\"1\"}", "1x9"},
        {"z{instance=\"i\",job=\"j\"}", "1+2x9"},
    };
    struct memory_storage *storage = memory_storage_new();
    for (size_t i = 0; i < AP_ARRAY_COUNT(series); i++) {
        AP_AUTO_BUF struct ap_buf labels = {0};
        struct ap_err err;
        enum ap_rc rc = series_text_labels(ap_slice_cstr(series[i][0]), &labels, &err);
        AP_ASSERT(rc == AP_OK);
        struct adding adding = {storage, ap_buf_slice(&labels), 0};
        rc = series_text_values(ap_slice_cstr(series[i][1]), add_sample, &adding, &err);
        AP_ASSERT(rc == AP_OK);
    }
    return storage;
}

static void run(struct promql_engine *engine, struct memory_storage *storage, struct ap_slice text, int64_t step_ms)
{
    struct promql_request request = {
        .text = text, .start_ms = 240000, .end_ms = step_ms ? 540000 : 240000, .step_ms = step_ms};
    AP_AUTO(promql_execution) struct promql_execution *execution = NULL;
    struct ap_err err = {0};
    enum ap_rc rc = promql_execute(engine, promql_storage_memory(storage), &request, &execution, &err);
    AP_ASSERT(rc == AP_OK || err.text[0] != '\0');
    for (size_t i = 0;
         rc == AP_OK && promql_execution_type(execution) != TYPE_STRING && i < promql_execution_count(execution); i++) {
        struct promql_points points;
        rc = promql_execution_read(execution, i, &points, &err);
        if (rc == AP_OK && points.count)
            AP_ASSERT(points.ts_ms[0] <= points.ts_ms[points.count - 1]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct memory_storage *storage;
    static struct promql_engine *engine;
    if (!storage) {
        struct promql_engine_options options;
        struct ap_err err;
        promql_engine_options_init(&options);
        options.is_experimental = true;
        options.threads_max = 1;
        options.samples_max = 100000;
        options.timeout_ms = 1000;
        enum ap_rc rc = promql_engine_open(&options, &engine, &err);
        AP_ASSERT(rc == AP_OK);
        storage = make_storage();
    }
    struct ap_slice text = ap_slice((const char *)data, size);
    run(engine, storage, text, 0);
    run(engine, storage, text, 100000);
    return 0;
}
