#include "notify/path_test.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "alert/alerting.h"
#include "notify/test_message.h"
#include "os/thread.h"

enum { ATTEMPTS_MAX = 3, PAUSE_MS = 30000, PAUSE_MS_MAX = 10 * 60000, STEP_MS_MAX = 60000 };

/* One way of one receiver. */
struct tested_way {
    char *receiver; /* owned */
    size_t place;   /* among the receiver's ways */
    enum receiver_kind kind;
    size_t way_index;
    bool is_scheduled;
    /* The test that is under way. */
    bool is_under_way;
    bool is_in_flight; /* a notification is with the notifier; otherwise it waits for next_try_ms */
    unsigned attempt;
    unsigned attempts_max;
    int64_t next_try_ms;
    bool is_opened;        /* its first message got through: what is tried again is the one that ends it */
    struct delivery begun; /* what came of the first message, where a second one ends it */
    /* The newest that has ended. */
    int64_t ended_ms;
    bool is_remembered;
    struct delivery delivery;
};

struct path_test {
    struct path_test_options options;   /* constant, but for the schedule, which is the one of the start */
    pthread_mutex_t mutex;              /* what follows; a leaf lock but for alerting's */
    struct path_test_schedule schedule; /* its names are owned */
    pthread_cond_t ended;               /* a test has, or all do */
    struct tested_way *ways;            /* owned; those of the configuration, in its order */
    size_t way_count;
    int64_t next_ms; /* when the schedule has the next; 0: never */
    bool is_stopped;
};

static int64_t now_ms(const struct path_test *test)
{
    return ap_clock_wall_us(test->options.clock) / AP_US_PER_MS;
}

/* ---- The schedule ---- */

/* The first moment of the schedule behind `after_ms`; 0: there is none. */
static int64_t scheduled_behind(const struct path_test *test, int64_t after_ms)
{
    int64_t interval_ms = test->schedule.interval_ms;
    if (interval_ms <= 0)
        return 0;
    int64_t first_ms = test->schedule.at_ms % interval_ms;
    return first_ms + ((after_ms - first_ms) / interval_ms + 1) * interval_ms;
}

static void schedule_clear(struct path_test_schedule *schedule)
{
    for (size_t i = 0; i < schedule->receiver_count; i++)
        free((char *)schedule->receivers[i]);
    free((void *)schedule->receivers);
}

static void take_schedule_locked(struct path_test *test, const struct path_test_schedule *schedule)
{
    const char **receivers = ap_new0_array(const char *, schedule->receiver_count + 1);
    for (size_t i = 0; i < schedule->receiver_count; i++)
        receivers[i] = ap_strdup(schedule->receivers[i]);
    bool is_same = schedule->interval_ms == test->schedule.interval_ms && schedule->at_ms == test->schedule.at_ms;
    schedule_clear(&test->schedule);
    test->schedule = *schedule;
    test->schedule.receivers = receivers;
    if (!is_same) /* else one that is due stays due */
        test->next_ms = scheduled_behind(test, now_ms(test));
}

static bool is_scheduled(const struct path_test_schedule *schedule, const char *receiver)
{
    bool is_named = schedule->receiver_count == 0;
    for (size_t i = 0; i < schedule->receiver_count && !is_named; i++)
        is_named = strcmp(schedule->receivers[i], receiver) == 0;
    return is_named && schedule->interval_ms > 0;
}

/* ---- Ways ---- */

static void tested_way_clear(struct tested_way *way)
{
    free(way->receiver);
}

static struct tested_way *find_locked(struct path_test *test, const char *receiver, size_t place,
                                      enum receiver_kind kind)
{
    for (size_t i = 0; i < test->way_count; i++) {
        struct tested_way *way = &test->ways[i];
        if (way->place == place && way->kind == kind && strcmp(way->receiver, receiver) == 0)
            return way;
    }
    return NULL;
}

/* Takes over what is known of this way. */
static struct tested_way take_locked(struct path_test *test, const struct receiver *receiver, size_t place)
{
    const struct receiver_way *way = &receiver->ways[place];
    struct tested_way *known = find_locked(test, receiver->name, place, way->kind);
    struct tested_way taken = {.place = place, .kind = way->kind};
    if (known) {
        taken = *known;
        *known = (struct tested_way){.place = SIZE_MAX}; /* found by nobody */
    } else {
        taken.receiver = ap_strdup(receiver->name);
    }
    taken.way_index = receiver_way_index(receiver, way);
    taken.is_scheduled = is_scheduled(&test->schedule, receiver->name);
    return taken;
}

