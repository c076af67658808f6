/*
 * alert/alerting.h - from alerts to notifications: grouping, inhibition, silences, times, what was told already
 *
 *     rules, API ──alerting_put()──► alerts ──routes──► groups ──due──► inhibited? silenced? muted? told already?
 *                                                                          └─► deliver() ──► alerting_delivered()
 *
 * Semantics are Alertmanager's (dispatch, inhibit, silence, nflog and notify of its source). What is promised beyond:
 * state survives kill -9. Alerts, silences and what was told are records of the log, with a snapshot now and then
 * (`alerting/` in the data directory), so that after a restart nothing that fired goes unsent, and what was told is
 * told again at most once, under the same dedup key.
 *
 * Time is the options' clock alone, and work is done in alerting_step(): tests own both. Delivering happens elsewhere
 * and is told back; a way that fails is tried again with growing pauses.
 *
 * Threads: all functions from any; one at a time calls alerting_step().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alert/config.h"
#include "alert/notification.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rc.h"
#include "base/slice.h"
#include "tsdb/matcher.h"

struct alerting; /* private to alerting.c */
struct wal;

struct alerting_options {
    const char *dir; /* of the snapshot; lent for the call */
    struct wal *wal; /* lent, as all that follows; NULL: nothing is kept over a restart (tests) */
    const struct ap_clock *clock;
    struct ap_slice external_url;
    uint64_t alerts_max; /* further ones are refused with AP_E_LIMIT */
    /*
     * Hands a notification over for sending, from alerting_step(); returns at once. alerting_delivered() follows, from
     * any thread, also during this call. Takes a reference for itself.
     */
    void (*deliver)(void *context, struct notification *notification);
    void (*trouble)(const struct ap_err *err, void *context);
    /* NULL, or: something may be due earlier than alerting_step() said. Any thread; does not call back. */
    void (*changed)(void *context);
    void *context;
};
ap_nodiscard enum ap_rc alerting_open(const struct alerting_options *options, struct alert_config *take_config,
                                      struct alerting **ret_alerting, struct ap_err *err);
void alerting_close(struct alerting *alerting); /* NULL is allowed */
AP_DEFINE_AUTO(alerting, struct alerting, alerting_close)

/* From now on this configuration. Alerts, silences and what was told stay; groups are made anew by the new routes. */
void alerting_reconfigure(struct alerting *alerting, struct alert_config *take_config);

/* ---- Alerts in ---- */

struct alert_in {
    struct ap_slice labels;      /* canonical */
    struct ap_slice annotations; /* in the form of labels.h */
    struct ap_slice generator_url;
    int64_t starts_ms; /* 0: now */
    int64_t ends_ms;   /* 0: resolve_timeout from now */
};
/*
 * Merges them with what is known, as Alertmanager does. done() is called once they are on disk, on the log's thread or
 * within the call. AP_E_LIMIT, AP_E_FULL, AP_E_BUSY: it is not, and nothing was taken.
 */
ap_nodiscard enum ap_rc alerting_put(struct alerting *alerting, const struct alert_in *alerts, size_t count,
                                     void (*done)(void *context, enum ap_rc rc), void *context, struct ap_err *err);

/* ---- Work ---- */

/* Does what is due; milliseconds until the next is, at most a second. */
int64_t alerting_step(struct alerting *alerting);
void alerting_delivered(struct alerting *alerting, struct notification *notification, const struct delivery *delivery);

/* ---- Silences ---- */

struct silence {
    char id[37]; /* UUID; empty for a new one */
    const struct matchers *matchers;
    int64_t starts_ms;
    int64_t ends_ms;
    int64_t updated_ms;
    struct ap_slice created_by;
    struct ap_slice comment;
};
/* As POST /api/v2/silences: a new one, or a changed one (which may get another id). Durable on return. */
ap_nodiscard enum ap_rc alerting_silence_set(struct alerting *alerting, const struct silence *silence, char ret_id[37],
                                             struct ap_err *err);
ap_nodiscard enum ap_rc alerting_silence_expire(struct alerting *alerting, const char *id, struct ap_err *err);
typedef void (*silence_fn)(const struct silence *silence, void *context);
void alerting_each_silence(struct alerting *alerting, silence_fn each, void *context);

/* ---- Reading; `each` must not call back ---- */

struct alert_view {
    struct alert_in alert;
    int64_t updated_ms;
    bool is_resolved;
    bool is_unprocessed;          /* no group has it yet */
    char fingerprint[17];         /* 64 bits in hex, of the labels, as Alertmanager computes it */
    const char *const *receivers; /* names */
    size_t receiver_count;
    const char *const *silenced_by; /* ids */
    size_t silenced_count;
    const char *const *inhibited_by; /* fingerprints */
    size_t inhibited_count;
    const char *const *muted_by; /* names of time intervals */
    size_t muted_count;
};
typedef void (*alert_view_fn)(const struct alert_view *view, void *context);
void alerting_each_alert(struct alerting *alerting, alert_view_fn each, void *context); /* in order of labels */

struct alert_group_view {
    struct ap_slice labels;
    const char *receiver;
    struct ap_slice key;
    const struct alert_view *alerts;
    size_t alert_count;
};
typedef void (*alert_group_fn)(const struct alert_group_view *view, void *context);
void alerting_each_group(struct alerting *alerting, alert_group_fn each, void *context);

/* The configuration in effect, lent until _unlock(): for receivers and status. */
const struct alert_config *alerting_lock_config(struct alerting *alerting);
void alerting_unlock_config(struct alerting *alerting);

/*
 * A notification that somebody else decides, such as a test: to this receiver, by its way at this place, of the
 * configuration in effect; the rest are copies of `parts`. The caller's reference; alerting_delivered() is not for it.
 * NULL: there is no such receiver or way.
 */
struct notification *alerting_make_notification(struct alerting *alerting, const char *receiver, size_t place,
                                                const struct notification *parts);

struct alerting_stats {
    uint64_t alerts_firing, alerts_resolved; /* now */
    uint64_t groups, silences_active;
    uint64_t groups_falling_back;             /* of which another receiver is told than the one that was to be */
    uint64_t alerts_received, alerts_refused; /* since the start, as all that follows */
    uint64_t notifications[RECEIVER_KIND_COUNT];
    uint64_t failures[RECEIVER_KIND_COUNT];  /* attempts */
    uint64_t given_up[RECEIVER_KIND_COUNT];  /* refused for good, until the group is told anew */
    uint64_t fallbacks[RECEIVER_KIND_COUNT]; /* of the notifications, those in place of a receiver that was late */
};
void alerting_stats_get(struct alerting *alerting, struct alerting_stats *ret_stats);
