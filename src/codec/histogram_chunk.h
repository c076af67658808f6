/*
 * codec/histogram_chunk.h - Prometheus' chunks of native histograms: integer ones (its encoding 2), float ones (3)
 *
 *     count u16 BE │ flags │ zero threshold │ schema │ spans + │ spans - │ bounds │ sample │ sample …
 *
 * All histograms of a chunk have one layout, said in front; a sample is only numbers then. They stand here in one array
 * of 64 bits each, the figures: the count, the zero bucket's count, the positive buckets', the negative ones'. They are
 * absolute; in a float histogram, a figure is the bits of a double. A staleness marker has no figures, only a sum.
 *
 * Prometheus takes the first histogram of a chunk for what the flags say, and the others for going on without a reset:
 * begin a new chunk where a counter was reset, where the layout changes, and behind a staleness marker.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/rc.h"
#include "codec/bit_stream.h"

enum {
    HISTOGRAM_CHUNK_SAMPLES_MAX = UINT16_MAX,
    HISTOGRAM_CHUNK_BUCKETS_MAX = 1 << 16, /* of one sign */
    HISTOGRAM_CHUNK_SCHEMA_CUSTOM = -53,   /* only then are there bounds */
};

/* The flags. */
enum histogram_chunk_reset {
    HISTOGRAM_CHUNK_RESET_UNKNOWN = 0,
    HISTOGRAM_CHUNK_RESET_NO = 1,
    HISTOGRAM_CHUNK_RESET_YES = 2,
    HISTOGRAM_CHUNK_GAUGE = 3,
};

struct histogram_chunk_span {
    int32_t offset;
    uint32_t length;
};

struct histogram_chunk_layout {
    bool is_float;
    enum histogram_chunk_reset reset;
    int32_t schema;
    double zero_threshold;
    const struct histogram_chunk_span *spans[2]; /* of positive and negative buckets; lent */
    size_t span_counts[2];
    const double *bounds; /* lent */
    size_t bound_count;
};

struct histogram_chunk_sample {
    int64_t ts_ms;
    double sum;
    const uint64_t *figures; /* NULL: a staleness marker, which the sum says */
};

/* ---- Writing ---- */

struct histogram_chunk_writer {
    struct bit_writer bits;
    size_t count_at; /* where in `out` the count goes */
    size_t sample_count;
    bool is_float;
    size_t bucket_counts[2];
    uint64_t *before;       /* owned; integers: each as it is written, the difference to its neighbour */
    uint64_t *delta_before; /* owned; of integers */
    struct bit_xor *states; /* owned; of doubles */
    int64_t ts_ms;
    uint64_t ts_delta;
    struct bit_xor sum;
};

/* `out` gets the chunk and nothing else until histogram_chunk_end(), which must follow. */
void histogram_chunk_begin(struct histogram_chunk_writer *writer, const struct histogram_chunk_layout *layout,
                           struct ap_buf *out);
void histogram_chunk_add(struct histogram_chunk_writer *writer, const struct histogram_chunk_sample *sample);
void histogram_chunk_end(struct histogram_chunk_writer *writer);

/* ---- Reading ---- */

struct histogram_chunk_reader {
    struct histogram_chunk_layout layout; /* in the arena */
    size_t sample_count;
    /* histogram_chunk_next()'s. */
    struct bit_reader bits;
    size_t read_count;
    size_t bucket_counts[2];
    uint64_t *figures; /* in the arena, as the two below */
    uint64_t *before;
    uint64_t *delta_before;
    struct bit_xor *states;
    uint64_t ts;
    uint64_t ts_delta;
    struct bit_xor sum;
};

/*
 * Reads the layout; what is lent is in `arena`, of which it takes at most 256 bytes for each of the chunk's, and 128.
 * AP_E_CORRUPT: the bytes end too early, or have more buckets than they can hold. Whether buckets, counts and bounds
 * make sense is not asked.
 */
ap_nodiscard enum ap_rc histogram_chunk_open(struct ap_slice chunk, bool is_float, struct ap_arena *arena,
                                             struct histogram_chunk_reader *ret_reader, struct ap_err *err);

/* The next one, its figures lent until the call after this; `ret_is_end`: there was none. AP_E_CORRUPT as above. */
ap_nodiscard enum ap_rc histogram_chunk_next(struct histogram_chunk_reader *reader,
                                             struct histogram_chunk_sample *ret_sample, bool *ret_is_end,
                                             struct ap_err *err);