void path_test_reconfigure(struct path_test *test, const struct path_test_schedule *schedule)
{
    const struct alert_config *config = alerting_lock_config(test->options.alerting);
    pthread_mutex_lock(&test->mutex);
    if (schedule)
        take_schedule_locked(test, schedule);
    size_t count = 0;
    for (size_t i = 0; i < config->receiver_count; i++)
        count += config->receivers[i].way_count;
    struct tested_way *ways = ap_new0_array(struct tested_way, count + 1);
    count = 0;
    for (size_t i = 0; i < config->receiver_count; i++)
        for (size_t place = 0; place < config->receivers[i].way_count; place++)
            ways[count++] = take_locked(test, &config->receivers[i], place);
    for (size_t i = 0; i < test->way_count; i++)
        tested_way_clear(&test->ways[i]);
    free(test->ways);
    test->ways = ways;
    test->way_count = count;
    pthread_cond_broadcast(&test->ended); /* somebody may wait for one that is gone */
    pthread_mutex_unlock(&test->mutex);
    alerting_unlock_config(test->options.alerting);
    if (schedule && test->options.changed)
        test->options.changed(test->options.context);
}

/* ---- Messages ---- */

/* Messages that are to be sent once the lock is let go. */
struct outgoing {
    char *receiver; /* owned */
    size_t place;
    enum receiver_kind kind;
    unsigned attempt;
    bool is_end;
};
struct outbox {
    struct outgoing *items; /* owned */
    size_t count;
};

static void put_locked(struct outbox *outbox, struct tested_way *way, bool is_end)
{
    outbox->items = ap_realloc(outbox->items, (outbox->count + 1) * sizeof(*outbox->items));
    outbox->items[outbox->count++] =
        (struct outgoing){ap_strdup(way->receiver), way->place, way->kind, way->attempt, is_end};
    way->is_in_flight = true;
}

static void begin_locked(struct outbox *outbox, struct tested_way *way, unsigned attempts_max)
{
    way->is_under_way = true;
    way->attempt = 1;
    way->attempts_max = attempts_max;
    way->is_opened = false;
    put_locked(outbox, way, false);
}

/* ---- What came of it ---- */

static void finish_locked(struct path_test *test, struct tested_way *way, const struct delivery *delivery)
{
    way->is_under_way = false;
    way->is_remembered = false;
    way->delivery = *delivery;
    way->ended_ms = now_ms(test);
    pthread_cond_broadcast(&test->ended);
}

/* One attempt is over, its second message included where there is one. */
static void attempted_locked(struct path_test *test, struct tested_way *way, const struct delivery *delivery)
{
    if (delivery->outcome != DELIVERY_RETRY || way->attempt >= way->attempts_max || test->is_stopped) {
        finish_locked(test, way, delivery);
        return;
    }
    way->attempt++;
    way->next_try_ms =
        now_ms(test) + AP_MIN(AP_MAX((int64_t)PAUSE_MS, delivery->retry_after_ms), (int64_t)PAUSE_MS_MAX);
}

/* Also what failed gets its end: it may have come in all the same. */
static void begun_locked(struct outbox *outbox, struct tested_way *way, const struct delivery *delivery)
{
    way->begun = *delivery;
    way->is_opened = delivery->outcome == DELIVERY_DONE;
    put_locked(outbox, way, true);
}

static void ended_locked(struct path_test *test, struct tested_way *way, const struct delivery *delivery)
{
    if (way->is_opened) /* it must not stay open, whoever asked for the test */
        way->attempts_max = ATTEMPTS_MAX;
    attempted_locked(test, way, way->is_opened ? delivery : &way->begun);
}

/* ---- Sending ---- */

/* The configuration has changed in between, and this way is another one or none. */
static void call_off(struct path_test *test, const char *receiver, size_t place, enum receiver_kind kind)
{
    const struct delivery delivery = {.outcome = DELIVERY_REFUSED, .is_unsent = true, .text = "not sent: it is gone"};
    pthread_mutex_lock(&test->mutex);
    struct tested_way *way = find_locked(test, receiver, place, kind);
    if (way && way->is_in_flight) {
        way->is_in_flight = false;
        finish_locked(test, way, &delivery);
    }
    pthread_mutex_unlock(&test->mutex);
}

