/*
 * Several blocks into one. Where nothing overlaps and nothing was deleted, chunks stay where they are: their files are
 * linked, and only the index is new. Otherwise the samples are decoded, put in order, and encoded in full chunks.
 */
#include <inttypes.h>
#include <string.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/mem.h"
#include "tsdb/block_internal.h"
#include "tsdb/histogram.h"

enum {
    MERGE_BLOCKS_MAX = 256,
    SAMPLES_PER_CHUNK_MIN = 64, /* on average; smaller chunks cost more in their heads than rewriting costs once */
    SERIES_SAMPLE_MAX = 64 << 20,
};

static struct time_span span_of(const struct block *block)
{
    return (struct time_span){block->meta.min_ts_ms, block->meta.max_ts_ms};
}

bool block_merge_must_rewrite(struct block *const *blocks, size_t count)
{
    uint64_t chunks = 0;
    uint64_t samples = 0;
    uint64_t files = 0;
    for (size_t i = 0; i < count; i++) {
        if (block_has_tombstones(blocks[i]))
            return true;
        for (size_t j = 0; j < i; j++) {
            struct time_span a = span_of(blocks[i]);
            struct time_span b = span_of(blocks[j]);
            if (a.min_ts_ms <= b.max_ts_ms && b.min_ts_ms <= a.max_ts_ms)
                return true;
        }
        chunks += blocks[i]->meta.chunk_count;
        samples += blocks[i]->meta.sample_count;
        files += blocks[i]->meta.chunk_file_count;
    }
    return files > BLOCK_CHUNK_FILES_MAX / 2 || (chunks && samples / chunks < SAMPLES_PER_CHUNK_MIN);
}

/* One block on its way through the merge. */
struct source {
    const struct block *block;
    uint32_t series; /* the next one */
    struct ap_buf labels;
    uint32_t first_file; /* of its files in the merged block */
};

struct merge {
    struct block_writer *writer;
    struct source sources[MERGE_BLOCKS_MAX];
    size_t source_count;
    bool is_rewriting;
    struct chunk_entry *entries;
    size_t entry_count;
    size_t entry_capacity;
    /* While rewriting one series. */
    struct merged_sample {
        int64_t ts_ms;
        double value;
        uint32_t position; /* the first one of a time wins */
    } * samples;
    size_t sample_count;
    size_t sample_capacity;
    struct merged_histogram {
        int64_t ts_ms;
        struct ap_slice blob; /* in arena */
        uint32_t position;
    } * histograms;
    size_t histogram_count;
    size_t histogram_capacity;
    struct time_span *deleted;
    size_t deleted_count;
    size_t deleted_capacity;
    struct chunk_floats floats;
    struct ap_arena arena;
    struct ap_buf chunk;
};

static void advance(struct source *source)
{
    ap_buf_reset(&source->labels);
    if (source->series < source->block->series_count)
        block_series_labels(source->block, source->series, &source->labels);
}

static bool is_at_end(const struct source *source)
{
    return source->series >= source->block->series_count;
}

/* The source whose next series comes first; NULL: all are through. */
static struct source *first_source(struct merge *merge)
{
    struct source *first = NULL;
    for (size_t i = 0; i < merge->source_count; i++) {
        struct source *source = &merge->sources[i];
        if (!is_at_end(source) &&
            (!first || labels_compare(ap_buf_slice(&source->labels), ap_buf_slice(&first->labels)) < 0))
            first = source;
    }
    return first;
}

static int compare_entries(const void *a, const void *b)
{
    const struct chunk_entry *x = a;
    const struct chunk_entry *y = b;
    return (x->min_ts_ms > y->min_ts_ms) - (x->min_ts_ms < y->min_ts_ms);
}

/* ---- Linking ---- */

static enum ap_rc link_files(struct merge *merge, struct ap_err *err)
{
    for (size_t i = 0; i < merge->source_count; i++) {
        struct source *source = &merge->sources[i];
        for (uint32_t j = 0; j < source->block->meta.chunk_file_count; j++) {
            char name[16];
            uint32_t index;
            block_chunk_file_name(j, name);
            enum ap_rc rc = block_writer_link(merge->writer, source->block->dir_fd, name, &index, err);
            if (rc != AP_OK)
                return rc;
            if (j == 0)
                source->first_file = index;
        }
    }
    return AP_OK;
}

