/*
 * ingest/observations.h - a native histogram while it is being filled
 *
 * Exponential buckets of schema 3: a bucket is 9 % wide, so that a quantile is right to 4.5 %. When the values are too
 * far apart for OBSERVATIONS_BUCKETS_MAX of them, neighbours are merged, which halves the resolution. Counts are
 * floats: an observation that was sampled stands for several, not always a whole number of them.
 *
 * One owner, no locks. {0} with observations_init() is empty.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum { OBSERVATIONS_BUCKETS_MAX = 320 /* of one sign */ };

struct observations_side {
    double *counts; /* owned */
    int32_t first;  /* index of the first bucket */
    uint32_t count;
    uint32_t capacity;
};

struct observations {
    int32_t schema;
    double count;
    double sum;
    double zero_count;
    struct observations_side positive;
    struct observations_side negative;
};

void observations_init(struct observations *observations);
void observations_clear(struct observations *observations);

/* `value` is finite, `weight` above 0. */
void observations_add(struct observations *observations, double value, double weight);

/* As the store keeps it: histogram_encode()'s bytes, appended to `out`. `is_stale`: the marker that ends the series. */
void observations_encode(const struct observations *observations, bool is_stale, struct ap_buf *out);
