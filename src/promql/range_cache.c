#include "promql/range_cache.h"

#include <string.h>
#include <xxhash.h>

#include "base/assert.h"

enum { BUCKETS = 1024, ANSWERS_SHARE = 4 };

struct range_cache {
    size_t bytes_max; /* constant */
    /* A leaf lock: what holds it looks up, links or unlinks, and computes nothing. */
    pthread_mutex_t mtx;
    struct range_answer *buckets[BUCKETS];
    struct range_answer *newest, *oldest;
    struct promql_cache_stats stats;
};

struct range_cache *range_cache_new(size_t bytes_max)
{
    struct range_cache *cache = ap_new0(struct range_cache);
    cache->bytes_max = bytes_max;
    pthread_mutex_init(&cache->mtx, NULL);
    return cache;
}

size_t range_cache_answer_bytes_max(const struct range_cache *cache)
{
    return cache->bytes_max / ANSWERS_SHARE;
}

/* ---- Answers ---- */

static struct ap_slice copy_text(struct ap_arena *arena, struct ap_slice text)
{
    char *copy = ap_arena_alloc0(arena, text.bytes + 1);
    if (text.bytes)
        memcpy(copy, text.data, text.bytes);
    return ap_slice(copy, text.bytes);
}

struct range_answer *range_answer_new(const struct range_key *key, uint64_t mark)
{
    struct range_answer *answer = ap_new0(struct range_answer);
    ap_arena_init(&answer->arena, 0);
    answer->key = *key;
    answer->key.text = copy_text(&answer->arena, key->text);
    answer->mark = mark;
    answer->reference_count = 1;
    return answer;
}

size_t range_answer_bytes(const struct range_answer *answer)
{
    return sizeof(*answer) + answer->arena.block_bytes;
}

static void unref_locked(struct range_answer *answer)
{
    AP_ASSERT(answer->reference_count > 0);
    if (--answer->reference_count > 0)
        return;
    ap_arena_clear(&answer->arena);
    free(answer);
}

void range_cache_unref(struct range_cache *cache, struct range_answer *answer)
{
    if (!answer)
        return;
    pthread_mutex_lock(&cache->mtx);
    unref_locked(answer);
    pthread_mutex_unlock(&cache->mtx);
}

/* ---- Finding ---- */

static uint64_t hash_of(const struct range_key *key)
{
    const uint64_t numbers[] = {(uintptr_t)key->storage.context, (uint64_t)key->step_ms, (uint64_t)key->phase_ms,
                                (uint64_t)key->lookback_ms};
    return XXH64(key->text.data, key->text.bytes, XXH64(numbers, sizeof(numbers), 0));
}

static bool are_equal(const struct range_key *a, const struct range_key *b)
{
    return a->storage.class == b->storage.class && a->storage.context == b->storage.context &&
           a->step_ms == b->step_ms && a->phase_ms == b->phase_ms && a->lookback_ms == b->lookback_ms &&
           ap_slice_equal(a->text, b->text);
}

static struct range_answer *find_locked(const struct range_cache *cache, uint64_t hash, const struct range_key *key)
{
    struct range_answer *answer = cache->buckets[hash % BUCKETS];
    while (answer && !(answer->hash == hash && are_equal(&answer->key, key)))
        answer = answer->next;
    return answer;
}

static void link_locked(struct range_cache *cache, struct range_answer *answer)
{
    answer->older = cache->newest;
    answer->newer = NULL;
    *(cache->newest ? &cache->newest->newer : &cache->oldest) = answer;
    cache->newest = answer;
}

static void unlink_locked(struct range_cache *cache, struct range_answer *answer)
{
    *(answer->newer ? &answer->newer->older : &cache->newest) = answer->older;
    *(answer->older ? &answer->older->newer : &cache->oldest) = answer->newer;
}

struct range_answer *range_cache_find(struct range_cache *cache, const struct range_key *key, uint64_t *ret_mark)
{
    uint64_t hash = hash_of(key);
    pthread_mutex_lock(&cache->mtx);
    struct range_answer *answer = find_locked(cache, hash, key);
    if (answer) {
        answer->reference_count++;
        *ret_mark = answer->mark;
        unlink_locked(cache, answer);
        link_locked(cache, answer);
    }
    pthread_mutex_unlock(&cache->mtx);
    return answer;
}

void range_cache_renew(struct range_cache *cache, struct range_answer *answer, uint64_t mark)
{
    pthread_mutex_lock(&cache->mtx);
    answer->mark = AP_MAX(answer->mark, mark);
    pthread_mutex_unlock(&cache->mtx);
}

/* ---- Keeping ---- */

static void drop_locked(struct range_cache *cache, struct range_answer *answer)
{
    struct range_answer **at = &cache->buckets[answer->hash % BUCKETS];
    while (*at != answer)
        at = &(*at)->next;
    *at = answer->next;
    unlink_locked(cache, answer);
    cache->stats.bytes -= range_answer_bytes(answer);
    cache->stats.answers--;
    unref_locked(answer);
}

void range_cache_keep(struct range_cache *cache, struct range_answer *answer)
{
    if (range_answer_bytes(answer) > range_cache_answer_bytes_max(cache))
        return;
    answer->hash = hash_of(&answer->key);
    pthread_mutex_lock(&cache->mtx);
    struct range_answer *before = find_locked(cache, answer->hash, &answer->key);
    if (before)
        drop_locked(cache, before);
    answer->reference_count++;
    answer->next = cache->buckets[answer->hash % BUCKETS];
    cache->buckets[answer->hash % BUCKETS] = answer;
    link_locked(cache, answer);
    cache->stats.bytes += range_answer_bytes(answer);
    cache->stats.answers++;
    while (cache->stats.bytes > cache->bytes_max) {
        drop_locked(cache, cache->oldest);
        cache->stats.evictions++;
    }
    pthread_mutex_unlock(&cache->mtx);
}

void range_cache_free(struct range_cache *cache)
{
    if (!cache)
        return;
    while (cache->oldest)
        drop_locked(cache, cache->oldest);
    pthread_mutex_destroy(&cache->mtx);
    free(cache);
}

/* ---- Figures ---- */

void range_cache_count(struct range_cache *cache, enum range_cache_use use)
{
    pthread_mutex_lock(&cache->mtx);
    uint64_t *counts[] = {[RANGE_CACHE_HIT] = &cache->stats.hits,
                          [RANGE_CACHE_PARTIAL_HIT] = &cache->stats.partial_hits,
                          [RANGE_CACHE_MISS] = &cache->stats.misses};
    (*counts[use])++;
    pthread_mutex_unlock(&cache->mtx);
}

void range_cache_stats(struct range_cache *cache, struct promql_cache_stats *ret_stats)
{
    pthread_mutex_lock(&cache->mtx);
    *ret_stats = cache->stats;
    pthread_mutex_unlock(&cache->mtx);
}
