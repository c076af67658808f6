#include "alert/group_set.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"

enum { SLOTS_FIRST = 64 };

void group_set_clear(struct group_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        alert_group_free(set->heap[i]);
    free(set->slots);
    free(set->heap);
    *set = (struct group_set){0};
}

/* ---- By hash ---- */

/* Of the route's place in the tree, and the labels. */
struct labels_hash group_set_hash(const struct route *route, struct ap_slice labels)
{
    AP_AUTO_BUF struct ap_buf bytes = {0};
    for (const struct route *at = route; at; at = at->parent)
        ap_buf_add_varint(&bytes, at->index + (at->parent != NULL));
    ap_buf_add_char(&bytes, '\0');
    ap_buf_add_slice(&bytes, labels);
    return labels_hash_of(0, ap_buf_slice(&bytes));
}

/* Where it is, or the empty place where it would be. */
static size_t find_slot(const struct group_set *set, struct labels_hash hash)
{
    size_t at = (size_t)hash.low & (set->slot_count - 1);
    while (set->slots[at] && !labels_hash_equal(set->slots[at]->hash, hash))
        at = (at + 1) & (set->slot_count - 1);
    return at;
}

struct alert_group *group_set_find(const struct group_set *set, struct labels_hash hash)
{
    return set->slot_count ? set->slots[find_slot(set, hash)] : NULL;
}

static void grow(struct group_set *set)
{
    set->slot_count = AP_MAX(set->slot_count * 2, (size_t)SLOTS_FIRST);
    free(set->slots);
    set->slots = ap_new0_array(struct alert_group *, set->slot_count);
    set->heap = ap_realloc(set->heap, set->slot_count / 2 * sizeof(struct alert_group *));
    for (size_t i = 0; i < set->count; i++)
        set->slots[find_slot(set, set->heap[i]->hash)] = set->heap[i];
}

/* Those behind it may have been displaced by it: they find their places anew. */
static void empty_slot(struct group_set *set, size_t at)
{
    size_t mask = set->slot_count - 1;
    set->slots[at] = NULL;
    for (size_t next = (at + 1) & mask; set->slots[next]; next = (next + 1) & mask) {
        struct alert_group *moved = set->slots[next];
        set->slots[next] = NULL;
        set->slots[find_slot(set, moved->hash)] = moved;
    }
}

/* ---- By time ---- */

static bool is_before(const struct alert_group *a, const struct alert_group *b)
{
    if (a->wake_ms != b->wake_ms)
        return a->wake_ms < b->wake_ms;
    return labels_compare(a->labels, b->labels) < 0;
}

static void put(struct group_set *set, size_t at, struct alert_group *group)
{
    set->heap[at] = group;
    group->heap_index = at;
}

static void sift_up(struct group_set *set, size_t at)
{
    struct alert_group *group = set->heap[at];
    for (; at && is_before(group, set->heap[(at - 1) / 2]); at = (at - 1) / 2)
        put(set, at, set->heap[(at - 1) / 2]);
    put(set, at, group);
}

static void sift_down(struct group_set *set, size_t at)
{
    struct alert_group *group = set->heap[at];
    for (size_t below; (below = 2 * at + 1) < set->count; at = below) {
        below += below + 1 < set->count && is_before(set->heap[below + 1], set->heap[below]);
        if (!is_before(set->heap[below], group))
            break;
        put(set, at, set->heap[below]);
    }
    put(set, at, group);
}

void group_set_wake_at(struct group_set *set, struct alert_group *group, int64_t wake_ms)
{
    if (group->wake_ms == wake_ms)
        return;
    group->wake_ms = wake_ms;
    sift_up(set, group->heap_index);
    sift_down(set, group->heap_index);
}

void group_set_wake_all(struct group_set *set, int64_t wake_ms)
{
    for (size_t i = 0; i < set->count; i++)
        set->heap[i]->wake_ms = wake_ms;
    for (size_t i = set->count / 2; i-- > 0;)
        sift_down(set, i);
}

struct alert_group *group_set_first(const struct group_set *set)
{
    return set->count ? set->heap[0] : NULL;
}

/* ---- Both ---- */

void group_set_add(struct group_set *set, struct alert_group *take_group)
{
    if ((set->count + 1) * 2 > set->slot_count)
        grow(set);
    set->slots[find_slot(set, take_group->hash)] = take_group;
    put(set, set->count++, take_group);
    sift_up(set, take_group->heap_index);
}

void group_set_remove(struct group_set *set, struct alert_group *group)
{
    size_t slot = find_slot(set, group->hash), at = group->heap_index;
    AP_ASSERT(set->slots[slot] == group && set->heap[at] == group);
    empty_slot(set, slot);
    struct alert_group *last = set->heap[--set->count];
    if (last != group) {
        put(set, at, last);
        sift_up(set, at);
        sift_down(set, last->heap_index);
    }
    alert_group_free(group);
}
