/* Label names and pairs of the registry: each kept once, known by number. */
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/assert.h"
#include "tsdb/registry_internal.h"

static char *keep_text(struct registry *registry, struct ap_slice text)
{
    char *copy = slab_alloc(&registry->texts, text.bytes);
    if (text.bytes)
        memcpy(copy, text.data, text.bytes);
    return copy;
}

/* ---- Names ---- */

static uint32_t name_tag(const struct registry *registry, struct ap_slice text)
{
    return (uint32_t)XXH3_64bits_withSeed(text.data, text.bytes, registry->seed);
}

static bool is_name(const struct registry *registry, uint32_t number, struct ap_slice text)
{
    const struct name *name = &registry->names[number];
    return name->bytes == text.bytes && memcmp(name->text, text.data, text.bytes) == 0;
}

static uint32_t find_name(const struct registry *registry, struct ap_slice text, uint32_t tag)
{
    const struct slots *slots = &registry->name_slots;
    for (uint64_t i = slots_first(slots, tag); slots->items[i].number != SLOT_EMPTY; i = slots_next(slots, i))
        if (slots->items[i].tag == tag && is_name(registry, slots->items[i].number, text))
            return slots->items[i].number;
    return PAIR_NONE;
}

uint32_t registry_find_name(const struct registry *registry, struct ap_slice text)
{
    return text.bytes ? find_name(registry, text, name_tag(registry, text)) : PAIR_NONE;
}

uint32_t registry_name_locked(struct registry *registry, struct ap_slice text)
{
    uint32_t tag = name_tag(registry, text);
    uint32_t number = find_name(registry, text, tag);
    if (number != PAIR_NONE)
        return number;
    if (registry->name_count == registry->name_capacity) {
        registry->name_capacity = registry->name_capacity ? registry->name_capacity * 2 : 32;
        registry->names = ap_realloc(registry->names, registry->name_capacity * sizeof(struct name));
    }
    number = registry->name_count++;
    registry->names[number] =
        (struct name){.text = keep_text(registry, text), .bytes = (uint32_t)text.bytes, .last_pair = PAIR_NONE};
    slots_add(&registry->name_slots, tag, number);
    return number;
}

/* ---- Pairs ---- */

static uint32_t pair_tag(const struct registry *registry, uint32_t name, struct ap_slice value)
{
    return (uint32_t)XXH3_64bits_withSeed(value.data, value.bytes,
                                          registry->seed + name * UINT64_C(0x9E3779B97F4A7C15));
}

static inline bool is_pair(const struct registry *registry, uint32_t number, uint32_t name, struct ap_slice value)
{
    const struct pair *pair = &registry->pairs[number];
    return pair->name == name && ap_slice_equal(pair_value(pair), value);
}

static uint32_t find_pair(const struct registry *registry, uint32_t name, struct ap_slice value, uint32_t tag)
{
    const struct slots *slots = &registry->pair_slots;
    for (uint64_t i = slots_first(slots, tag); slots->items[i].number != SLOT_EMPTY; i = slots_next(slots, i))
        if (slots->items[i].tag == tag && is_pair(registry, slots->items[i].number, name, value))
            return slots->items[i].number;
    return PAIR_NONE;
}

uint32_t registry_find_pair(const struct registry *registry, uint32_t name, struct ap_slice value)
{
    return find_pair(registry, name, value, pair_tag(registry, name, value));
}

static uint32_t take_number(struct registry *registry)
{
    if (registry->free_pairs.count)
        return registry->free_pairs.items[--registry->free_pairs.count];
    if (registry->pair_count == registry->pair_capacity) {
        registry->pair_capacity = registry->pair_capacity ? registry->pair_capacity + registry->pair_capacity / 2 : 256;
        registry->pairs = ap_realloc(registry->pairs, registry->pair_capacity * sizeof(struct pair));
    }
    return registry->pair_count++;
}

static uint32_t add_pair(struct registry *registry, uint32_t name_number, struct ap_slice value, uint32_t tag)
{
    uint32_t number = take_number(registry);
    struct name *name = &registry->names[name_number];
    if (name->pair_count == name->pair_capacity) {
        name->pair_capacity = name->pair_capacity ? name->pair_capacity + AP_MAX(name->pair_capacity / 2, 4U) : 4;
        name->pairs = ap_realloc(name->pairs, name->pair_capacity * sizeof(uint32_t));
    }
    registry->pairs[number] = (struct pair){
        .value = keep_text(registry, value),
        .value_bytes = (uint32_t)value.bytes,
        .name = name_number,
        .file_number = PAIR_NONE,
        .at = name->pair_count,
    };
    name->pairs[name->pair_count++] = number;
    slots_add(&registry->pair_slots, tag, number);
    return number;
}

uint32_t registry_pair_locked(struct registry *registry, uint32_t name_number, struct ap_slice value)
{
    /* Series come in bunches that share most of their pairs: a host's, a target's. */
    struct name *name = &registry->names[name_number];
    if (name->last_pair != PAIR_NONE && is_pair(registry, name->last_pair, name_number, value))
        return name->last_pair;
    uint32_t tag = pair_tag(registry, name_number, value);
    uint32_t number = find_pair(registry, name_number, value, tag);
    if (number == PAIR_NONE)
        number = add_pair(registry, name_number, value, tag);
    name->last_pair = number;
    return number;
}

void registry_pairs_locked(struct registry *registry, const uint32_t *names, const struct ap_slice *values,
                           size_t count, uint32_t *ret_pairs)
{
    enum { TOGETHER = 32 };
    AP_ASSERT(count <= TOGETHER);
    uint32_t tags[TOGETHER];
    for (size_t i = 0; i < count; i++) {
        tags[i] = pair_tag(registry, names[i], values[i]);
        __builtin_prefetch(&registry->pair_slots.items[slots_first(&registry->pair_slots, tags[i])], 1);
    }
    for (size_t i = 0; i < count; i++) {
        ret_pairs[i] = find_pair(registry, names[i], values[i], tags[i]);
        if (ret_pairs[i] == PAIR_NONE)
            ret_pairs[i] = add_pair(registry, names[i], values[i], tags[i]);
    }
}

/* ---- Going ---- */

static void forget_order(struct name *name)
{
    free(name->sorted);
    name->sorted = NULL;
    name->sorted_count = name->unsorted_from = 0;
}

void registry_free_pairs_locked(struct registry *registry, const uint32_t *pairs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct pair *pair = &registry->pairs[pairs[i]];
        if (!pair->value || pair->postings.count)
            continue; /* listed twice, or some series has it */
        struct name *name = &registry->names[pair->name];
        forget_order(name);
        name->last_pair = PAIR_NONE;
        uint32_t last = name->pairs[--name->pair_count];
        name->pairs[pair->at] = last;
        registry->pairs[last].at = pair->at;
        slots_remove(&registry->pair_slots, pair_tag(registry, pair->name, pair_value(pair)), pairs[i]);
        slab_free(&registry->texts, pair->value, pair->value_bytes);
        postings_clear(&pair->postings);
        *pair = (struct pair){.file_number = PAIR_NONE};
        registry_refs_add(&registry->free_pairs, pairs[i]);
    }
}
