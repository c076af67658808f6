/*
 * All state is under one mutex, which nothing slow is done with: records are handed to the log and noted when they are
 * durable, notifications are handed to deliver().
 */
#include "alert/alerting.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alert/group.h"
#include "alert/inhibitor.h"
#include "alert/journal.h"
#include "base/buf.h"
#include "os/fs.h"
#include "wal/wal.h"

enum {
    STEP_MS_MAX = 1000,
    TIDY_INTERVAL_MS = 30 * 1000,        /* empty groups, alerts that have ended, what was told long ago */
    SILENCE_KEPT_MS = 120 * 3600 * 1000, /* Alertmanager's data.retention */
    RETRY_FIRST_MS = 500,
    RETRY_MS_MAX = 60 * 1000,
    SNAPSHOT_BYTES = 4 << 20,  /* of records since the last one */
    HELD_BYTES_MAX = 16 << 20, /* of the log, whoever wrote it, since then; with a small log less */
    HELD_SHARE = 8,
    GROUP_SLOTS_FIRST = 64,
};

static const char cursor_name[] = "alerting";

struct alerting {
    /* Constant. */
    struct alerting_options options;
    int dir_fd;
    struct wal_cursor *cursor; /* holds the log from the snapshot on */
    pthread_mutex_t mutex;     /* all that follows */
    struct config_hold *hold;  /* owned reference */
    struct inhibitor *inhibitor;
    bool is_inhibitor_old;
    struct alert_set alerts;
    struct silence_set silences;
    struct notify_log log;
    struct alert_group **groups; /* owned; open addressing by hash */
    size_t group_slot_count;
    size_t group_count;
    uint64_t notification_id;
    struct notification **leaving; /* owned, with a reference each; handed over when the mutex is free again */
    size_t leaving_count;
    size_t leaving_capacity;
    int64_t tidied_ms;
    uint64_t journal_bytes; /* of records since the snapshot */
    uint64_t saved_lsn;     /* where in the log what the snapshot lacks begins */
    uint64_t held_bytes_max;
    uint64_t pending_count; /* records that the log has yet to answer */
    pthread_cond_t answered;
    struct alerting_stats stats;
};

static int64_t now_ms(const struct alerting *alerting)
{
    return ap_clock_wall_us(alerting->options.clock) / AP_US_PER_MS;
}

/* ---- The journal ---- */

/* One record, until the log has answered. */
struct pending {
    struct wal_ticket ticket;
    struct alerting *alerting;
    struct ap_buf bytes;
    void (*done)(void *context, enum ap_rc rc); /* NULL: nobody waits */
    void *context;
};

static void record_done(struct wal_ticket *ticket, enum ap_rc rc, uint64_t lsn)
{
    (void)lsn;
    struct pending *pending = ticket->context;
    struct alerting *alerting = pending->alerting;
    if (pending->done)
        pending->done(pending->context, rc);
    if (rc != AP_OK && alerting->options.trouble) {
        struct ap_err err;
        (void)ap_fail(&err, rc, "the log did not take a change of alerts; after a crash it may be missing");
        alerting->options.trouble(&err, alerting->options.context);
    }
    ap_buf_clear(&pending->bytes);
    free(pending);
    pthread_mutex_lock(&alerting->mutex);
    alerting->pending_count--;
    pthread_cond_broadcast(&alerting->answered);
    pthread_mutex_unlock(&alerting->mutex);
}

/* Hands the entries in `bytes` to the log. On failure done() is not called. */
static enum ap_rc submit_locked(struct alerting *alerting, struct ap_buf *take_bytes,
                                void (*done)(void *context, enum ap_rc rc), void *context, struct ap_err *err)
{
    struct pending *pending = ap_new0(struct pending);
    *pending = (struct pending){.alerting = alerting, .bytes = *take_bytes, .done = done, .context = context};
    *take_bytes = (struct ap_buf){0};
    pending->ticket = (struct wal_ticket){
        .slices = {ap_buf_slice(&pending->bytes)}, .slice_count = 1, .type = JOURNAL_RECORD_TYPE, .done = record_done};
    pending->ticket.context = pending;
    size_t bytes = pending->bytes.bytes;
    enum ap_rc rc = wal_submit(alerting->options.wal, &pending->ticket, err);
    if (rc != AP_OK) {
        ap_buf_clear(&pending->bytes);
        free(pending);
        return rc;
    }
    alerting->pending_count++;
    alerting->journal_bytes += bytes;
    return AP_OK;
}

static void tell_trouble(struct alerting *alerting, const struct ap_err *err)
{
    if (alerting->options.trouble)
        alerting->options.trouble(err, alerting->options.context);
}

static void tell_changed(const struct alerting *alerting)
{
    if (alerting->options.changed)
        alerting->options.changed(alerting->options.context);
}

/* What nobody waits for. */
static void note_locked(struct alerting *alerting, struct ap_buf *take_bytes)
{
    struct ap_err err;
    if (!alerting->options.wal)
        ap_buf_clear(take_bytes);
    else if (submit_locked(alerting, take_bytes, NULL, NULL, &err) != AP_OK)
        tell_trouble(alerting, &err);
}

static void add_all_locked(const struct alerting *alerting, struct ap_buf *out)
{
    journal_begin(out);
    for (size_t i = 0; i < alerting->alerts.slot_count; i++)
        if (alerting->alerts.slots[i])
            journal_add_alert(out, alerting->alerts.slots[i]);
    for (size_t i = 0; i < alerting->silences.count; i++)
        journal_add_silence(out, &alerting->silences.items[i]->silence);
    for (size_t i = 0; i < alerting->log.count; i++)
        journal_add_told(out, alerting->log.items[i]);
}

