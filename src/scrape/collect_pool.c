#include "scrape/collect_pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "os/thread.h"

struct collect_pool {
    /* Constant. */
    const struct collector *collectors; /* lent */
    size_t count;
    const struct ap_clock *clock;
    void (*answered)(void *context, struct target *target);
    void *context;
    pthread_mutex_t mutex; /* all of the next */
    pthread_cond_t changed;
    struct target *first;
    struct target **tail;
    size_t waiting_count;
    size_t idle_count;
    bool is_ending;
    pthread_t threads[COLLECT_THREADS_MAX];
    size_t thread_count;
};

static const struct collector *find(const struct collect_pool *pool, const char *name)
{
    for (size_t i = 0; i < pool->count; i++)
        if (strcmp(pool->collectors[i].name, name) == 0)
            return &pool->collectors[i];
    return NULL;
}

static void collect(const struct collect_pool *pool, struct target *target)
{
    const struct scrape_target *shown = &target->asked->shown;
    struct fetch_answer *answer = &target->answer;
    struct collector_request request = {
        .target = shown->address,
        .params = shown->params,
        .param_count = shown->param_count,
        .deadline_monotonic_us = target->began_us + shown->timeout_ms * AP_US_PER_MS,
    };
    const struct collector *collector = find(pool, shown->job->collector);
    *answer = (struct fetch_answer){.content_type = "text/plain"};
    ap_buf_init(&answer->body, FETCH_BODY_BYTES_MAX);
    if (!collector) {
        (void)ap_fail(&answer->err, AP_E_NOT_FOUND, "there is no collector \"%s\" in this program",
                      shown->job->collector);
        return;
    }
    if (ap_clock_monotonic_us(pool->clock) >= request.deadline_monotonic_us) {
        (void)ap_fail(&answer->err, AP_E_TIMEOUT, "%d collectors were at work, and none ended in time",
                      COLLECT_THREADS_MAX);
        return;
    }
    struct ap_err err = {0};
    enum ap_rc rc = collector->collect(collector->context, &request, &answer->body, &err);
    if (rc != AP_OK) {
        answer->err = err;
        answer->is_kept = collector->is_telling_of_failure && ap_buf_ok(&answer->body);
    } else if (!ap_buf_ok(&answer->body))
        answer->is_over_limit = ap_fail(&answer->err, AP_E_LIMIT, "body size limit exceeded") != AP_OK;
    else if (ap_clock_monotonic_us(pool->clock) > request.deadline_monotonic_us)
        (void)ap_fail(&answer->err, AP_E_TIMEOUT, "context deadline exceeded");
}

static void *work(void *context)
{
    struct collect_pool *pool = context;
    pthread_mutex_lock(&pool->mutex);
    while (pool->first || !pool->is_ending) {
        struct target *target = pool->first;
        if (!target) {
            pool->idle_count++;
            pthread_cond_wait(&pool->changed, &pool->mutex);
            pool->idle_count--;
            continue;
        }
        pool->first = target->next;
        if (!pool->first)
            pool->tail = &pool->first;
        pool->waiting_count--;
        bool is_ending = pool->is_ending;
        pthread_mutex_unlock(&pool->mutex);
        if (is_ending)
            target->answer = (struct fetch_answer){.is_given_up = true};
        else
            collect(pool, target);
        target->answer.duration_us = ap_clock_monotonic_us(pool->clock) - target->began_us;
        pool->answered(pool->context, target);
        pthread_mutex_lock(&pool->mutex);
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

struct collect_pool *collect_pool_new(const struct collector *collectors, size_t count, const struct ap_clock *clock,
                                      void (*answered)(void *context, struct target *target), void *context)
{
    struct collect_pool *pool = ap_new0(struct collect_pool);
    pool->collectors = collectors;
    pool->count = count;
    pool->clock = clock;
    pool->answered = answered;
    pool->context = context;
    pool->tail = &pool->first;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->changed, NULL);
    return pool;
}

void collect_pool_free(struct collect_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->mutex);
    pool->is_ending = true;
    pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->mutex);
    for (size_t i = 0; i < pool->thread_count; i++)
        pthread_join(pool->threads[i], NULL);
    AP_ASSERT(!pool->first);
    pthread_cond_destroy(&pool->changed);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
}

void collect_pool_ask(struct collect_pool *pool, struct target *target)
{
    pthread_mutex_lock(&pool->mutex);
    struct ap_err err;
    if (pool->waiting_count >= pool->idle_count && pool->thread_count < COLLECT_THREADS_MAX &&
        os_thread_start("collector", work, pool, &pool->threads[pool->thread_count], &err) == AP_OK)
        pool->thread_count++;
    bool has_thread = pool->thread_count > 0;
    if (has_thread) {
        target->next = NULL;
        *pool->tail = target;
        pool->tail = &target->next;
        pool->waiting_count++;
        pthread_cond_signal(&pool->changed);
    }
    pthread_mutex_unlock(&pool->mutex);
    if (has_thread)
        return;
    target->answer = (struct fetch_answer){.err = err}; /* not even one thread could be started */
    pool->answered(pool->context, target);
}
