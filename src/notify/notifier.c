#include "notify/notifier.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "notify/post.h"
#include "notify/sender.h"
#include "os/thread.h"
#include "scrape/oauth2.h"

enum { THREADS_DEFAULT = 16, QUEUE_DEFAULT = 100000, HTTP_TOO_MANY_REQUESTS = 429 };

struct job {
    struct notification *notification; /* owned reference */
    struct job *next;
};

/* What waits for one way, which is known by names and numbers: after a reload it is another object. */
struct lane {
    char *receiver;                  /* owned */
    struct notifier_way_stats stats; /* and which way it is; failing_us: the monotonic clock's when that began */
    bool is_configured;              /* the configuration has it, so that there are figures of it */
    struct job *first;               /* in order of arrival */
    struct job **tail;
    struct ap_slice *busy; /* owned; group keys that are being sent, lent by their notifications */
    unsigned busy_count;   /* at most way_max */
    struct lane *next;
};

struct notifier {
    /* Set before the threads start, then constant. */
    struct notifier_options options;
    char *external_url;           /* owned */
    struct oauth2_tokens *tokens; /* owned */
    pthread_t *threads;
    unsigned thread_count;
    unsigned way_max; /* threads that one way may take */
    /* Any thread, under mtx. A leaf lock. */
    pthread_mutex_t mtx;
    pthread_cond_t changed;
    struct lane *lanes;                  /* owned; never fewer: one for each way there ever was */
    struct lane *turn;                   /* where to look first, so that all get theirs */
    struct message_templates *templates; /* owned reference */
    struct notifier_stats stats;
    bool is_ending; /* atomic as well: requests under way look at it */
};

/* ---- The queue ---- */

static struct lane *lane_of_locked(struct notifier *notifier, const struct receiver *receiver,
                                   const struct receiver_way *way)
{
    size_t way_index = receiver_way_index(receiver, way);
    for (struct lane *lane = notifier->lanes; lane; lane = lane->next)
        if (lane->stats.kind == way->kind && lane->stats.way_index == way_index &&
            strcmp(lane->receiver, receiver->name) == 0)
            return lane;
    struct lane *lane = ap_new0(struct lane);
    lane->receiver = ap_strdup(receiver->name);
    lane->stats = (struct notifier_way_stats){.receiver = lane->receiver, .kind = way->kind, .way_index = way_index};
    lane->tail = &lane->first;
    lane->busy = ap_new0_array(struct ap_slice, notifier->way_max);
    lane->next = notifier->lanes;
    notifier->lanes = lane;
    return lane;
}

static bool is_busy(const struct lane *lane, struct ap_slice group_key)
{
    for (unsigned i = 0; i < lane->busy_count; i++)
        if (ap_slice_equal(lane->busy[i], group_key))
            return true;
    return false;
}

/* The first whose group is not being told something already, which keeps each group's in order. */
static struct job *take_from_locked(struct notifier *notifier, struct lane *lane)
{
    if (lane->busy_count >= notifier->way_max)
        return NULL;
    for (struct job **at = &lane->first; *at; at = &(*at)->next) {
        struct job *job = *at;
        if (is_busy(lane, job->notification->group_key))
            continue;
        *at = job->next;
        if (!*at)
            lane->tail = at;
        lane->busy[lane->busy_count++] = job->notification->group_key;
        notifier->stats.waiting--;
        notifier->stats.sending++;
        return job;
    }
    return NULL;
}

static struct job *take_locked(struct notifier *notifier, struct lane **ret_lane)
{
    struct lane *start = notifier->turn ? notifier->turn : notifier->lanes;
    struct lane *lane = start;
    for (bool is_round = false; lane && !is_round; is_round = lane == start) {
        struct lane *next = lane->next ? lane->next : notifier->lanes;
        struct job *job = take_from_locked(notifier, lane);
        if (job) {
            notifier->turn = next;
            *ret_lane = lane;
            return job;
        }
        lane = next;
    }
    return NULL;
}

/*
 * Wakes nobody: at most one job may be taken now that could not be before, and whoever leaves looks for one next. While
 * a thread waits there was none.
 */
