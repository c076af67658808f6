#include "warehouse/cache.h"

#include <pthread.h>

#include "warehouse/result.h"

enum { CACHE_ENTRIES_MAX = 256, FRESH_US = 1000000 };

struct cache_entry {
    struct ap_slice key;             /* owned */
    struct warehouse_result *result; /* held; NULL: a free entry */
    int64_t added_us;
};

struct cache {
    uint64_t bytes_max;
    const struct ap_clock *clock;
    /* Any thread, under mutex. A leaf lock. */
    pthread_mutex_t mutex;
    struct cache_entry entries[CACHE_ENTRIES_MAX]; /* a ring: the oldest is at `next` */
    size_t next;
    uint64_t bytes;
};

struct cache *cache_new(uint64_t bytes_max, const struct ap_clock *clock)
{
    struct cache *cache = ap_new0(struct cache);
    cache->bytes_max = bytes_max;
    cache->clock = clock;
    pthread_mutex_init(&cache->mutex, NULL);
    return cache;
}

static void drop_locked(struct cache *cache, struct cache_entry *entry)
{
    if (!entry->result)
        return;
    cache->bytes -= result_bytes(entry->result) + entry->key.bytes;
    warehouse_result_unref(entry->result);
    free((char *)(uintptr_t)entry->key.data);
    *entry = (struct cache_entry){0};
}

void cache_free(struct cache *cache)
{
    if (!cache)
        return;
    for (size_t i = 0; i < CACHE_ENTRIES_MAX; i++)
        drop_locked(cache, &cache->entries[i]);
    pthread_mutex_destroy(&cache->mutex);
    free(cache);
}

struct warehouse_result *cache_find(struct cache *cache, struct ap_slice key)
{
    int64_t oldest_us = ap_clock_monotonic_us(cache->clock) - FRESH_US;
    struct warehouse_result *found = NULL;
    pthread_mutex_lock(&cache->mutex);
    for (size_t i = 0; i < CACHE_ENTRIES_MAX && !found; i++) {
        struct cache_entry *entry = &cache->entries[i];
        if (entry->result && entry->added_us >= oldest_us && ap_slice_equal(entry->key, key))
            found = warehouse_result_ref(entry->result);
    }
    pthread_mutex_unlock(&cache->mutex);
    if (found)
        result_set_cached(found);
    return found;
}

void cache_add(struct cache *cache, struct ap_slice key, struct warehouse_result *result)
{
    uint64_t bytes = result_bytes(result) + key.bytes;
    if (bytes > cache->bytes_max)
        return;
    pthread_mutex_lock(&cache->mutex);
    struct cache_entry *entry = &cache->entries[cache->next];
    drop_locked(cache, entry);
    for (size_t i = 1; cache->bytes + bytes > cache->bytes_max; i++)
        drop_locked(cache, &cache->entries[(cache->next + i) % CACHE_ENTRIES_MAX]);
    *entry = (struct cache_entry){
        .key = ap_slice(ap_slice_dup(key), key.bytes),
        .result = warehouse_result_ref(result),
        .added_us = ap_clock_monotonic_us(cache->clock),
    };
    cache->bytes += bytes;
    cache->next = (cache->next + 1) % CACHE_ENTRIES_MAX;
    pthread_mutex_unlock(&cache->mutex);
}
