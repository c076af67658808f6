/*
 * tsdb/postings.h - the refs of the series that have one label pair
 *
 * Most pairs of a large store have one series (a pod's name, a request's id), some have a handful, a few have very
 * many: one ref is kept in place, up to POSTINGS_ARRAY_MAX as a sorted array, more as a roaring bitmap. {0} is empty.
 */
#pragma once

#include <roaring/roaring.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { POSTINGS_ARRAY_MAX = 32 };

struct postings {
    uint32_t count;
    uint32_t one; /* when count is 1; UINT32_MAX: there is a bitmap */
    union {
        uint32_t *array;          /* owned; 2 to POSTINGS_ARRAY_MAX */
        roaring_bitmap_t *bitmap; /* owned; when there were more than that once */
    };
};

void postings_clear(struct postings *postings);
/* Not there yet, and below UINT32_MAX. */
void postings_add(struct postings *postings, uint32_t ref);
/* The same for many in rising order. */
void postings_add_many(struct postings *postings, const uint32_t *refs, size_t count);
void postings_add_to_bitmap(roaring_bitmap_t *bitmap, const uint32_t *refs, size_t count); /* rising */
void postings_remove(struct postings *postings, uint32_t ref);
bool postings_has(const struct postings *postings, uint32_t ref);
/* bitmap |= postings */
void postings_or_into(const struct postings *postings, roaring_bitmap_t *bitmap);
/* bitmap &= postings */
void postings_and_into(const struct postings *postings, roaring_bitmap_t *bitmap);
/* Whether any of them is in `bitmap`. */
bool postings_meet(const struct postings *postings, const roaring_bitmap_t *bitmap);
/* How many of them are. */
uint64_t postings_meet_count(const struct postings *postings, const roaring_bitmap_t *bitmap);
uint64_t postings_memory_bytes(const struct postings *postings); /* beside the struct */