static void leave_locked(struct notifier *notifier, struct lane *lane, struct ap_slice group_key)
{
    for (unsigned i = 0; i < lane->busy_count; i++)
        if (lane->busy[i].data == group_key.data) {
            lane->busy[i] = lane->busy[--lane->busy_count];
            break;
        }
    notifier->stats.sending--;
}

/* ---- Sending ---- */

const int64_t notifier_durations_us[NOTIFIER_DURATION_COUNT] = {10000,   50000,   100000,   250000,   500000,
                                                                1000000, 2500000, 10000000, 30000000, INT64_MAX};

const char *notifier_failure_name(enum notifier_failure failure)
{
    static const char *const names[NOTIFIER_FAILURE_COUNT] = {
        [NOTIFIER_FAILURE_NO_ANSWER] = "no_answer",       [NOTIFIER_FAILURE_SERVER_ERROR] = "server_error",
        [NOTIFIER_FAILURE_RATE_LIMITED] = "rate_limited", [NOTIFIER_FAILURE_CLIENT_ERROR] = "client_error",
        [NOTIFIER_FAILURE_NOT_MADE] = "not_made",
    };
    return names[failure];
}

/* By what the sender made of the answer: SMTP's codes mean the opposite of HTTP's. */
static enum notifier_failure failure_of(const struct delivery *delivery)
{
    if (delivery->outcome == DELIVERY_REFUSED)
        return delivery->status ? NOTIFIER_FAILURE_CLIENT_ERROR : NOTIFIER_FAILURE_NOT_MADE;
    if (delivery->status == HTTP_TOO_MANY_REQUESTS)
        return NOTIFIER_FAILURE_RATE_LIMITED;
    return delivery->status ? NOTIFIER_FAILURE_SERVER_ERROR : NOTIFIER_FAILURE_NO_ANSWER;
}

static void count(struct notifier *notifier, struct lane *lane, const struct delivery *delivery)
{
    int64_t now_us = ap_clock_monotonic_us(notifier->options.clock);
    size_t bucket = 0;
    while (delivery->duration_us > notifier_durations_us[bucket])
        bucket++;
    pthread_mutex_lock(&notifier->mtx);
    struct notifier_way_stats *stats = &lane->stats;
    stats->attempts[delivery->outcome]++;
    stats->durations[bucket]++;
    stats->duration_us += (uint64_t)delivery->duration_us;
    if (delivery->outcome == DELIVERY_DONE) {
        stats->failing_us = 0;
    } else {
        stats->failures[failure_of(delivery)]++;
        stats->failing_us = stats->failing_us ? stats->failing_us : now_us;
    }
    pthread_mutex_unlock(&notifier->mtx);
}

static void send_one(struct notifier *notifier, struct notification *notification, struct message_templates *templates,
                     struct delivery *ret)
{
    int64_t start_us = ap_clock_monotonic_us(notifier->options.clock);
    AP_AUTO(message)
    struct message *message = message_new(notification, templates, ap_slice_cstr(notifier->external_url),
                                          ap_clock_wall_us(notifier->options.clock) / 1000);
    struct sending sending = {.notification = notification,
                              .message = message,
                              .is_ending = &notifier->is_ending,
                              .tokens = notifier->tokens};
    sending_run(&sending, ret);
    ret->duration_us = ap_clock_monotonic_us(notifier->options.clock) - start_us;
}

static void *run(void *context)
{
    struct notifier *notifier = context;
    pthread_mutex_lock(&notifier->mtx);
    while (!notifier->is_ending) {
        struct lane *lane = NULL;
        struct job *job = take_locked(notifier, &lane);
        if (!job) {
            pthread_cond_wait(&notifier->changed, &notifier->mtx);
            continue;
        }
        AP_AUTO(message_templates)
        struct message_templates *templates = message_templates_ref(notifier->templates);
        pthread_mutex_unlock(&notifier->mtx);
        struct delivery delivery = {0};
        send_one(notifier, job->notification, templates, &delivery);
        if (!delivery.is_unsent)
            count(notifier, lane, &delivery);
        notifier->options.delivered(notifier->options.context, job->notification, &delivery);
        pthread_mutex_lock(&notifier->mtx);
        leave_locked(notifier, lane, job->notification->group_key);
        notification_unref(job->notification);
        free(job);
    }
    pthread_mutex_unlock(&notifier->mtx);
    return NULL;
}

