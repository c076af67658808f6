/*
 * notify/notifier.h - sends notifications: by webhook, PagerDuty, Slack, e-mail
 *
 *     alerting.h ──deliver()──► queue ──► threads ──► a sender (sender.h) makes the message and sends it
 *          ▲                                             │
 *          └──────────────── delivered() ◄───────────────┘
 *
 * What is told about a group by one way leaves in order, one at a time. Sending waits, each with a deadline, and one
 * way takes at most a part of the threads: a receiver that hangs delays nobody else. Nothing is tried again here: that
 * is alerting's to decide.
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

struct notifier; /* private to notifier.c */

struct notifier_options {
    const struct alert_config *config; /* lent for the call: its templates; NULL: none */
    const struct ap_clock *clock;      /* lent */
    struct ap_slice external_url;      /* copied */
    unsigned thread_count;             /* 0: 16 */
    size_t queue_max;                  /* 0: 100000; beyond it a notification comes back at once, to be tried later */
    /*
     * What came of it, once for each notifier_deliver(), from a thread of the notifier's or within notifier_deliver()
     * and notifier_close(). The notification is lent for the call.
     */
    void (*delivered)(void *context, struct notification *notification, const struct delivery *delivery);
    void *context;
};

/* AP_E_PARSE, AP_E_NOT_FOUND …: as notifier_reload(). */
ap_nodiscard enum ap_rc notifier_open(const struct notifier_options *options, struct notifier **ret_notifier,
                                      struct ap_err *err);
/* Gives up what is under way and tells it, and what waits or comes later, as DELIVERY_RETRY. Once. */
void notifier_stop(struct notifier *notifier);
void notifier_close(struct notifier *notifier); /* stops and frees; NULL is allowed */
AP_DEFINE_AUTO(notifier, struct notifier, notifier_close)

/* For alerting_options.deliver, `context` being the notifier; returns at once. Takes a reference for itself. Any
 * thread.
 */
void notifier_deliver(void *context, struct notification *notification);

/*
 * From now on the templates of this configuration, whose receivers are checked as well: the <http_config> and templates
 * of each. On failure `err` says what is wrong and all is as before, so that a server asks here before it calls
 * alerting_reconfigure().
 */
ap_nodiscard enum ap_rc notifier_reload(struct notifier *notifier, const struct alert_config *config,
                                        struct ap_err *err);

struct notifier_stats {
    uint64_t waiting; /* now, as the next */
    uint64_t sending;
    uint64_t overflows; /* since the start: did not fit into the queue */
};
void notifier_stats_get(struct notifier *notifier, struct notifier_stats *ret_stats);

/* Why an attempt failed. */
enum notifier_failure {
    NOTIFIER_FAILURE_NO_ANSWER,    /* no connection, time-out */
    NOTIFIER_FAILURE_SERVER_ERROR, /* an answer that says to try again: 5xx, SMTP's 4xx */
    NOTIFIER_FAILURE_RATE_LIMITED, /* 429 */
    NOTIFIER_FAILURE_CLIENT_ERROR, /* an answer that says not to: other 4xx, SMTP's 5xx */
    NOTIFIER_FAILURE_NOT_MADE,     /* a template or a file that fails: nobody was asked */
    NOTIFIER_FAILURE_COUNT
};
const char *notifier_failure_name(enum notifier_failure failure); /* "no_answer" … */

enum { NOTIFIER_DURATION_COUNT = 10 };
extern const int64_t notifier_durations_us[NOTIFIER_DURATION_COUNT]; /* upper bounds; the last is INT64_MAX */

/* Of one way, since the start, for as long as the configuration has it. */
struct notifier_way_stats {
    const char *receiver; /* lent for the call */
    enum receiver_kind kind;
    size_t way_index;                          /* receiver_way_index() */
    uint64_t attempts[DELIVERY_OUTCOME_COUNT]; /* by what came of them */
    uint64_t failures[NOTIFIER_FAILURE_COUNT]; /* those that were not DELIVERY_DONE, by why */
    int64_t failing_us;                        /* how long nothing has got through; 0: the newest attempt did */
    uint64_t durations[NOTIFIER_DURATION_COUNT];
    uint64_t duration_us; /* of all attempts together */
};
/* `each` must not call back. */
void notifier_each_way(struct notifier *notifier, void (*each)(const struct notifier_way_stats *stats, void *context),
                       void *context);
