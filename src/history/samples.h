/*
 * history/samples.h - the samples of one series on their way from Prometheus' files to Apiary's
 *
 * Sources add theirs one behind the other; what was added first wins where several have the same time. Histograms are
 * as tsdb/histogram.h encodes them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

struct history_samples {
    int64_t *ts_ms; /* owned, as the other arrays */
    double *values;
    size_t count;
    size_t capacity;
    int64_t *histogram_ts_ms;
    struct ap_slice *histograms; /* set by history_samples_settle() */
    struct history_place {
        size_t offset; /* in `blobs` */
        uint32_t bytes;
    } * places;
    size_t histogram_count;
    size_t histogram_capacity;
    struct ap_buf blobs;
    bool is_unordered; /* something was added that is not newer than what was there */
    bool are_histograms_unordered;
};

void history_samples_reset(struct history_samples *samples); /* keeps the memory; {0} is empty */
void history_samples_clear(struct history_samples *samples);

/* Room for `count` more floats; they are written behind the end and then told. */
void history_samples_reserve(struct history_samples *samples, size_t count);
static inline void history_samples_add(struct history_samples *samples, int64_t ts_ms, double value)
{
    if (samples->count == samples->capacity)
        history_samples_reserve(samples, 1);
    if (samples->count && ts_ms <= samples->ts_ms[samples->count - 1])
        samples->is_unordered = true;
    samples->ts_ms[samples->count] = ts_ms;
    samples->values[samples->count++] = value;
}
/* The histogram's bytes stand at the end of `blobs` already, from `offset` on. */
void history_samples_add_histogram(struct history_samples *samples, int64_t ts_ms, size_t offset);

/* Puts them in order of time, each time once, and sets `histograms`. */
void history_samples_settle(struct history_samples *samples);
