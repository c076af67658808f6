/*
 * notify/path_test.h - test of the notification path: one message to every receiver by every way, so that what is
 * broken shows before it is needed
 *
 *     schedule: path_test_step() ─┐
 *     somebody: path_test_run() ──┴► notifications ──deliver()──► notifier.h ──► path_test_delivered() ──► results
 *
 * Tests go the way of all notifications and are in the log of them as kind `test`. PagerDuty is told twice, that an
 * incident of severity "info" begins and that it is over: a change event would alarm nobody at all, but goes to another
 * address and may get through where incidents do not. A test on schedule that may succeed later is tried again twice
 * before it counts as failed; one that somebody asks for is tried once, but what it opened is tried to be closed as
 * often.
 *
 * /metrics has of each way `apiary_alerting_path_test_success{receiver,way,way_index}` (1 or 0, of the newest test) and
 * `apiary_alerting_path_test_timestamp_seconds{…}` (when it ended), both absent until there was one, and
 * `apiary_alerting_path_test_interval_seconds{…}` (0: only when somebody asks). So it has failed or is overdue when
 *
 *     apiary_alerting_path_test_success == 0
 *     time() - apiary_alerting_path_test_timestamp_seconds > 2 * (apiary_alerting_path_test_interval_seconds > 0)
 *
 * Threads: all functions from any.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alert/notification.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rc.h"

struct alerting;
struct path_test; /* private to path_test.c */

struct path_test_schedule {
    int64_t interval_ms;          /* between tests; 0: only when somebody asks */
    int64_t at_ms;                /* of the UTC day, when one of them is */
    const char *const *receivers; /* those that are tested; names that are none are not looked at */
    size_t receiver_count;        /* 0: all */
};

struct path_test_options {
    struct alerting *alerting;    /* lent, as the next: its receivers are tested */
    const struct ap_clock *clock; /* the wall's for the schedule */
    struct path_test_schedule schedule;
    /* As notifier_deliver(), which path_test_delivered() answers, also within the call. */
    void (*deliver)(void *context, struct notification *notification);
    /* NULL, or: something may be due earlier than path_test_step() said. */
    void (*changed)(void *context);
    void *context;
};

struct path_test *path_test_new(const struct path_test_options *options);
void path_test_free(struct path_test *test); /* NULL is allowed */
AP_DEFINE_AUTO(path_test, struct path_test, path_test_free)

/*
 * The receivers are others now. What is known of those that stay is kept. `schedule` NULL: as before.
 */
void path_test_reconfigure(struct path_test *test, const struct path_test_schedule *schedule);
/* Nothing is sent any more, and nobody waits. */
void path_test_stop(struct path_test *test);

/* Sends what is due; milliseconds until something may be again. */
int64_t path_test_step(struct path_test *test);
/* What came of a notification of kind NOTIFICATION_TEST. */
void path_test_delivered(struct path_test *test, const struct notification *notification,
                         const struct delivery *delivery);

/*
 * Tests all ways of one receiver now, and waits for what comes of it. AP_E_NOT_FOUND: there is no such receiver;
 * AP_E_TIMEOUT: some are still under way; AP_E_BUSY: the server ends. Blocks.
 */
ap_nodiscard enum ap_rc path_test_run(struct path_test *test, const char *receiver, int64_t timeout_ms,
                                      struct ap_err *err);

/* The newest test that has ended. */
struct path_test_result {
    const char *receiver; /* lent for the call */
    enum receiver_kind kind;
    size_t way_index;    /* receiver_way_index() */
    int64_t interval_ms; /* of the schedule; 0: it does not test this one */
    bool is_under_way;   /* another one is */
    int64_t ended_ms;    /* 0: there was none yet, and what follows says nothing */
    bool is_remembered;  /* from before the start: of `delivery` there is the outcome only */
    struct delivery delivery;
};
/* In the order of the configuration; `each` must not call back. `receiver` NULL: of all. */
void path_test_each(struct path_test *test, const char *receiver,
                    void (*each)(const struct path_test_result *result, void *context), void *context);

/* What a test came to before the start; counts where there was none since. */
void path_test_remember(struct path_test *test, const char *receiver, struct ap_slice way, size_t way_index,
                        int64_t ended_ms, bool is_success);

int64_t path_test_interval_ms(struct path_test *test); /* 0: there is no schedule, as the next two */
int64_t path_test_next_ms(struct path_test *test);
int64_t path_test_receiver_next_ms(struct path_test *test,
                                   const char *receiver); /* 0 also: it does not test this one */
