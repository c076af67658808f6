/* tsdb/registry_internal.h - what registry*.c share; block_writer.c reads names, pairs and series here too */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "tsdb/postings.h"
#include "tsdb/registry.h"
#include "tsdb/slab.h"
#include "tsdb/slots.h"

enum { SERIES_PER_PAGE = 4096, GUESSES = 32 };
#define PAIR_NONE UINT32_MAX

/* A name and one of its values. */
struct pair {
    char *value; /* in texts; NULL: the number is free */
    uint32_t value_bytes;
    uint32_t name;
    uint32_t file_number; /* in the series file; PAIR_NONE: not in it */
    uint32_t at;          /* in its name's pairs */
    struct postings postings;
    uint64_t change; /* registry->change when `postings` last did */
};

struct name {
    char *text; /* in texts */
    uint32_t bytes;
    uint32_t pair_count;
    uint32_t pair_capacity;
    uint32_t last_pair; /* looked up last; PAIR_NONE: none */
    uint32_t *pairs;    /* owned; in no order */
    uint64_t series_count;
    /* Under sorted_mtx, or the lock for writing. */
    uint32_t *sorted; /* owned; pairs in order of value */
    uint32_t sorted_count;
    uint32_t unsorted_from; /* those of `pairs` from here on are not among `sorted` */
};

/*
 * A series is free (list NULL), live, or removed with its labels still readable (lowest bit of the pointer set: lists
 * are aligned to 8 bytes).
 */
struct series_entry {
    struct labels_hash hash;
    const uint32_t *pairs; /* in lists: how many, then the numbers in order of their names */
};

struct refs {
    uint32_t *items; /* owned */
    size_t count;
    size_t capacity;
};

struct registry {
    pthread_rwlock_t lock;
    uint64_t seed;
    _Atomic size_t count;
    _Atomic uint32_t ref_end;

    struct slots slots; /* hash to ref */
    struct series_entry **pages;
    size_t page_capacity;
    size_t page_count;
    roaring_bitmap_t *live;
    struct refs removed;    /* gone, labels still readable */
    roaring_bitmap_t *free; /* refs below the end that may be given out */
    bool is_free_stale;     /* after reading a file: `free` is computed when the first ref is wanted */

    struct pair *pairs;
    uint32_t pair_count; /* numbers given out, free ones included */
    uint32_t pair_capacity;
    struct refs free_pairs;
    bool must_sweep_pairs; /* after reading a file: some may be of removed series alone */
    struct slots pair_slots;
    struct name *names;
    uint32_t name_count;
    uint32_t name_capacity;
    struct slots name_slots;
    struct slab texts;
    struct slab lists;
    uint32_t guesses[GUESSES]; /* the name that the nth label had last */

    pthread_mutex_t sorted_mtx; /* a leaf; the names' sorted values, which readers make */

    /* The series file. */
    struct refs unsaved;
    struct refs unsaved_removed;
    size_t encoded_count; /* how many of these the last registry_encode() wrote */
    size_t encoded_removed_count;
    uint32_t file_pair_count;
    struct refs file_pairs; /* number in the file to number here, while reading */

    uint64_t created_count;
    uint64_t removed_count;
    uint64_t change; /* counts series that came and went, and batches of a file */
};

/* registry.c */
static inline struct series_entry *registry_entry(const struct registry *registry,
                                                  uint32_t ref) /* NULL: no such page */
{
    size_t page = ref / SERIES_PER_PAGE;
    return page < registry->page_capacity && registry->pages[page] ? &registry->pages[page][ref % SERIES_PER_PAGE]
                                                                   : NULL;
}
static inline uint32_t registry_tag(struct labels_hash hash)
{
    return (uint32_t)hash.low;
}
static inline const uint32_t *registry_list(const struct series_entry *entry) /* of live and removed ones */
{
    return (const uint32_t *)((uintptr_t)entry->pairs & ~(uintptr_t)1);
}
void registry_make_page_locked(struct registry *registry, uint32_t ref);
uint32_t *registry_make_list_locked(struct registry *registry, const uint32_t *pairs, uint32_t count);
/* Forgets the labels of removed series; their refs are free. */
void registry_release_removed_locked(struct registry *registry, bool is_freeing_pairs);
void registry_refs_add(struct refs *refs, uint32_t ref);
void registry_refs_reserve(struct refs *refs, size_t count);

/* registry_pairs.c */
static inline struct ap_slice pair_value(const struct pair *pair)
{
    return ap_slice(pair->value, pair->value_bytes);
}
uint32_t registry_find_name(const struct registry *registry, struct ap_slice text); /* PAIR_NONE: none */
uint32_t registry_find_pair(const struct registry *registry, uint32_t name, struct ap_slice value);
uint32_t registry_name_locked(struct registry *registry, struct ap_slice text);
uint32_t registry_pair_locked(struct registry *registry, uint32_t name, struct ap_slice value);
/* Up to 32 at once: the table's memory is fetched for all of them together. */
void registry_pairs_locked(struct registry *registry, const uint32_t *names, const struct ap_slice *values,
                           size_t count, uint32_t *ret_pairs);
/* Pairs that no series has, live or removed. */
void registry_free_pairs_locked(struct registry *registry, const uint32_t *pairs, size_t count);
