/*
 * history/prometheus_index.h - the index of one of Prometheus' blocks: which series it has, and where their chunks are
 *
 *     magic, version 1 or 2 │ symbols │ series … │ postings and tables │ where each of these begins
 *
 * Series stand in it in order of their labels. They are read one after the other: postings are of no use to somebody
 * who takes all of them. Every series has its checksum, looked at when it is read.
 *
 * Format: tsdb/docs/format/index.md of Prometheus. In version 1 a symbol is known by its offset, in 2 by its number.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "base/slice.h"

struct prometheus_index {
    struct ap_slice file; /* lent */
    uint8_t version;
    struct ap_slice symbols;  /* their bytes, without length and checksum */
    uint32_t *symbol_offsets; /* owned; in `file`; version 2 */
    uint32_t symbol_count;
    uint64_t series_offset; /* of the first, and behind the last */
    uint64_t series_end;
};

struct prometheus_chunk_place {
    int64_t min_ts_ms; /* of its first sample, and of its last */
    int64_t max_ts_ms;
    uint64_t ref; /* for prometheus_chunks_get() */
};

/* In the caller's memory, {0} at first, used again from series to series. */
struct prometheus_series {
    uint64_t ref;                          /* as tombstones name it */
    struct ap_buf labels;                  /* canonical; empty when the series is refused */
    struct prometheus_chunk_place *chunks; /* owned; in order of time */
    size_t chunk_count;
    size_t chunk_capacity;
    struct ap_err refusal; /* rc not AP_OK: Apiary takes no such labels, and this is why */
};
void prometheus_series_clear(struct prometheus_series *series);

/* AP_E_CORRUPT: `err` says what and at which offset. Lends `file` to the index. */
ap_nodiscard enum ap_rc prometheus_index_open(struct ap_slice file, struct prometheus_index *ret_index,
                                              struct ap_err *err);
void prometheus_index_clear(struct prometheus_index *index);

/* The series at *offset, which is index->series_offset at first and moves on; *ret_is_end: there is no more. */
ap_nodiscard enum ap_rc prometheus_index_next(const struct prometheus_index *index, uint64_t *offset,
                                              struct prometheus_series *series, bool *ret_is_end, struct ap_err *err);