/* The log is held for what the snapshot lacks, and most of what it holds is others'. */
static bool is_snapshot_due_locked(const struct alerting *alerting)
{
    const struct wal *wal = alerting->options.wal;
    return wal && (alerting->journal_bytes > SNAPSHOT_BYTES ||
                   wal_durable_lsn(wal) - alerting->saved_lsn > alerting->held_bytes_max);
}

/* Only the one who steps does; the mutex is not held while the disk is waited for. */
static void save(struct alerting *alerting)
{
    AP_AUTO_BUF struct ap_buf bytes = {0};
    pthread_mutex_lock(&alerting->mutex);
    bool is_due = is_snapshot_due_locked(alerting);
    uint64_t journal_bytes = alerting->journal_bytes;
    /* Everything below is in memory already: records are made with the mutex held. */
    uint64_t lsn = is_due ? wal_durable_lsn(alerting->options.wal) : 0;
    if (is_due)
        add_all_locked(alerting, &bytes);
    pthread_mutex_unlock(&alerting->mutex);
    struct ap_err err;
    if (!is_due)
        return;
    if (journal_save(alerting->dir_fd, ap_buf_slice(&bytes), lsn, &err) != AP_OK) {
        tell_trouble(alerting, &err);
        return;
    }
    wal_cursor_release(alerting->cursor, lsn);
    pthread_mutex_lock(&alerting->mutex);
    alerting->journal_bytes -= journal_bytes;
    alerting->saved_lsn = lsn;
    pthread_mutex_unlock(&alerting->mutex);
}

static enum ap_rc replay(struct alerting *alerting, struct ap_err *err)
{
    const struct journal_state state = {&alerting->alerts, &alerting->silences, &alerting->log};
    for (;;) {
        struct wal_record record;
        enum ap_rc rc = wal_cursor_next(alerting->cursor, 0, &record, err);
        if (rc == AP_E_TIMEOUT || rc == AP_E_BUSY)
            return AP_OK;
        if (rc == AP_OK && record.type == JOURNAL_RECORD_TYPE) {
            rc = journal_read(record.payload, &state, err);
            if (rc != AP_OK)
                (void)ap_err_prefix(err, "log record at LSN %" PRIu64, record.lsn);
        }
        if (rc != AP_OK)
            return rc;
    }
}

/* ---- Groups ---- */

static struct alert_group **group_slot(struct alert_group **slots, size_t slot_count, struct labels_hash hash)
{
    size_t at = (size_t)hash.low & (slot_count - 1);
    while (slots[at] && !labels_hash_equal(slots[at]->hash, hash))
        at = (at + 1) & (slot_count - 1);
    return &slots[at];
}

static void resize_groups(struct alerting *alerting, size_t slot_count)
{
    struct alert_group **slots = ap_new0_array(struct alert_group *, slot_count);
    for (size_t i = 0; i < alerting->group_slot_count; i++)
        if (alerting->groups[i])
            *group_slot(slots, slot_count, alerting->groups[i]->hash) = alerting->groups[i];
    free(alerting->groups);
    alerting->groups = slots;
    alerting->group_slot_count = slot_count;
}

/* Of the route's place in the tree, and the labels. */
static struct labels_hash group_hash(const struct route *route, struct ap_slice labels)
{
    AP_AUTO_BUF struct ap_buf bytes = {0};
    for (const struct route *at = route; at; at = at->parent)
        ap_buf_add_varint(&bytes, at->index + (at->parent != NULL));
    ap_buf_add_char(&bytes, '\0');
    ap_buf_add_slice(&bytes, labels);
    return labels_hash_of(0, ap_buf_slice(&bytes));
}

struct placing {
    struct alerting *alerting;
    struct known_alert *alert;
    int64_t now_ms;
    int64_t seen_ms; /* when it was told: groups wait from then on */
};

static void place(const struct route *route, void *context)
{
    const struct placing *placing = context;
    struct alerting *alerting = placing->alerting;
    struct known_alert *alert = placing->alert;
    AP_AUTO_BUF struct ap_buf labels = {0};
    struct ap_err ignored; /* parts of a sound label set are one */
    (void)!route_group_labels(route, alert->alert.labels, &labels, &ignored);
    struct labels_hash hash = group_hash(route, ap_buf_slice(&labels));
    if ((alerting->group_count + 1) * 2 > alerting->group_slot_count)
        resize_groups(alerting, AP_MAX(alerting->group_slot_count * 2, (size_t)GROUP_SLOTS_FIRST));
    struct alert_group **slot = group_slot(alerting->groups, alerting->group_slot_count, hash);
    if (!*slot) {
        const struct receiver *receiver = alert_config_receiver(alerting->hold->config, route->receiver);
        int64_t due_ms = AP_MAX(placing->now_ms, placing->seen_ms + route->group_wait_ms);
        *slot = alert_group_new(route, receiver, hash, ap_buf_slice(&labels), due_ms);
        alerting->group_count++;
    }
    struct alert_group *group = *slot;
    (void)alert_group_add(group, alert);
    /* One that has been firing for as long as the group would wait need not wait again. */
    if (!group->has_flushed && alert->alert.starts_ms + route->group_wait_ms < placing->now_ms)
        group->due_ms = AP_MIN(group->due_ms, placing->now_ms);
}

