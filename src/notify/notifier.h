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
/* Gives up what is under way and tells it, and what waits, as DELIVERY_RETRY. NULL is allowed. */
void notifier_close(struct notifier *notifier);
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
    uint64_t attempts[RECEIVER_KIND_COUNT]; /* since the start, as all that follows */
    uint64_t done[RECEIVER_KIND_COUNT];
    uint64_t retried[RECEIVER_KIND_COUNT]; /* came back as DELIVERY_RETRY */
    uint64_t refused[RECEIVER_KIND_COUNT];
    uint64_t duration_us[RECEIVER_KIND_COUNT]; /* of all attempts together */
    uint64_t overflows;                        /* did not fit into the queue */
};
void notifier_stats_get(struct notifier *notifier, struct notifier_stats *ret_stats);
