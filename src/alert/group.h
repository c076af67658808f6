/*
 * alert/group.h - the alerts of one route with the same values of its group_by labels: what is told together
 *
 *     first alert ──group_wait──► flush ──group_interval──► flush ──► …   until no alert is left
 *
 * While a way of a receiver has something to be told of a group, or may have, the group has a sending for it:
 *
 *     flush ──► queued in the lane of the way ──room──► in flight ──told──► gone
 *                      ▲                                   │ failed
 *                      └────────── time to try ── paused ◄─┘
 *
 * What is said is decided when it leaves the lane, so that what waits is small, and true when it is said.
 *
 * One owner, no locks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alert/alert_set.h"
#include "alert/notify_log.h"
#include "alert/route.h"

struct sending;

/* What is to be told by one way of one receiver, in order; of all groups. */
struct lane {
    struct sending *first;
    struct sending *last;
    unsigned in_flight_count;
};

enum sending_state { SENDING_IDLE, SENDING_QUEUED, SENDING_IN_FLIGHT, SENDING_PAUSED };

/* It outlives its group while it is in flight, and goes on with the one that has its key then. */
struct sending {
    struct alert_group *group;       /* NULL: gone */
    struct sending **list;           /* of the group, or of those that are adrift: without one */
    struct sending *next;            /* in there; owned */
    struct lane *lane;               /* lent; NULL: gone with its group */
    struct sending *before, *behind; /* in the lane */
    uint32_t step_index;             /* of the route's receivers; 0: the one to be told */
    uint32_t way_index;
    enum sending_state state;
    unsigned attempts;
    int64_t since_ms;           /* when it was to be told */
    int64_t next_try_ms;        /* while it is paused */
    bool is_noted_late;         /* since_ms is in the journal */
    struct notify_entry *entry; /* owned, while it is in flight: what is noted when it succeeds */
};

struct alert_group {
    const struct route *route;
    struct labels_hash hash;     /* of route and labels */
    struct ap_slice labels;      /* owned; canonical */
    struct ap_slice key;         /* owned */
    struct known_alert **alerts; /* owned array */
    uint32_t count;
    uint32_t capacity;
    struct sending *sendings; /* owned */
    int64_t due_ms;           /* of the next flush */
    int64_t flushed_ms;
    int64_t wake_ms;   /* when something is to be done for it: group_set.h's */
    size_t heap_index; /* group_set.h's */
    bool has_flushed;
    bool is_sorted;         /* as they are told */
    uint8_t fallback_count; /* of the route's other receivers, how many are told in place of the first */
};

struct alert_group *alert_group_new(const struct route *route, struct labels_hash hash, struct ap_slice labels,
                                    int64_t due_ms);
/* None of its sendings is in flight. */
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

/* NULL: there is none. */
struct sending *alert_group_sending(const struct alert_group *group, size_t step_index, size_t way_index);
struct sending *alert_group_add_sending(struct alert_group *group, size_t step_index, size_t way_index,
                                        struct lane *lane, int64_t since_ms);
/* Since when one of the ways of that receiver has not been told what it was to be told; INT64_MAX: all have. */
int64_t alert_group_late_since(const struct alert_group *group, size_t step_index);

const struct receiver *sending_receiver(const struct sending *sending); /* while its group is there */
void sending_queue(struct sending *sending);                            /* at the end of its lane */
void sending_unqueue(struct sending *sending);
/* Those of the group that are in flight go adrift. */
void alert_group_set_adrift(struct alert_group *group, struct sending **adrift);
/* One that is adrift is the group's from now on. */
void sending_join(struct sending *sending, struct alert_group *group, size_t step_index, size_t way_index,
                  struct lane *lane);
/* It is over: leaves where it is. */
void sending_end(struct sending *sending);
/* The key in the notify_log of one way of a group. */
void sending_key(struct ap_slice group_key, const struct receiver *receiver, size_t way_index, struct ap_buf *out);
