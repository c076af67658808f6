/*
 * history/ref_map.h - from the numbers that a log gives its series to numbers of ours; one thread writes
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define REF_MAP_NONE UINT32_MAX

struct ref_map {
    struct ref_map_slot {
        uint64_t ref;
        uint32_t number; /* REF_MAP_NONE: the slot is free */
    } * slots;           /* owned; a power of two, at most half of them taken */
    size_t mask;
    size_t count;
};

void ref_map_set(struct ref_map *map, uint64_t ref, uint32_t number);
void ref_map_clear(struct ref_map *map);

static inline size_t ref_map_slot_of(const struct ref_map *map, uint64_t ref)
{
    size_t slot = (size_t)(ref * UINT64_C(0x9e3779b97f4a7c15) >> 20) & map->mask;
    while (map->slots[slot].number != REF_MAP_NONE && map->slots[slot].ref != ref)
        slot = (slot + 1) & map->mask;
    return slot;
}

static inline uint32_t ref_map_get(const struct ref_map *map, uint64_t ref)
{
    return map->count ? map->slots[ref_map_slot_of(map, ref)].number : REF_MAP_NONE;
}
