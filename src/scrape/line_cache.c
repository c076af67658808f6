#include "scrape/line_cache.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { WORD_BITS = 64 };

void line_cache_init(struct line_cache *cache, uint64_t seed)
{
    *cache = (struct line_cache){.seed = seed, .is_straight = true};
}

void line_cache_clear(struct line_cache *cache)
{
    free(cache->lines);
    free(cache->taken);
    free(cache->order);
    free(cache->slots);
    ap_buf_clear(&cache->text);
    line_cache_init(cache, cache->seed);
}

size_t line_cache_bytes(const struct line_cache *cache)
{
    return cache->capacity * sizeof(*cache->lines) + cache->text.capacity_bytes;
}

void line_cache_begin(struct line_cache *cache)
{
    cache->known_count = cache->count;
    cache->known_text_bytes = cache->text.bytes;
    cache->next = 0;
    cache->is_straight = true;
}

/* ---- By text ---- */

static uint64_t hash_of(const struct line_cache *cache, struct ap_slice text)
{
    return XXH3_64bits_withSeed(text.data, text.bytes, cache->seed);
}

static void put_slot(struct line_cache *cache, uint32_t index)
{
    size_t mask = cache->slot_count - 1;
    size_t at = hash_of(cache, line_cache_text(cache, index)) & mask;
    while (cache->slots[at] != LINE_NONE)
        at = (at + 1) & mask;
    cache->slots[at] = index;
}

/* At most half full with `count` lines. */
static void make_slots(struct line_cache *cache, size_t count)
{
    size_t wanted = 64;
    while (wanted < count * 2)
        wanted *= 2;
    free(cache->slots);
    cache->slots = ap_realloc(NULL, wanted * sizeof(*cache->slots));
    memset(cache->slots, 0xff, wanted * sizeof(*cache->slots));
    cache->slot_count = wanted;
    for (size_t i = 0; i < cache->count; i++)
        put_slot(cache, (uint32_t)i);
}

/* ---- Pages that differ from the one before ---- */

static void mark_taken(struct line_cache *cache, size_t index)
{
    size_t word = index / WORD_BITS;
    if (word >= cache->taken_words) {
        size_t words = AP_MAX(cache->taken_words * 2, word + 16);
        cache->taken = ap_realloc(cache->taken, words * sizeof(*cache->taken));
        memset(cache->taken + cache->taken_words, 0, (words - cache->taken_words) * sizeof(*cache->taken));
        cache->taken_words = words;
    }
    cache->taken[word] |= UINT64_C(1) << (index % WORD_BITS);
}

static void add_order(struct line_cache *cache, size_t index)
{
    if (cache->order_count == cache->order_capacity) {
        cache->order_capacity = AP_MAX(cache->order_capacity * 2, cache->count + 64);
        cache->order = ap_realloc(cache->order, cache->order_capacity * sizeof(*cache->order));
    }
    cache->order[cache->order_count++] = (uint32_t)index;
}

static void leave_straight(struct line_cache *cache)
{
    if (!cache->is_straight)
        return;
    cache->is_straight = false;
    for (size_t i = 0; i < cache->next; i++) {
        mark_taken(cache, i);
        add_order(cache, i);
    }
    make_slots(cache, cache->count + cache->count / 4);
}

static void end_reading(struct line_cache *cache)
{
    free(cache->taken);
    free(cache->order);
    free(cache->slots);
    cache->taken = NULL;
    cache->taken_words = 0;
    cache->order = NULL;
    cache->order_count = cache->order_capacity = 0;
    cache->slots = NULL;
    cache->slot_count = 0;
    cache->is_straight = true;
    cache->known_count = cache->count;
    cache->known_text_bytes = cache->text.bytes;
}

bool line_cache_is_taken(const struct line_cache *cache, size_t index)
{
    if (cache->is_straight)
        return index < cache->next;
    size_t word = index / WORD_BITS;
    return word < cache->taken_words && (cache->taken[word] >> (index % WORD_BITS) & 1);
}

uint32_t line_cache_find(struct line_cache *cache, struct ap_slice text)
{
    if (cache->next < cache->known_count && ap_slice_equal(line_cache_text(cache, cache->next), text))
        return (uint32_t)cache->next;
    leave_straight(cache);
    size_t mask = cache->slot_count - 1;
    for (size_t at = hash_of(cache, text) & mask; cache->slots[at] != LINE_NONE; at = (at + 1) & mask)
        if (ap_slice_equal(line_cache_text(cache, cache->slots[at]), text))
            return cache->slots[at];
    return LINE_NONE;
}

