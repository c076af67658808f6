/* Every byte of a block read and compared with what it must be. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/mem.h"
#include "tsdb/block_internal.h"
#include "tsdb/histogram.h"

struct verifying {
    const struct block *block;
    void (*each)(const struct block_fault *fault, void *context);
    void *context;
    size_t fault_count;
    uint64_t chunk_count;
    uint64_t sample_count;
    struct chunk_floats floats;
    struct ap_arena arena;
};

static void report(struct verifying *verifying, const char *file, uint64_t offset, const char *text)
{
    struct block_fault fault = {.offset = offset};
    snprintf(fault.file, sizeof(fault.file), "%s", file);
    snprintf(fault.text, sizeof(fault.text), "%s", text);
    verifying->fault_count++;
    verifying->each(&fault, verifying->context);
}

static enum ap_rc read_chunk(struct verifying *verifying, struct ap_slice chunk, const struct chunk_entry *entry,
                             struct ap_err *err)
{
    size_t count = 0;
    int64_t last_ts_ms = 0;
    enum ap_rc rc;
    if (entry->kind == CHUNK_FLOATS) {
        rc = chunk_decode_floats(chunk, entry->min_ts_ms, &verifying->floats, err);
        if (rc == AP_OK) {
            count = verifying->floats.count;
            last_ts_ms = verifying->floats.ts_ms[count - 1];
        }
    } else {
        const int64_t *ts_ms = NULL;
        const struct ap_slice *blobs = NULL;
        rc = chunk_decode_histograms(chunk, entry->min_ts_ms, &verifying->arena, &count, &ts_ms, &blobs, err);
        struct histogram histogram;
        for (size_t i = 0; rc == AP_OK && i < count; i++)
            rc = histogram_decode(blobs[i], &verifying->arena, &histogram, err);
        if (rc == AP_OK)
            last_ts_ms = ts_ms[count - 1];
        ap_arena_reset(&verifying->arena);
    }
    if (rc == AP_OK && (count != entry->sample_count || last_ts_ms != entry->max_ts_ms))
        rc = ap_fail(err, AP_E_CORRUPT,
                     "the chunk has %zu samples up to %" PRId64 "; the index says %" PRIu32 " up to %" PRId64, count,
                     last_ts_ms, entry->sample_count, entry->max_ts_ms);
    return rc;
}

static void verify_series(struct verifying *verifying, uint32_t series, struct ap_buf *labels,
                          struct chunk_entry **entries, size_t *capacity)
{
    struct ap_err err;
    ap_buf_reset(labels);
    block_series_labels(verifying->block, series, labels);
    if (labels_check(ap_buf_slice(labels), &err) != AP_OK)
        report(verifying, "index", 0, err.text);
    size_t count = 0;
    if (block_series_chunks(verifying->block, series, INT64_MIN, INT64_MAX, entries, &count, capacity, &err) != AP_OK)
        report(verifying, "index", 0, err.text);
    for (size_t i = 0; i < count; i++) {
        const struct chunk_entry *entry = &(*entries)[i];
        struct ap_slice chunk;
        enum ap_rc rc = block_chunk(verifying->block, entry, &chunk, &err);
        if (rc == AP_OK && read_chunk(verifying, chunk, entry, &err) != AP_OK)
            rc = block_chunk_failed(verifying->block, entry, &err);
        if (rc != AP_OK) {
            char name[16];
            block_chunk_file_name(entry->file_index, name);
            report(verifying, name, entry->offset, err.text);
        }
        verifying->chunk_count++;
        verifying->sample_count += entry->sample_count;
    }
}

size_t block_verify(const struct os_fs *fs, int blocks_fd, const char *id,
                    void (*each)(const struct block_fault *fault, void *context), void *context,
                    uint64_t *ret_chunk_count, uint64_t *ret_sample_count)
{
    AP_AUTO_FREE struct verifying *verifying = ap_new0(struct verifying);
    AP_AUTO_BUF struct ap_buf labels = {0};
    verifying->each = each;
    verifying->context = context;
    ap_arena_init(&verifying->arena, 0);
    struct ap_err err;
    struct block *block = NULL;
    if (block_open(fs, blocks_fd, id, &block, &err) != AP_OK) {
        report(verifying, "", 0, err.text);
    } else {
        struct chunk_entry *entries = NULL;
        size_t capacity = 0;
        verifying->block = block;
        for (uint32_t i = 0; i < block->series_count; i++)
            verify_series(verifying, i, &labels, &entries, &capacity);
        if (verifying->chunk_count != block->meta.chunk_count || verifying->sample_count != block->meta.sample_count)
            report(verifying, "index", 0, "the counts of chunks and samples are not what the block says it has");
        free(entries);
        block_unref(block);
    }
    ap_arena_clear(&verifying->arena);
    *ret_chunk_count = verifying->chunk_count;
    *ret_sample_count = verifying->sample_count;
    return verifying->fault_count;
}
