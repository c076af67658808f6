#include "tsdb/registry.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/assert.h"
#include "tsdb/registry_internal.h"

enum { FIRST_SLOTS = 1024, LOAD_PERCENT_MAX = 70 };

struct registry *registry_new(uint64_t seed)
{
    struct registry *registry = ap_new0(struct registry);
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
    /* There is always some reader; a writer has to get its turn all the same. */
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&registry->lock, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    registry->seed = seed;
    registry->slots = ap_realloc(NULL, FIRST_SLOTS * sizeof(struct slot));
    memset(registry->slots, 0xff, FIRST_SLOTS * sizeof(struct slot));
    registry->slot_mask = FIRST_SLOTS - 1;
    registry->pair_slots = ap_realloc(NULL, FIRST_SLOTS * sizeof(uint32_t));
    memset(registry->pair_slots, 0xff, FIRST_SLOTS * sizeof(uint32_t));
    registry->pair_slot_mask = FIRST_SLOTS - 1;
    registry->live = roaring_bitmap_create();
    ap_arena_init(&registry->texts, 0);
    ap_arena_init(&registry->pair_lists, 0);
    return registry;
}

void registry_free(struct registry *registry)
{
    if (!registry)
        return;
    for (uint32_t i = 0; i < registry->pair_count; i++)
        postings_clear(&registry->pairs[i].postings);
    for (uint32_t i = 0; i < registry->name_count; i++)
        free(registry->names[i].pairs);
    for (size_t i = 0; i < registry->page_capacity; i++)
        free(registry->pages[i]);
    free(registry->pages);
    free(registry->pairs);
    free(registry->names);
    free(registry->pair_slots);
    free(registry->slots);
    struct refs *lists[] = {&registry->removed, &registry->reusable, &registry->unsaved, &registry->unsaved_removed,
                            &registry->file_pairs};
    for (size_t i = 0; i < AP_ARRAY_COUNT(lists); i++)
        free(lists[i]->items);
    roaring_bitmap_free(registry->live);
    ap_arena_clear(&registry->texts);
    ap_arena_clear(&registry->pair_lists);
    pthread_rwlock_destroy(&registry->lock);
    free(registry);
}

void registry_read_lock(struct registry *registry)
{
    pthread_rwlock_rdlock(&registry->lock);
}

void registry_write_lock(struct registry *registry)
{
    pthread_rwlock_wrlock(&registry->lock);
}

void registry_unlock(struct registry *registry)
{
    pthread_rwlock_unlock(&registry->lock);
}

uint64_t registry_seed(const struct registry *registry)
{
    return registry->seed;
}

size_t registry_count(const struct registry *registry)
{
    return atomic_load_explicit(&registry->count, memory_order_relaxed);
}

uint32_t registry_ref_end(const struct registry *registry)
{
    return atomic_load_explicit(&registry->ref_end, memory_order_relaxed);
}

void registry_refs_add(struct refs *refs, uint32_t ref)
{
    if (refs->count == refs->capacity) {
        refs->capacity = refs->capacity ? refs->capacity * 2 : 256;
        refs->items = ap_realloc(refs->items, refs->capacity * sizeof(uint32_t));
    }
    refs->items[refs->count++] = ref;
}

/* ---- Series by hash ---- */

struct series_entry *registry_entry(const struct registry *registry, uint32_t ref)
{
    size_t page = ref / SERIES_PER_PAGE;
    return page < registry->page_capacity && registry->pages[page] ? &registry->pages[page][ref % SERIES_PER_PAGE]
                                                                    : NULL;
}

static inline uint32_t tag_of(struct labels_hash hash)
{
    return (uint32_t)(hash.high >> 32);
}

void registry_prefetch(const struct registry *registry, struct labels_hash hash)
{
    __builtin_prefetch(&registry->slots[hash.low & registry->slot_mask]);
}

uint32_t registry_find(const struct registry *registry, struct labels_hash hash)
{
    uint32_t tag = tag_of(hash);
    for (uint64_t i = hash.low & registry->slot_mask;; i = (i + 1) & registry->slot_mask) {
        struct slot slot = registry->slots[i];
        if (slot.ref == REGISTRY_NONE)
            return REGISTRY_NONE;
        if (slot.tag == tag && labels_hash_equal(registry_entry(registry, slot.ref)->hash, hash))
            return slot.ref;
    }
}