bool line_cache_take(struct line_cache *cache, size_t index)
{
    if (cache->is_straight && index == cache->next) {
        cache->next++;
        return true;
    }
    leave_straight(cache);
    if (line_cache_is_taken(cache, index))
        return false;
    mark_taken(cache, index);
    add_order(cache, index);
    cache->next = index < cache->known_count ? index + 1 : cache->next;
    return true;
}

uint32_t line_cache_add(struct line_cache *cache, struct ap_slice text)
{
    if (cache->count >= LINE_CACHE_LINES_MAX || cache->text.bytes + text.bytes > LINE_CACHE_TEXT_BYTES_MAX)
        return LINE_NONE;
    leave_straight(cache);
    if (cache->count == cache->capacity) {
        cache->capacity += cache->capacity / 2 + 64;
        cache->lines = ap_realloc(cache->lines, cache->capacity * sizeof(*cache->lines));
    }
    if (cache->count * 2 >= cache->slot_count)
        make_slots(cache, cache->count * 2);
    uint32_t index = (uint32_t)cache->count++;
    cache->lines[index] = (struct cached_line){
        .text_offset = (uint32_t)cache->text.bytes,
        .text_bytes = (uint32_t)text.bytes,
        .ref = UINT32_MAX,
    };
    ap_buf_add_slice(&cache->text, text);
    put_slot(cache, index);
    mark_taken(cache, index);
    add_order(cache, index);
    return index;
}

bool line_cache_next_missing(const struct line_cache *cache, size_t *index)
{
    for (; *index < cache->known_count; ++*index)
        if (!line_cache_is_taken(cache, *index))
            return true;
    return false;
}

/* ---- The end of a page ---- */

static void shorten(struct line_cache *cache, size_t count, size_t text_bytes)
{
    cache->count = count;
    cache->text.bytes = text_bytes;
}

static bool is_in_order(const struct line_cache *cache)
{
    for (size_t i = 0; i < cache->order_count; i++)
        if (cache->order[i] != i)
            return false;
    return true;
}

/* Pages grow by half in memory, and then mostly stay as they are. */
static void give_back(struct line_cache *cache)
{
    if (cache->count && cache->capacity > cache->count + cache->count / 8 + 1) {
        cache->capacity = cache->count;
        cache->lines = ap_realloc(cache->lines, cache->capacity * sizeof(*cache->lines));
    }
    if (cache->text.bytes && cache->text.capacity_bytes > cache->text.bytes + cache->text.bytes / 8 + 1) {
        cache->text.capacity_bytes = cache->text.bytes;
        cache->text.data = ap_realloc(cache->text.data, cache->text.capacity_bytes);
    }
}

/* The page's lines alone, in its order, in memory of the right size. */
static void rebuild(struct line_cache *cache)
{
    struct cached_line *lines = ap_realloc(NULL, (cache->order_count + 1) * sizeof(*lines));
    size_t text_bytes = 0;
    for (size_t i = 0; i < cache->order_count; i++)
        text_bytes += cache->lines[cache->order[i]].text_bytes;
    struct ap_buf text = {0};
    (void)ap_buf_reserve(&text, text_bytes + 1);
    for (size_t i = 0; i < cache->order_count; i++) {
        lines[i] = cache->lines[cache->order[i]];
        lines[i].text_offset = (uint32_t)text.bytes;
        ap_buf_add_slice(&text, line_cache_text(cache, cache->order[i]));
    }
    free(cache->lines);
    ap_buf_clear(&cache->text);
    cache->lines = lines;
    cache->count = cache->order_count;
    cache->capacity = cache->order_count + 1;
    cache->text = text;
}

void line_cache_keep(struct line_cache *cache)
{
    if (cache->is_straight && cache->next < cache->count)
        shorten(cache, cache->next, cache->lines[cache->next].text_offset);
    else if (!cache->is_straight && !(cache->order_count == cache->count && is_in_order(cache)))
        rebuild(cache);
    give_back(cache);
    end_reading(cache);
}

void line_cache_drop(struct line_cache *cache)
{
    shorten(cache, cache->known_count, cache->known_text_bytes);
    end_reading(cache);
}
