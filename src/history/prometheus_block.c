#include "history/prometheus_block.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/mem.h"
#include "codec/json_reader.h"
#include "tsdb/labels.h"
#include "wal/crc32c.h"

enum { META_VERSION = 1 };

/* ---- meta.json ---- */

static enum ap_rc read_integer(struct json_reader *reader, int64_t *ret_value, struct ap_err *err)
{
    struct ap_slice raw;
    enum ap_rc rc = json_reader_skip(reader, &raw, err);
    if (rc != AP_OK)
        return rc;
    char text[32];
    snprintf(text, sizeof(text), "%.*s", AP_SLICE_ARG(raw));
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (*end != '\0' || errno != 0)
        return ap_fail(err, AP_E_PARSE, "'%s' is not a time in milliseconds", text);
    *ret_value = value;
    return AP_OK;
}

static enum ap_rc read_stats(struct json_reader *reader, struct prometheus_block *block, struct ap_err *err)
{
    struct ap_slice key;
    bool is_there;
    enum ap_rc rc = json_reader_begin_object(reader, err);
    while (rc == AP_OK && (rc = json_reader_next_key(reader, &key, &is_there, err)) == AP_OK && is_there) {
        int64_t count = 0;
        if (ap_slice_equal_cstr(key, "numSamples"))
            rc = read_integer(reader, &count, err);
        else
            rc = json_reader_skip(reader, NULL, err);
        block->sample_count += (uint64_t)AP_MAX(count, (int64_t)0);
    }
    return rc;
}

static enum ap_rc read_hints(struct json_reader *reader, struct prometheus_block *block, struct ap_err *err)
{
    bool is_there;
    enum json_kind kind;
    enum ap_rc rc = json_reader_peek(reader, &kind, err);
    if (rc != AP_OK || kind != JSON_KIND_ARRAY)
        return rc == AP_OK ? json_reader_skip(reader, NULL, err) : rc;
    rc = json_reader_begin_array(reader, err);
    while (rc == AP_OK && (rc = json_reader_next_item(reader, &is_there, err)) == AP_OK && is_there) {
        struct ap_slice raw;
        rc = json_reader_skip(reader, &raw, err);
        block->is_from_out_of_order |= rc == AP_OK && ap_slice_equal_cstr(raw, "\"from-out-of-order\"");
    }
    return rc;
}

static enum ap_rc read_compaction(struct json_reader *reader, struct prometheus_block *block, struct ap_err *err)
{
    struct ap_slice key;
    bool is_there;
    enum ap_rc rc = json_reader_begin_object(reader, err);
    while (rc == AP_OK && (rc = json_reader_next_key(reader, &key, &is_there, err)) == AP_OK && is_there)
        rc = ap_slice_equal_cstr(key, "hints") ? read_hints(reader, block, err) : json_reader_skip(reader, NULL, err);
    return rc;
}

static enum ap_rc read_meta(struct ap_slice json, struct prometheus_block *block, struct ap_err *err)
{
    AP_AUTO_ARENA struct ap_arena arena;
    ap_arena_init(&arena, 0);
    struct json_reader reader;
    struct ap_slice key;
    bool is_there;
    int64_t version = 0;
    block->min_ts_ms = INT64_MAX;
    block->end_ts_ms = INT64_MIN;
    json_reader_init(&reader, json, &arena, &json_reader_limits_default);
    enum ap_rc rc = json_reader_begin_object(&reader, err);
    while (rc == AP_OK && (rc = json_reader_next_key(&reader, &key, &is_there, err)) == AP_OK && is_there) {
        if (ap_slice_equal_cstr(key, "version"))
            rc = read_integer(&reader, &version, err);
        else if (ap_slice_equal_cstr(key, "minTime"))
            rc = read_integer(&reader, &block->min_ts_ms, err);
        else if (ap_slice_equal_cstr(key, "maxTime"))
            rc = read_integer(&reader, &block->end_ts_ms, err);
        else if (ap_slice_equal_cstr(key, "stats"))
            rc = read_stats(&reader, block, err);
        else if (ap_slice_equal_cstr(key, "compaction"))
            rc = read_compaction(&reader, block, err);
        else
            rc = json_reader_skip(&reader, NULL, err);
    }
    if (rc == AP_OK)
        rc = json_reader_finish(&reader, err);
    if (rc == AP_OK && (version != META_VERSION || block->end_ts_ms < block->min_ts_ms))
        rc = ap_fail(err, AP_E_CORRUPT, "it has version %" PRId64 " (known: %d) or no span of time", version,
                     META_VERSION);
    if (rc == AP_OK)
        return rc;
    err->rc = AP_E_CORRUPT;
    return ap_err_prefix(err, "meta.json");
}

