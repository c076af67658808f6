/*
 * Any bytes as a chunk. The first 8 are the time of its first sample; the checksum is made to fit, so that the decoders
 * behind it are reached. What decodes must come back the same when it is encoded and decoded again.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/assert.h"
#include "tsdb/chunk.h"
#include "tsdb/histogram.h"
#include "wal/crc32c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void floats_again(const struct chunk_floats *floats)
{
    static struct chunk_floats back;
    struct ap_buf chunk = {0};
    struct ap_err err;
    chunk_encode_floats(floats->ts_ms, floats->values, floats->count, &chunk);
    AP_ASSERT(chunk_decode_floats(ap_buf_slice(&chunk), floats->ts_ms[0], &back, &err) == AP_OK);
    AP_ASSERT(back.count == floats->count && memcmp(back.ts_ms, floats->ts_ms, floats->count * sizeof(int64_t)) == 0 &&
              memcmp(back.values, floats->values, floats->count * sizeof(double)) == 0);
    ap_buf_clear(&chunk);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct chunk_floats floats;
    struct ap_err err;
    int64_t first_ts_ms;
    if (bytes < sizeof(first_ts_ms) + 1)
        return 0;
    memcpy(&first_ts_ms, data, sizeof(first_ts_ms));
    size_t body_bytes = bytes - sizeof(first_ts_ms);
    char *chunk = malloc(body_bytes + 4); /* of just this size, so that reading beyond it shows */
    memcpy(chunk, data + sizeof(first_ts_ms), body_bytes);
    uint32_t crc = wal_crc32c(wal_crc32c(0, &first_ts_ms, sizeof(first_ts_ms)), chunk, body_bytes);
    memcpy(chunk + body_bytes, &crc, sizeof(crc));
    struct ap_slice slice = ap_slice(chunk, body_bytes + 4);
    if (chunk_decode_floats(slice, first_ts_ms, &floats, &err) == AP_OK)
        floats_again(&floats);
    (void)chunk_codec_name(slice);
    struct ap_arena arena;
    ap_arena_init(&arena, 64 << 20);
    size_t count;
    const int64_t *ts_ms;
    const struct ap_slice *blobs;
    if (chunk_decode_histograms(slice, first_ts_ms, &arena, &count, &ts_ms, &blobs, &err) == AP_OK) {
        for (size_t i = 0; i < count; i++) {
            struct histogram histogram;
            if (histogram_decode(blobs[i], &arena, &histogram, &err) != AP_OK)
                break;
        }
    }
    ap_arena_clear(&arena);
    free(chunk);
    return 0;
}
