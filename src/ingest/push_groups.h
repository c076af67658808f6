/*
 * ingest/push_groups.h - what was pushed and is still there: groups, each with its families
 *
 * In memory, and nothing else: push.h puts it on disk and into the store. One owner, no locks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "base/slice.h"
#include "ingest/push_body.h"
#include "ingest/push_family.h"

struct push_group {
    struct ap_buf labels; /* canonical: the grouping key without empty labels */
    struct labels_hash hash;
    struct ap_buf pushed_labels;   /* of its series push_time_seconds … */
    struct ap_buf failed_labels;   /* … and push_failure_time_seconds */
    int64_t pushed_us;             /* 0: never with success */
    int64_t failed_us;             /* 0: never */
    int64_t last_ts_ms;            /* of its newest samples in the store */
    struct push_families families; /* by name_hash */
};

struct push_groups {
    struct push_group **items; /* owned */
    size_t count;
    size_t capacity;
    size_t bytes; /* of memory, about; of all groups */
    uint64_t series_count;
};

void push_groups_clear(struct push_groups *groups);

/* NULL: there is none. `labels` is canonical. */
struct push_group *push_groups_find(const struct push_groups *groups, struct ap_slice labels);
struct push_group *push_groups_add(struct push_groups *groups, struct ap_slice labels);
void push_groups_remove(struct push_groups *groups, struct push_group *take_group);

/* NULL: there is none. */
struct push_family *push_group_find(const struct push_group *group, struct ap_slice name);
/* Puts families in place of those of the same name; returns what was there before, the caller's to free, or NULL. */
struct push_family *push_group_put(struct push_groups *groups, struct push_group *group,
                                   struct push_family *take_family);
/* Takes all families out. */
struct push_families push_group_detach(struct push_groups *groups, struct push_group *group);

/*
 * Whether `families` can come into the group of these labels, or in place of all that it has: AP_E_CONFLICT when a
 * metric would have two types, a series would be there twice, or the parts of a histogram would meet a metric of their
 * name. `err` says which, as the Pushgateway does.
 */
ap_nodiscard enum ap_rc push_groups_check(const struct push_groups *groups, struct ap_slice labels,
                                          const struct push_families *families, bool is_replacing, struct ap_err *err);