static enum ap_rc link_series(struct merge *merge, const struct source *source, struct ap_err *err)
{
    size_t first = merge->entry_count;
    enum ap_rc rc = block_series_chunks(source->block, source->series, INT64_MIN, INT64_MAX, &merge->entries,
                                        &merge->entry_count, &merge->entry_capacity, err);
    for (size_t i = first; i < merge->entry_count; i++)
        merge->entries[i].file_index += source->first_file;
    return rc;
}

/* ---- Rewriting ---- */

static bool is_deleted(const struct merge *merge, int64_t ts_ms)
{
    for (size_t i = 0; i < merge->deleted_count; i++)
        if (ts_ms >= merge->deleted[i].min_ts_ms && ts_ms <= merge->deleted[i].max_ts_ms)
            return true;
    return false;
}

static void load_deleted(struct merge *merge, const struct source *source)
{
    merge->deleted_count = block_tombstones(source->block, source->series, merge->deleted, merge->deleted_capacity);
    if (merge->deleted_count <= merge->deleted_capacity)
        return;
    merge->deleted_capacity = merge->deleted_count;
    merge->deleted = ap_realloc(merge->deleted, merge->deleted_capacity * sizeof(*merge->deleted));
    merge->deleted_count = block_tombstones(source->block, source->series, merge->deleted, merge->deleted_capacity);
}

static void keep_float(struct merge *merge, int64_t ts_ms, double value)
{
    if (merge->sample_count == merge->sample_capacity) {
        merge->sample_capacity = merge->sample_capacity ? merge->sample_capacity * 2 : 4096;
        merge->samples = ap_realloc(merge->samples, merge->sample_capacity * sizeof(*merge->samples));
    }
    merge->samples[merge->sample_count] = (struct merged_sample){ts_ms, value, (uint32_t)merge->sample_count};
    merge->sample_count++;
}

static void keep_histogram(struct merge *merge, int64_t ts_ms, struct ap_slice blob)
{
    if (merge->histogram_count == merge->histogram_capacity) {
        merge->histogram_capacity = merge->histogram_capacity ? merge->histogram_capacity * 2 : 256;
        merge->histograms = ap_realloc(merge->histograms, merge->histogram_capacity * sizeof(*merge->histograms));
    }
    merge->histograms[merge->histogram_count] =
        (struct merged_histogram){ts_ms, blob, (uint32_t)merge->histogram_count};
    merge->histogram_count++;
}

static enum ap_rc load_chunk(struct merge *merge, struct ap_slice chunk, const struct chunk_entry *entry,
                             struct ap_err *err)
{
    if (entry->kind == CHUNK_FLOATS) {
        enum ap_rc rc = chunk_decode_floats(chunk, entry->min_ts_ms, &merge->floats, err);
        for (size_t i = 0; rc == AP_OK && i < merge->floats.count; i++)
            if (!is_deleted(merge, merge->floats.ts_ms[i]))
                keep_float(merge, merge->floats.ts_ms[i], merge->floats.values[i]);
        return rc;
    }
    size_t count;
    const int64_t *ts_ms;
    const struct ap_slice *blobs;
    enum ap_rc rc = chunk_decode_histograms(chunk, entry->min_ts_ms, &merge->arena, &count, &ts_ms, &blobs, err);
    for (size_t i = 0; rc == AP_OK && i < count; i++)
        if (!is_deleted(merge, ts_ms[i]))
            keep_histogram(merge, ts_ms[i], blobs[i]);
    return rc;
}

static enum ap_rc load_series(struct merge *merge, const struct source *source, struct ap_err *err)
{
    merge->entry_count = 0;
    load_deleted(merge, source);
    enum ap_rc rc = block_series_chunks(source->block, source->series, INT64_MIN, INT64_MAX, &merge->entries,
                                        &merge->entry_count, &merge->entry_capacity, err);
    for (size_t i = 0; rc == AP_OK && i < merge->entry_count; i++) {
        struct ap_slice chunk;
        rc = block_chunk(source->block, &merge->entries[i], &chunk, err);
        if (rc == AP_OK && load_chunk(merge, chunk, &merge->entries[i], err) != AP_OK)
            rc = block_chunk_failed(source->block, &merge->entries[i], err);
    }
    if (rc == AP_OK && merge->sample_count > SERIES_SAMPLE_MAX)
        rc = ap_fail(err, AP_E_LIMIT, "a series has more than %d samples in the blocks to merge", SERIES_SAMPLE_MAX);
    return rc;
}