void notifier_deliver(void *context, struct notification *notification)
{
    struct notifier *notifier = context;
    size_t queue_max = notifier->options.queue_max ? notifier->options.queue_max : QUEUE_DEFAULT;
    pthread_mutex_lock(&notifier->mtx);
    bool is_ending = notifier->is_ending, is_taken = !is_ending && notifier->stats.waiting < queue_max;
    if (is_taken) {
        struct lane *lane = lane_of_locked(notifier, notification->receiver, notification->way);
        struct job *job = ap_new0(struct job);
        job->notification = notification_ref(notification);
        *lane->tail = job;
        lane->tail = &job->next;
        notifier->stats.waiting++;
        if (lane->busy_count < notifier->way_max) /* else one of those takes it */
            pthread_cond_signal(&notifier->changed);
    } else {
        notifier->stats.overflows += !is_ending;
    }
    pthread_mutex_unlock(&notifier->mtx);
    if (is_taken)
        return;
    struct delivery delivery;
    delivery_say(&delivery, DELIVERY_RETRY, "%s",
                 is_ending ? "not sent: the server ends" : "too many notifications wait to be sent");
    delivery.is_unsent = true;
    notifier->options.delivered(notifier->options.context, notification, &delivery);
}

/* ---- Configuration ---- */

static enum ap_rc check_receivers(const struct alert_config *config, const struct message_templates *templates,
                                  struct ap_err *err)
{
    enum ap_rc rc = post_check(config->global.http_config, err);
    for (size_t i = 0; i < config->receiver_count && rc == AP_OK; i++) {
        const struct receiver *receiver = &config->receivers[i];
        for (size_t w = 0; w < receiver->way_count && rc == AP_OK; w++) {
            const struct receiver_way *way = &receiver->ways[w];
            rc = sender_of(way->kind)->check(way, &config->global, message_library(templates), err);
            if (rc != AP_OK)
                ap_err_prefix(err, "receiver %s, %s", receiver->name, receiver_kind_name(way->kind));
        }
    }
    return rc;
}

static enum ap_rc load(const struct alert_config *config, struct message_templates **ret, struct ap_err *err)
{
    AP_AUTO(message_templates) struct message_templates *templates = NULL;
    enum ap_rc rc = message_templates_load(config, &templates, err);
    if (rc == AP_OK && config)
        rc = check_receivers(config, templates, err);
    if (rc == AP_OK)
        *ret = AP_MOVE(templates);
    return rc;
}

/*
 * One for each way from the start, whose figures begin at 0, so that the first failure is seen as one more. A way that
 * is no longer there is not failing any more.
 */
static void make_lanes_locked(struct notifier *notifier, const struct alert_config *config)
{
    for (struct lane *lane = notifier->lanes; lane; lane = lane->next) {
        lane->stats.failing_us = lane->is_configured ? lane->stats.failing_us : 0;
        lane->is_configured = false;
    }
    for (; config; config = config->builtin)
        for (size_t i = 0; i < config->receiver_count; i++)
            for (size_t w = 0; w < config->receivers[i].way_count; w++)
                lane_of_locked(notifier, &config->receivers[i], &config->receivers[i].ways[w])->is_configured = true;
}

enum ap_rc notifier_reload(struct notifier *notifier, const struct alert_config *config, struct ap_err *err)
{
    struct message_templates *templates = NULL;
    enum ap_rc rc = load(config, &templates, err);
    if (rc != AP_OK)
        return rc;
    pthread_mutex_lock(&notifier->mtx);
    struct message_templates *old = notifier->templates;
    notifier->templates = templates;
    make_lanes_locked(notifier, config);
    pthread_mutex_unlock(&notifier->mtx);
    message_templates_unref(old);
    return AP_OK;
}

/* ---- Life ---- */

