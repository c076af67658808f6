/*
 * When which group is looked at, and what becomes of what is told.
 *
 * A group wakes when its next flush is due, something that failed is to be tried again, or the next receiver is to be
 * told in place of one that cannot be. All of these only queue sendings in the lanes of their ways; look.c says what
 * there is to tell when a lane has room.
 */
#include "alert/alerting_internal.h"

#include <stdlib.h>

#include "alert/look.h"

enum {
    STEP_MS_MAX = 1000,
    RETRY_FIRST_MS = 500,
    RETRY_MS_MAX = 60 * 1000,
    LANE_IN_FLIGHT_MAX = 64,          /* messages of one way that are made and not sent yet */
    LATE_KEPT_MS = 120 * 3600 * 1000, /* Alertmanager's data.retention */
};

/* ---- Groups ---- */

struct placing {
    struct alerting *alerting;
    struct known_alert *alert;
    int64_t now_ms;
};

static void place(const struct route *route, void *context)
{
    const struct placing *placing = context;
    struct alerting *alerting = placing->alerting;
    struct known_alert *alert = placing->alert;
    AP_AUTO_BUF struct ap_buf labels = {0};
    struct ap_err ignored; /* parts of a sound label set are one */
    (void)!route_group_labels(route, alert->alert.labels, &labels, &ignored);
    struct labels_hash hash = group_set_hash(route, ap_buf_slice(&labels));
    struct alert_group *group = group_set_find(&alerting->groups, hash);
    if (!group) { /* it waits from when the alert was told on */
        int64_t due_ms = AP_MAX(placing->now_ms, alert->updated_ms + route->group_wait_ms);
        group = alert_group_new(route, hash, ap_buf_slice(&labels), due_ms);
        group->wake_ms = due_ms;
        group_set_add(&alerting->groups, group);
    }
    (void)alert_group_add(group, alert);
    /* One that has been firing for as long as the group would wait need not wait again. */
    if (!group->has_flushed && alert->alert.starts_ms + route->group_wait_ms < placing->now_ms)
        group->due_ms = AP_MIN(group->due_ms, placing->now_ms);
    group_set_wake_at(&alerting->groups, group, AP_MIN(group->wake_ms, group->due_ms));
}

void dispatch_place_locked(struct alerting *alerting, struct known_alert *alert, int64_t now_ms)
{
    struct placing placing = {alerting, alert, now_ms};
    alert_config_match(alerting->hold->config, alert->alert.labels, place, &placing);
}

static void set_fallback_count(struct alerting *alerting, struct alert_group *group, size_t count)
{
    alerting->stats.groups_falling_back += (uint64_t)(count > 0) - (uint64_t)(group->fallback_count > 0);
    group->fallback_count = (uint8_t)count;
}

void dispatch_clear(struct alerting *alerting)
{
    for (size_t i = 0; i < alerting->groups.count; i++)
        alert_group_set_adrift(alerting->groups.heap[i], &alerting->adrift);
    group_set_clear(&alerting->groups);
    alerting->stats.groups_falling_back = 0;
    free(alerting->lanes);
    alerting->lanes = NULL;
}

void dispatch_tidy_locked(struct alerting *alerting)
{
    struct group_set *groups = &alerting->groups;
    for (size_t i = groups->count; i-- > 0;) { /* what moves meanwhile goes the next time */
        struct alert_group *group = groups->heap[i];
        if (group->count || !group->has_flushed || group->sendings)
            continue;
        set_fallback_count(alerting, group, 0);
        group_set_remove(groups, group);
    }
}

/* ---- What waits to be told ---- */

static void key_of(const struct alert_group *group, size_t step_index, size_t way_index, struct ap_buf *key)
{
    sending_key(group->key, group->route->steps[step_index].receiver, way_index, key);
}

/* NULL: there is none. */
static struct sending *find_adrift(const struct alerting *alerting, struct ap_slice key)
{
    struct sending *sending = alerting->adrift;
    while (sending && !ap_slice_equal(sending->entry->key, key))
        sending = sending->next;
    return sending;
}

/* The receiver's way has something to be told, or may have; unless that is under way already. */
static void want_locked(struct alerting *alerting, struct alert_group *group, size_t step_index, size_t way_index,
                        int64_t now_ms)
{
    const struct receiver *receiver = group->route->steps[step_index].receiver;
    if (alert_group_sending(group, step_index, way_index))
        return;
    struct lane *lane = &alerting->lanes[receiver->first_way_index + way_index];
    AP_AUTO_BUF struct ap_buf key = {0};
    key_of(group, step_index, way_index, &key);
    struct sending *sending = find_adrift(alerting, ap_buf_slice(&key));
    if (sending) {
        sending_join(sending, group, step_index, way_index, lane);
        return;
    }
    sending = alert_group_add_sending(group, step_index, way_index, lane, now_ms);
    if (group->route->step_count > 1) { /* before a restart it was late already */
        const struct notify_entry *told = notify_log_find(&alerting->log, ap_buf_slice(&key));
        sending->is_noted_late = told && told->late_since_ms;
        sending->since_ms = sending->is_noted_late ? told->late_since_ms : now_ms;
    }
    sending_queue(sending);
}

