#include "ingest/otlp_cache.h"

#include <string.h>

#include "base/arena.h"

enum { PLACES_FIRST = 256 };

struct otlp_cache {
    struct otlp_cached_metric *metrics; /* owned; hashed, the next place where one is taken */
    size_t place_count;                 /* a power of two, at least twice metric_count */
    size_t metric_count;
    struct ap_arena arena; /* names */
    bool is_full;
};

struct otlp_cache *otlp_cache_new(void)
{
    struct otlp_cache *cache = ap_new0(struct otlp_cache);
    ap_arena_init(&cache->arena, OTLP_CACHE_BYTES_MAX);
    return cache;
}

static void clear(struct otlp_cache *cache)
{
    free(cache->metrics);
    ap_arena_clear(&cache->arena);
    *cache = (struct otlp_cache){.metrics = NULL};
    ap_arena_init(&cache->arena, OTLP_CACHE_BYTES_MAX);
}

void otlp_cache_free(struct otlp_cache *cache)
{
    if (!cache)
        return;
    clear(cache);
    free(cache);
}

void otlp_cache_begin(struct otlp_cache *cache)
{
    if (cache->is_full)
        clear(cache);
}

struct otlp_cached_metric *otlp_cache_find(struct otlp_cache *cache, struct labels_hash key)
{
    if (cache->metric_count == 0)
        return NULL;
    for (size_t i = key.low & (cache->place_count - 1);; i = (i + 1) & (cache->place_count - 1)) {
        struct otlp_cached_metric *metric = &cache->metrics[i];
        if (!metric->is_there)
            return NULL;
        if (labels_hash_equal(metric->key, key))
            return metric;
    }
}

static void place(struct otlp_cache *cache, const struct otlp_cached_metric *metric)
{
    size_t i = metric->key.low & (cache->place_count - 1);
    while (cache->metrics[i].is_there)
        i = (i + 1) & (cache->place_count - 1);
    cache->metrics[i] = *metric;
}

static void grow(struct otlp_cache *cache)
{
    size_t old_count = cache->place_count;
    AP_AUTO_FREE struct otlp_cached_metric *old = cache->metrics;
    cache->place_count = old_count ? old_count * 2 : PLACES_FIRST;
    cache->metrics = ap_new0_array(struct otlp_cached_metric, cache->place_count);
    for (size_t i = 0; i < old_count; i++)
        if (old[i].is_there)
            place(cache, &old[i]);
}

static struct ap_slice keep(struct otlp_cache *cache, struct ap_slice bytes)
{
    char *kept = ap_arena_try_alloc(&cache->arena, bytes.bytes + OTLP_CACHE_OVERRUN_BYTES);
    if (!kept) {
        cache->is_full = true;
        return (struct ap_slice){0};
    }
    if (bytes.bytes)
        memcpy(kept, bytes.data, bytes.bytes);
    return ap_slice(kept, bytes.bytes);
}

void otlp_cache_add(struct otlp_cache *cache, const struct otlp_cached_metric *metric)
{
    struct otlp_cached_metric kept = *metric;
    cache->is_full = cache->is_full || cache->metric_count == OTLP_CACHE_COUNT_MAX;
    kept.is_there = true;
    if (!cache->is_full)
        kept.name = keep(cache, metric->name);
    for (size_t i = 0; i < OTLP_CACHE_PARTS && !cache->is_full; i++)
        kept.parts[i] = keep(cache, metric->parts[i]);
    if (cache->is_full)
        return;
    if (2 * (cache->metric_count + 1) > cache->place_count)
        grow(cache);
    place(cache, &kept);
    cache->metric_count++;
}
