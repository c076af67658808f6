/* tsdb/registry_internal.h - what registry*.c share */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "tsdb/postings.h"
#include "tsdb/registry.h"

enum { SERIES_PER_PAGE = 4096, FILE_NUMBER_NONE = -1 };
#define PAIR_NONE UINT32_MAX

/* A name and one of its values. */
struct pair {
    const char *value; /* in texts */
    uint32_t value_bytes;
    uint32_t name;
    uint32_t file_number; /* in the series file; PAIR_NONE: not in it */
    struct postings postings;
};

struct name {
    const char *text; /* in texts */
    uint32_t bytes;
    uint32_t *pairs; /* owned; in order of making */
    uint32_t pair_count;
    uint32_t pair_capacity;
    uint64_t series_count;
    uint64_t value_bytes;
};

struct series_entry {
    struct labels_hash hash;
    const uint32_t *pairs; /* in pair_lists: how many, then the numbers in order of their names; NULL: free */
};

struct slot {
    uint32_t tag; /* upper bits of the hash */
    uint32_t ref; /* REGISTRY_NONE: empty */
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

    struct slot *slots;
    uint64_t slot_mask;
    struct series_entry **pages;
    size_t page_capacity;
    roaring_bitmap_t *live;
    struct refs removed;  /* gone, labels still readable */
    struct refs reusable; /* free, lowest last */

    struct pair *pairs;
    uint32_t pair_count;
    uint32_t pair_capacity;
    uint32_t *pair_slots; /* PAIR_NONE: empty */
    uint64_t pair_slot_mask;
    struct name *names;
    uint32_t name_count;
    uint32_t name_capacity;
    struct ap_arena texts;
    struct ap_arena pair_lists;

    /* The series file. */
    struct refs unsaved;
    struct refs unsaved_removed;
    size_t encoded_count; /* how many of these the last registry_encode() wrote */
    size_t encoded_removed_count;
    uint32_t file_pair_count;
    struct refs file_pairs; /* number in the file to number here, while reading */

    uint64_t created_count;
    uint64_t removed_count;
};

struct series_entry *registry_entry(const struct registry *registry, uint32_t ref); /* NULL: no such page */
uint32_t registry_find_name(const struct registry *registry, struct ap_slice text); /* PAIR_NONE: none */
uint32_t registry_find_pair(const struct registry *registry, uint32_t name, struct ap_slice value);
uint32_t registry_pair_locked(struct registry *registry, struct ap_slice name, struct ap_slice value);
uint32_t registry_add_pairs_locked(struct registry *registry, const uint32_t *pairs, size_t count,
                                   struct labels_hash hash, uint32_t ref);
void registry_refs_add(struct refs *refs, uint32_t ref);
