/*
 * tsdb/slots.h - an open-addressing hash table of numbers
 *
 * It keeps 32 bits of each hash beside the number, and a slot's home is those bits masked. So growing needs nothing but
 * the table itself and runs through memory in order, and a look-up reads the thing that a number stands for when the
 * bits agree and hardly ever otherwise. Comparing that thing is the caller's part:
 *
 *     for (uint64_t i = slots_first(&slots, tag); slots.items[i].number != SLOT_EMPTY; i = slots_next(&slots, i))
 *         if (slots.items[i].tag == tag && …)
 */
#pragma once

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "base/mem.h"

#define SLOT_EMPTY UINT32_MAX

enum {
    SLOTS_FIRST = 1024,
    SLOTS_LOAD_PERCENT_MAX = 70,
    SLOTS_HUGE_BYTES = 2 << 20, /* the processor's large pages: random look-ups in small ones miss the TLB each time */
};

struct slot {
    uint32_t tag; /* of the hash */
    uint32_t number;
};

struct slots {
    struct slot *items; /* owned; all bits set: empty */
    uint64_t mask;
    uint64_t count;
};

static inline struct slot *slots_alloc(uint64_t count)
{
    size_t bytes = (size_t)count * sizeof(struct slot);
    struct slot *items;
    if (bytes >= 2 * SLOTS_HUGE_BYTES) {
        items = aligned_alloc(SLOTS_HUGE_BYTES, bytes);
        AP_ASSERT(items);
        (void)madvise(items, bytes, MADV_HUGEPAGE); /* a wish */
    } else {
        items = ap_realloc(NULL, bytes);
    }
    memset(items, 0xff, bytes);
    return items;
}

static inline void slots_init(struct slots *slots)
{
    *slots = (struct slots){slots_alloc(SLOTS_FIRST), SLOTS_FIRST - 1, 0};
}

static inline void slots_clear(struct slots *slots)
{
    free(slots->items);
    *slots = (struct slots){0};
}

static inline uint64_t slots_first(const struct slots *slots, uint32_t tag)
{
    return tag & slots->mask;
}

static inline uint64_t slots_next(const struct slots *slots, uint64_t at)
{
    return (at + 1) & slots->mask;
}

static inline void slots_place(struct slots *slots, struct slot slot)
{
    uint64_t i = slots_first(slots, slot.tag);
    while (slots->items[i].number != SLOT_EMPTY)
        i = slots_next(slots, i);
    slots->items[i] = slot;
}

/* Room for `count` numbers in all. */
static inline void slots_reserve(struct slots *slots, uint64_t count)
{
    uint64_t slot_count = slots->mask + 1;
    while (count * 100 > slot_count * SLOTS_LOAD_PERCENT_MAX)
        slot_count *= 2;
    if (slot_count == slots->mask + 1)
        return;
    struct slots before = *slots;
    *slots = (struct slots){slots_alloc(slot_count), slot_count - 1, before.count};
    for (uint64_t i = 0; i <= before.mask; i++)
        if (before.items[i].number != SLOT_EMPTY)
            slots_place(slots, before.items[i]);
    free(before.items);
}

static inline void slots_add(struct slots *slots, uint32_t tag, uint32_t number)
{
    slots_reserve(slots, slots->count + 1);
    slots_place(slots, (struct slot){tag, number});
    slots->count++;
}

/* Removal without tombstones: what follows in the same run moves up where it may. The number must be there. */
static inline void slots_remove(struct slots *slots, uint32_t tag, uint32_t number)
{
    uint64_t hole = slots_first(slots, tag);
    while (slots->items[hole].number != number) {
        AP_ASSERT(slots->items[hole].number != SLOT_EMPTY);
        hole = slots_next(slots, hole);
    }
    for (uint64_t i = slots_next(slots, hole); slots->items[i].number != SLOT_EMPTY; i = slots_next(slots, i)) {
        uint64_t home = slots_first(slots, slots->items[i].tag);
        /* It may if its home does not lie between the hole and itself. */
        if (((i - home) & slots->mask) >= ((i - hole) & slots->mask)) {
            slots->items[hole] = slots->items[i];
            hole = i;
        }
    }
    slots->items[hole] = (struct slot){UINT32_MAX, SLOT_EMPTY};
    slots->count--;
}
