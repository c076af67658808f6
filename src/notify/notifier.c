#include "notify/notifier.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "notify/post.h"
#include "notify/sender.h"
#include "os/thread.h"
#include "scrape/oauth2.h"

enum { THREADS_DEFAULT = 16, QUEUE_DEFAULT = 100000 };

struct job {
    struct notification *notification; /* owned reference */
    struct job *next;
};

/* What waits for one way. A way is known by its receiver's name and its place: after a reload it is another object. */
struct lane {
    char *receiver; /* owned */
    ptrdiff_t place;
    struct job *first; /* in order of arrival */
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
    struct lane *lanes;                  /* owned; never fewer: there are as many as ways were ever told by */
    struct lane *turn;                   /* where to look first, so that all get theirs */
    struct message_templates *templates; /* owned reference */
    struct notifier_stats stats;
    bool is_ending; /* atomic as well: requests under way look at it */
};

/* ---- The queue ---- */

static struct lane *lane_of_locked(struct notifier *notifier, const struct notification *notification)
{
    ptrdiff_t place = notification->way - notification->receiver->ways;
    for (struct lane *lane = notifier->lanes; lane; lane = lane->next)
        if (lane->place == place && strcmp(lane->receiver, notification->receiver->name) == 0)
            return lane;
    struct lane *lane = ap_new0(struct lane);
    lane->receiver = ap_strdup(notification->receiver->name);
    lane->place = place;
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

static void leave_locked(struct notifier *notifier, struct lane *lane, struct ap_slice group_key)
{
    for (unsigned i = 0; i < lane->busy_count; i++)
        if (lane->busy[i].data == group_key.data) {
            lane->busy[i] = lane->busy[--lane->busy_count];
            break;
        }
    notifier->stats.sending--;
    pthread_cond_broadcast(&notifier->changed);
}

/* ---- Sending ---- */

static void count_locked(struct notifier *notifier, const struct notification *notification,
                         const struct delivery *delivery)
{
    enum receiver_kind kind = notification->way->kind;
    struct notifier_stats *stats = &notifier->stats;
    stats->attempts[kind]++;
    stats->done[kind] += delivery->outcome == DELIVERY_DONE;
    stats->retried[kind] += delivery->outcome == DELIVERY_RETRY;
    stats->refused[kind] += delivery->outcome == DELIVERY_REFUSED;
    stats->duration_us[kind] += (uint64_t)delivery->duration_us;
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
        notifier->options.delivered(notifier->options.context, job->notification, &delivery);
        pthread_mutex_lock(&notifier->mtx);
        count_locked(notifier, job->notification, &delivery);
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
    bool is_taken = !notifier->is_ending && notifier->stats.waiting < queue_max;
    if (is_taken) {
        struct lane *lane = lane_of_locked(notifier, notification);
        struct job *job = ap_new0(struct job);
        job->notification = notification_ref(notification);
        *lane->tail = job;
        lane->tail = &job->next;
        notifier->stats.waiting++;
        pthread_cond_signal(&notifier->changed);
    } else {
        notifier->stats.overflows++;
    }
    pthread_mutex_unlock(&notifier->mtx);
    if (is_taken)
        return;
    struct delivery delivery;
    delivery_say(&delivery, DELIVERY_RETRY, "too many notifications wait to be sent");
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

enum ap_rc notifier_reload(struct notifier *notifier, const struct alert_config *config, struct ap_err *err)
{
    struct message_templates *templates = NULL;
    enum ap_rc rc = load(config, &templates, err);
    if (rc != AP_OK)
        return rc;
    pthread_mutex_lock(&notifier->mtx);
    struct message_templates *old = notifier->templates;
    notifier->templates = templates;
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
    notifier->threads = ap_new0_array(pthread_t, thread_count);
    for (unsigned i = 0; i < thread_count && rc == AP_OK; i++) {
        rc = os_thread_start("notify", run, notifier, &notifier->threads[i], err);
        notifier->thread_count += rc == AP_OK;
    }
    if (rc == AP_OK)
        *ret_notifier = AP_MOVE(notifier);
    return rc;
}

static void lane_free(struct notifier *notifier, struct lane *lane)
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
    free(lane->receiver);
    free(lane->busy);
    free(lane);
}

void notifier_close(struct notifier *notifier)
{
    if (!notifier)
        return;
    pthread_mutex_lock(&notifier->mtx);
    __atomic_store_n(&notifier->is_ending, true, __ATOMIC_RELAXED);
    pthread_cond_broadcast(&notifier->changed);
    pthread_mutex_unlock(&notifier->mtx);
    for (unsigned i = 0; i < notifier->thread_count; i++)
        pthread_join(notifier->threads[i], NULL);
    while (notifier->lanes) {
        struct lane *lane = notifier->lanes;
        notifier->lanes = lane->next;
        lane_free(notifier, lane);
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