enum ap_rc notifier_open(const struct notifier_options *options, struct notifier **ret_notifier, struct ap_err *err)
{
    struct message_templates *templates = NULL;
    enum ap_rc rc = load(options->config, &templates, err);
    if (rc != AP_OK)
        return rc;
    AP_AUTO(notifier) struct notifier *notifier = ap_new0(struct notifier);
    notifier->options = *options;
    notifier->options.config = NULL;
    notifier->external_url = ap_slice_dup(options->external_url);
    notifier->templates = templates;
    notifier->tokens = oauth2_tokens_new();
    pthread_mutex_init(&notifier->mtx, NULL);
    pthread_cond_init(&notifier->changed, NULL);
    unsigned thread_count = options->thread_count ? options->thread_count : THREADS_DEFAULT;
    notifier->way_max = AP_MAX(thread_count / 4, 1U);
    make_lanes_locked(notifier, options->config); /* nobody else is there yet */
    notifier->threads = ap_new0_array(pthread_t, thread_count);
    for (unsigned i = 0; i < thread_count && rc == AP_OK; i++) {
        rc = os_thread_start("notify", run, notifier, &notifier->threads[i], err);
        notifier->thread_count += rc == AP_OK;
    }
    if (rc == AP_OK)
        *ret_notifier = AP_MOVE(notifier);
    return rc;
}

/* What waits comes back. Nobody puts anything into lanes any more. */
static void lane_give_back(struct notifier *notifier, struct lane *lane)
{
    struct delivery delivery;
    delivery_say(&delivery, DELIVERY_RETRY, "not sent: the server ends");
    delivery.is_unsent = true;
    while (lane->first) {
        struct job *job = lane->first;
        lane->first = job->next;
        notifier->options.delivered(notifier->options.context, job->notification, &delivery);
        notification_unref(job->notification);
        free(job);
    }
    lane->tail = &lane->first;
}

void notifier_stop(struct notifier *notifier)
{
    pthread_mutex_lock(&notifier->mtx);
    __atomic_store_n(&notifier->is_ending, true, __ATOMIC_RELAXED);
    pthread_cond_broadcast(&notifier->changed);
    pthread_mutex_unlock(&notifier->mtx);
    for (unsigned i = 0; i < notifier->thread_count; i++)
        pthread_join(notifier->threads[i], NULL);
    notifier->thread_count = 0;
    for (struct lane *lane = notifier->lanes; lane; lane = lane->next)
        lane_give_back(notifier, lane);
    pthread_mutex_lock(&notifier->mtx);
    notifier->stats.waiting = 0;
    pthread_mutex_unlock(&notifier->mtx);
}

void notifier_close(struct notifier *notifier)
{
    if (!notifier)
        return;
    notifier_stop(notifier);
    while (notifier->lanes) {
        struct lane *lane = notifier->lanes;
        notifier->lanes = lane->next;
        free(lane->receiver);
        free(lane->busy);
        free(lane);
    }
    message_templates_unref(notifier->templates);
    oauth2_tokens_free(notifier->tokens);
    pthread_cond_destroy(&notifier->changed);
    pthread_mutex_destroy(&notifier->mtx);
    free(notifier->external_url);
    free(notifier->threads);
    free(notifier);
}

void notifier_stats_get(struct notifier *notifier, struct notifier_stats *ret_stats)
{
    pthread_mutex_lock(&notifier->mtx);
    *ret_stats = notifier->stats;
    pthread_mutex_unlock(&notifier->mtx);
}

void notifier_each_way(struct notifier *notifier, void (*each)(const struct notifier_way_stats *stats, void *context),
                       void *context)
{
    int64_t now_us = ap_clock_monotonic_us(notifier->options.clock);
    pthread_mutex_lock(&notifier->mtx);
    for (const struct lane *lane = notifier->lanes; lane; lane = lane->next) {
        struct notifier_way_stats stats = lane->stats;
        if (stats.failing_us)
            stats.failing_us = AP_MAX(now_us - stats.failing_us, INT64_C(1));
        if (lane->is_configured)
            each(&stats, context);
    }
    pthread_mutex_unlock(&notifier->mtx);
}
