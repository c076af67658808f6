#include "promql/memory_storage.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "tsdb/labels.h"

struct memory_sample {
    int64_t ts_ms;
    double value;
    struct ap_slice histogram; /* histogram_encode()'s; data NULL: a float */
};

struct memory_series {
    struct ap_slice labels;
    struct memory_sample *samples; /* owned */
    size_t count;
    size_t capacity;
};

struct memory_storage {
    struct ap_arena arena;        /* labels, histograms */
    struct memory_series *series; /* owned */
    size_t count;
    size_t capacity;
};

struct memory_set {
    const struct memory_storage *storage;
    const struct memory_series **series; /* owned */
    size_t count;
    int64_t min_ts_ms, max_ts_ms;
};

struct memory_storage *memory_storage_new(void)
{
    struct memory_storage *storage = ap_new0(struct memory_storage);
    ap_arena_init(&storage->arena, 0);
    return storage;
}

void memory_storage_free(struct memory_storage *storage)
{
    if (!storage)
        return;
    for (size_t i = 0; i < storage->count; i++)
        free(storage->series[i].samples);
    free(storage->series);
    ap_arena_clear(&storage->arena);
    free(storage);
}

static struct ap_slice copy_of(struct memory_storage *storage, struct ap_slice bytes)
{
    char *copy = ap_arena_alloc0(&storage->arena, bytes.bytes + 1);
    memcpy(copy, bytes.data, bytes.bytes);
    return ap_slice(copy, bytes.bytes);
}

static struct memory_series *find_series(struct memory_storage *storage, struct ap_slice labels)
{
    for (size_t i = storage->count; i > 0; i--)
        if (ap_slice_equal(storage->series[i - 1].labels, labels))
            return &storage->series[i - 1];
    if (storage->count == storage->capacity) {
        storage->capacity = storage->capacity ? storage->capacity * 2 : 16;
        storage->series = ap_realloc(storage->series, storage->capacity * sizeof(*storage->series));
    }
    struct memory_series *series = &storage->series[storage->count++];
    *series = (struct memory_series){.labels = copy_of(storage, labels)};
    return series;
}

void memory_storage_add(struct memory_storage *storage, struct ap_slice labels, int64_t ts_ms, double value,
                        const struct float_histogram *histogram)
{
    struct memory_series *series = find_series(storage, labels);
    if (series->count && series->samples[series->count - 1].ts_ms == ts_ms)
        series->count--;
    if (series->count == series->capacity) {
        series->capacity = series->capacity ? series->capacity * 2 : 16;
        series->samples = ap_realloc(series->samples, series->capacity * sizeof(*series->samples));
    }
    struct memory_sample sample = {.ts_ms = ts_ms, .value = value};
    if (histogram) {
        AP_AUTO_BUF struct ap_buf bytes = {0};
        AP_AUTO_ARENA struct ap_arena scratch;
        ap_arena_init(&scratch, 0);
        float_histogram_encode(histogram, &scratch, &bytes);
        sample.histogram = copy_of(storage, ap_buf_slice(&bytes));
    }
    series->samples[series->count++] = sample;
}

/* ---- As a storage ---- */

static int compare_series(const void *a, const void *b)
{
    return labels_compare((*(const struct memory_series *const *)a)->labels,
                          (*(const struct memory_series *const *)b)->labels);
}

static bool is_within(const struct memory_set *set, const struct memory_sample *sample)
{
    return sample->ts_ms >= set->min_ts_ms && sample->ts_ms <= set->max_ts_ms;
}

static bool has_samples(const struct memory_set *set, const struct memory_series *series)
{
    for (size_t i = 0; i < series->count; i++)
        if (is_within(set, &series->samples[i]))
            return true;
    return false;
}

static enum ap_rc memory_select(void *context, const struct matchers *matchers, int64_t min_ts_ms, int64_t max_ts_ms,
                                uint64_t series_max, void **ret_set, struct ap_err *err)
{
    const struct memory_storage *storage = context;
    struct memory_set *set = ap_new0(struct memory_set);
    *set = (struct memory_set){.storage = storage, .min_ts_ms = min_ts_ms, .max_ts_ms = max_ts_ms};
    set->series = ap_new0_array(const struct memory_series *, storage->count + 1);
    for (size_t i = 0; i < storage->count; i++)
        if (matchers_match(matchers, storage->series[i].labels) && has_samples(set, &storage->series[i]))
            set->series[set->count++] = &storage->series[i];
    *ret_set = set;
    if (series_max && set->count > series_max)
        return ap_fail(err, AP_E_LIMIT, "more than %llu series are selected", (unsigned long long)series_max);
    qsort(set->series, set->count, sizeof(*set->series), compare_series);
    return AP_OK;
}

static size_t memory_count(const void *set)
{
    return ((const struct memory_set *)set)->count;
}

static struct ap_slice memory_labels(const void *set, size_t index)
{
    return ((const struct memory_set *)set)->series[index]->labels;
}

static enum ap_rc memory_read(void *context, size_t index, struct tsdb_columns *columns, struct ap_err *err)
{
    const struct memory_set *set = context;
    const struct memory_series *series = set->series[index];
    (void)err;
    if (columns->capacity < series->count) {
        columns->capacity = columns->histogram_capacity = series->count;
        columns->ts_ms = ap_realloc(columns->ts_ms, series->count * sizeof(*columns->ts_ms));
        columns->values = ap_realloc(columns->values, series->count * sizeof(*columns->values));
        columns->histogram_ts_ms =
            ap_realloc(columns->histogram_ts_ms, series->count * sizeof(*columns->histogram_ts_ms));
        columns->histograms = ap_realloc(columns->histograms, series->count * sizeof(*columns->histograms));
    }
    columns->count = columns->histogram_count = 0;
    for (size_t i = 0; i < series->count; i++) {
        const struct memory_sample *sample = &series->samples[i];
        if (!is_within(set, sample))
            continue;
        if (sample->histogram.data) {
            columns->histogram_ts_ms[columns->histogram_count] = sample->ts_ms;
            columns->histograms[columns->histogram_count++] = sample->histogram;
        } else {
            columns->ts_ms[columns->count] = sample->ts_ms;
            columns->values[columns->count++] = sample->value;
        }
    }
    return AP_OK;
}

static void memory_free(void *context)
{
    struct memory_set *set = context;
    if (!set)
        return;
    free(set->series);
    free(set);
}

struct promql_storage promql_storage_memory(struct memory_storage *storage)
{
    static const struct promql_storage_class class = {.select = memory_select,
                                                      .count = memory_count,
                                                      .labels = memory_labels,
                                                      .read = memory_read,
                                                      .free = memory_free};
    return (struct promql_storage){&class, storage};
}
