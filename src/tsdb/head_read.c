/* What a query takes from the head: copies made under the shard's lock, decoded outside of it. */
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "tsdb/head.h"

void head_copy_clear(struct head_copy *copy)
{
    free(copy->chunks);
    free(copy->ts_ms);
    free(copy->values);
    ap_buf_clear(&copy->histogram_bytes);
    free(copy->histograms);
    free(copy->deleted);
    *copy = (struct head_copy){0};
}

static void reserve_samples(struct head_copy *copy, size_t count)
{
    if (count <= copy->sample_capacity)
        return;
    copy->sample_capacity = AP_MAX(count, copy->sample_capacity * 2);
    copy->ts_ms = ap_realloc(copy->ts_ms, copy->sample_capacity * sizeof(*copy->ts_ms));
    copy->values = ap_realloc(copy->values, copy->sample_capacity * sizeof(*copy->values));
}

static size_t copy_tail(const struct tail *tail, int64_t min_ts_ms, int64_t max_ts_ms, struct head_copy *copy,
                        size_t at)
{
    if (!tail || !tail_touches(tail, min_ts_ms, max_ts_ms))
        return 0;
    reserve_samples(copy, at + tail_samples(tail));
    return tail_read_span(tail, min_ts_ms, max_ts_ms, copy->ts_ms + at, copy->values + at);
}

static void copy_histograms(const struct histogram_tail *tail, int64_t min_ts_ms, int64_t max_ts_ms,
                            struct head_copy *copy)
{
    for (uint32_t i = 0; i < tail->count; i++) {
        const struct histogram_tail_entry *entry = &tail->entries[i];
        if (entry->ts_ms < min_ts_ms || entry->ts_ms > max_ts_ms)
            continue;
        if (copy->histogram_count == copy->histogram_capacity) {
            copy->histogram_capacity = copy->histogram_capacity ? copy->histogram_capacity * 2 : 16;
            copy->histograms = ap_realloc(copy->histograms, copy->histogram_capacity * sizeof(*copy->histograms));
        }
        copy->histograms[copy->histogram_count++] =
            (struct histogram_tail_entry){entry->ts_ms, (uint32_t)copy->histogram_bytes.bytes, entry->bytes};
        ap_buf_add(&copy->histogram_bytes, tail->bytes.data + entry->offset, entry->bytes);
    }
}

static void copy_chunks(const struct head_series *series, uint64_t generation, int64_t min_ts_ms, int64_t max_ts_ms,
                        struct head_copy *copy)
{
    if (series->chunk_count > copy->chunk_capacity) {
        copy->chunk_capacity = series->chunk_count;
        copy->chunks = ap_realloc(copy->chunks, copy->chunk_capacity * sizeof(*copy->chunks));
    }
    for (uint32_t i = 0; i < series->chunk_count; i++) {
        const struct head_chunk *chunk = &series->chunks[i];
        uint64_t cut = __atomic_load_n(&chunk->range->cut_generation, __ATOMIC_ACQUIRE);
        if ((cut && cut <= generation) || chunk->min_ts_ms > max_ts_ms || chunk->min_ts_ms + chunk->span_ms < min_ts_ms)
            continue;
        copy->chunks[copy->chunk_count++] = *chunk;
    }
}

static void copy_deleted(const struct head_extra *extra, struct head_copy *copy)
{
    if (extra->deleted_count > copy->deleted_capacity) {
        copy->deleted_capacity = extra->deleted_count;
        copy->deleted = ap_realloc(copy->deleted, copy->deleted_capacity * sizeof(*copy->deleted));
    }
    if (extra->deleted_count)
        memcpy(copy->deleted, extra->deleted, extra->deleted_count * sizeof(*copy->deleted));
    copy->deleted_count = extra->deleted_count;
}

