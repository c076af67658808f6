/*
 * history/prometheus_tombstones.h - what was deleted from one of Prometheus' blocks and is still in its chunks
 *
 * Format: tsdb/docs/format/tombstones.md of Prometheus. The checksum is that of all stones; without it none is
 * believed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "base/slice.h"

struct prometheus_stone {
    uint64_t series_ref;
    int64_t min_ts_ms; /* both inclusive */
    int64_t max_ts_ms;
};

struct prometheus_tombstones {
    struct prometheus_stone *stones; /* owned; by series, then time */
    size_t count;
    size_t capacity;
};

/* Reads a file; adds nothing on failure. */
ap_nodiscard enum ap_rc prometheus_tombstones_read(struct ap_slice file, struct prometheus_tombstones *tombstones,
                                                   struct ap_err *err);
void prometheus_tombstones_add(struct prometheus_tombstones *tombstones, struct prometheus_stone stone);
/* After the last add, before the first question. */
void prometheus_tombstones_sort(struct prometheus_tombstones *tombstones);
void prometheus_tombstones_clear(struct prometheus_tombstones *tombstones);

/* Lends the stones of a series. */
const struct prometheus_stone *prometheus_tombstones_of(const struct prometheus_tombstones *tombstones,
                                                        uint64_t series_ref, size_t *ret_count);
static inline bool prometheus_stones_hold(const struct prometheus_stone *stones, size_t count, int64_t ts_ms)
{
    for (size_t i = 0; i < count; i++)
        if (ts_ms >= stones[i].min_ts_ms && ts_ms <= stones[i].max_ts_ms)
            return true;
    return false;
}
