#include "tsdb/batch.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"

enum { CAPACITY_FIRST = 64 };

const char *metadata_type_name(enum metadata_type type)
{
    static const char *const names[METADATA_TYPE_COUNT] = {
        [METADATA_UNKNOWN] = "unknown",    [METADATA_COUNTER] = "counter",
        [METADATA_GAUGE] = "gauge",        [METADATA_HISTOGRAM] = "histogram",
        [METADATA_SUMMARY] = "summary",    [METADATA_GAUGE_HISTOGRAM] = "gaugehistogram",
        [METADATA_STATE_SET] = "stateset", [METADATA_INFO] = "info",
    };
    AP_ASSERT((size_t)type < METADATA_TYPE_COUNT);
    return names[type];
}

void batch_clear(struct batch *batch)
{
    free(batch->series);
    free(batch->ts_ms);
    free(batch->values);
    free(batch->histograms);
    free(batch->exemplars);
    free(batch->metadata);
    *batch = (struct batch){0};
}

void batch_reset(struct batch *batch)
{
    batch->series_count = 0;
    batch->sample_count = 0;
    batch->histogram_count = 0;
    batch->exemplar_count = 0;
    batch->metadata_count = 0;
}

static size_t grown(size_t capacity)
{
    return capacity ? capacity * 2 : CAPACITY_FIRST;
}

/* Makes room for one more; out of line, as it is seldom needed. */
#define ROOM(array, count, capacity)                                                                                   \
    do {                                                                                                               \
        if (__builtin_expect((count) == (capacity), 0)) {                                                              \
            (capacity) = grown(capacity);                                                                              \
            (array) = ap_realloc((array), (capacity) * sizeof(*(array)));                                              \
        }                                                                                                              \
    } while (0)

static struct batch_series *last_series(struct batch *batch)
{
    AP_ASSERT(batch->series_count > 0);
    return &batch->series[batch->series_count - 1];
}

struct batch_series *batch_add_series(struct batch *batch, struct ap_slice labels, struct labels_hash hash)
{
    ROOM(batch->series, batch->series_count, batch->series_capacity);
    struct batch_series *series = &batch->series[batch->series_count++];
    *series = (struct batch_series){
        .labels = labels,
        .hash = hash,
        .sample_first = (uint32_t)batch->sample_count,
        .histogram_first = (uint32_t)batch->histogram_count,
        .exemplar_first = (uint32_t)batch->exemplar_count,
    };
    return series;
}

static void grow_samples(struct batch *batch)
{
    batch->sample_capacity = grown(batch->sample_capacity);
    batch->ts_ms = ap_realloc(batch->ts_ms, batch->sample_capacity * sizeof(*batch->ts_ms));
    batch->values = ap_realloc(batch->values, batch->sample_capacity * sizeof(*batch->values));
}

void batch_add_sample(struct batch *batch, int64_t ts_ms, double value)
{
    if (__builtin_expect(batch->sample_count == batch->sample_capacity, 0))
        grow_samples(batch);
    batch->ts_ms[batch->sample_count] = ts_ms;
    batch->values[batch->sample_count] = value;
    batch->sample_count++;
    last_series(batch)->sample_count++;
}

void batch_add_histogram(struct batch *batch, int64_t ts_ms, struct ap_slice blob)
{
    ROOM(batch->histograms, batch->histogram_count, batch->histogram_capacity);
    batch->histograms[batch->histogram_count++] = (struct batch_histogram){ts_ms, blob};
    last_series(batch)->histogram_count++;
}

struct batch_exemplar *batch_add_exemplar(struct batch *batch)
{
    ROOM(batch->exemplars, batch->exemplar_count, batch->exemplar_capacity);
    struct batch_exemplar *exemplar = &batch->exemplars[batch->exemplar_count++];
    *exemplar = (struct batch_exemplar){0};
    last_series(batch)->exemplar_count++;
    return exemplar;
}

struct batch_metadata *batch_add_metadata(struct batch *batch)
{
    ROOM(batch->metadata, batch->metadata_count, batch->metadata_capacity);
    struct batch_metadata *metadata = &batch->metadata[batch->metadata_count++];
    *metadata = (struct batch_metadata){0};
    return metadata;
}
