/*
 * alert/group.h - the alerts of one route with the same values of its group_by labels: what is told together
 *
 *     first alert ──group_wait──► flush ──group_interval──► flush ──► …   until no alert is left
 *
 * For each way of the route's receiver a group has a sending: what is on its way, or waits to be tried again.
 *
 * One owner, no locks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alert/alert_set.h"
#include "alert/notification_internal.h"
#include "alert/notify_log.h"
#include "alert/route.h"

/* What one way of one group is being told. It outlives its group while it is in flight. */
struct sending {
    struct alert_group *group;         /* NULL: gone */
    struct notification *notification; /* owned reference; NULL: nothing is to be told */
    struct notify_entry entry;         /* what is noted when it succeeds; its arrays and key are owned */
    bool is_in_flight;
    int64_t next_try_ms;
    int64_t failing_since_ms; /* 0: it is not */
    unsigned attempts;
};

struct alert_group {
    const struct route *route;
    const struct receiver *receiver;
    struct labels_hash hash;     /* of route and labels */
    struct ap_slice labels;      /* owned; canonical */
    struct ap_slice key;         /* owned */
    struct known_alert **alerts; /* owned array */
    size_t count;
    size_t capacity;
    int64_t due_ms;
    bool has_flushed;
    int64_t flushed_ms;
    size_t pending_count;      /* of ways, of the last flush */
    struct sending **sendings; /* owned; one a way, NULL: none */
};

struct alert_group *alert_group_new(const struct route *route, const struct receiver *receiver, struct labels_hash hash,
                                    struct ap_slice labels, int64_t due_ms);
/* Sendings in flight go on without it. */
void alert_group_free(struct alert_group *group);

/* False: it has it already. */
bool alert_group_add(struct alert_group *group, struct known_alert *alert);
/* Alerts that had ended when it was flushed last, and that nobody told since. */
void alert_group_drop_ended(struct alert_group *group);
/* As they are told: by job, instance, then all labels (types.AlertSlice of Alertmanager). */
void alert_group_sort(struct alert_group *group);
/*
 * Alertmanager's order of label sets (model.LabelSet.Before): the one with fewer labels first, then the one that lacks
 * the first name in order, or has a smaller value of it.
 */
int alert_group_compare_labels(struct ap_slice a, struct ap_slice b);

struct sending *sending_new(struct alert_group *group);
void sending_free(struct sending *sending); /* NULL is allowed */
/* The key in the notify_log of one way of a group. */
struct ap_slice sending_key(struct ap_slice group_key, const struct receiver *receiver, size_t way_index);
