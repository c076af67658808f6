/*
 * history/prometheus_chunks.h - the chunk files of one of Prometheus' blocks, and of its head
 *
 *     chunks/000001 …     of a block: a chunk is known by file and offset, which the index says
 *     chunks_head/000001 … of the head: each chunk says whose it is, and of which time
 *
 * Every chunk has a checksum, looked at before it is handed out. Formats: tsdb/docs/format/chunks.md and
 * head_chunks.md.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "base/slice.h"
#include "history/mapped_file.h"

enum prometheus_encoding {
    PROMETHEUS_XOR = 1,
    PROMETHEUS_HISTOGRAM = 2,
    PROMETHEUS_FLOAT_HISTOGRAM = 3,
    PROMETHEUS_XOR2 = 4,
    PROMETHEUS_OUT_OF_ORDER = 0x80, /* added to the others in the head */
};

/* ---- Of a block ---- */

struct prometheus_chunks {
    struct mapped_file *files; /* owned; in order of their numbers */
    size_t count;
    uint64_t bytes; /* of all */
};

/* The directory `name`; one that is not there has no files. `path` is for messages. */
ap_nodiscard enum ap_rc prometheus_chunks_open(int dir_fd, const char *name, const char *path,
                                               struct prometheus_chunks *ret_chunks, struct ap_err *err);
void prometheus_chunks_close(struct prometheus_chunks *chunks);

/* Lends the chunk's data. AP_E_CORRUPT: `err` names file and offset. */
ap_nodiscard enum ap_rc prometheus_chunks_get(const struct prometheus_chunks *chunks, uint64_t ref,
                                              uint8_t *ret_encoding, struct ap_slice *ret_data, struct ap_err *err);

/* ---- Of the head ---- */

enum { PROMETHEUS_HEAD_CHUNKS_BEGIN = 8 /* in a file: what stands before is its head */ };

struct prometheus_head_chunk {
    uint64_t series_ref;
    int64_t min_ts_ms;
    int64_t max_ts_ms;
    uint8_t encoding; /* without PROMETHEUS_OUT_OF_ORDER */
    bool is_out_of_order;
    struct ap_slice data; /* lent */
};

/*
 * The chunk at *offset of a file of the head, which is 0 at first and moves on. AP_E_CORRUPT: nothing behind it can be
 * found either, and *offset is where.
 */
ap_nodiscard enum ap_rc prometheus_head_chunk_next(struct ap_slice file, uint64_t *offset,
                                                   struct prometheus_head_chunk *ret_chunk, bool *ret_is_end,
                                                   struct ap_err *err);
