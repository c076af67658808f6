/*
 * tsdb/chunk.h - samples of one series as bytes
 *
 * A chunk holds 1 to CHUNK_SAMPLES_MAX samples in order of time. How values are written is chosen for each chunk by
 * what the numbers are: a constant; decimals as scaled integers, whose differences are packed; doubles cut in two
 * parts, upper and lower bits; the few distinct ones and who has which; as they are. Every double comes back to the
 * bit, payloads of NaN included. Times are an interval and distances from it, which regular scrapes make
 * vanish. Bytes: docs/format/tsdb.md, "Chunks".
 *
 * The time of the first sample is not in the chunk but kept beside its address (struct chunk_entry), where it is needed
 * to find the chunk; the checksum covers it, so that a chunk read with a wrong one is found out.
 *
 * No state, no locks. Encoding never fails; decoding trusts nothing: any bytes give samples or AP_E_CORRUPT.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "base/slice.h"

enum {
    CHUNK_SAMPLES_MAX = 1024,
    CHUNK_PADDING = 64,        /* behind decoded samples: decoders write whole vectors */
    CHUNK_BYTES_MAX = 1 << 20, /* of a histogram chunk; a float chunk is much smaller */
};

enum chunk_kind {
    CHUNK_FLOATS = 1,
    CHUNK_HISTOGRAMS = 2, /* tsdb/histogram.h */
};

/* Where a chunk is and what is in it, without reading it. */
struct chunk_entry {
    int64_t min_ts_ms; /* of its first sample */
    int64_t max_ts_ms; /* of its last one */
    uint64_t offset;   /* in its file */
    uint32_t bytes;
    uint32_t sample_count;
    uint32_t file_index; /* which of its block's chunk files; of no meaning in the head */
    enum chunk_kind kind;
};

/* Appends one chunk. `ts_ms` rises strictly; 1 ≤ count ≤ CHUNK_SAMPLES_MAX. */
void chunk_encode_floats(const int64_t *ts_ms, const double *values, size_t count, struct ap_buf *out);

/* AP_E_CORRUPT: not of this kind, damaged, or checksum wrong. */
struct chunk_floats {
    size_t count;
    int64_t ts_ms[CHUNK_SAMPLES_MAX + CHUNK_PADDING];
    double values[CHUNK_SAMPLES_MAX + CHUNK_PADDING];
};
ap_nodiscard enum ap_rc chunk_decode_floats(struct ap_slice chunk, int64_t first_ts_ms, struct chunk_floats *ret_floats,
                                            struct ap_err *err);
/* The same into arrays of the caller's, with room for CHUNK_SAMPLES_MAX + CHUNK_PADDING. */
ap_nodiscard enum ap_rc chunk_decode_columns(struct ap_slice chunk, int64_t first_ts_ms, int64_t *ret_ts_ms,
                                             double *ret_values, size_t *ret_count, struct ap_err *err);

/* The checksum and the kind alone; what `apiary tsdb verify` runs over every chunk. */
ap_nodiscard enum ap_rc chunk_check(struct ap_slice chunk, int64_t first_ts_ms, enum chunk_kind *ret_kind,
                                    struct ap_err *err);

/* The same for times alone, for other kinds of chunks: encode appends, decode cuts what it read off *rest. */
void chunk_encode_times(const int64_t *ts_ms, size_t count, struct ap_buf *out);
ap_nodiscard enum ap_rc chunk_decode_times(struct ap_slice *rest, int64_t first_ts_ms, size_t count, int64_t *ret_ts_ms,
                                           struct ap_err *err);

/* Which codec this chunk's values use: "constant", "decimal", "split", "distinct", "raw"; for `apiary tsdb inspect`. */
const char *chunk_codec_name(struct ap_slice chunk);

/*
 * Frames for kinds of chunks: the head (kind, count) and the checksum at the end.
 *     size_t start = chunk_begin(out, kind, count); …append… ; chunk_end(out, start, first_ts_ms);
 * chunk_open() checks both and lends what is between.
 */
size_t chunk_begin(struct ap_buf *out, enum chunk_kind kind, size_t count);
void chunk_end(struct ap_buf *out, size_t start, int64_t first_ts_ms);
ap_nodiscard enum ap_rc chunk_open(struct ap_slice chunk, int64_t first_ts_ms, enum chunk_kind kind, size_t *ret_count,
                                   struct ap_slice *ret_payload, struct ap_err *err);