static int compare_samples(const void *a, const void *b)
{
    const struct merged_sample *x = a;
    const struct merged_sample *y = b;
    if (x->ts_ms != y->ts_ms)
        return x->ts_ms < y->ts_ms ? -1 : 1;
    return (x->position > y->position) - (x->position < y->position);
}

static int compare_histograms(const void *a, const void *b)
{
    const struct merged_histogram *x = a;
    const struct merged_histogram *y = b;
    if (x->ts_ms != y->ts_ms)
        return x->ts_ms < y->ts_ms ? -1 : 1;
    return (x->position > y->position) - (x->position < y->position);
}

static enum ap_rc add_chunk(struct merge *merge, enum chunk_kind kind, const int64_t *ts_ms, size_t count,
                            struct ap_err *err)
{
    struct chunk_entry entry = {
        .min_ts_ms = ts_ms[0],
        .max_ts_ms = ts_ms[count - 1],
        .sample_count = (uint32_t)count,
        .kind = kind,
    };
    enum ap_rc rc = block_writer_add_chunk(merge->writer, ap_buf_slice(&merge->chunk), &entry, err);
    if (rc != AP_OK)
        return rc;
    if (merge->entry_count == merge->entry_capacity) {
        merge->entry_capacity = merge->entry_capacity ? merge->entry_capacity * 2 : 16;
        merge->entries = ap_realloc(merge->entries, merge->entry_capacity * sizeof(*merge->entries));
    }
    merge->entries[merge->entry_count++] = entry;
    return AP_OK;
}

static enum ap_rc write_floats(struct merge *merge, struct ap_err *err)
{
    if (merge->sample_count)
        qsort(merge->samples, merge->sample_count, sizeof(*merge->samples), compare_samples);
    int64_t ts_ms[CHUNK_SAMPLES_MAX];
    double values[CHUNK_SAMPLES_MAX];
    size_t count = 0;
    enum ap_rc rc = AP_OK;
    for (size_t i = 0; i <= merge->sample_count && rc == AP_OK; i++) {
        bool is_end = i == merge->sample_count;
        if (!is_end && i && merge->samples[i].ts_ms == merge->samples[i - 1].ts_ms)
            continue;
        if (count == CHUNK_SAMPLES_MAX || (is_end && count)) {
            ap_buf_reset(&merge->chunk);
            chunk_encode_floats(ts_ms, values, count, &merge->chunk);
            rc = add_chunk(merge, CHUNK_FLOATS, ts_ms, count, err);
            count = 0;
        }
        if (is_end)
            break;
        ts_ms[count] = merge->samples[i].ts_ms;
        values[count++] = merge->samples[i].value;
    }
    return rc;
}

static enum ap_rc write_histograms(struct merge *merge, struct ap_err *err)
{
    if (merge->histogram_count)
        qsort(merge->histograms, merge->histogram_count, sizeof(*merge->histograms), compare_histograms);
    int64_t ts_ms[CHUNK_SAMPLES_MAX];
    struct ap_slice blobs[CHUNK_SAMPLES_MAX];
    size_t count = 0;
    size_t bytes = 0;
    enum ap_rc rc = AP_OK;
    for (size_t i = 0; i <= merge->histogram_count && rc == AP_OK; i++) {
        bool is_end = i == merge->histogram_count;
        if (!is_end && i && merge->histograms[i].ts_ms == merge->histograms[i - 1].ts_ms)
            continue;
        size_t next_bytes = is_end ? 0 : merge->histograms[i].blob.bytes + 16;
        if (count && (is_end || count == CHUNK_SAMPLES_MAX || bytes + next_bytes > CHUNK_BYTES_MAX - 64)) {
            ap_buf_reset(&merge->chunk);
            chunk_encode_histograms(ts_ms, blobs, count, &merge->chunk);
            rc = add_chunk(merge, CHUNK_HISTOGRAMS, ts_ms, count, err);
            count = bytes = 0;
        }
        if (is_end)
            break;
        ts_ms[count] = merge->histograms[i].ts_ms;
        blobs[count++] = merge->histograms[i].blob;
        bytes += next_bytes;
    }
    return rc;
}

