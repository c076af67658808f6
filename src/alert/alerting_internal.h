/* alert/alerting_internal.h - what the files of alerting share: all of its state, under one mutex */
#pragma once

#include <pthread.h>

#include "alert/alert_set.h"
#include "alert/alerting.h"
#include "alert/group_set.h"
#include "alert/inhibitor.h"
#include "alert/keeper.h"
#include "alert/notification_internal.h"
#include "alert/notify_log.h"
#include "alert/silence_set.h"

struct alerting {
    /* Constant. */
    struct alerting_options options;
    struct keeper *keeper; /* owned; NULL: nothing is kept */
    /* Any thread, under mutex. Nothing slow is done with it: records are handed to the log, notifications to deliver().
     */
    pthread_mutex_t mutex;
    struct config_hold *hold;    /* owned reference */
    struct inhibitor *inhibitor; /* owned; alerting_inhibitor_locked() */
    bool is_inhibitor_old;
    struct alert_set alerts;
    struct silence_set silences;
    struct notify_log log;
    struct group_set groups;
    struct lane *lanes;     /* owned; one for each way of the configuration */
    struct sending *adrift; /* owned; in flight, of groups of a configuration before */
    uint64_t notification_id;
    struct notification **leaving; /* owned, with a reference each; handed over when the mutex is free again */
    size_t leaving_count;
    size_t leaving_capacity;
    int64_t tidied_ms;
    int64_t stepped_ms; /* by the wall clock, and by the one that nobody sets */
    int64_t stepped_mono_ms;
    struct alerting_stats stats;
};

static inline int64_t alerting_now_ms(const struct alerting *alerting)
{
    return ap_clock_wall_us(alerting->options.clock) / AP_US_PER_MS;
}

/* Up to date. */
const struct inhibitor *alerting_inhibitor_locked(struct alerting *alerting, int64_t now_ms);

/* ---- dispatch.c: groups, and what is told of them ---- */

/* Puts it into the groups that its labels belong to. */
void dispatch_place_locked(struct alerting *alerting, struct known_alert *alert, int64_t now_ms);
/* Does what is due; the moment when the next is. What leaves is in `leaving`. */
int64_t dispatch_step_locked(struct alerting *alerting, int64_t now_ms);
/* Whether a step is wanted soon: something waits that may leave now, or is to be tried again. */
bool dispatch_delivered_locked(struct alerting *alerting, struct sending *sending, const struct notification *told,
                               const struct delivery *delivery);
/* The clock was set back: nothing waits for longer than it would have. */
void dispatch_set_back_locked(struct alerting *alerting, int64_t now_ms);
/* Groups that are over. */
void dispatch_tidy_locked(struct alerting *alerting);
void dispatch_clear(struct alerting *alerting);
