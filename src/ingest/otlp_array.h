/*
 * ingest/otlp_array.h - arrays that grow in an arena, for what a decoder cannot count beforehand
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/arena.h"
#include "base/mem.h"
#include "ingest/otlp_point.h"

/* Room for `more` elements behind `count`; NULL when the arena is full. */
static inline void *otlp_array_reserve(struct ap_arena *arena, void *items, size_t count, size_t *capacity, size_t more,
                                       size_t item_bytes)
{
    if (items && count + more <= *capacity)
        return items;
    size_t grown = AP_MAX(count + more, *capacity * 2);
    void *larger = ap_arena_try_alloc(arena, grown * item_bytes);
    if (!larger)
        return NULL;
    if (count)
        memcpy(larger, items, count * item_bytes);
    *capacity = grown;
    return larger;
}

static inline bool otlp_numbers_reserve(struct ap_arena *arena, struct otlp_numbers *numbers, size_t more)
{
    uint64_t *items =
        otlp_array_reserve(arena, numbers->items, numbers->count, &numbers->capacity, more, sizeof(*items));
    if (items)
        numbers->items = items;
    return items != NULL;
}