static void send_one(struct path_test *test, const struct outgoing *outgoing)
{
    AP_CLEANUP(test_message_clear) struct test_message message;
    struct notification parts = {.attempt = outgoing->attempt};
    test_message_init(&message, outgoing->receiver, now_ms(test));
    test_message_fill(&message, outgoing->is_end, &parts);
    struct notification *notification =
        alerting_make_notification(test->options.alerting, outgoing->receiver, outgoing->place, &parts);
    if (notification && notification->way->kind == outgoing->kind)
        test->options.deliver(test->options.context, notification);
    else
        call_off(test, outgoing->receiver, outgoing->place, outgoing->kind);
    notification_unref(notification);
}

static void send_all(struct path_test *test, struct outbox *outbox)
{
    for (size_t i = 0; i < outbox->count; i++) {
        send_one(test, &outbox->items[i]);
        free(outbox->items[i].receiver);
    }
    free(outbox->items);
}

void path_test_delivered(struct path_test *test, const struct notification *notification,
                         const struct delivery *delivery)
{
    struct outbox outbox = {0};
    bool is_end = notification->firing_count == 0;
    pthread_mutex_lock(&test->mutex);
    struct tested_way *way =
        find_locked(test, notification->receiver->name, (size_t)(notification->way - notification->receiver->ways),
                    notification->way->kind);
    if (way && way->is_in_flight) { /* else it is gone, and perhaps back, but no test of it is under way */
        way->is_in_flight = false;
        if (is_end)
            ended_locked(test, way, delivery);
        else if (test_message_needs_end(notification->way) && !delivery->is_unsent)
            begun_locked(&outbox, way, delivery);
        else
            attempted_locked(test, way, delivery);
    }
    pthread_mutex_unlock(&test->mutex);
    send_all(test, &outbox);
    if (test->options.changed)
        test->options.changed(test->options.context);
}

/* ---- On schedule ---- */

int64_t path_test_step(struct path_test *test)
{
    struct outbox outbox = {0};
    pthread_mutex_lock(&test->mutex);
    int64_t at_ms = now_ms(test), wake_ms = at_ms + STEP_MS_MAX;
    bool is_due = test->next_ms && at_ms >= test->next_ms && !test->is_stopped;
    if (is_due || test->next_ms > at_ms + test->schedule.interval_ms) /* the clock was set back */
        test->next_ms = scheduled_behind(test, at_ms);
    for (size_t i = 0; i < test->way_count && !test->is_stopped; i++) {
        struct tested_way *way = &test->ways[i];
        if (way->is_under_way && !way->is_in_flight) {
            if (at_ms >= way->next_try_ms || way->next_try_ms > at_ms + PAUSE_MS_MAX)
                put_locked(&outbox, way, way->is_opened);
            else
                wake_ms = AP_MIN(wake_ms, way->next_try_ms);
        } else if (is_due && way->is_scheduled && !way->is_under_way) {
            begin_locked(&outbox, way, ATTEMPTS_MAX);
        }
    }
    if (test->next_ms)
        wake_ms = AP_MIN(wake_ms, test->next_ms);
    pthread_mutex_unlock(&test->mutex);
    send_all(test, &outbox);
    return AP_MAX(wake_ms - at_ms, (int64_t)0);
}

int64_t path_test_interval_ms(struct path_test *test)
{
    pthread_mutex_lock(&test->mutex);
    int64_t interval_ms = test->schedule.interval_ms;
    pthread_mutex_unlock(&test->mutex);
    return interval_ms;
}

int64_t path_test_next_ms(struct path_test *test)
{
    pthread_mutex_lock(&test->mutex);
    int64_t next_ms = test->next_ms;
    pthread_mutex_unlock(&test->mutex);
    return next_ms;
}

int64_t path_test_receiver_next_ms(struct path_test *test, const char *receiver)
{
    pthread_mutex_lock(&test->mutex);
    int64_t next_ms = is_scheduled(&test->schedule, receiver) ? test->next_ms : 0;
    pthread_mutex_unlock(&test->mutex);
    return next_ms;
}

/* ---- When somebody asks ---- */

static bool is_under_way_locked(const struct path_test *test, const char *receiver)
{
    for (size_t i = 0; i < test->way_count; i++)
        if (test->ways[i].is_under_way && strcmp(test->ways[i].receiver, receiver) == 0)
            return true;
    return false;
}

