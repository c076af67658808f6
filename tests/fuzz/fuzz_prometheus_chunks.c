/*
 * Any bytes as a file of Prometheus' chunks: of its head when the first byte is 0, of a block when it is 1; else they
 * are the data of one chunk of this encoding, whose samples are read.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/assert.h"
#include "history/prometheus_chunks.h"
#include "history/prometheus_decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void read_head(struct ap_slice file)
{
    uint64_t offset = 0;
    for (bool is_end = false; !is_end;) {
        struct prometheus_head_chunk chunk;
        struct ap_err err;
        uint64_t before = offset;
        if (prometheus_head_chunk_next(file, &offset, &chunk, &is_end, &err) != AP_OK || is_end)
            return;
        AP_ASSERT(offset > before && offset <= file.bytes);
    }
}

static void read_block(struct ap_slice file)
{
    struct mapped_file mapped = {(char *)(uintptr_t)file.data, file.bytes};
    const struct prometheus_chunks chunks = {.files = &mapped, .count = 1};
    for (uint64_t ref = 0; ref < file.bytes + 8; ref++) {
        uint8_t encoding;
        struct ap_slice chunk;
        struct ap_err err;
        if (prometheus_chunks_get(&chunks, ref, &encoding, &chunk, &err) == AP_OK)
            AP_ASSERT(chunk.data >= file.data && chunk.data + chunk.bytes <= file.data + file.bytes);
    }
}

static void read_samples(uint8_t encoding, struct ap_slice data)
{
    struct ap_arena arena;
    struct history_samples samples = {0};
    struct prometheus_refusals refusals = {0};
    struct ap_err err;
    const struct prometheus_stone stone = {0, 1000, 2000};
    const struct prometheus_clip clip = {-1000000, INT64_MAX, &stone, 1};
    ap_arena_init(&arena, 1 << 28);
    if (prometheus_decode_chunk(encoding, data, &clip, &arena, &samples, &refusals, &err) == AP_OK) {
        history_samples_settle(&samples);
        for (size_t i = 0; i < samples.count; i++)
            AP_ASSERT(prometheus_clip_wants(&clip, samples.ts_ms[i]) &&
                      (i == 0 || samples.ts_ms[i] > samples.ts_ms[i - 1]));
        for (size_t i = 1; i < samples.histogram_count; i++)
            AP_ASSERT(samples.histogram_ts_ms[i] > samples.histogram_ts_ms[i - 1]);
    }
    history_samples_clear(&samples);
    ap_arena_clear(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes == 0)
        return 0;
    char *exact = malloc(bytes); /* of just this size, so that reading beyond it shows */
    memcpy(exact, data + 1, bytes - 1);
    struct ap_slice rest = ap_slice(exact, bytes - 1);
    if (data[0] == 0)
        read_head(rest);
    else if (data[0] == 1)
        read_block(rest);
    else
        read_samples(data[0] - 1, rest);
    free(exact);
    return 0;
}