/* ---- Opening ---- */

static enum ap_rc walk_index(struct prometheus_block *block, struct ap_err *err)
{
    struct prometheus_series series = {0};
    AP_AUTO_BUF struct ap_buf labels_before = {0};
    uint64_t offset = block->index.series_offset;
    enum ap_rc rc;
    block->first_ts_ms = INT64_MAX;
    block->last_ts_ms = INT64_MIN;
    for (bool is_end = false;;) {
        rc = prometheus_index_next(&block->index, &offset, &series, &is_end, err);
        if (rc != AP_OK || is_end)
            break;
        struct ap_slice labels = ap_buf_slice(&series.labels);
        if (series.refusal.rc != AP_OK && block->refused_series++ == 0)
            block->refusal = series.refusal;
        if (labels.bytes && labels_before.bytes && labels_compare(ap_buf_slice(&labels_before), labels) >= 0) {
            rc = ap_fail(err, AP_E_CORRUPT, "index, offset %" PRIu64 ": the series are not in order", offset);
            break;
        }
        if (labels.bytes) {
            ap_buf_reset(&labels_before);
            ap_buf_add_slice(&labels_before, labels);
        }
        block->series_count++;
        block->chunk_count += series.chunk_count;
        for (size_t i = 0; i < series.chunk_count; i++) {
            block->first_ts_ms = AP_MIN(block->first_ts_ms, series.chunks[i].min_ts_ms);
            block->last_ts_ms = AP_MAX(block->last_ts_ms, series.chunks[i].max_ts_ms);
        }
    }
    prometheus_series_clear(&series);
    return rc;
}

static enum ap_rc open_files(struct prometheus_block *block, int fd, const char *path, struct ap_err *err)
{
    struct mapped_file meta = {0}, stones = {0};
    AP_AUTO_FREE char *meta_path = ap_asprintf("%s/meta.json", path);
    AP_AUTO_FREE char *index_path = ap_asprintf("%s/index", path);
    AP_AUTO_FREE char *chunks_path = ap_asprintf("%s/chunks", path);
    AP_AUTO_FREE char *stones_path = ap_asprintf("%s/tombstones", path);
    enum ap_rc rc = mapped_file_open(fd, "meta.json", meta_path, &meta, err);
    if (rc == AP_OK)
        rc = read_meta(mapped_file_slice(&meta), block, err);
    if (rc == AP_OK)
        rc = mapped_file_open(fd, "index", index_path, &block->index_file, err);
    if (rc == AP_OK)
        rc = prometheus_index_open(mapped_file_slice(&block->index_file), &block->index, err);
    if (rc == AP_OK)
        rc = prometheus_chunks_open(fd, "chunks", chunks_path, &block->chunks, err);
    if (rc == AP_OK)
        rc = mapped_file_open(fd, "tombstones", stones_path, &stones, err);
    if (rc == AP_E_NOT_FOUND && block->index.file.data) /* a block of which nothing was deleted need not have any */
        rc = AP_OK;
    else if (rc == AP_OK)
        rc = prometheus_tombstones_read(mapped_file_slice(&stones), &block->stones, err);
    prometheus_tombstones_sort(&block->stones);
    block->bytes = block->index_file.bytes + block->chunks.bytes;
    block->fingerprint = wal_crc32c(0, block->name, sizeof(block->name));
    block->fingerprint = wal_crc32c(block->fingerprint, &block->bytes, sizeof(block->bytes));
    if (stones.data)
        block->fingerprint = wal_crc32c(block->fingerprint, stones.data, stones.bytes);
    mapped_file_close(&meta);
    mapped_file_close(&stones);
    return rc;
}