static bool was_told_locked(struct alerting *alerting, const struct alert_group *group, size_t step_index,
                            size_t way_index)
{
    AP_AUTO_BUF struct ap_buf key = {0};
    key_of(group, step_index, way_index, &key);
    const struct notify_entry *told = notify_log_find(&alerting->log, ap_buf_slice(&key));
    return told && told->firing_count;
}

static void flush_locked(struct alerting *alerting, struct alert_group *group, int64_t now_ms)
{
    const struct route *route = group->route;
    group->due_ms = now_ms + route->group_interval_ms;
    group->has_flushed = true;
    group->flushed_ms = now_ms;
    for (size_t s = 0; s < route->step_count; s++)
        for (size_t w = 0; w < route->steps[s].receiver->way_count; w++)
            if (s <= group->fallback_count || was_told_locked(alerting, group, s, w))
                want_locked(alerting, group, s, w, now_ms);
}

/*
 * How many of the route's other receivers are told now: each while the one before it is late, any of its ways. Of
 * several ways one may be the only one that wakes somebody, and which that is the file does not say.
 */
static size_t fallbacks_due(const struct alert_group *group, int64_t now_ms, int64_t *next_ms)
{
    const struct route *route = group->route;
    size_t count = 0;
    for (; count + 1 < route->step_count; count++) {
        int64_t since_ms = alert_group_late_since(group, count);
        if (since_ms == INT64_MAX)
            break;
        int64_t due_ms = since_ms + route->steps[count + 1].after_ms - route->steps[count].after_ms;
        if (due_ms > now_ms) {
            *next_ms = AP_MIN(*next_ms, due_ms);
            break;
        }
    }
    return count;
}

static void fall_back_locked(struct alerting *alerting, struct alert_group *group, int64_t now_ms, int64_t *next_ms)
{
    size_t count = fallbacks_due(group, now_ms, next_ms), before = group->fallback_count;
    set_fallback_count(alerting, group, count);
    for (size_t s = before + 1; s <= count; s++)
        for (size_t w = 0; w < group->route->steps[s].receiver->way_count; w++)
            want_locked(alerting, group, s, w, now_ms);
}

/* All that is due of one group. */
static void attend_locked(struct alerting *alerting, struct alert_group *group, int64_t now_ms)
{
    if (group->due_ms <= now_ms)
        flush_locked(alerting, group, now_ms);
    int64_t next_ms = group->due_ms;
    for (struct sending *sending = group->sendings; sending; sending = sending->next) {
        if (sending->state != SENDING_PAUSED)
            continue;
        if (sending->next_try_ms <= now_ms)
            sending_queue(sending);
        else
            next_ms = AP_MIN(next_ms, sending->next_try_ms);
    }
    fall_back_locked(alerting, group, now_ms, &next_ms);
    if (!group->sendings && group->has_flushed)
        alert_group_drop_ended(group);
    group_set_wake_at(&alerting->groups, group, next_ms);
}

/* ---- What is told ---- */

static void note_told_locked(struct alerting *alerting, struct notify_entry *take_entry)
{
    struct ap_buf bytes = {0};
    journal_begin(&bytes);
    journal_add_told(&bytes, take_entry);
    keeper_note(alerting->keeper, &bytes);
    notify_log_set(&alerting->log, take_entry);
}

/* Since when, or with 0 that it is over. */
static void note_late_locked(struct alerting *alerting, const struct sending *sending, int64_t since_ms, int64_t now_ms)
{
    struct ap_buf bytes = {0};
    AP_AUTO_BUF struct ap_buf key = {0};
    key_of(sending->group, sending->step_index, sending->way_index, &key);
    journal_begin(&bytes);
    journal_add_late(&bytes, notify_log_set_late(&alerting->log, ap_buf_slice(&key), since_ms, now_ms + LATE_KEPT_MS));
    keeper_note(alerting->keeper, &bytes);
}

/* There is nothing to tell, or no longer. */
static void call_off_locked(struct alerting *alerting, struct sending *sending, int64_t now_ms)
{
    if (sending->is_noted_late)
        note_late_locked(alerting, sending, 0, now_ms);
    group_set_wake_at(&alerting->groups, sending->group, now_ms);
    sending_end(sending);
}

static void leave_locked(struct alerting *alerting, struct sending *sending, struct notification *take_notification)
{
    enum receiver_kind kind = take_notification->way->kind;
    sending->state = SENDING_IN_FLIGHT;
    sending->lane->in_flight_count++;
    take_notification->attempt = ++sending->attempts;
    if (sending->attempts == 1) {
        alerting->stats.notifications[kind]++;
        alerting->stats.fallbacks[kind] += sending->step_index > 0;
    }
    if (alerting->leaving_count == alerting->leaving_capacity) {
        alerting->leaving_capacity = AP_MAX(alerting->leaving_capacity * 2, (size_t)16);
        alerting->leaving = ap_realloc(alerting->leaving, alerting->leaving_capacity * sizeof(struct notification *));
    }
    alerting->leaving[alerting->leaving_count++] = take_notification;
}