static void slot_put(struct registry *registry, struct labels_hash hash, uint32_t ref)
{
    uint64_t i = hash.low & registry->slot_mask;
    while (registry->slots[i].ref != REGISTRY_NONE)
        i = (i + 1) & registry->slot_mask;
    registry->slots[i] = (struct slot){tag_of(hash), ref};
}

static void slots_grow_locked(struct registry *registry)
{
    uint64_t slot_count = registry->slot_mask + 1;
    if ((registry_count(registry) + 1) * 100 <= slot_count * LOAD_PERCENT_MAX)
        return;
    struct slot *before = registry->slots;
    registry->slots = ap_realloc(NULL, 2 * slot_count * sizeof(struct slot));
    memset(registry->slots, 0xff, 2 * slot_count * sizeof(struct slot));
    registry->slot_mask = 2 * slot_count - 1;
    for (uint64_t i = 0; i < slot_count; i++)
        if (before[i].ref != REGISTRY_NONE)
            slot_put(registry, registry_entry(registry, before[i].ref)->hash, before[i].ref);
    free(before);
}

/* Removal without tombstones: what follows in the same run moves up if it may. */
static void slot_remove_locked(struct registry *registry, struct labels_hash hash, uint32_t ref)
{
    uint64_t hole = hash.low & registry->slot_mask;
    while (registry->slots[hole].ref != ref)
        hole = (hole + 1) & registry->slot_mask;
    for (uint64_t i = (hole + 1) & registry->slot_mask; registry->slots[i].ref != REGISTRY_NONE;
         i = (i + 1) & registry->slot_mask) {
        uint64_t home = registry_entry(registry, registry->slots[i].ref)->hash.low & registry->slot_mask;
        /* It may move if its home does not lie between hole and itself. */
        if (((i - home) & registry->slot_mask) >= ((i - hole) & registry->slot_mask)) {
            registry->slots[hole] = registry->slots[i];
            hole = i;
        }
    }
    registry->slots[hole] = (struct slot){UINT32_MAX, REGISTRY_NONE};
}

/* ---- Names and pairs ---- */

uint32_t registry_find_name(const struct registry *registry, struct ap_slice text)
{
    /* There are tens of names, seldom hundreds. */
    for (uint32_t i = 0; i < registry->name_count; i++)
        if (registry->names[i].bytes == text.bytes && memcmp(registry->names[i].text, text.data, text.bytes) == 0)
            return i;
    return PAIR_NONE;
}

static uint64_t pair_hash(const struct registry *registry, uint32_t name, struct ap_slice value)
{
    return XXH3_64bits_withSeed(value.data, value.bytes, registry->seed + name * UINT64_C(0x9E3779B97F4A7C15));
}

static struct ap_slice pair_value(const struct pair *pair)
{
    return ap_slice(pair->value, pair->value_bytes);
}

uint32_t registry_find_pair(const struct registry *registry, uint32_t name, struct ap_slice value)
{
    for (uint64_t i = pair_hash(registry, name, value) & registry->pair_slot_mask;;
         i = (i + 1) & registry->pair_slot_mask) {
        uint32_t number = registry->pair_slots[i];
        if (number == PAIR_NONE)
            return PAIR_NONE;
        const struct pair *pair = &registry->pairs[number];
        if (pair->name == name && ap_slice_equal(pair_value(pair), value))
            return number;
    }
}

static void pair_slot_put(struct registry *registry, uint32_t number)
{
    const struct pair *pair = &registry->pairs[number];
    uint64_t i = pair_hash(registry, pair->name, pair_value(pair)) & registry->pair_slot_mask;
    while (registry->pair_slots[i] != PAIR_NONE)
        i = (i + 1) & registry->pair_slot_mask;
    registry->pair_slots[i] = number;
}

static char *keep_text(struct registry *registry, struct ap_slice text)
{
    char *copy = ap_arena_alloc0(&registry->texts, text.bytes + 1);
    if (text.bytes)
        memcpy(copy, text.data, text.bytes);
    return copy;
}

