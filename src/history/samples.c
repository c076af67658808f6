#include "history/samples.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void history_samples_reset(struct history_samples *samples)
{
    samples->count = samples->histogram_count = 0;
    samples->is_unordered = samples->are_histograms_unordered = false;
    ap_buf_reset(&samples->blobs);
}

void history_samples_clear(struct history_samples *samples)
{
    free(samples->ts_ms);
    free(samples->values);
    free(samples->histogram_ts_ms);
    free(samples->histograms);
    free(samples->places);
    ap_buf_clear(&samples->blobs);
    *samples = (struct history_samples){0};
}

void history_samples_reserve(struct history_samples *samples, size_t count)
{
    size_t needed = samples->count + count;
    if (needed <= samples->capacity)
        return;
    samples->capacity = AP_MAX(AP_MAX(needed, samples->capacity * 2), (size_t)1024);
    samples->ts_ms = ap_realloc(samples->ts_ms, samples->capacity * sizeof(*samples->ts_ms));
    samples->values = ap_realloc(samples->values, samples->capacity * sizeof(*samples->values));
}

void history_samples_add_histogram(struct history_samples *samples, int64_t ts_ms, size_t offset)
{
    size_t at = samples->histogram_count;
    if (at == samples->histogram_capacity) {
        size_t capacity = samples->histogram_capacity = at ? at * 2 : 64;
        samples->histogram_ts_ms = ap_realloc(samples->histogram_ts_ms, capacity * sizeof(*samples->histogram_ts_ms));
        samples->histograms = ap_realloc(samples->histograms, capacity * sizeof(*samples->histograms));
        samples->places = ap_realloc(samples->places, capacity * sizeof(*samples->places));
    }
    if (at && ts_ms <= samples->histogram_ts_ms[at - 1])
        samples->are_histograms_unordered = true;
    samples->histogram_ts_ms[at] = ts_ms;
    samples->places[at] = (struct history_place){offset, (uint32_t)(samples->blobs.bytes - offset)};
    samples->histogram_count++;
}

/* ---- Order ---- */

struct ranked {
    int64_t ts_ms;
    size_t position;
};

static int compare(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->ts_ms != y->ts_ms)
        return x->ts_ms < y->ts_ms ? -1 : 1;
    return (x->position > y->position) - (x->position < y->position);
}

/* In which order to take them, the first of each time; *ret_count of them. free() it. */
static struct ranked *order_of(const int64_t *ts_ms, size_t count, size_t *ret_count)
{
    struct ranked *order = ap_new0_array(struct ranked, count + 1);
    for (size_t i = 0; i < count; i++)
        order[i] = (struct ranked){ts_ms[i], i};
    qsort(order, count, sizeof(*order), compare);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || order[i].ts_ms != order[kept - 1].ts_ms)
            order[kept++] = order[i];
    *ret_count = kept;
    return order;
}

static void put_in_order(struct history_samples *samples)
{
    size_t count;
    AP_AUTO_FREE struct ranked *order = order_of(samples->ts_ms, samples->count, &count);
    double *values = ap_new0_array(double, samples->capacity);
    for (size_t i = 0; i < count; i++) {
        samples->ts_ms[i] = order[i].ts_ms;
        values[i] = samples->values[order[i].position];
    }
    free(samples->values);
    samples->values = values;
    samples->count = count;
    samples->is_unordered = false;
}

static void put_histograms_in_order(struct history_samples *samples)
{
    size_t count;
    AP_AUTO_FREE struct ranked *order = order_of(samples->histogram_ts_ms, samples->histogram_count, &count);
    struct history_place *places = ap_new0_array(struct history_place, samples->histogram_capacity);
    for (size_t i = 0; i < count; i++) {
        samples->histogram_ts_ms[i] = order[i].ts_ms;
        places[i] = samples->places[order[i].position];
    }
    free(samples->places);
    samples->places = places;
    samples->histogram_count = count;
    samples->are_histograms_unordered = false;
}

void history_samples_settle(struct history_samples *samples)
{
    if (samples->is_unordered)
        put_in_order(samples);
    if (samples->are_histograms_unordered)
        put_histograms_in_order(samples);
    for (size_t i = 0; i < samples->histogram_count; i++)
        samples->histograms[i] = ap_slice(samples->blobs.data + samples->places[i].offset, samples->places[i].bytes);
}