void head_copy_series(struct head *head, uint32_t ref, uint64_t generation, int64_t min_ts_ms, int64_t max_ts_ms,
                      struct head_copy *copy)
{
    copy->chunk_count = copy->tail_count = copy->late_count = copy->histogram_count = copy->deleted_count = 0;
    ap_buf_reset(&copy->histogram_bytes);
    struct head_shard *shard = head_shard_of(head, ref);
    pthread_mutex_lock(&shard->mtx);
    const struct head_series *series = head_series_peek_locked(shard, head_local(head, ref));
    if (series) {
        copy_chunks(series, generation, min_ts_ms, max_ts_ms, copy);
        copy->tail_count = copy_tail(series->tail, min_ts_ms, max_ts_ms, copy, 0);
        if (series->extra) {
            copy->late_count = copy_tail(series->extra->late, min_ts_ms, max_ts_ms, copy, copy->tail_count);
            copy_histograms(&series->extra->histograms, min_ts_ms, max_ts_ms, copy);
            copy_deleted(series->extra, copy);
        }
    }
    pthread_mutex_unlock(&shard->mtx);
}

struct head_deleted head_copy_deleted(const struct head_copy *copy, const struct head_chunk *chunk)
{
    size_t first = AP_MIN((size_t)chunk->deleted_first, copy->deleted_count);
    return (struct head_deleted){copy->deleted + first, copy->deleted_count - first};
}

const struct head_chunk *head_copy_find(const struct head_copy *copy, const struct head_range *range, uint64_t offset)
{
    for (size_t i = 0; i < copy->chunk_count; i++)
        if (copy->chunks[i].range == range && copy->chunks[i].offset == offset)
            return &copy->chunks[i];
    return NULL;
}

bool head_is_deleted(struct head_deleted deleted, int64_t ts_ms)
{
    for (size_t i = 0; i < deleted.count; i++)
        if (ts_ms >= deleted.spans[i].min_ts_ms && ts_ms <= deleted.spans[i].max_ts_ms)
            return true;
    return false;
}

static bool series_touches(const struct head_series *series, int64_t min_ts_ms, int64_t max_ts_ms)
{
    if (tail_touches(series->tail, min_ts_ms, max_ts_ms))
        return true;
    for (uint32_t i = 0; i < series->chunk_count; i++)
        if (series->chunks[i].min_ts_ms <= max_ts_ms &&
            series->chunks[i].min_ts_ms + series->chunks[i].span_ms >= min_ts_ms)
            return true;
    if (!series->extra)
        return false;
    const struct histogram_tail *tail = &series->extra->histograms;
    return tail_touches(series->extra->late, min_ts_ms, max_ts_ms) ||
           (tail->count && tail->entries[0].ts_ms <= max_ts_ms && tail->entries[tail->count - 1].ts_ms >= min_ts_ms);
}

static void touches_of_shard(const struct head *head, struct head_shard *shard, const uint32_t *refs,
                             const uint8_t *wanted, size_t count, int64_t min_ts_ms, int64_t max_ts_ms,
                             bool *ret_touches)
{
    const struct head_series *series[HEAD_TOGETHER];
    pthread_mutex_lock(&shard->mtx);
    for (size_t i = 0; i < count; i++)
        series[i] = head_series_peek_locked(shard, head_local(head, refs[wanted[i]]));
    for (size_t i = 0; i < count; i++)
        if (series[i] && series[i]->tail)
            __builtin_prefetch(series[i]->tail);
    for (size_t i = 0; i < count; i++)
        if (series[i] && series[i]->tail)
            __builtin_prefetch(tail_offsets(series[i]->tail));
    for (size_t i = 0; i < count; i++)
        ret_touches[wanted[i]] = series[i] && series_touches(series[i], min_ts_ms, max_ts_ms);
    pthread_mutex_unlock(&shard->mtx);
}

void head_touches(struct head *head, const uint32_t *refs, size_t count, int64_t min_ts_ms, int64_t max_ts_ms,
                  bool *ret_touches)
{
    AP_ASSERT(count <= HEAD_TOGETHER);
    for (uint32_t i = 0; i < head->options.shard_count; i++) {
        uint8_t wanted[HEAD_TOGETHER];
        size_t wanted_count = 0;
        for (size_t r = 0; r < count; r++)
            if (head_shard_of(head, refs[r]) == &head->shards[i])
                wanted[wanted_count++] = (uint8_t)r;
        if (wanted_count)
            touches_of_shard(head, &head->shards[i], refs, wanted, wanted_count, min_ts_ms, max_ts_ms, ret_touches);
    }
}