static uint32_t name_locked(struct registry *registry, struct ap_slice text)
{
    uint32_t number = registry_find_name(registry, text);
    if (number != PAIR_NONE)
        return number;
    if (registry->name_count == registry->name_capacity) {
        registry->name_capacity = registry->name_capacity ? registry->name_capacity * 2 : 32;
        registry->names = ap_realloc(registry->names, registry->name_capacity * sizeof(struct name));
    }
    registry->names[registry->name_count] =
        (struct name){.text = keep_text(registry, text), .bytes = (uint32_t)text.bytes};
    return registry->name_count++;
}

static void pair_slots_grow_locked(struct registry *registry)
{
    if ((registry->pair_count + UINT64_C(1)) * 100 <= (registry->pair_slot_mask + 1) * LOAD_PERCENT_MAX)
        return;
    uint64_t slot_count = 2 * (registry->pair_slot_mask + 1);
    registry->pair_slots = ap_realloc(registry->pair_slots, slot_count * sizeof(uint32_t));
    memset(registry->pair_slots, 0xff, slot_count * sizeof(uint32_t));
    registry->pair_slot_mask = slot_count - 1;
    for (uint32_t i = 0; i < registry->pair_count; i++)
        pair_slot_put(registry, i);
}

uint32_t registry_pair_locked(struct registry *registry, struct ap_slice name_text, struct ap_slice value)
{
    uint32_t name_number = name_locked(registry, name_text);
    uint32_t number = registry_find_pair(registry, name_number, value);
    if (number != PAIR_NONE)
        return number;
    pair_slots_grow_locked(registry);
    if (registry->pair_count == registry->pair_capacity) {
        registry->pair_capacity = registry->pair_capacity ? registry->pair_capacity + registry->pair_capacity / 2 : 256;
        registry->pairs = ap_realloc(registry->pairs, registry->pair_capacity * sizeof(struct pair));
    }
    number = registry->pair_count++;
    registry->pairs[number] = (struct pair){
        .value = keep_text(registry, value),
        .value_bytes = (uint32_t)value.bytes,
        .name = name_number,
        .file_number = PAIR_NONE,
    };
    pair_slot_put(registry, number);
    struct name *name = &registry->names[name_number];
    if (name->pair_count == name->pair_capacity) {
        name->pair_capacity = name->pair_capacity ? name->pair_capacity * 2 : 4;
        name->pairs = ap_realloc(name->pairs, name->pair_capacity * sizeof(uint32_t));
    }
    name->pairs[name->pair_count++] = number;
    name->value_bytes += value.bytes;
    return number;
}

/* ---- Series ---- */

static uint32_t take_ref_locked(struct registry *registry)
{
    if (registry->reusable.count)
        return registry->reusable.items[--registry->reusable.count];
    return registry_ref_end(registry);
}

static void make_page_locked(struct registry *registry, uint32_t ref)
{
    size_t page = ref / SERIES_PER_PAGE;
    if (page >= registry->page_capacity) {
        size_t capacity = AP_MAX(AP_MAX((size_t)64, registry->page_capacity * 2), page + 1);
        registry->pages = ap_realloc(registry->pages, capacity * sizeof(*registry->pages));
        memset(registry->pages + registry->page_capacity, 0,
               (capacity - registry->page_capacity) * sizeof(*registry->pages));
        registry->page_capacity = capacity;
    }
    if (!registry->pages[page])
        registry->pages[page] = ap_new0_array(struct series_entry, SERIES_PER_PAGE);
}