/* Of the configuration's own: a heart-beat service that the server adds would take a test for a beat. */
static bool is_receiver(struct path_test *test, const char *name)
{
    const struct alert_config *config = alerting_lock_config(test->options.alerting);
    bool is_there = false;
    for (size_t i = 0; i < config->receiver_count && !is_there; i++)
        is_there = strcmp(config->receivers[i].name, name) == 0;
    alerting_unlock_config(test->options.alerting);
    return is_there;
}

static void begin_all(struct path_test *test, const char *receiver)
{
    struct outbox outbox = {0};
    pthread_mutex_lock(&test->mutex);
    for (size_t i = 0; i < test->way_count && !test->is_stopped; i++) {
        struct tested_way *way = &test->ways[i];
        if (strcmp(way->receiver, receiver) != 0)
            continue;
        if (way->is_in_flight)
            way->attempts_max = way->attempt; /* one on schedule, whose answer will do */
        else
            begin_locked(&outbox, way, 1);
    }
    pthread_mutex_unlock(&test->mutex);
    send_all(test, &outbox);
}

enum ap_rc path_test_run(struct path_test *test, const char *receiver, int64_t timeout_ms, struct ap_err *err)
{
    if (!is_receiver(test, receiver))
        return ap_fail(err, AP_E_NOT_FOUND, "there is no receiver \"%s\"", receiver);
    begin_all(test, receiver);
    int64_t deadline_us = os_deadline_us(timeout_ms);
    pthread_mutex_lock(&test->mutex);
    bool is_in_time = true;
    while (is_in_time && !test->is_stopped && is_under_way_locked(test, receiver))
        is_in_time = os_cond_wait_until(&test->ended, &test->mutex, deadline_us);
    bool is_stopped = test->is_stopped;
    pthread_mutex_unlock(&test->mutex);
    if (is_stopped)
        return ap_fail(err, AP_E_BUSY, "the server is stopping");
    return is_in_time ? AP_OK : ap_fail(err, AP_E_TIMEOUT, "the receiver takes long; what comes of it is in the log");
}

/* ---- Results ---- */

void path_test_each(struct path_test *test, const char *receiver,
                    void (*each)(const struct path_test_result *result, void *context), void *context)
{
    pthread_mutex_lock(&test->mutex);
    for (size_t i = 0; i < test->way_count; i++) {
        const struct tested_way *way = &test->ways[i];
        if (receiver && strcmp(way->receiver, receiver) != 0)
            continue;
        const struct path_test_result result = {
            .receiver = way->receiver,
            .kind = way->kind,
            .way_index = way->way_index,
            .interval_ms = way->is_scheduled ? test->schedule.interval_ms : 0,
            .is_under_way = way->is_under_way,
            .ended_ms = way->ended_ms,
            .is_remembered = way->is_remembered,
            .delivery = way->delivery,
        };
        each(&result, context);
    }
    pthread_mutex_unlock(&test->mutex);
}

void path_test_remember(struct path_test *test, const char *receiver, struct ap_slice way_name, size_t way_index,
                        int64_t ended_ms, bool is_success)
{
    pthread_mutex_lock(&test->mutex);
    for (size_t i = 0; i < test->way_count; i++) {
        struct tested_way *way = &test->ways[i];
        if (way->ended_ms || way->way_index != way_index || strcmp(way->receiver, receiver) != 0 ||
            !ap_slice_equal_cstr(way_name, receiver_kind_name(way->kind)))
            continue;
        way->ended_ms = ended_ms;
        way->is_remembered = true;
        way->delivery = (struct delivery){.outcome = is_success ? DELIVERY_DONE : DELIVERY_REFUSED};
    }
    pthread_mutex_unlock(&test->mutex);
}

/* ---- Life ---- */

struct path_test *path_test_new(const struct path_test_options *options)
{
    struct path_test *test = ap_new0(struct path_test);
    test->options = *options;
    pthread_mutex_init(&test->mutex, NULL);
    os_cond_init(&test->ended);
    path_test_reconfigure(test, &options->schedule);
    return test;
}

void path_test_stop(struct path_test *test)
{
    pthread_mutex_lock(&test->mutex);
    test->is_stopped = true;
    pthread_cond_broadcast(&test->ended);
    pthread_mutex_unlock(&test->mutex);
}

void path_test_free(struct path_test *test)
{
    if (!test)
        return;
    for (size_t i = 0; i < test->way_count; i++)
        tested_way_clear(&test->ways[i]);
    free(test->ways);
    schedule_clear(&test->schedule);
    pthread_cond_destroy(&test->ended);
    pthread_mutex_destroy(&test->mutex);
    free(test);
}