enum ap_rc prometheus_block_open(int dir_fd, const char *name, const char *path, struct prometheus_block **ret_block,
                                 struct ap_err *err)
{
    AP_AUTO_FD int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return ap_fail_errno(err, errno, "open %s", path);
    struct prometheus_block *block = ap_new0(struct prometheus_block);
    snprintf(block->name, sizeof(block->name), "%s", name);
    enum ap_rc rc = open_files(block, fd, path, err);
    if (rc == AP_OK)
        rc = walk_index(block, err);
    if (rc == AP_OK)
        *ret_block = block;
    else
        prometheus_block_close(block);
    return rc;
}

void prometheus_block_close(struct prometheus_block *block)
{
    if (!block)
        return;
    prometheus_index_clear(&block->index);
    prometheus_chunks_close(&block->chunks);
    prometheus_tombstones_clear(&block->stones);
    mapped_file_close(&block->index_file);
    free(block);
}

/* ---- Series by series ---- */

void prometheus_block_stream_init(struct prometheus_block_stream *stream, const struct prometheus_block *block,
                                  int64_t min_ts_ms, int64_t max_ts_ms, struct history_trouble *trouble)
{
    *stream = (struct prometheus_block_stream){
        .block = block,
        .trouble = trouble,
        .min_ts_ms = min_ts_ms,
        .max_ts_ms = max_ts_ms,
        .offset = block->index.series_offset,
    };
    ap_arena_init(&stream->arena, 0);
}

void prometheus_block_stream_clear(struct prometheus_block_stream *stream)
{
    prometheus_series_clear(&stream->series);
    ap_arena_clear(&stream->arena);
}

static bool touches(const struct prometheus_block_stream *stream, const struct prometheus_chunk_place *place)
{
    return place->min_ts_ms <= stream->max_ts_ms && place->max_ts_ms >= stream->min_ts_ms;
}

enum ap_rc prometheus_block_stream_next(struct prometheus_block_stream *stream, struct ap_slice *ret_labels,
                                        bool *ret_is_end, struct ap_err *err)
{
    for (;;) {
        enum ap_rc rc = prometheus_index_next(&stream->block->index, &stream->offset, &stream->series, ret_is_end, err);
        if (rc != AP_OK || *ret_is_end)
            return rc;
        *ret_labels = ap_buf_slice(&stream->series.labels);
        for (size_t i = 0; ret_labels->bytes && i < stream->series.chunk_count; i++)
            if (touches(stream, &stream->series.chunks[i]))
                return AP_OK;
    }
}

static enum ap_rc read_chunk(struct prometheus_block_stream *stream, const struct prometheus_chunk_place *place,
                             const struct prometheus_clip *clip, struct history_samples *samples,
                             struct prometheus_refusals *refusals, struct ap_err *err)
{
    uint8_t encoding;
    struct ap_slice data;
    enum ap_rc rc = prometheus_chunks_get(&stream->block->chunks, place->ref, &encoding, &data, err);
    if (rc == AP_OK &&
        (rc = prometheus_decode_chunk(encoding, data, clip, &stream->arena, samples, refusals, err)) != AP_OK)
        (void)ap_err_prefix(err, "chunks/%06" PRIu64 ", offset %" PRIu64, (place->ref >> 32) + 1,
                            place->ref & UINT32_MAX);
    return rc;
}

enum ap_rc prometheus_block_stream_read(struct prometheus_block_stream *stream, struct history_samples *samples,
                                        struct prometheus_refusals *refusals, struct ap_err *err)
{
    struct prometheus_clip clip = {.min_ts_ms = stream->min_ts_ms, .max_ts_ms = stream->max_ts_ms};
    clip.stones = prometheus_tombstones_of(&stream->block->stones, stream->series.ref, &clip.stone_count);
    for (size_t i = 0; i < stream->series.chunk_count; i++) {
        const struct prometheus_chunk_place *place = &stream->series.chunks[i];
        if (!touches(stream, place))
            continue;
        enum ap_rc rc = read_chunk(stream, place, &clip, samples, refusals, err);
        if (rc == AP_E_NOMEM)
            return rc;
        if (rc != AP_OK) {
            (void)ap_err_prefix(err, "block %s", stream->block->name);
            history_trouble_tell(stream->trouble, err);
        }
    }
    return AP_OK;
}