/* ---- Series by series ---- */

static enum ap_rc merge_series(struct merge *merge, struct ap_slice labels, struct ap_err *err)
{
    enum ap_rc rc = AP_OK;
    merge->entry_count = merge->sample_count = merge->histogram_count = 0;
    for (size_t i = 0; i < merge->source_count && rc == AP_OK; i++) {
        struct source *source = &merge->sources[i];
        if (is_at_end(source) || !ap_slice_equal(ap_buf_slice(&source->labels), labels))
            continue;
        rc = merge->is_rewriting ? load_series(merge, source, err) : link_series(merge, source, err);
    }
    if (merge->is_rewriting) {
        merge->entry_count = 0;
        if (rc == AP_OK)
            rc = write_floats(merge, err);
        if (rc == AP_OK)
            rc = write_histograms(merge, err);
        ap_arena_reset(&merge->arena);
    }
    if (rc != AP_OK || merge->entry_count == 0)
        return rc;
    qsort(merge->entries, merge->entry_count, sizeof(*merge->entries), compare_entries);
    return block_writer_add_series(merge->writer, labels, merge->entries, merge->entry_count, err);
}

static enum ap_rc merge_all(struct merge *merge, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf labels = {0};
    enum ap_rc rc = merge->is_rewriting ? AP_OK : link_files(merge, err);
    for (size_t i = 0; i < merge->source_count; i++)
        advance(&merge->sources[i]);
    struct source *first;
    while (rc == AP_OK && (first = first_source(merge)) != NULL) {
        ap_buf_reset(&labels);
        ap_buf_add_slice(&labels, ap_buf_slice(&first->labels));
        rc = merge_series(merge, ap_buf_slice(&labels), err);
        for (size_t i = 0; i < merge->source_count; i++) {
            struct source *source = &merge->sources[i];
            if (!is_at_end(source) && ap_slice_equal(ap_buf_slice(&source->labels), ap_buf_slice(&labels))) {
                source->series++;
                advance(source);
            }
        }
    }
    return rc;
}

static enum ap_rc finish(struct merge *merge, struct block *const *blocks, size_t count, struct ap_err *err)
{
    struct block_meta meta = {.source_count = count, .sources = ap_alloc0(count, BLOCK_ID_BYTES)};
    for (size_t i = 0; i < count; i++) {
        meta.level = AP_MAX(meta.level, blocks[i]->meta.level + 1);
        memcpy(meta.sources[i], blocks[i]->meta.id, BLOCK_ID_BYTES);
    }
    enum ap_rc rc = block_writer_finish(merge->writer, &meta, err);
    free(meta.sources);
    return rc;
}

enum ap_rc block_merge(const struct block_merge_options *options, struct block *const *blocks, size_t count,
                       struct ap_err *err)
{
    AP_ASSERT(count >= 1 && count <= MERGE_BLOCKS_MAX);
    AP_AUTO_FREE struct merge *merge = ap_new0(struct merge);
    enum ap_rc rc = block_writer_new(options->fs, options->blocks_fd, options->id, &merge->writer, err);
    if (rc != AP_OK)
        return rc;
    merge->is_rewriting = options->is_rewriting;
    merge->source_count = count;
    for (size_t i = 0; i < count; i++)
        merge->sources[i].block = blocks[i];
    ap_arena_init(&merge->arena, 0);
    rc = merge_all(merge, err);
    if (rc == AP_OK)
        rc = finish(merge, blocks, count, err);
    for (size_t i = 0; i < count; i++)
        ap_buf_clear(&merge->sources[i].labels);
    free(merge->entries);
    free(merge->samples);
    free(merge->histograms);
    free(merge->deleted);
    ap_buf_clear(&merge->chunk);
    ap_arena_clear(&merge->arena);
    block_writer_free(merge->writer);
    return rc;
}
