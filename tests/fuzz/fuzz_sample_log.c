/* Any bytes as a log record of samples: read to the end, or refused, with every slice inside the record. */
#include <string.h>

#include "base/assert.h"
#include "tsdb/sample_log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { STATES = 64 };

static void define(void *context, uint32_t ref, struct ap_slice labels)
{
    (void)ref;
    uint8_t *sum = context;
    for (size_t i = 0; i < labels.bytes; i++)
        *sum = (uint8_t)(*sum + labels.data[i]);
}

static struct sample_state *state(void *context, uint32_t ref)
{
    (void)context;
    static struct sample_state states[STATES];
    return ref < STATES ? &states[ref] : NULL;
}

static void samples(void *context, uint32_t ref, const int64_t *ts_ms, const double *values, size_t count)
{
    (void)context;
    (void)ref;
    AP_ASSERT(count > 0 && count <= 1024 && ts_ms && values);
}

static void histogram(void *context, uint32_t ref, int64_t ts_ms, struct ap_slice blob)
{
    (void)ts_ms;
    define(context, ref, blob);
}

static void exemplar(void *context, uint32_t ref, int64_t ts_ms, double value, struct ap_slice labels)
{
    (void)ts_ms;
    (void)value;
    define(context, ref, labels);
}

static void metadata(void *context, uint8_t type, struct ap_slice metric, struct ap_slice help, struct ap_slice unit)
{
    (void)type;
    define(context, 0, metric);
    define(context, 0, help);
    define(context, 0, unit);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    uint8_t sum = 0;
    struct sample_sink sink = {&sum, define, state, samples, histogram, exemplar, metadata};
    struct sample_record_head head;
    struct ap_buf body = {0};
    struct ap_err err;
    if (sample_record_open(ap_slice(data, bytes), &head, &body, &err) == AP_OK &&
        sample_record_read(&head, ap_buf_slice(&body), &sink, &err) == AP_OK)
        sum++;
    ap_buf_clear(&body);
    return 0;
}
