#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tsdb/bitpack.h"
#include "tsdb/block_internal.h"

void block_meta_clear(struct block_meta *meta)
{
    free(meta->sources);
    *meta = (struct block_meta){0};
}

/* A ULID: 48 bits of milliseconds, 80 random ones, in Crockford's base 32 (github.com/ulid/spec). */
void block_id_make(int64_t now_ms, uint64_t random_high, uint64_t random_low, char ret_id[BLOCK_ID_BYTES])
{
    static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    uint64_t time = (uint64_t)now_ms & ((UINT64_C(1) << 48) - 1);
    for (int i = 9; i >= 0; i--, time >>= 5)
        ret_id[i] = digits[time & 31];
    for (int i = 17; i >= 10; i--, random_high >>= 5)
        ret_id[i] = digits[random_high & 31];
    for (int i = 25; i >= 18; i--, random_low >>= 5)
        ret_id[i] = digits[random_low & 31];
    ret_id[26] = '\0';
}

void block_meta_encode(const struct block_meta *meta, struct ap_buf *out)
{
    ap_buf_add(out, meta->id, BLOCK_ID_BYTES);
    ap_buf_add_u64(out, (uint64_t)meta->min_ts_ms);
    ap_buf_add_u64(out, (uint64_t)meta->max_ts_ms);
    ap_buf_add_u64(out, meta->series_count);
    ap_buf_add_u64(out, meta->chunk_count);
    ap_buf_add_u64(out, meta->sample_count);
    ap_buf_add_u64(out, meta->head_range_id);
    ap_buf_add_u32(out, meta->level);
    ap_buf_add_u32(out, meta->chunk_file_count);
    ap_buf_add_u32(out, (uint32_t)meta->source_count);
    ap_buf_add(out, meta->sources, meta->source_count * BLOCK_ID_BYTES);
}

bool block_meta_decode(struct ap_slice bytes, struct block_meta *ret_meta)
{
    struct block_meta meta = {0};
    uint32_t source_count;
    bool is_sound = bitpack_take(&bytes, meta.id, BLOCK_ID_BYTES) && bitpack_take(&bytes, &meta.min_ts_ms, 8) &&
                    bitpack_take(&bytes, &meta.max_ts_ms, 8) && bitpack_take(&bytes, &meta.series_count, 8) &&
                    bitpack_take(&bytes, &meta.chunk_count, 8) && bitpack_take(&bytes, &meta.sample_count, 8) &&
                    bitpack_take(&bytes, &meta.head_range_id, 8) && bitpack_take(&bytes, &meta.level, 4) &&
                    bitpack_take(&bytes, &meta.chunk_file_count, 4) && bitpack_take(&bytes, &source_count, 4) &&
                    bytes.bytes == (size_t)source_count * BLOCK_ID_BYTES && meta.id[BLOCK_ID_BYTES - 1] == '\0' &&
                    meta.chunk_file_count <= BLOCK_CHUNK_FILES_MAX && meta.series_count < UINT32_MAX;
    if (!is_sound)
        return false;
    meta.source_count = source_count;
    meta.sources = ap_alloc0(source_count + 1, BLOCK_ID_BYTES);
    memcpy(meta.sources, bytes.data, bytes.bytes);
    for (size_t i = 0; i < source_count; i++)
        meta.sources[i][BLOCK_ID_BYTES - 1] = '\0';
    *ret_meta = meta;
    return true;
}

void block_meta_json(const struct block_meta *meta, struct ap_buf *out)
{
    ap_buf_printf(out,
                  "{\n  \"id\": \"%s\",\n  \"format\": 1,\n  \"minTime\": %" PRId64 ",\n  \"maxTime\": %" PRId64
                  ",\n  \"stats\": {\"numSeries\": %" PRIu64 ", \"numChunks\": %" PRIu64 ", \"numSamples\": %" PRIu64
                  "},\n  \"level\": %" PRIu32 ",\n  \"chunkFiles\": %" PRIu32 ",\n  \"sources\": [",
                  meta->id, meta->min_ts_ms, meta->max_ts_ms, meta->series_count, meta->chunk_count, meta->sample_count,
                  meta->level, meta->chunk_file_count);
    for (size_t i = 0; i < meta->source_count; i++)
        ap_buf_printf(out, "%s\"%s\"", i ? ", " : "", meta->sources[i]);
    ap_buf_add_cstr(out, "]\n}\n");
}

void block_chunk_file_name(uint32_t file_index, char ret_name[16])
{
    snprintf(ret_name, 16, "chunks-%04" PRIu32, file_index % 10000);
}