static void place_alert_locked(struct alerting *alerting, struct known_alert *alert, int64_t at_ms)
{
    struct placing placing = {alerting, alert, at_ms, alert->updated_ms};
    route_match(alerting->hold->config->root, alert->alert.labels, place, &placing);
}

static void free_groups_locked(struct alerting *alerting)
{
    for (size_t i = 0; i < alerting->group_slot_count; i++)
        if (alerting->groups[i])
            alert_group_free(alerting->groups[i]);
    free(alerting->groups);
    alerting->groups = NULL;
    alerting->group_slot_count = alerting->group_count = 0;
}

/* ---- What is told ---- */

static bool is_in_any(const struct alerting *alerting, const struct yaml_texts *names, int64_t at_ms)
{
    for (size_t i = 0; i < names->count; i++)
        if (named_intervals_contain(alert_config_intervals(alerting->hold->config, names->items[i]), at_ms / 1000))
            return true;
    return false;
}

static bool is_muted(const struct alerting *alerting, const struct route *route, int64_t at_ms)
{
    return is_in_any(alerting, &route->muted_in, at_ms) ||
           (route->active_in.count && !is_in_any(alerting, &route->active_in, at_ms));
}

/* The alerts of a flush that somebody is to know of. */
struct flush {
    struct alerting *alerting;
    struct alert_group *group;
    int64_t now_ms;
    struct known_alert **alerts; /* owned */
    size_t count;
    uint64_t *firing; /* owned; fingerprints in order, as the next */
    size_t firing_count;
    uint64_t *resolved;
    size_t resolved_count;
};

