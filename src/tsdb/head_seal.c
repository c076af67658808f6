/* Tails to chunks: encoding, the ranges' chunk files, and what the chunk lists say of them. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "tsdb/head.h"

/* ---- Ranges ---- */

void head_range_name(uint64_t id, const char *suffix, char ret_name[40])
{
    snprintf(ret_name, 40, "%016" PRIx64 "%s", id, suffix);
}

struct head_range *head_range_ref(struct head_range *range)
{
    __atomic_fetch_add(&range->reference_count, 1, __ATOMIC_RELAXED);
    return range;
}

void head_range_unref(struct head_range *range)
{
    if (!range || __atomic_sub_fetch(&range->reference_count, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    chunk_file_unref(range->file);
    pthread_mutex_destroy(&range->mtx);
    free(range);
}

static struct head_range *range_add_locked(struct head *head, uint64_t id, int64_t start_ms,
                                           struct chunk_file *take_file)
{
    struct head_range *range = ap_new0(struct head_range);
    range->id = id;
    range->start_ms = start_ms;
    range->reference_count = 1;
    range->file = take_file;
    pthread_mutex_init(&range->mtx, NULL);
    if (head->range_count == head->range_capacity) {
        head->range_capacity = head->range_capacity ? head->range_capacity * 2 : 8;
        head->ranges = ap_realloc(head->ranges, head->range_capacity * sizeof(struct head_range *));
    }
    head->ranges[head->range_count++] = range;
    head->range_id_next = AP_MAX(head->range_id_next, id + 1);
    return range;
}

struct head_range *head_range_add(struct head *head, uint64_t id, int64_t start_ms, struct chunk_file *take_file)
{
    pthread_mutex_lock(&head->ranges_mtx);
    struct head_range *range = range_add_locked(head, id, start_ms, take_file);
    pthread_mutex_unlock(&head->ranges_mtx);
    return range;
}

struct head_range *head_range_find(struct head *head, uint64_t id)
{
    struct head_range *found = NULL;
    pthread_mutex_lock(&head->ranges_mtx);
    for (size_t i = 0; i < head->range_count && !found; i++)
        if (head->ranges[i]->id == id)
            found = head->ranges[i];
    pthread_mutex_unlock(&head->ranges_mtx);
    return found;
}

static enum ap_rc range_get_locked(struct head *head, int64_t start_ms, struct head_range **ret_range,
                                   struct ap_err *err)
{
    for (size_t i = head->range_count; i-- > 0;) {
        if (head->ranges[i]->start_ms == start_ms && !head->ranges[i]->is_closed) {
            *ret_range = head->ranges[i];
            return AP_OK;
        }
    }
    uint64_t id = head->range_id_next;
    char name[40];
    head_range_name(id, ".chunks", name);
    struct chunk_file *file;
    enum ap_rc rc = chunk_file_create(head->options.fs, head->options.dir_fd, name, &file, err);
    if (rc != AP_OK)
        return rc;
    *ret_range = range_add_locked(head, id, start_ms, file);
    return AP_OK;
}

enum ap_rc head_range_get(struct head *head, int64_t start_ms, struct head_range **ret_range, struct ap_err *err)
{
    pthread_mutex_lock(&head->ranges_mtx);
    enum ap_rc rc = range_get_locked(head, start_ms, ret_range, err);
    pthread_mutex_unlock(&head->ranges_mtx);
    return rc;
}

void head_range_close(struct head *head, struct head_range *range)
{
    pthread_mutex_lock(&head->ranges_mtx);
    range->is_closed = true;
    pthread_mutex_unlock(&head->ranges_mtx);
}

/* ---- Chunk lists ---- */

void head_list_encode(uint64_t range_id, uint32_t ref, const struct head_chunk *chunk, struct ap_buf *out)
{
    ap_buf_add_varint(out, range_id);
    ap_buf_add_varint(out, ref);
    ap_buf_add_varint(out, (uint64_t)(chunk->min_ts_ms - chunk->range->start_ms));
    ap_buf_add_varint(out, chunk->span_ms);
    ap_buf_add_varint(out, chunk->offset);
    ap_buf_add_varint(out, chunk->bytes);
    ap_buf_add_varint(out, chunk->sample_count);
    ap_buf_add_char(out, (char)chunk->kind);
}

void head_add_chunk_locked(struct head_shard *shard, struct head_series *series, const struct head_chunk *chunk)
{
    if (series->chunk_count == series->chunk_capacity) {
        series->chunk_capacity = series->chunk_capacity ? series->chunk_capacity * 2 : 2;
        series->chunks = ap_realloc(series->chunks, series->chunk_capacity * sizeof(*series->chunks));
    }
    series->chunks[series->chunk_count++] = *chunk;
    shard->chunk_count++;
}

/* ---- Sealing ---- */

static bool note_failure_locked(struct head_shard *shard, const struct ap_err *err)
{
    shard->seal_failures++;
    shard->seal_error = *err;
    return false;
}

static enum ap_rc append_to_range(struct head *head, int64_t start_ms, struct ap_slice bytes,
                                  struct head_range **ret_range, uint64_t *ret_offset, struct ap_err *err)
{
    for (;;) {
        struct head_range *range;
        enum ap_rc rc = head_range_get(head, start_ms, &range, err);
        if (rc != AP_OK)
            return rc;
        pthread_mutex_lock(&range->mtx);
        rc = chunk_file_append(range->file, bytes, ret_offset, err);
        pthread_mutex_unlock(&range->mtx);
        *ret_range = range;
        if (rc != AP_E_LIMIT)
            return rc;
        head_range_close(head, range); /* its file is as large as it may become */
    }
}

/* What shard->chunk_scratch holds becomes a chunk of the series. */
static bool keep_chunk_locked(struct head *head, struct head_shard *shard, uint32_t ref, struct head_series *series,
                              enum chunk_kind kind, int64_t min_ts_ms, int64_t max_ts_ms, size_t count)
{
    struct head_chunk chunk = {
        .min_ts_ms = min_ts_ms,
        .span_ms = (uint32_t)(max_ts_ms - min_ts_ms),
        .bytes = (uint32_t)shard->chunk_scratch.bytes,
        .sample_count = (uint16_t)count,
        .kind = (uint8_t)kind,
    };
    struct ap_err err;
    if (append_to_range(head, head_range_start(head, min_ts_ms), ap_buf_slice(&shard->chunk_scratch), &chunk.range,
                        &chunk.offset, &err) != AP_OK)
        return note_failure_locked(shard, &err);
    head_add_chunk_locked(shard, series, &chunk);
    /* What was deleted from chunks is so from this one, too, although its samples may have come later. */
    if (series->extra && series->extra->deleted_count)
        changes_note(&shard->changes, atomic_load(&head->change_period), min_ts_ms);
    head_list_encode(chunk.range->id, ref, &chunk, &shard->list_pending);
    shard->chunk_bytes += chunk.bytes;
    shard->chunk_samples += count;
    return true;
}

bool head_seal_tail_locked(struct head *head, struct head_shard *shard, uint32_t ref, struct head_series *series,
                           struct tail **tail_at)
{
    if (*tail_at)
        tail_unpack(tail_at);
    struct tail *tail = *tail_at;
    uint32_t done = 0;
    while (tail && done < tail->count) {
        int64_t ts_ms[CHUNK_SAMPLES_MAX];
        const uint32_t *offsets = tail_offsets(tail);
        int64_t first_ts_ms = tail->base_ts_ms + offsets[done];
        int64_t end_ms = head_range_start(head, first_ts_ms) + head->options.range_ms;
        size_t count = 0;
        while (count < CHUNK_SAMPLES_MAX && done + count < tail->count &&
               tail->base_ts_ms + offsets[done + count] < end_ms) {
            ts_ms[count] = tail->base_ts_ms + offsets[done + count];
            count++;
        }
        ap_buf_reset(&shard->chunk_scratch);
        chunk_encode_floats(ts_ms, tail->values + done, count, &shard->chunk_scratch);
        if (!keep_chunk_locked(head, shard, ref, series, CHUNK_FLOATS, ts_ms[0], ts_ms[count - 1], count)) {
            tail_drop(tail, done);
            return false;
        }
        done += (uint32_t)count;
    }
    tail_free(tail);
    *tail_at = NULL;
    return true;
}

bool head_seal_histograms_locked(struct head *head, struct head_shard *shard, uint32_t ref, struct head_series *series)
{
    struct histogram_tail *tail = &series->extra->histograms;
    if (tail->count == 0)
        return true;
    int64_t ts_ms[CHUNK_SAMPLES_MAX];
    struct ap_slice blobs[CHUNK_SAMPLES_MAX];
    uint32_t done = 0;
    while (done < tail->count) {
        size_t count = AP_MIN(tail->count - done, (uint32_t)CHUNK_SAMPLES_MAX);
        size_t bytes = 0;
        for (size_t i = 0; i < count; i++) {
            const struct histogram_tail_entry *entry = &tail->entries[done + i];
            bytes += entry->bytes + 16;
            if (i > 0 && bytes > CHUNK_BYTES_MAX - 64) {
                count = i; /* a chunk stays below its maximum */
                break;
            }
            ts_ms[i] = entry->ts_ms;
            blobs[i] = ap_slice(tail->bytes.data + entry->offset, entry->bytes);
        }
        ap_buf_reset(&shard->chunk_scratch);
        chunk_encode_histograms(ts_ms, blobs, count, &shard->chunk_scratch);
        if (!keep_chunk_locked(head, shard, ref, series, CHUNK_HISTOGRAMS, ts_ms[0], ts_ms[count - 1], count)) {
            memmove(tail->entries, tail->entries + done, (tail->count - done) * sizeof(*tail->entries));
            tail->count -= done;
            return false;
        }
        done += (uint32_t)count;
    }
    tail->count = 0;
    ap_buf_clear(&tail->bytes);
    return true;
}

bool head_seal_locked(struct head *head, struct head_shard *shard, uint32_t ref, struct head_series *series,
                      uint64_t sealed_seq)
{
    bool is_sealed = head_seal_tail_locked(head, shard, ref, series, &series->tail);
    if (series->extra) {
        is_sealed &= head_seal_tail_locked(head, shard, ref, series, &series->extra->late);
        is_sealed &= head_seal_histograms_locked(head, shard, ref, series);
    }
    if (!is_sealed)
        return false;
    series->sealed_seq = AP_MAX(series->sealed_seq, sealed_seq);
    series->tail_epoch = 0;
    return true;
}
