/*
 * Any bytes as one of Prometheus' chunks: the first says of what. What decodes is encoded again, which must decode to
 * the same.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/bits.h"
#include "codec/histogram_chunk.h"
#include "codec/xor2_chunk.h"
#include "codec/xor_chunk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void try_doubles(struct ap_slice chunk)
{
    struct ap_arena arena;
    struct ap_buf again = {0};
    struct ap_err err;
    size_t count, back_count;
    int64_t *ts_ms, *back_ts_ms;
    double *values, *back;
    ap_arena_init(&arena, 1 << 26);
    if (xor_chunk_decode(chunk, &arena, &count, &ts_ms, &values, &err) == AP_OK) {
        xor_chunk_encode(ts_ms, values, count, &again);
        AP_ASSERT(xor_chunk_decode(ap_buf_slice(&again), &arena, &back_count, &back_ts_ms, &back, &err) == AP_OK);
        AP_ASSERT(back_count == count);
        for (size_t i = 0; i < count; i++)
            AP_ASSERT(back_ts_ms[i] == ts_ms[i] && ap_double_same(back[i], values[i]));
    }
    ap_buf_clear(&again);
    ap_arena_clear(&arena);
}

static void try_newer_doubles(struct ap_slice chunk)
{
    struct ap_arena arena;
    struct ap_err err;
    size_t count;
    int64_t *ts_ms;
    double *values;
    ap_arena_init(&arena, 1 << 26);
    if (xor2_chunk_decode(chunk, &arena, &count, &ts_ms, &values, &err) == AP_OK)
        AP_ASSERT(count <= chunk.bytes * 8);
    ap_arena_clear(&arena);
}

/* Reads `chunk` beside `again`, which must not say anything else. */
static void compare(struct ap_slice chunk, struct ap_slice again, bool is_float)
{
    struct ap_arena arena;
    struct histogram_chunk_reader left, right;
    struct histogram_chunk_sample a, b;
    struct ap_err err;
    bool is_left_end = false, is_right_end = false;
    ap_arena_init(&arena, 1 << 28);
    AP_ASSERT(histogram_chunk_open(chunk, is_float, &arena, &left, &err) == AP_OK);
    AP_ASSERT(histogram_chunk_open(again, is_float, &arena, &right, &err) == AP_OK);
    size_t figure_count = 2 + left.bucket_counts[0] + left.bucket_counts[1];
    while (!is_left_end) {
        AP_ASSERT(histogram_chunk_next(&left, &a, &is_left_end, &err) == AP_OK);
        AP_ASSERT(histogram_chunk_next(&right, &b, &is_right_end, &err) == AP_OK);
        AP_ASSERT(is_left_end == is_right_end);
        if (is_left_end)
            break;
        AP_ASSERT(a.ts_ms == b.ts_ms && ap_double_same(a.sum, b.sum) && !a.figures == !b.figures);
        AP_ASSERT(!a.figures || memcmp(a.figures, b.figures, figure_count * sizeof(*a.figures)) == 0);
    }
    ap_arena_clear(&arena);
}

static void try_histograms(struct ap_slice chunk, bool is_float)
{
    struct ap_arena arena;
    struct ap_buf again = {0};
    struct ap_err err;
    struct histogram_chunk_reader reader;
    ap_arena_init(&arena, 1 << 28);
    enum ap_rc rc = histogram_chunk_open(chunk, is_float, &arena, &reader, &err);
    if (rc == AP_OK) {
        AP_ASSERT(arena.used_bytes <= 256 * chunk.bytes + 128);
        struct histogram_chunk_writer writer;
        struct histogram_chunk_sample sample;
        bool is_end = false;
        histogram_chunk_begin(&writer, &reader.layout, &again);
        while (rc == AP_OK && !is_end) {
            rc = histogram_chunk_next(&reader, &sample, &is_end, &err);
            if (rc == AP_OK && !is_end)
                histogram_chunk_add(&writer, &sample);
        }
        histogram_chunk_end(&writer);
        if (rc == AP_OK)
            compare(chunk, ap_buf_slice(&again), is_float);
    }
    ap_buf_clear(&again);
    ap_arena_clear(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes == 0)
        return 0;
    char *chunk = malloc(bytes); /* of just this size, so that reading beyond it shows */
    memcpy(chunk, data + 1, bytes - 1);
    if (data[0] & 0x80)
        try_newer_doubles(ap_slice(chunk, bytes - 1));
    else if (data[0] % 3 == 0)
        try_doubles(ap_slice(chunk, bytes - 1));
    else
        try_histograms(ap_slice(chunk, bytes - 1), data[0] % 3 == 2);
    free(chunk);
    return 0;
}
