/* The newest sample of one series, for who goes on from it. */
#include <string.h>

#include "base/arena.h"
#include "base/assert.h"
#include "tsdb/histogram.h"
#include "tsdb/tsdb_internal.h"

static bool is_deleted(const struct head_series *series, int64_t ts_ms)
{
    for (uint32_t i = 0; series->extra && i < series->extra->deleted_count; i++)
        if (ts_ms >= series->extra->deleted[i].min_ts_ms && ts_ms <= series->extra->deleted[i].max_ts_ms)
            return true;
    return false;
}

/* The chunk whose last sample is of this time, its bytes; data NULL: there is none, or it cannot be read. */
static struct ap_slice find_chunk(const struct head_series *series, enum chunk_kind kind, int64_t last_ts_ms,
                                  int64_t *ret_first_ts_ms)
{
    struct ap_slice bytes = {0};
    for (uint32_t i = 0; i < series->chunk_count && !is_deleted(series, last_ts_ms); i++) {
        const struct head_chunk *chunk = &series->chunks[i];
        struct ap_err ignored; /* told by who reads all of the series */
        if (chunk->kind != (uint8_t)kind || chunk->min_ts_ms + chunk->span_ms != last_ts_ms)
            continue;
        *ret_first_ts_ms = chunk->min_ts_ms;
        if (chunk_file_read(chunk->range->file, chunk->offset, chunk->bytes, &bytes, &ignored) != AP_OK)
            bytes = (struct ap_slice){0};
    }
    return bytes;
}

static bool find_in_tail(const struct tail *tail, int64_t ts_ms, double *ret_value)
{
    if (!tail || tail_samples(tail) == 0)
        return false;
    if (tail->count && tail->base_ts_ms + tail_offsets(tail)[tail->count - 1] == ts_ms) {
        *ret_value = tail->values[tail->count - 1];
        return true;
    }
    if (tail->count || tail->base_ts_ms + tail->packed_end != ts_ms)
        return false;
    uint32_t count = tail_samples(tail);
    AP_AUTO_FREE int64_t *times = ap_realloc(NULL, count * sizeof(*times));
    AP_AUTO_FREE double *values = ap_realloc(NULL, count * sizeof(*values));
    tail_read(tail, times, values);
    *ret_value = values[count - 1];
    return times[count - 1] == ts_ms;
}

static bool find_float_locked(const struct head_series *series, double *ret_value)
{
    int64_t first_ts_ms;
    struct ap_err ignored;
    if (find_in_tail(series->tail, series->last_ts_ms, ret_value))
        return true;
    struct ap_slice bytes = find_chunk(series, CHUNK_FLOATS, series->last_ts_ms, &first_ts_ms);
    if (!bytes.data)
        return false;
    AP_AUTO_FREE struct chunk_floats *floats = ap_realloc(NULL, sizeof(*floats));
    if (chunk_decode_floats(bytes, first_ts_ms, floats, &ignored) != AP_OK)
        return false;
    *ret_value = floats->values[floats->count - 1];
    return true;
}

static struct ap_slice keep(struct ap_arena *arena, struct ap_slice bytes)
{
    char *kept = ap_arena_try_alloc(arena, bytes.bytes);
    return kept ? ap_slice(memcpy(kept, bytes.data, bytes.bytes), bytes.bytes) : (struct ap_slice){0};
}

static struct ap_slice find_histogram_locked(const struct head_series *series, struct ap_arena *arena)
{
    const struct histogram_tail *tail = &series->extra->histograms;
    int64_t last_ts_ms = series->extra->histogram_last_ts_ms, first_ts_ms;
    if (tail->count && tail->entries[tail->count - 1].ts_ms == last_ts_ms) {
        const struct histogram_tail_entry *entry = &tail->entries[tail->count - 1];
        return keep(arena, ap_slice(tail->bytes.data + entry->offset, entry->bytes));
    }
    struct ap_slice bytes = find_chunk(series, CHUNK_HISTOGRAMS, last_ts_ms, &first_ts_ms);
    if (!bytes.data)
        return (struct ap_slice){0};
    AP_AUTO_ARENA struct ap_arena decoded;
    ap_arena_init(&decoded, HISTOGRAM_CHUNK_BLOBS_BYTES_MAX + (32 << 10));
    size_t count;
    const int64_t *times;
    const struct ap_slice *blobs;
    struct ap_err ignored;
    if (chunk_decode_histograms(bytes, first_ts_ms, &decoded, &count, &times, &blobs, &ignored) != AP_OK)
        return (struct ap_slice){0};
    return keep(arena, blobs[count - 1]);
}

bool tsdb_newest(struct tsdb *tsdb, struct labels_hash hash, struct ap_arena *arena, struct tsdb_newest *ret_newest)
{
    *ret_newest = (struct tsdb_newest){.ts_ms = INT64_MIN, .histogram_ts_ms = INT64_MIN};
    registry_read_lock(tsdb->registry);
    uint32_t ref = registry_find(tsdb->registry, hash);
    const struct head_series *series = NULL;
    if (ref != REGISTRY_NONE) {
        struct head_shard *shard = head_shard_of(tsdb->head, ref);
        pthread_mutex_lock(&shard->mtx);
        series = head_series_peek_locked(shard, head_local(tsdb->head, ref));
        if (series) {
            ret_newest->ts_ms = series->last_ts_ms;
            ret_newest->has_value = series->last_ts_ms != INT64_MIN && find_float_locked(series, &ret_newest->value);
        }
        if (series && series->extra && series->extra->histogram_last_ts_ms != INT64_MIN) {
            ret_newest->histogram_ts_ms = series->extra->histogram_last_ts_ms;
            ret_newest->histogram = find_histogram_locked(series, arena);
        }
        pthread_mutex_unlock(&shard->mtx);
    }
    registry_unlock(tsdb->registry);
    return series != NULL;
}
