#include "history/ref_map.h"

#include <stdlib.h>

#include "base/mem.h"

enum { SLOTS_MIN = 1024 };

static void grow(struct ref_map *map)
{
    struct ref_map old = *map;
    size_t slots = old.slots ? (old.mask + 1) * 2 : SLOTS_MIN;
    map->slots = ap_new0_array(struct ref_map_slot, slots);
    map->mask = slots - 1;
    for (size_t i = 0; i < slots; i++)
        map->slots[i].number = REF_MAP_NONE;
    for (size_t i = 0; old.slots && i <= old.mask; i++)
        if (old.slots[i].number != REF_MAP_NONE)
            map->slots[ref_map_slot_of(map, old.slots[i].ref)] = old.slots[i];
    free(old.slots);
}

void ref_map_set(struct ref_map *map, uint64_t ref, uint32_t number)
{
    if (!map->slots || map->count * 2 > map->mask)
        grow(map);
    struct ref_map_slot *slot = &map->slots[ref_map_slot_of(map, ref)];
    map->count += slot->number == REF_MAP_NONE;
    *slot = (struct ref_map_slot){ref, number};
}

void ref_map_clear(struct ref_map *map)
{
    free(map->slots);
    *map = (struct ref_map){0};
}