/* The first of the lane: tells it, if there is anything to tell. */
static void take_turn_locked(struct alerting *alerting, struct sending *sending, int64_t now_ms)
{
    struct notification *notification = NULL;
    sending_unqueue(sending);
    switch (look(alerting, sending, now_ms, &sending->entry, &notification)) {
    case LOOK_NOTHING:
        call_off_locked(alerting, sending, now_ms);
        break;
    case LOOK_NOTE:
        note_told_locked(alerting, sending->entry);
        sending->entry = NULL;
        sending->is_noted_late = false;
        call_off_locked(alerting, sending, now_ms);
        break;
    case LOOK_TELL:
        leave_locked(alerting, sending, notification);
        break;
    }
}

int64_t dispatch_step_locked(struct alerting *alerting, int64_t now_ms)
{
    struct alert_group *group;
    size_t lane_count = alerting->hold->config->way_count;
    do {
        while ((group = group_set_first(&alerting->groups)) != NULL && group->wake_ms <= now_ms)
            attend_locked(alerting, group, now_ms);
        for (size_t i = 0; i < lane_count; i++) {
            struct lane *lane = &alerting->lanes[i];
            while (lane->first && lane->in_flight_count < LANE_IN_FLIGHT_MAX)
                take_turn_locked(alerting, lane->first, now_ms);
        }
        group = group_set_first(&alerting->groups);
    } while (group && group->wake_ms <= now_ms);
    return group ? AP_MIN(group->wake_ms, now_ms + STEP_MS_MAX) : now_ms + STEP_MS_MAX;
}

/* ---- What came of it ---- */

static int64_t pause_ms(const struct sending *sending, const struct delivery *delivery)
{
    int64_t pause = RETRY_FIRST_MS;
    for (unsigned i = 1; i < sending->attempts && pause < RETRY_MS_MAX; i++)
        pause = pause * 3 / 2;
    return AP_MAX(AP_MIN(pause, (int64_t)RETRY_MS_MAX), delivery->retry_after_ms);
}

static void succeeded_locked(struct alerting *alerting, struct sending *sending, const struct delivery *delivery)
{
    if (delivery->reference[0]) {
        free(sending->entry->reference);
        sending->entry->reference = ap_strdup(delivery->reference);
    }
    note_told_locked(alerting, sending->entry);
    sending->entry = NULL;
    sending_end(sending);
}

static void failed_locked(struct alerting *alerting, struct sending *sending, const struct delivery *delivery,
                          int64_t now_ms)
{
    notify_entry_free(sending->entry);
    sending->entry = NULL;
    if (!sending->group) { /* if one has its alerts now, that one tells them */
        sending_end(sending);
        return;
    }
    /* What is refused for good would be again: the next flush tries what is then. */
    bool is_refused = delivery->outcome == DELIVERY_REFUSED;
    sending->state = SENDING_PAUSED;
    sending->next_try_ms = is_refused ? sending->group->due_ms : now_ms + pause_ms(sending, delivery);
    if (sending->group->route->step_count > 1 && !sending->is_noted_late) {
        note_late_locked(alerting, sending, sending->since_ms, now_ms);
        sending->is_noted_late = true;
    }
}

bool dispatch_delivered_locked(struct alerting *alerting, struct sending *sending, const struct notification *told,
                               const struct delivery *delivery)
{
    struct lane *lane = sending->lane;
    int64_t now_ms = alerting_now_ms(alerting);
    alerting->stats.failures[told->way->kind] += delivery->outcome != DELIVERY_DONE;
    alerting->stats.given_up[told->way->kind] += delivery->outcome == DELIVERY_REFUSED && sending->group;
    sending->state = SENDING_IDLE;
    if (lane)
        lane->in_flight_count--;
    if (sending->group)
        group_set_wake_at(&alerting->groups, sending->group, AP_MIN(sending->group->wake_ms, now_ms));
    if (delivery->outcome == DELIVERY_DONE)
        succeeded_locked(alerting, sending, delivery);
    else
        failed_locked(alerting, sending, delivery, now_ms);
    return delivery->outcome != DELIVERY_DONE ||
           (lane && lane->first && lane->in_flight_count <= LANE_IN_FLIGHT_MAX / 2);
}

/* ---- The clock ---- */

void dispatch_set_back_locked(struct alerting *alerting, int64_t now_ms)
{
    for (size_t i = 0; i < alerting->groups.count; i++) {
        struct alert_group *group = alerting->groups.heap[i];
        if (group->due_ms > now_ms + group->route->group_interval_ms + group->route->group_wait_ms)
            group->due_ms = now_ms;
        for (struct sending *sending = group->sendings; sending; sending = sending->next) {
            sending->since_ms = AP_MIN(sending->since_ms, now_ms);
            if (sending->next_try_ms > now_ms + AP_MAX((int64_t)RETRY_MS_MAX, group->route->group_interval_ms))
                sending->next_try_ms = now_ms;
        }
    }
    group_set_wake_all(&alerting->groups, now_ms);
}
