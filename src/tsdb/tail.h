/*
 * tsdb/tail.h - the newest samples of one series, not yet in a chunk
 *
 *     [packed: 32 samples][packed: 32]…[raw: up to 32]
 *
 * Samples come to the raw part. When it is full it is packed, with the codecs of chunks, so that a series that waits
 * for a chunk's worth of samples takes a few hundred bytes and not some thousand. Whatever is not "newer than all" or
 * "all of them, in order" unpacks first.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"

enum {
    TAIL_RAW_SAMPLES = 32,       /* are packed together */
    TAIL_SAMPLES_MAX = 64 << 10, /* in a tail, even when no disk takes them */
};

/* One allocation: the arrays follow. Packed samples are older than raw ones. */
struct tail {
    int64_t base_ts_ms;
    char *packed;        /* owned */
    uint32_t packed_end; /* of the newest packed sample, in ms since base_ts_ms */
    uint16_t packed_count;
    uint16_t packed_bytes;
    uint32_t count; /* of raw samples */
    uint32_t capacity;
    double values[]; /* capacity of them, then as many uint32_t of milliseconds since base_ts_ms */
};

static inline uint32_t *tail_offsets(const struct tail *tail)
{
    return (uint32_t *)(void *)((char *)(uintptr_t)tail->values + tail->capacity * sizeof(double));
}
static inline uint32_t tail_samples(const struct tail *tail)
{
    return tail->packed_count + tail->count;
}

/* An empty one with room for so many raw samples at least. */
ap_nodiscard struct tail *tail_new(uint32_t capacity, int64_t base_ts_ms);
void tail_free(struct tail *tail); /* NULL is allowed */

/* Adds one sample in its place; false: there is one of this time (its value goes to *ret_value). *tail may move. */
bool tail_insert(struct tail **tail, int64_t ts_ms, double value, double *ret_value);

/* Packs the raw part, when there is enough of it and it goes into a chunk. *tail may move; `scratch` is reused. */
void tail_pack(struct tail **tail, struct ap_buf *scratch);
/* Makes all of it raw. */
void tail_unpack(struct tail **tail);

/* Copies all tail_samples(), in order. */
void tail_read(const struct tail *tail, int64_t *ret_ts_ms, double *ret_values);
/* Those in [min, max], returns how many; there has to be room for all tail_samples(). */
size_t tail_read_span(const struct tail *tail, int64_t min_ts_ms, int64_t max_ts_ms, int64_t *ret_ts_ms,
                      double *ret_values);

/* Whether any sample is in [min, max], as far as the first and the last one tell. */
bool tail_touches(const struct tail *tail, int64_t min_ts_ms, int64_t max_ts_ms);

/* Of an unpacked tail: the samples of the span, or the first ones. The base stays. */
void tail_delete(struct tail *tail, int64_t min_ts_ms, int64_t max_ts_ms);
void tail_drop(struct tail *tail, uint32_t count);
