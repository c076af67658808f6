/*
 * history/prometheus_block.h - one block of a Prometheus: a directory with meta.json, index, chunks/ and tombstones
 *
 * Opening reads all of the index, so that a block whose index is damaged is found out before anything is taken from it.
 * Chunks are checked when they are read: a damaged one is told and left out, the rest of its series is taken.
 *
 * Threads: an open block does not change; each stream is one thread's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"
#include "history/prometheus_chunks.h"
#include "history/prometheus_decode.h"
#include "history/prometheus_index.h"
#include "history/prometheus_tombstones.h"
#include "history/samples.h"
#include "history/trouble.h"

enum { PROMETHEUS_BLOCK_NAME_BYTES = 27 /* a ULID with its NUL */ };

struct prometheus_block {
    char name[PROMETHEUS_BLOCK_NAME_BYTES];
    int64_t min_ts_ms; /* of its span, inclusive, as meta.json says */
    int64_t end_ts_ms; /* and behind its end */
    bool is_from_out_of_order;
    uint64_t series_count; /* as the index has them, as all below */
    uint64_t chunk_count;
    uint64_t refused_series; /* with labels that Apiary does not take */
    struct ap_err refusal;   /* the first one */
    int64_t first_ts_ms;     /* of its chunks; INT64_MAX: it has none */
    int64_t last_ts_ms;
    uint64_t sample_count; /* as meta.json says; deleted ones among them */
    uint64_t bytes;
    struct mapped_file index_file;
    struct prometheus_index index;
    struct prometheus_chunks chunks;
    struct prometheus_tombstones stones;
    uint32_t fingerprint; /* of what it is made of: another one after a deletion */
};

/* AP_E_CORRUPT, AP_E_NOT_FOUND (a file of it): it cannot be read. */
ap_nodiscard enum ap_rc prometheus_block_open(int dir_fd, const char *name, const char *path,
                                              struct prometheus_block **ret_block, struct ap_err *err);
void prometheus_block_close(struct prometheus_block *block); /* NULL is allowed */

/* Series by series, in order of labels; samples from min_ts_ms to max_ts_ms, both inclusive. In the caller's memory. */
struct prometheus_block_stream {
    const struct prometheus_block *block; /* lent */
    struct history_trouble *trouble;      /* lent */
    int64_t min_ts_ms;
    int64_t max_ts_ms;
    uint64_t offset;
    struct prometheus_series series;
    struct ap_arena arena;
};
void prometheus_block_stream_init(struct prometheus_block_stream *stream, const struct prometheus_block *block,
                                  int64_t min_ts_ms, int64_t max_ts_ms, struct history_trouble *trouble);
void prometheus_block_stream_clear(struct prometheus_block_stream *stream);
/* Lends the labels of the next series that has chunks in the span. */
ap_nodiscard enum ap_rc prometheus_block_stream_next(struct prometheus_block_stream *stream,
                                                     struct ap_slice *ret_labels, bool *ret_is_end, struct ap_err *err);
/* Adds its samples. */
ap_nodiscard enum ap_rc prometheus_block_stream_read(struct prometheus_block_stream *stream,
                                                     struct history_samples *samples,
                                                     struct prometheus_refusals *refusals, struct ap_err *err);
