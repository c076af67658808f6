/*
 * alert/notification.h - what one receiver is to be told about one group of alerts, once
 *
 *     alerting.h decides that and when ──struct notification──► notify/ makes it words and sends it ──outcome──►
 * alerting.h
 *
 * A notification is a copy of what was known when it was decided: it is immutable, counted, and may be sent from any
 * thread long after the alerts have changed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alert/config.h"
#include "base/slice.h"

struct notified_alert {
    struct ap_slice labels;      /* canonical */
    struct ap_slice annotations; /* in the same form; values may be empty */
    struct ap_slice generator_url;
    int64_t starts_ms; /* since 1970, as all here */
    int64_t ends_ms;   /* of a firing one: when it ends unless it is told again */
    bool is_resolved;
};

/* What it is about: alerts, or the way to the receiver itself. */
enum notification_kind {
    NOTIFICATION_ALERT,
    NOTIFICATION_TEST,     /* whether the receiver can be reached (notify/path_test.h) */
    NOTIFICATION_WATCHDOG, /* a heart-beat, to somebody who notices when it stops */
};
const char *notification_kind_name(enum notification_kind kind); /* "alert", "test", "watchdog" */

enum notification_reason { /* webhooks tell it, as Alertmanager does since 0.32 */
                           NOTIFICATION_FIRST,
                           NOTIFICATION_NEW_ALERTS,
                           NOTIFICATION_SOME_RESOLVED,
                           NOTIFICATION_ALL_RESOLVED,
                           NOTIFICATION_REPEAT,
};
const char *notification_reason_name(enum notification_reason reason); /* "first", "new_alerts" … */
const char *notification_reason_text(enum notification_reason reason); /* "first notification" …, Alertmanager's */

struct notification {
    const struct receiver *receiver;
    const struct receiver_way *way; /* one of the receiver's */
    const struct receiver_global *global;
    struct ap_slice group_key;    /* "{}/{team="db"}:{alertname="Down"}": the same for all that is said of the group */
    struct ap_slice group_labels; /* canonical */
    const struct notified_alert
        *alerts; /* in order of start, then labels; firing and (if the way wants them) resolved */
    size_t alert_count;
    size_t firing_count;
    enum notification_kind kind;
    enum notification_reason reason;
    /*
     * A fall-back: the receiver that was to be told, and since when it has not been told everything (0: it has been
     * meanwhile, and this is about what was told in its place). NULL: `receiver` is the one to be told.
     */
    const struct receiver *fallback_of;
    int64_t late_since_ms;
    int64_t decided_ms;
    /*
     * Of the group and way, the same until all its alerts have resolved: services that know such a key (PagerDuty's
     * dedup_key) count a repetition as the same incident, also one that follows a crash between sending and noting it.
     */
    char dedup_key[65];  /* SHA-256 in hex, of the group key */
    uint64_t id;         /* of this notification; grows */
    unsigned attempt;    /* at sending it, from 1; changes while nobody has it for sending */
    char reference[128]; /* what the receiver gave the last time (struct delivery), or empty */
    void *origin;        /* of whoever decided it */
};

struct notification *notification_ref(struct notification *notification);
void notification_unref(struct notification *notification); /* NULL is allowed */

/* What came of sending. */
enum delivery_outcome {
    DELIVERY_DONE,
    DELIVERY_RETRY,   /* it may succeed later: 429, 5xx, no connection, time-out */
    DELIVERY_REFUSED, /* it never will: 4xx, a template that fails */
    DELIVERY_OUTCOME_COUNT
};
const char *delivery_outcome_name(enum delivery_outcome outcome); /* "done", "retry", "refused" */

struct delivery {
    enum delivery_outcome outcome;
    bool is_unsent;         /* nothing was tried: too many wait, the server ends, or there was nothing to say */
    int64_t retry_after_ms; /* what the receiver asked for; 0: nothing */
    unsigned status;        /* HTTP's or SMTP's; 0: there was none */
    char text[256];         /* for people: the receiver's answer or the error, without secrets */
    int64_t duration_us;
    /* What the receiver gave to know the message by (Slack's ts and channel), kept with the group; may be empty. */
    char reference[128];
};
