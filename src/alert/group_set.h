/*
 * alert/group_set.h - all groups: by route and labels, and by when something is to be done for them
 *
 * A heap, so that a hundred thousand groups that wait cost nothing while they do.
 *
 * One owner, no locks.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "alert/group.h"

struct group_set {
    struct alert_group **slots; /* owned, as the groups; open addressing by hash */
    size_t slot_count;          /* a power of two, or 0 */
    struct alert_group **heap;  /* owned array; the first is to be done first */
    size_t count;               /* of both */
};

void group_set_clear(struct group_set *set);
struct labels_hash group_set_hash(const struct route *route, struct ap_slice labels);
struct alert_group *group_set_find(const struct group_set *set, struct labels_hash hash);
void group_set_add(struct group_set *set, struct alert_group *take_group);
/* Frees it as well. */
void group_set_remove(struct group_set *set, struct alert_group *group);

/* The one that is to be done first; of several at the same time in order of labels. NULL: there is none. */
struct alert_group *group_set_first(const struct group_set *set);
void group_set_wake_at(struct group_set *set, struct alert_group *group, int64_t wake_ms);
void group_set_wake_all(struct group_set *set, int64_t wake_ms);