static int compare_numbers(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static void collect_locked(struct flush *flush)
{
    struct alerting *alerting = flush->alerting;
    struct alert_group *group = flush->group;
    alert_group_sort(group);
    flush->alerts = ap_new0_array(struct known_alert *, group->count + 1);
    flush->firing = ap_new0_array(uint64_t, group->count + 1);
    flush->resolved = ap_new0_array(uint64_t, group->count + 1);
    if (is_muted(alerting, group->route, flush->now_ms))
        return;
    for (size_t i = 0; i < group->count; i++) {
        struct known_alert *alert = group->alerts[i];
        struct ap_slice labels = alert->alert.labels;
        if (inhibitor_find(alerting->inhibitor, labels, flush->now_ms) ||
            silence_set_match(&alerting->silences, labels, flush->now_ms, NULL))
            continue;
        flush->alerts[flush->count++] = alert;
        if (known_alert_is_resolved(alert, flush->now_ms))
            flush->resolved[flush->resolved_count++] = alert_fingerprint(labels);
        else
            flush->firing[flush->firing_count++] = alert_fingerprint(labels);
    }
    qsort(flush->firing, flush->firing_count, sizeof(*flush->firing), compare_numbers);
    qsort(flush->resolved, flush->resolved_count, sizeof(*flush->resolved), compare_numbers);
}

static void flush_clear(struct flush *flush)
{
    free(flush->alerts);
    free(flush->firing);
    free(flush->resolved);
}

static struct notification *make_notification(const struct flush *flush, const struct receiver_way *way,
                                              const struct notify_entry *told, enum notification_reason reason)
{
    struct alerting *alerting = flush->alerting;
    struct notified_alert *alerts = ap_new0_array(struct notified_alert, flush->count + 1);
    struct notification parts = {
        .receiver = flush->group->receiver,
        .way = way,
        .global = &alerting->hold->config->global,
        .group_key = flush->group->key,
        .group_labels = flush->group->labels,
        .alerts = alerts,
        .firing_count = flush->firing_count,
        .reason = reason,
        .decided_ms = flush->now_ms,
        .id = ++alerting->notification_id,
    };
    for (size_t i = 0; i < flush->count; i++) {
        const struct known_alert *alert = flush->alerts[i];
        bool is_resolved = known_alert_is_resolved(alert, flush->now_ms);
        if (is_resolved && !way->is_sending_resolved)
            continue;
        alerts[parts.alert_count++] =
            (struct notified_alert){alert->alert.labels,    alert->alert.annotations, alert->alert.generator_url,
                                    alert->alert.starts_ms, alert->alert.ends_ms,     is_resolved};
    }
    if (told)
        memcpy(parts.reference, told->reference, sizeof(parts.reference));
    struct notification *notification = notification_new(alerting->hold, &parts);
    free(alerts);
    return notification;
}

/* What is noted as told once it is. */
static void fill_entry(const struct flush *flush, struct ap_slice take_key, const struct notify_entry *told,
                       struct notify_entry *entry)
{
    free((void *)entry->key.data);
    free(entry->firing);
    free(entry->resolved);
    *entry = (struct notify_entry){
        .key = take_key,
        .firing = ap_new0_array(uint64_t, flush->firing_count + 1),
        .firing_count = flush->firing_count,
        .resolved = ap_new0_array(uint64_t, flush->resolved_count + 1),
        .resolved_count = flush->resolved_count,
        .sent_ms = flush->now_ms,
        .expires_ms = flush->now_ms + 2 * flush->group->route->repeat_interval_ms,
    };
    memcpy(entry->firing, flush->firing, flush->firing_count * sizeof(*entry->firing));
    memcpy(entry->resolved, flush->resolved, flush->resolved_count * sizeof(*entry->resolved));
    if (told)
        memcpy(entry->reference, told->reference, sizeof(entry->reference));
}

static void note_told_locked(struct alerting *alerting, const struct notify_entry *entry)
{
    struct ap_buf bytes = {0};
    journal_begin(&bytes);
    journal_add_told(&bytes, notify_log_set(&alerting->log, entry));
    note_locked(alerting, &bytes);
}

static void send_locked(struct alerting *alerting, struct sending *sending)
{
    sending->is_in_flight = true;
    sending->notification->attempt = ++sending->attempts;
    alerting->stats.notifications[sending->notification->way->kind] += sending->attempts == 1;
    if (alerting->leaving_count == alerting->leaving_capacity) {
        alerting->leaving_capacity = AP_MAX(alerting->leaving_capacity * 2, (size_t)16);
        alerting->leaving = ap_realloc(alerting->leaving, alerting->leaving_capacity * sizeof(struct notification *));
    }
    alerting->leaving[alerting->leaving_count++] = notification_ref(sending->notification);
}

static void flush_way_locked(struct flush *flush, size_t way_index)
{
    struct alerting *alerting = flush->alerting;
    struct alert_group *group = flush->group;
    const struct receiver_way *way = &group->receiver->ways[way_index];
    struct sending *sending = group->sendings[way_index];
    enum notification_reason reason;
    if (sending && sending->is_in_flight) { /* what has changed is told when this is done */
        group->pending_count++;
        return;
    }
    struct ap_slice key = sending_key(group->key, group->receiver, way_index);
    const struct notify_entry *told = notify_log_find(&alerting->log, key);
    bool is_due = notify_log_is_due(told, flush->firing, flush->firing_count, flush->resolved, flush->resolved_count,
                                    way->is_sending_resolved, group->route->repeat_interval_ms, flush->now_ms, &reason);
    if (!is_due) {
        free((void *)key.data);
        sending_free(sending);
        group->sendings[way_index] = NULL;
        return;
    }
    if (!sending)
        sending = group->sendings[way_index] = sending_new(group);
    fill_entry(flush, key, told, &sending->entry);
    if (flush->firing_count == 0 && !way->is_sending_resolved) { /* nobody is told, and the next alert is a first one */
        note_told_locked(alerting, &sending->entry);
        sending_free(sending);
        group->sendings[way_index] = NULL;
        return;
    }
    notification_unref(sending->notification);
    sending->notification = make_notification(flush, way, told, reason);
    sending->notification->origin = sending;
    group->pending_count++;
    if (sending->next_try_ms <= flush->now_ms) /* else it has failed just now, and is tried again with this */
        send_locked(alerting, sending);
}

/* Nobody is to know of any alert now: what has not been told yet is not, and what was stays as it is. */
static void call_off_locked(struct alert_group *group, size_t way_index)
{
    struct sending *sending = group->sendings[way_index];
    if (sending && sending->is_in_flight) {
        group->pending_count++;
        return;
    }
    sending_free(sending);
    group->sendings[way_index] = NULL;
}

static void flush_group_locked(struct alerting *alerting, struct alert_group *group, int64_t at_ms)
{
    struct flush flush = {.alerting = alerting, .group = group, .now_ms = at_ms};
    group->due_ms = at_ms + group->route->group_interval_ms;
    group->has_flushed = true;
    group->flushed_ms = at_ms;
    group->pending_count = 0;
    collect_locked(&flush);
    for (size_t i = 0; i < group->receiver->way_count; i++)
        if (flush.count)
            flush_way_locked(&flush, i);
        else
            call_off_locked(group, i);
    if (group->pending_count == 0)
        alert_group_drop_ended(group);
    flush_clear(&flush);
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
    struct alert_group *group = sending->group;
    if (delivery->reference[0])
        memcpy(sending->entry.reference, delivery->reference, sizeof(sending->entry.reference));
    note_told_locked(alerting, &sending->entry);
    if (group) {
        for (size_t i = 0; i < group->receiver->way_count; i++)
            if (group->sendings[i] == sending)
                group->sendings[i] = NULL;
        if (group->pending_count && --group->pending_count == 0)
            alert_group_drop_ended(group);
    }
    sending_free(sending);
}

static void failed_locked(struct alerting *alerting, struct sending *sending, const struct delivery *delivery)
{
    enum receiver_kind kind = sending->notification->way->kind;
    int64_t at_ms = now_ms(alerting);
    alerting->stats.failures[kind]++;
    if (!sending->group) { /* its group is gone: the one that has its alerts now tells them */
        sending_free(sending);
        return;
    }
    if (!sending->failing_since_ms)
        sending->failing_since_ms = at_ms;
    if (delivery->outcome ==
        DELIVERY_REFUSED) { /* the same would be refused again; the next flush tries what is then */
        alerting->stats.given_up[kind]++;
        sending->next_try_ms = sending->group->due_ms;
        return;
    }
    sending->next_try_ms = at_ms + pause_ms(sending, delivery);
}

void alerting_delivered(struct alerting *alerting, struct notification *notification, const struct delivery *delivery)
{
    pthread_mutex_lock(&alerting->mutex);
    struct sending *sending = notification->origin;
    sending->is_in_flight = false;
    if (delivery->outcome == DELIVERY_DONE)
        succeeded_locked(alerting, sending, delivery);
    else
        failed_locked(alerting, sending, delivery);
    pthread_mutex_unlock(&alerting->mutex);
    tell_changed(alerting);
}

/* ---- Work ---- */

static void tidy_locked(struct alerting *alerting, int64_t at_ms)
{
    size_t kept = 0;
    for (size_t i = 0; i < alerting->group_slot_count; i++) {
        struct alert_group *group = alerting->groups[i];
        bool is_over = group && group->count == 0 && group->has_flushed && group->pending_count == 0;
        if (is_over) {
            alert_group_free(group);
            alerting->groups[i] = NULL;
        }
        kept += group && !is_over;
    }
    if (kept < alerting->group_count)
        resize_groups(alerting, alerting->group_slot_count); /* who was displaced finds its place */
    alerting->group_count = kept;
    struct ap_buf bytes = {0};
    journal_begin(&bytes);
    struct known_alert **all = alert_set_sorted(&alerting->alerts);
    size_t count = alerting->alerts.count;
    for (size_t i = 0; i < count; i++) {
        if (all[i]->group_count || !known_alert_is_resolved(all[i], at_ms))
            continue;
        journal_add_removal(&bytes, all[i]);
        alert_set_remove(&alerting->alerts, all[i]);
        alerting->is_inhibitor_old = true;
    }
    free(all);
    if (bytes.bytes > 1)
        note_locked(alerting, &bytes);
    ap_buf_clear(&bytes);
    silence_set_forget(&alerting->silences, at_ms - SILENCE_KEPT_MS);
    notify_log_forget(&alerting->log, at_ms);
    alerting->tidied_ms = at_ms;
}

static int compare_due(const void *a, const void *b)
{
    const struct alert_group *left = *(struct alert_group *const *)a, *right = *(struct alert_group *const *)b;
    if (left->due_ms != right->due_ms)
        return left->due_ms < right->due_ms ? -1 : 1;
    return labels_compare(left->labels, right->labels);
}

/* Flushes what is due, in order; the moment when the next is. */
static int64_t flush_due_locked(struct alerting *alerting, int64_t at_ms)
{
    struct alert_group **due = ap_new0_array(struct alert_group *, alerting->group_count + 1);
    size_t count = 0;
    int64_t next_ms = at_ms + STEP_MS_MAX;
    for (size_t i = 0; i < alerting->group_slot_count; i++) {
        struct alert_group *group = alerting->groups[i];
        if (!group)
            continue;
        if (group->due_ms > at_ms + group->route->group_interval_ms + group->route->group_wait_ms)
            group->due_ms = at_ms; /* the clock was set back */
        if (group->due_ms <= at_ms)
            due[count++] = group;
        else
            next_ms = AP_MIN(next_ms, group->due_ms);
    }
    qsort(due, count, sizeof(struct alert_group *), compare_due);
    for (size_t i = 0; i < count; i++) {
        flush_group_locked(alerting, due[i], at_ms);
        next_ms = AP_MIN(next_ms, due[i]->due_ms);
    }
    free(due);
    return next_ms;
}

static int64_t retry_due_locked(struct alerting *alerting, int64_t at_ms)
{
    int64_t next_ms = at_ms + STEP_MS_MAX;
    for (size_t i = 0; i < alerting->group_slot_count; i++) {
        const struct alert_group *group = alerting->groups[i];
        for (size_t w = 0; group && w < group->receiver->way_count; w++) {
            struct sending *sending = group->sendings[w];
            if (!sending || sending->is_in_flight)
                continue;
            if (sending->next_try_ms > at_ms + AP_MAX((int64_t)RETRY_MS_MAX, group->route->group_interval_ms))
                sending->next_try_ms = at_ms;
            if (sending->next_try_ms <= at_ms)
                send_locked(alerting, sending);
            else
                next_ms = AP_MIN(next_ms, sending->next_try_ms);
        }
    }
    return next_ms;
}

static void renew_inhibitor_locked(struct alerting *alerting, int64_t at_ms)
{
    if (alerting->is_inhibitor_old)
        inhibitor_update(alerting->inhibitor, &alerting->alerts, at_ms);
    alerting->is_inhibitor_old = false;
}

/* `leaving` is only touched by the one who steps. */
static void hand_over(struct alerting *alerting)
{
    for (size_t i = 0; i < alerting->leaving_count; i++) {
        alerting->options.deliver(alerting->options.context, alerting->leaving[i]);
        notification_unref(alerting->leaving[i]);
    }
    alerting->leaving_count = 0;
}

int64_t alerting_step(struct alerting *alerting)
{
    pthread_mutex_lock(&alerting->mutex);
    int64_t at_ms = now_ms(alerting);
    if (at_ms - alerting->tidied_ms >= TIDY_INTERVAL_MS || at_ms < alerting->tidied_ms)
        tidy_locked(alerting, at_ms);
    renew_inhibitor_locked(alerting, at_ms);
    int64_t next_ms = flush_due_locked(alerting, at_ms);
    next_ms = AP_MIN(next_ms, retry_due_locked(alerting, at_ms));
    pthread_mutex_unlock(&alerting->mutex);
    hand_over(alerting);
    save(alerting);
    return AP_MAX(next_ms - at_ms, (int64_t)1);
}

/* ---- Alerts in ---- */

/* Ends that only move on need not be on disk: after a restart what was firing is given time to be told again. */
static bool must_be_noted(const struct known_alert *before, const struct alert_in *in, int64_t at_ms)
{
    bool was_resolved = before->alert.ends_ms <= at_ms;
    bool is_resolved = in->ends_ms != 0 && in->ends_ms <= at_ms;
    return was_resolved || is_resolved || (in->starts_ms && in->starts_ms < before->alert.starts_ms) ||
           !ap_slice_equal(before->alert.annotations, in->annotations) ||
           !ap_slice_equal(before->alert.generator_url, in->generator_url);
}

static enum ap_rc take_locked(struct alerting *alerting, const struct alert_in *in, int64_t at_ms, struct ap_buf *bytes,
                              struct ap_err *err)
{
    struct known_alert *known = alert_set_find(&alerting->alerts, labels_hash_of(alerting->alerts.seed, in->labels));
    bool is_noted = !known || must_be_noted(known, in, at_ms);
    known = alert_set_put(&alerting->alerts, in, at_ms, alerting->hold->config->global.resolve_timeout_ms,
                          alerting->options.alerts_max);
    if (!known) {
        alerting->stats.alerts_refused++;
        return ap_fail(err, AP_E_LIMIT, "there are %" PRIu64 " alerts already", alerting->options.alerts_max);
    }
    alerting->stats.alerts_received++;
    alerting->is_inhibitor_old |= is_noted;
    if (is_noted)
        journal_add_alert(bytes, known);
    place_alert_locked(alerting, known, at_ms);
    return AP_OK;
}

enum ap_rc alerting_put(struct alerting *alerting, const struct alert_in *alerts, size_t count,
                        void (*done)(void *context, enum ap_rc rc), void *context, struct ap_err *err)
{
    struct ap_buf bytes = {0};
    journal_begin(&bytes);
    pthread_mutex_lock(&alerting->mutex);
    int64_t at_ms = now_ms(alerting);
    enum ap_rc rc = AP_OK;
    for (size_t i = 0; i < count; i++) {
        struct ap_err reason;
        if (take_locked(alerting, &alerts[i], at_ms, &bytes, &reason) != AP_OK && rc == AP_OK) {
            rc = reason.rc;
            *err = reason;
        }
    }
    bool is_waiting = alerting->options.wal && bytes.bytes > 1;
    if (is_waiting) {
        enum ap_rc submitted = submit_locked(alerting, &bytes, rc == AP_OK ? done : NULL, context, err);
        rc = rc == AP_OK ? submitted : rc;
    }
    pthread_mutex_unlock(&alerting->mutex);
    ap_buf_clear(&bytes);
    tell_changed(alerting);
    if (rc == AP_OK && !is_waiting)
        done(context, AP_OK);
    return rc;
}

/* ---- Silences ---- */

/* Waits for the log: a silence that was told to hold does so after a crash, too. */
static enum ap_rc keep_silences(struct alerting *alerting, struct ap_buf *bytes, struct ap_err *err)
{
    if (!alerting->options.wal)
        return AP_OK;
    return wal_append_sync(alerting->options.wal, JOURNAL_RECORD_TYPE, ap_buf_slice(bytes), NULL, err);
}

enum ap_rc alerting_silence_set(struct alerting *alerting, const struct silence *silence, char ret_id[37],
                                struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf bytes = {0};
    struct silence_change change;
    journal_begin(&bytes);
    pthread_mutex_lock(&alerting->mutex);
    enum ap_rc rc = silence_set_set(&alerting->silences, silence, now_ms(alerting), &change, err);
    if (rc == AP_OK) {
        if (change.expired)
            journal_add_silence(&bytes, &change.expired->silence);
        journal_add_silence(&bytes, &change.set->silence);
        memcpy(ret_id, change.set->silence.id, 37);
    }
    pthread_mutex_unlock(&alerting->mutex);
    return rc == AP_OK ? keep_silences(alerting, &bytes, err) : rc;
}

enum ap_rc alerting_silence_expire(struct alerting *alerting, const char *id, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf bytes = {0};
    const struct kept_silence *changed;
    journal_begin(&bytes);
    pthread_mutex_lock(&alerting->mutex);
    enum ap_rc rc = silence_set_expire(&alerting->silences, id, now_ms(alerting), &changed, err);
    if (rc == AP_OK)
        journal_add_silence(&bytes, &changed->silence);
    pthread_mutex_unlock(&alerting->mutex);
    return rc == AP_OK ? keep_silences(alerting, &bytes, err) : rc;
}

void alerting_each_silence(struct alerting *alerting, silence_fn each, void *context)
{
    pthread_mutex_lock(&alerting->mutex);
    for (size_t i = 0; i < alerting->silences.count; i++)
        each(&alerting->silences.items[i]->silence, context);
    pthread_mutex_unlock(&alerting->mutex);
}

/* ---- Life ---- */

static void use_config_locked(struct alerting *alerting, struct alert_config *take_config, int64_t at_ms)
{
    free_groups_locked(alerting);
    inhibitor_free(alerting->inhibitor);
    config_hold_unref(alerting->hold);
    alerting->hold = config_hold_new(take_config);
    alerting->inhibitor = inhibitor_new(take_config);
    alerting->is_inhibitor_old = true;
    struct known_alert **all = alert_set_sorted(&alerting->alerts);
    for (size_t i = 0; i < alerting->alerts.count; i++)
        place_alert_locked(alerting, all[i], at_ms);
    free(all);
}

void alerting_reconfigure(struct alerting *alerting, struct alert_config *take_config)
{
    pthread_mutex_lock(&alerting->mutex);
    use_config_locked(alerting, take_config, now_ms(alerting));
    pthread_mutex_unlock(&alerting->mutex);
    tell_changed(alerting);
}

static enum ap_rc load(struct alerting *alerting, const char *dir, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf bytes = {0};
    uint64_t lsn = 0;
    enum ap_rc rc = os_dir_open(dir, &alerting->dir_fd, err);
    if (rc != AP_OK)
        return rc;
    rc = journal_load(alerting->dir_fd, &bytes, &lsn, err);
    if (rc == AP_OK) {
        const struct journal_state state = {&alerting->alerts, &alerting->silences, &alerting->log};
        rc = journal_read(ap_buf_slice(&bytes), &state, err);
    } else if (rc == AP_E_NOT_FOUND) { /* the first start: what is in the log is all */
        struct wal_stats stats;
        wal_stats_get(alerting->options.wal, &stats);
        lsn = stats.oldest_lsn;
        rc = AP_OK;
    }
    struct wal_stats log;
    wal_stats_get(alerting->options.wal, &log);
    alerting->saved_lsn = lsn;
    alerting->held_bytes_max = AP_MIN((uint64_t)HELD_BYTES_MAX, log.bytes_max / HELD_SHARE);
    if (rc == AP_OK)
        rc = wal_cursor_open(alerting->options.wal, cursor_name, lsn, &alerting->cursor, err);
    return rc == AP_OK ? replay(alerting, err) : rc;
}

/* What was firing when it was told last is given the time to be told again. */
static void extend_firing(struct alerting *alerting, int64_t at_ms, int64_t resolve_timeout_ms)
{
    for (size_t i = 0; i < alerting->alerts.slot_count; i++) {
        struct known_alert *alert = alerting->alerts.slots[i];
        if (alert && !known_alert_is_resolved(alert, alert->updated_ms))
            alert->alert.ends_ms = AP_MAX(alert->alert.ends_ms, at_ms + resolve_timeout_ms);
    }
}

enum ap_rc alerting_open(const struct alerting_options *options, struct alert_config *take_config,
                         struct alerting **ret_alerting, struct ap_err *err)
{
    AP_AUTO(alerting) struct alerting *alerting = ap_new0(struct alerting);
    alerting->options = *options;
    alerting->options.dir = NULL;
    alerting->dir_fd = -1;
    pthread_mutex_init(&alerting->mutex, NULL);
    pthread_cond_init(&alerting->answered, NULL);
    alert_set_init(&alerting->alerts, 0);
    int64_t at_ms = now_ms(alerting);
    alerting->tidied_ms = at_ms;
    enum ap_rc rc = options->wal ? load(alerting, options->dir, err) : AP_OK;
    if (rc != AP_OK) {
        alert_config_free(take_config);
        return rc;
    }
    extend_firing(alerting, at_ms, take_config->global.resolve_timeout_ms);
    use_config_locked(alerting, take_config, at_ms);
    *ret_alerting = AP_MOVE(alerting);
    return AP_OK;
}

void alerting_close(struct alerting *alerting)
{
    if (!alerting)
        return;
    pthread_mutex_lock(&alerting->mutex);
    while (alerting->pending_count)
        pthread_cond_wait(&alerting->answered, &alerting->mutex);
    pthread_mutex_unlock(&alerting->mutex);
    free_groups_locked(alerting);
    wal_cursor_close(alerting->cursor);
    inhibitor_free(alerting->inhibitor);
    config_hold_unref(alerting->hold);
    alert_set_clear(&alerting->alerts);
    silence_set_clear(&alerting->silences);
    notify_log_clear(&alerting->log);
    free(alerting->leaving);
    if (alerting->dir_fd >= 0)
        close(alerting->dir_fd);
    pthread_cond_destroy(&alerting->answered);
    pthread_mutex_destroy(&alerting->mutex);
    free(alerting);
}

/* ---- Reading ---- */

/* Room for one alert's view; reused from alert to alert. */
struct viewing {
    struct alerting *alerting;
    int64_t now_ms;
    struct alert_view view;
    const char **receivers; /* owned, as the next three */
    const char **silenced_by;
    const char **muted_by;
    const char *inhibited_by[1];
    char inhibitor[17];
    size_t receiver_capacity, silenced_capacity, muted_capacity;
};

static void viewing_clear(struct viewing *viewing)
{
    free(viewing->receivers);
    free(viewing->silenced_by);
    free(viewing->muted_by);
}

static void add_name(const char ***names, size_t *count, size_t *capacity, const char *name)
{
    for (size_t i = 0; i < *count; i++)
        if (strcmp((*names)[i], name) == 0)
            return;
    if (*count == *capacity) {
        *capacity = AP_MAX(*capacity * 2, (size_t)8);
        *names = ap_realloc(*names, *capacity * sizeof(**names));
    }
    (*names)[(*count)++] = name;
}

/* The interval that keeps the route silent, as the API names it. */
static void add_muting(const struct route *route, struct viewing *viewing)
{
    const struct alerting *alerting = viewing->alerting;
    const struct alert_config *config = alerting->hold->config;
    for (size_t i = 0; i < route->muted_in.count; i++)
        if (named_intervals_contain(alert_config_intervals(config, route->muted_in.items[i]), viewing->now_ms / 1000))
            add_name(&viewing->muted_by, &viewing->view.muted_count, &viewing->muted_capacity,
                     route->muted_in.items[i]);
    if (route->active_in.count && !is_in_any(alerting, &route->active_in, viewing->now_ms))
        for (size_t i = 0; i < route->active_in.count; i++)
            add_name(&viewing->muted_by, &viewing->view.muted_count, &viewing->muted_capacity,
                     route->active_in.items[i]);
}

static void add_route(const struct route *route, void *context)
{
    struct viewing *viewing = context;
    add_name(&viewing->receivers, &viewing->view.receiver_count, &viewing->receiver_capacity, route->receiver);
    add_muting(route, viewing);
}

static const struct alert_view *view_locked(struct viewing *viewing, const struct known_alert *alert)
{
    struct alerting *alerting = viewing->alerting;
    struct ap_slice labels = alert->alert.labels;
    viewing->view = (struct alert_view){
        .alert = alert->alert,
        .updated_ms = alert->updated_ms,
        .is_resolved = known_alert_is_resolved(alert, viewing->now_ms),
        .is_unprocessed = alert->group_count == 0,
    };
    snprintf(viewing->view.fingerprint, sizeof(viewing->view.fingerprint), "%016" PRIx64, alert_fingerprint(labels));
    route_match(alerting->hold->config->root, labels, add_route, viewing);
    for (const struct kept_silence *silence = NULL;
         (silence = silence_set_match(&alerting->silences, labels, viewing->now_ms, silence)) != NULL;)
        add_name(&viewing->silenced_by, &viewing->view.silenced_count, &viewing->silenced_capacity,
                 silence->silence.id);
    const struct known_alert *inhibitor = inhibitor_find(alerting->inhibitor, labels, viewing->now_ms);
    if (inhibitor) {
        snprintf(viewing->inhibitor, sizeof(viewing->inhibitor), "%016" PRIx64,
                 alert_fingerprint(inhibitor->alert.labels));
        viewing->inhibited_by[viewing->view.inhibited_count++] = viewing->inhibitor;
    }
    viewing->view.receivers = viewing->receivers;
    viewing->view.silenced_by = viewing->silenced_by;
    viewing->view.muted_by = viewing->muted_by;
    viewing->view.inhibited_by = viewing->inhibited_by;
    return &viewing->view;
}

void alerting_each_alert(struct alerting *alerting, alert_view_fn each, void *context)
{
    struct viewing viewing = {.alerting = alerting};
    pthread_mutex_lock(&alerting->mutex);
    viewing.now_ms = now_ms(alerting);
    renew_inhibitor_locked(alerting, viewing.now_ms);
    struct known_alert **all = alert_set_sorted(&alerting->alerts);
    for (size_t i = 0; i < alerting->alerts.count; i++)
        each(view_locked(&viewing, all[i]), context);
    pthread_mutex_unlock(&alerting->mutex);
    free(all);
    viewing_clear(&viewing);
}

static int compare_groups(const void *a, const void *b)
{
    const struct alert_group *left = *(struct alert_group *const *)a, *right = *(struct alert_group *const *)b;
    int order = alert_group_compare_labels(left->labels, right->labels);
    return order ? order : strcmp(left->receiver->name, right->receiver->name);
}

void alerting_each_group(struct alerting *alerting, alert_group_fn each, void *context)
{
    pthread_mutex_lock(&alerting->mutex);
    int64_t at_ms = now_ms(alerting);
    renew_inhibitor_locked(alerting, at_ms);
    struct alert_group **sorted = ap_new0_array(struct alert_group *, alerting->group_count + 1);
    size_t count = 0;
    for (size_t i = 0; i < alerting->group_slot_count; i++)
        if (alerting->groups[i] && alerting->groups[i]->count)
            sorted[count++] = alerting->groups[i];
    qsort(sorted, count, sizeof(struct alert_group *), compare_groups);
    for (size_t i = 0; i < count; i++) {
        struct alert_group *group = sorted[i];
        alert_group_sort(group);
        struct viewing *viewings = ap_new0_array(struct viewing, group->count + 1);
        struct alert_view *views = ap_new0_array(struct alert_view, group->count + 1);
        for (size_t a = 0; a < group->count; a++) {
            viewings[a] = (struct viewing){.alerting = alerting, .now_ms = at_ms};
            views[a] = *view_locked(&viewings[a], group->alerts[a]);
        }
        each(&(struct alert_group_view){group->labels, group->receiver->name, group->key, views, group->count},
             context);
        for (size_t a = 0; a < group->count; a++)
            viewing_clear(&viewings[a]);
        free(viewings);
        free(views);
    }
    free(sorted);
    pthread_mutex_unlock(&alerting->mutex);
}

const struct alert_config *alerting_lock_config(struct alerting *alerting)
{
    pthread_mutex_lock(&alerting->mutex);
    return alerting->hold->config;
}

void alerting_unlock_config(struct alerting *alerting)
{
    pthread_mutex_unlock(&alerting->mutex);
}

void alerting_stats_get(struct alerting *alerting, struct alerting_stats *ret_stats)
{
    pthread_mutex_lock(&alerting->mutex);
    int64_t at_ms = now_ms(alerting);
    *ret_stats = alerting->stats;
    ret_stats->groups = alerting->group_count;
    for (size_t i = 0; i < alerting->alerts.slot_count; i++) {
        const struct known_alert *alert = alerting->alerts.slots[i];
        if (!alert)
            continue;
        bool is_resolved = known_alert_is_resolved(alert, at_ms);
        ret_stats->alerts_resolved += is_resolved;
        ret_stats->alerts_firing += !is_resolved;
    }
    for (size_t i = 0; i < alerting->silences.count; i++)
        ret_stats->silences_active += silence_state_at(&alerting->silences.items[i]->silence, at_ms) == SILENCE_ACTIVE;
    pthread_mutex_unlock(&alerting->mutex);
}
