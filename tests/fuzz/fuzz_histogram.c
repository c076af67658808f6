/*
 * Any bytes as a histogram sample; those that begin as a chunk of histograms does, as such a chunk, whose checksum is
 * made to fit. What decodes is encoded again, which must decode to the same.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/assert.h"
#include "tsdb/histogram.h"
#include "wal/crc32c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { ARENA_BYTES_MAX = 64 << 20, CHUNK_FIRST_BYTE = 0x12 };

static void try_sample(struct ap_slice sample)
{
    struct ap_arena arena;
    struct histogram histogram;
    struct histogram again;
    struct ap_err err;
    ap_arena_init(&arena, ARENA_BYTES_MAX);
    if (histogram_decode(sample, &arena, &histogram, &err) == AP_OK) {
        struct ap_buf first = {0};
        struct ap_buf second = {0};
        AP_ASSERT(histogram_check(&histogram, &err) == AP_OK);
        histogram_encode(&histogram, &first);
        AP_ASSERT(first.bytes <= sample.bytes);
        AP_ASSERT(histogram_decode(ap_buf_slice(&first), &arena, &again, &err) == AP_OK);
        histogram_encode(&again, &second);
        AP_ASSERT(ap_slice_equal(ap_buf_slice(&first), ap_buf_slice(&second)));
        for (int32_t schema = HISTOGRAM_SCHEMA_MAX + 1; schema <= HISTOGRAM_SCHEMA_WIRE_MAX; schema += 43) {
            struct histogram reduced = histogram;
            reduced.schema = schema;
            if (histogram_reduce(&reduced, &arena, &err) != AP_OK)
                continue;
            AP_ASSERT(reduced.schema == HISTOGRAM_SCHEMA_MAX);
            if (histogram.schema != HISTOGRAM_SCHEMA_CUSTOM && !histogram_is_stale(&histogram))
                AP_ASSERT(histogram_check(&reduced, &err) == AP_OK);
        }
        ap_buf_clear(&first);
        ap_buf_clear(&second);
    }
    ap_arena_clear(&arena);
}

static void blobs_again(const int64_t *ts_ms, const struct ap_slice *blobs, size_t count)
{
    struct ap_buf chunk = {0};
    struct ap_arena arena;
    struct ap_err err;
    size_t back_count;
    const int64_t *back_ts_ms;
    const struct ap_slice *back;
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += blobs[i].bytes;
    if (bytes >= HISTOGRAM_CHUNK_BLOBS_BYTES_MAX)
        return;
    ap_arena_init(&arena, ARENA_BYTES_MAX);
    chunk_encode_histograms(ts_ms, blobs, count, &chunk);
    AP_ASSERT(chunk.bytes <= bytes + 16 * count + 64);
    AP_ASSERT(chunk_decode_histograms(ap_buf_slice(&chunk), ts_ms[0], &arena, &back_count, &back_ts_ms, &back, &err) ==
              AP_OK);
    AP_ASSERT(back_count == count && memcmp(back_ts_ms, ts_ms, count * sizeof(*ts_ms)) == 0);
    for (size_t i = 0; i < count; i++)
        AP_ASSERT(ap_slice_equal(back[i], blobs[i]));
    ap_arena_clear(&arena);
    ap_buf_clear(&chunk);
}

static void try_chunk(const uint8_t *data, size_t bytes)
{
    static const int64_t first_ts_ms = 0;
    char *chunk = malloc(bytes + 4); /* of just this size, so that reading beyond it shows */
    memcpy(chunk, data, bytes);
    uint32_t crc = wal_crc32c(wal_crc32c(0, &first_ts_ms, sizeof(first_ts_ms)), chunk, bytes);
    memcpy(chunk + bytes, &crc, sizeof(crc));
    struct ap_arena arena;
    struct ap_err err;
    size_t count;
    const int64_t *ts_ms;
    const struct ap_slice *blobs;
    ap_arena_init(&arena, ARENA_BYTES_MAX);
    if (chunk_decode_histograms(ap_slice(chunk, bytes + 4), first_ts_ms, &arena, &count, &ts_ms, &blobs, &err) ==
        AP_OK) {
        for (size_t i = 0; i < count; i++)
            try_sample(blobs[i]);
        blobs_again(ts_ms, blobs, count);
    }
    ap_arena_clear(&arena);
    free(chunk);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes && data[0] == CHUNK_FIRST_BYTE)
        try_chunk(data, bytes);
    else
        try_sample(ap_slice(data, bytes));
    return 0;
}
