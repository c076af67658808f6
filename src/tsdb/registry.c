#include "tsdb/registry.h"

#include <string.h>

#include "base/assert.h"
#include "tsdb/registry_internal.h"

struct registry *registry_new(uint64_t seed)
{
    struct registry *registry = ap_new0(struct registry);
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
    /* There is always some reader; a writer has to get its turn all the same. */
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&registry->lock, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    pthread_mutex_init(&registry->sorted_mtx, NULL);
    registry->seed = seed;
    slots_init(&registry->slots);
    slots_init(&registry->pair_slots);
    slots_init(&registry->name_slots);
    registry->live = roaring_bitmap_create();
    registry->free = roaring_bitmap_create();
    return registry;
}

void registry_free(struct registry *registry)
{
    if (!registry)
        return;
    for (uint32_t i = 0; i < registry->pair_count; i++)
        postings_clear(&registry->pairs[i].postings);
    for (uint32_t i = 0; i < registry->name_count; i++) {
        free(registry->names[i].pairs);
        free(registry->names[i].sorted);
    }
    for (size_t i = 0; i < registry->page_capacity; i++)
        free(registry->pages[i]);
    free(registry->pages);
    free(registry->pairs);
    free(registry->names);
    slots_clear(&registry->slots);
    slots_clear(&registry->pair_slots);
    slots_clear(&registry->name_slots);
    struct refs *lists[] = {&registry->removed, &registry->free_pairs, &registry->unsaved, &registry->unsaved_removed,
                            &registry->file_pairs};
    for (size_t i = 0; i < AP_ARRAY_COUNT(lists); i++)
        free(lists[i]->items);
    roaring_bitmap_free(registry->live);
    roaring_bitmap_free(registry->free);
    slab_clear(&registry->texts);
    slab_clear(&registry->lists);
    pthread_mutex_destroy(&registry->sorted_mtx);
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

void registry_refs_reserve(struct refs *refs, size_t count)
{
    if (count <= refs->capacity)
        return;
    refs->capacity = AP_MAX(count, AP_MAX(refs->capacity + refs->capacity / 2, (size_t)64));
    refs->items = ap_realloc(refs->items, refs->capacity * sizeof(uint32_t));
}

void registry_refs_add(struct refs *refs, uint32_t ref)
{
    registry_refs_reserve(refs, refs->count + 1);
    refs->items[refs->count++] = ref;
}

/* ---- Series by hash ---- */

void registry_prefetch(const struct registry *registry, struct labels_hash hash)
{
    __builtin_prefetch(&registry->slots.items[slots_first(&registry->slots, registry_tag(hash))]);
}

uint32_t registry_find(const struct registry *registry, struct labels_hash hash)
{
    const struct slots *slots = &registry->slots;
    uint32_t tag = registry_tag(hash);
    for (uint64_t i = slots_first(slots, tag); slots->items[i].number != SLOT_EMPTY; i = slots_next(slots, i)) {
        uint32_t ref = slots->items[i].number;
        if (slots->items[i].tag == tag &&
            labels_hash_equal(registry->pages[ref / SERIES_PER_PAGE][ref % SERIES_PER_PAGE].hash, hash))
            return ref;
    }
    return REGISTRY_NONE;
}

bool registry_has(const struct registry *registry, uint32_t ref)
{
    const struct series_entry *entry = registry_entry(registry, ref);
    return entry && entry->pairs && ((uintptr_t)entry->pairs & 1) == 0;
}

bool registry_is(const struct registry *registry, uint32_t ref, struct labels_hash hash)
{
    return registry_has(registry, ref) && labels_hash_equal(registry_entry(registry, ref)->hash, hash);
}

struct labels_hash registry_hash(const struct registry *registry, uint32_t ref)
{
    return registry_entry(registry, ref)->hash;
}

/* ---- Adding ---- */

/* Every ref below the end that nothing is known of, neither live nor removed. */
static void find_free(struct registry *registry)
{
    roaring_bitmap_free(registry->free);
    registry->free = roaring_bitmap_flip(registry->live, 0, registry_ref_end(registry));
    for (size_t i = 0; i < registry->removed.count; i++)
        roaring_bitmap_remove(registry->free, registry->removed.items[i]);
    registry->is_free_stale = false;
}

static uint32_t next_ref(struct registry *registry)
{
    if (registry->is_free_stale)
        find_free(registry);
    return roaring_bitmap_is_empty(registry->free) ? registry_ref_end(registry)
                                                   : roaring_bitmap_minimum(registry->free);
}

static void take_ref(struct registry *registry, uint32_t ref)
{
    uint32_t end = registry_ref_end(registry);
    if (ref >= end) {
        if (ref > end && !registry->is_free_stale)
            roaring_bitmap_add_range_closed(registry->free, end, ref - 1);
        atomic_store_explicit(&registry->ref_end, ref + 1, memory_order_relaxed);
    } else if (!registry->is_free_stale) {
        roaring_bitmap_remove(registry->free, ref);
    }
}

void registry_make_page_locked(struct registry *registry, uint32_t ref)
{
    size_t page = ref / SERIES_PER_PAGE;
    if (page >= registry->page_capacity) {
        size_t capacity = AP_MAX(AP_MAX((size_t)64, registry->page_capacity * 2), page + 1);
        registry->pages = ap_realloc(registry->pages, capacity * sizeof(*registry->pages));
        memset(registry->pages + registry->page_capacity, 0,
               (capacity - registry->page_capacity) * sizeof(*registry->pages));
        registry->page_capacity = capacity;
    }
    if (!registry->pages[page]) {
        registry->pages[page] = ap_new0_array(struct series_entry, SERIES_PER_PAGE);
        registry->page_count++;
    }
}

uint32_t *registry_make_list_locked(struct registry *registry, const uint32_t *pairs, uint32_t count)
{
    uint32_t *list = slab_alloc(&registry->lists, (count + (size_t)1) * sizeof(uint32_t));
    list[0] = count;
    memcpy(list + 1, pairs, count * sizeof(uint32_t)); /* cppcheck-suppress uninitvar */
    return list;
}

static void free_list(struct registry *registry, struct series_entry *entry)
{
    uint32_t *list = (uint32_t *)(uintptr_t)registry_list(entry);
    slab_free(&registry->lists, list, (list[0] + (size_t)1) * sizeof(uint32_t));
    *entry = (struct series_entry){0};
}

uint32_t registry_add_locked(struct registry *registry, struct ap_slice labels, struct labels_hash hash, uint32_t ref)
{
    uint32_t pairs[LABELS_COUNT_MAX];
    uint32_t count = 0;
    struct label label;
    while (labels_next(&labels, &label)) {
        AP_ASSERT(count < LABELS_COUNT_MAX);
        /* The nth label mostly has the name that the nth label of the series before had. */
        uint32_t *guess = &registry->guesses[count % GUESSES];
        if (*guess >= registry->name_count ||
            !ap_slice_equal(ap_slice(registry->names[*guess].text, registry->names[*guess].bytes), label.name))
            *guess = registry_name_locked(registry, label.name);
        pairs[count++] = registry_pair_locked(registry, *guess, label.value);
    }
    AP_ASSERT(count > 0);
    if (ref == REGISTRY_NONE)
        ref = next_ref(registry);
    AP_ASSERT(ref < REGISTRY_NONE);
    registry_make_page_locked(registry, ref);
    struct series_entry *entry = registry_entry(registry, ref);
    AP_ASSERT(!entry->pairs);
    take_ref(registry, ref);
    *entry = (struct series_entry){hash, registry_make_list_locked(registry, pairs, count)};
    slots_add(&registry->slots, registry_tag(hash), ref);
    registry->change++;
    for (uint32_t i = 0; i < count; i++) {
        postings_add(&registry->pairs[pairs[i]].postings, ref);
        registry->pairs[pairs[i]].change = registry->change;
        registry->names[registry->pairs[pairs[i]].name].series_count++;
    }
    roaring_bitmap_add(registry->live, ref);
    registry_refs_add(&registry->unsaved, ref);
    atomic_fetch_add_explicit(&registry->count, 1, memory_order_relaxed);
    registry->created_count++;
    return ref;
}

/* ---- Removing ---- */

void registry_remove_locked(struct registry *registry, const roaring_bitmap_t *refs)
{
    roaring_uint32_iterator_t iterator;
    roaring_init_iterator(refs, &iterator);
    for (; iterator.has_value; roaring_advance_uint32_iterator(&iterator)) {
        uint32_t ref = iterator.current_value;
        if (!registry_has(registry, ref))
            continue;
        struct series_entry *entry = registry_entry(registry, ref);
        registry->change++;
        for (uint32_t i = 1; i <= entry->pairs[0]; i++) {
            struct pair *pair = &registry->pairs[entry->pairs[i]];
            postings_remove(&pair->postings, ref);
            pair->change = registry->change;
            registry->names[pair->name].series_count--;
        }
        slots_remove(&registry->slots, registry_tag(entry->hash), ref);
        roaring_bitmap_remove(registry->live, ref);
        entry->pairs = (const uint32_t *)((uintptr_t)entry->pairs | 1);
        registry_refs_add(&registry->removed, ref);
        registry_refs_add(&registry->unsaved_removed, ref);
        atomic_fetch_sub_explicit(&registry->count, 1, memory_order_relaxed);
        registry->removed_count++;
    }
}

static void sweep_pairs(struct registry *registry)
{
    for (uint32_t i = 0; i < registry->pair_count; i++)
        registry_free_pairs_locked(registry, &i, 1);
    registry->must_sweep_pairs = false;
}

void registry_release_removed_locked(struct registry *registry, bool is_freeing_pairs)
{
    for (size_t i = 0; i < registry->removed.count; i++) {
        uint32_t ref = registry->removed.items[i];
        struct series_entry *entry = registry_entry(registry, ref);
        const uint32_t *list = registry_list(entry);
        if (is_freeing_pairs)
            registry_free_pairs_locked(registry, list + 1, list[0]); /* those that no live series has */
        if (!registry->is_free_stale)
            roaring_bitmap_add(registry->free, ref);
    }
    for (size_t i = 0; i < registry->removed.count; i++)
        free_list(registry, registry_entry(registry, registry->removed.items[i]));
    registry->removed.count = 0;
}

void registry_reuse_removed_locked(struct registry *registry)
{
    registry_release_removed_locked(registry, true);
    if (registry->must_sweep_pairs)
        sweep_pairs(registry);
}

/* ---- Labels ---- */

static size_t varint_bytes(size_t value)
{
    size_t bytes = 1;
    for (; value >= 0x80; value >>= 7)
        bytes++;
    return bytes;
}

static char *put_varint(char *to, size_t value)
{
    for (; value >= 0x80; value >>= 7)
        *to++ = (char)(value | 0x80);
    *to++ = (char)value;
    return to;
}

static char *put_field(char *to, char tag, const char *text, size_t bytes)
{
    *to++ = tag;
    to = put_varint(to, bytes);
    memcpy(to, text, bytes);
    return to + bytes;
}

void registry_labels(const struct registry *registry, uint32_t ref, struct ap_buf *out)
{
    enum { LABEL_HEAD_BYTES_MAX = 18 };
    const uint32_t *list = registry_list(registry_entry(registry, ref));
    for (uint32_t i = 1; i <= list[0]; i++) {
        const struct pair *pair = &registry->pairs[list[i]];
        const struct name *name = &registry->names[pair->name];
        char *to = ap_buf_reserve(out, LABEL_HEAD_BYTES_MAX + (size_t)name->bytes + pair->value_bytes);
        if (!to)
            return; /* over the caller's maximum, which it sees */
        char *start = to;
        *to++ = 0x0A;
        to = put_varint(to, 2 + varint_bytes(name->bytes) + name->bytes + varint_bytes(pair->value_bytes) +
                                pair->value_bytes);
        to = put_field(to, 0x0A, name->text, name->bytes);
        to = put_field(to, 0x12, pair->value, pair->value_bytes);
        out->bytes += (size_t)(to - start);
    }
}

void registry_prefetch_labels(const struct registry *registry, const uint32_t *refs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        __builtin_prefetch(registry_entry(registry, refs[i]));
    for (size_t i = 0; i < count; i++)
        __builtin_prefetch(registry_list(registry_entry(registry, refs[i])));
}