uint32_t registry_add_pairs_locked(struct registry *registry, const uint32_t *pairs, size_t count,
                                   struct labels_hash hash, uint32_t ref)
{
    if (ref == REGISTRY_NONE)
        ref = take_ref_locked(registry);
    AP_ASSERT(ref < REGISTRY_NONE && !registry_has(registry, ref));
    make_page_locked(registry, ref);
    slots_grow_locked(registry);
    uint32_t *list = ap_arena_alloc0(&registry->pair_lists, (count + 1) * sizeof(uint32_t));
    list[0] = (uint32_t)count;
    memcpy(list + 1, pairs, count * sizeof(uint32_t));
    *registry_entry(registry, ref) = (struct series_entry){hash, list};
    slot_put(registry, hash, ref);
    for (size_t i = 0; i < count; i++) {
        postings_add(&registry->pairs[pairs[i]].postings, ref);
        registry->names[registry->pairs[pairs[i]].name].series_count++;
    }
    roaring_bitmap_add(registry->live, ref);
    registry_refs_add(&registry->unsaved, ref);
    atomic_fetch_add_explicit(&registry->count, 1, memory_order_relaxed);
    if (ref >= registry_ref_end(registry))
        atomic_store_explicit(&registry->ref_end, ref + 1, memory_order_relaxed);
    registry->created_count++;
    return ref;
}

uint32_t registry_add_locked(struct registry *registry, struct ap_slice labels, struct labels_hash hash, uint32_t ref)
{
    uint32_t pairs[LABELS_COUNT_MAX];
    size_t count = 0;
    struct label label;
    while (labels_next(&labels, &label)) {
        AP_ASSERT(count < LABELS_COUNT_MAX);
        pairs[count++] = registry_pair_locked(registry, label.name, label.value);
    }
    return registry_add_pairs_locked(registry, pairs, count, hash, ref);
}

bool registry_has(const struct registry *registry, uint32_t ref)
{
    const struct series_entry *entry = registry_entry(registry, ref);
    return entry && entry->pairs && roaring_bitmap_contains(registry->live, ref);
}

void registry_remove_locked(struct registry *registry, const roaring_bitmap_t *refs)
{
    roaring_uint32_iterator_t iterator;
    roaring_init_iterator(refs, &iterator);
    for (; iterator.has_value; roaring_advance_uint32_iterator(&iterator)) {
        uint32_t ref = iterator.current_value;
        if (!registry_has(registry, ref))
            continue;
        const struct series_entry *entry = registry_entry(registry, ref);
        for (uint32_t i = 1; i <= entry->pairs[0]; i++) {
            struct pair *pair = &registry->pairs[entry->pairs[i]];
            postings_remove(&pair->postings, ref);
            registry->names[pair->name].series_count--;
        }
        slot_remove_locked(registry, entry->hash, ref);
        roaring_bitmap_remove(registry->live, ref);
        registry_refs_add(&registry->removed, ref);
        registry_refs_add(&registry->unsaved_removed, ref);
        atomic_fetch_sub_explicit(&registry->count, 1, memory_order_relaxed);
        registry->removed_count++;
    }
}

void registry_reuse_removed_locked(struct registry *registry)
{
    for (size_t i = 0; i < registry->removed.count; i++) {
        registry_entry(registry, registry->removed.items[i])->pairs = NULL;
        registry_refs_add(&registry->reusable, registry->removed.items[i]);
    }
    registry->removed.count = 0;
}

struct labels_hash registry_hash(const struct registry *registry, uint32_t ref)
{
    return registry_entry(registry, ref)->hash;
}

static size_t varint_bytes(size_t value)
{
    size_t bytes = 1;
    for (; value >= 0x80; value >>= 7)
        bytes++;
    return bytes;
}

void registry_labels(const struct registry *registry, uint32_t ref, struct ap_buf *out)
{
    const uint32_t *pairs = registry_entry(registry, ref)->pairs;
    for (uint32_t i = 1; i <= pairs[0]; i++) {
        const struct pair *pair = &registry->pairs[pairs[i]];
        const struct name *name = &registry->names[pair->name];
        ap_buf_add_char(out, 0x0A);
        ap_buf_add_varint(out, 2 + varint_bytes(name->bytes) + name->bytes + varint_bytes(pair->value_bytes) +
                                   pair->value_bytes);
        ap_buf_add_char(out, 0x0A);
        ap_buf_add_varint(out, name->bytes);
        ap_buf_add(out, name->text, name->bytes);
        ap_buf_add_char(out, 0x12);
        ap_buf_add_varint(out, pair->value_bytes);
        ap_buf_add(out, pair->value, pair->value_bytes);
    }
}
