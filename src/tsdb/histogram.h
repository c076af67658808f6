/*
 * tsdb/histogram.h - native histograms: exponential buckets (schemas -4 to 8) and custom ones (-53)
 *
 * The meaning is Prometheus' (its native-histogram specification): bucket i of schema n spans (b^(i-1), b^i] with
 * b = 2^(2^-n). With the schema -53 bucket i spans (bound i-1, bound i], the one behind the last bound ends at +Inf.
 * Spans say which buckets are there. One struct has both forms, integer or float, by `is_float`.
 *
 * Who reads a wire format fills the struct and calls, in this order, histogram_reduce(), histogram_check() and
 * histogram_encode(). It brings along:
 * - absolute counts. Integer histograms come in differences between buckets, of one sign at a time; undoing them, and
 *   refusing one that falls below 0 or overflows 64 bits, is the reader's work: here they are unsigned.
 * - spans as they came. Spans of length 0, and a sign without spans, are allowed and kept: nothing needs tidying up.
 * The offsets but the first must not be negative, and the lengths must sum up to the number of counts.
 * - of counts and values only the one that `is_float` says; of an empty array the pointer may be NULL.
 * - for a staleness marker nothing but the sum (and is_float): whatever else is there is neither checked nor kept.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/rc.h"
#include "base/slice.h"
#include "tsdb/chunk.h"

enum {
    HISTOGRAM_SCHEMA_MIN = -4,
    HISTOGRAM_SCHEMA_MAX = 8,
    HISTOGRAM_SCHEMA_WIRE_MAX = 52, /* 9 to 52 are reduced to 8 on the way in */
    HISTOGRAM_SCHEMA_CUSTOM = -53,
    HISTOGRAM_BUCKETS_MAX = 16384, /* of one sign */
    HISTOGRAM_SPANS_MAX = 8192,
};

enum histogram_reset_hint {
    HISTOGRAM_RESET_UNKNOWN = 0,
    HISTOGRAM_RESET_YES = 1,
    HISTOGRAM_RESET_NO = 2,
    HISTOGRAM_RESET_GAUGE = 3,
};

struct histogram_span {
    int32_t offset; /* of the first: bucket index; then: gap to the end of the span before */
    uint32_t length;
};

/* One sign's buckets. */
struct histogram_buckets {
    const struct histogram_span *spans; /* lent */
    size_t span_count;
    const uint64_t *counts; /* absolute; of an integer histogram */
    const double *values;   /* absolute; of a float histogram */
    size_t count;           /* sum of the spans' lengths */
};

struct histogram {
    int32_t schema;
    bool is_float;
    enum histogram_reset_hint reset_hint;
    double zero_threshold;
    uint64_t zero_count; /* integer histogram */
    uint64_t count;
    double zero_value; /* float histogram */
    double count_value;
    double sum; /* the staleness marker (NaN with the bits 0x7ff0000000000002) makes the whole sample one */
    struct histogram_buckets positive;
    struct histogram_buckets negative;
    const double *custom_values; /* upper bounds, of schema -53; lent */
    size_t custom_value_count;
};

bool histogram_is_stale(const struct histogram *histogram);
/*
 * Whether they say the same: buckets of 0 that only one of them names, how spans are cut, and a reset hint that is no
 * gauge's make no difference; doubles are compared by bits.
 */
bool histogram_says_same(const struct histogram *a, const struct histogram *b);
/* Leaves form and reset hint alone; all else becomes 0 and empty. */
void histogram_set_stale(struct histogram *histogram);

/*
 * AP_E_PARSE with the reason (as Prometheus validates): unknown schema or reset hint; a zero threshold that is negative
 * or NaN; negative offsets behind the first span; spans that cover another number of buckets; buckets that do not sum
 * up to the count (with a NaN sum they may fall short of it: observations of NaN are in no bucket), or a sum over 2^64;
 * negative counts of a float one, whose count is otherwise believed, since sums of floats are not exact; bounds that
 * do not rise, are NaN or +Inf; with custom buckets a zero bucket, negative buckets, or spans beyond the bounds.
 * AP_E_LIMIT over a maximum. A staleness marker is always right.
 */
ap_nodiscard enum ap_rc histogram_check(const struct histogram *histogram, struct ap_err *err);

/*
 * Schemas above HISTOGRAM_SCHEMA_MAX halved in resolution until they fit; memory from `arena`, 16 bytes for each
 * bucket. Other schemas, unknown ones too, are left alone. AP_E_PARSE: spans that histogram_check() refuses, or counts
 * that pass 2^64 together.
 */
ap_nodiscard enum ap_rc histogram_reduce(struct histogram *histogram, struct ap_arena *arena, struct ap_err *err);
/* The same down to `schema_max`, HISTOGRAM_SCHEMA_MIN at least. */
ap_nodiscard enum ap_rc histogram_reduce_to(struct histogram *histogram, int32_t schema_max, struct ap_arena *arena,
                                            struct ap_err *err);

/*
 * One sample as self-contained bytes (the log's and the head's form); equal histograms give equal bytes, doubles are
 * compared by bits. Encoding asks for one that histogram_check() accepts. Decoding lends from `arena`, at most 8 times
 * as many bytes as there are and 160, and checks: AP_E_CORRUPT.
 */
void histogram_encode(const struct histogram *histogram, struct ap_buf *out);
ap_nodiscard enum ap_rc histogram_decode(struct ap_slice bytes, struct ap_arena *arena, struct histogram *ret_histogram,
                                         struct ap_err *err);

/*
 * A chunk of them: layouts (schema, threshold, spans, bounds) are written when they change, counts as columns of
 * differences. `blobs` are what histogram_encode() made. 1 ≤ count ≤ CHUNK_SAMPLES_MAX. A caller that needs chunks
 * below CHUNK_BYTES_MAX gives fewer samples when blobs are large: the chunk is never larger than all blobs plus 16
 * bytes for each and 64 for all. All blobs together must be below HISTOGRAM_CHUNK_BLOBS_BYTES_MAX.
 */
enum { HISTOGRAM_CHUNK_BLOBS_BYTES_MAX = 16 << 20 };
void chunk_encode_histograms(const int64_t *ts_ms, const struct ap_slice *blobs, size_t count, struct ap_buf *out);
/*
 * *ret_ts_ms and *ret_blobs (each as histogram_encode() made it) are from `arena`. Whatever the chunk's bytes are, that
 * takes at most HISTOGRAM_CHUNK_BLOBS_BYTES_MAX and 32 KiB of it, and 80 MiB that are freed on return.
 */
ap_nodiscard enum ap_rc chunk_decode_histograms(struct ap_slice chunk, int64_t first_ts_ms, struct ap_arena *arena,
                                                size_t *ret_count, const int64_t **ret_ts_ms,
                                                const struct ap_slice **ret_blobs, struct ap_err *err);
