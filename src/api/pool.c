#include "api/pool.h"

#include <pthread.h>
#include <semaphore.h>

#include "base/assert.h"
#include "os/thread.h"

/* A thread without work. */
struct idle {
    sem_t called;
    struct idle *next;
};

struct pool {
    /* Constant once the threads run. */
    size_t queue_max;
    pthread_t *threads; /* owned */
    struct idle *idles; /* owned; one for each thread */
    size_t thread_count;
    size_t running_max;
    /* Any thread, under mtx. A leaf lock. */
    pthread_mutex_t mtx;
    /* The one that was last at work first: it goes on where its caches and its memory are warm, and those that are
     * not needed never wake. */
    struct idle *first_idle;
    size_t begun_count; /* threads that have taken their place in `idles` */
    struct pool_task *first;
    struct pool_task **tail;
    size_t waiting_count;
    size_t running_count; /* may be above running_max after pool_step_back() */
    bool is_stopping;
};

enum { SPARES_PER_THREAD = 1 };

static bool is_ready_locked(const struct pool *pool)
{
    return pool->first && (pool->running_count < pool->running_max || pool->is_stopping);
}

/* Who is to be called, without the lock, which it wants at once. NULL: nobody is idle, or nothing is ready. */
static struct idle *take_idle_locked(struct pool *pool)
{
    struct idle *idle = is_ready_locked(pool) ? pool->first_idle : NULL;
    if (idle)
        pool->first_idle = idle->next;
    return idle;
}

static void call(struct idle *idle)
{
    if (idle)
        sem_post(&idle->called);
}

/* Without the lock meanwhile. */
static void wait_locked(struct pool *pool, struct idle *idle)
{
    idle->next = pool->first_idle;
    pool->first_idle = idle;
    pthread_mutex_unlock(&pool->mtx);
    while (sem_wait(&idle->called) != 0) /* a signal */
        ;
    pthread_mutex_lock(&pool->mtx);
}

void pool_step_aside(struct pool *pool)
{
    pthread_mutex_lock(&pool->mtx);
    pool->running_count--;
    struct idle *idle = take_idle_locked(pool);
    pthread_mutex_unlock(&pool->mtx);
    call(idle);
}

void pool_step_back(struct pool *pool)
{
    pthread_mutex_lock(&pool->mtx);
    pool->running_count++;
    pthread_mutex_unlock(&pool->mtx);
}

static void *pool_run(void *context)
{
    struct pool *pool = context;
    pthread_mutex_lock(&pool->mtx);
    struct idle *idle = &pool->idles[pool->begun_count++];
    for (;;) {
        while (!is_ready_locked(pool) && !pool->is_stopping)
            wait_locked(pool, idle);
        struct pool_task *task = pool->first;
        if (!task)
            break;
        pool->first = task->next;
        if (!pool->first)
            pool->tail = &pool->first;
        pool->waiting_count--;
        pool->running_count++;
        bool is_stopping = pool->is_stopping;
        pthread_mutex_unlock(&pool->mtx);
        task->run(task, is_stopping);
        pthread_mutex_lock(&pool->mtx);
        pool->running_count--; /* whatever waits for that is this thread's next */
    }
    pthread_mutex_unlock(&pool->mtx);
    return NULL;
}

enum ap_rc pool_open(const char *name, size_t thread_count, size_t queue_max, struct pool **ret_pool,
                     struct ap_err *err)
{
    AP_ASSERT(thread_count > 0);
    AP_AUTO(pool) struct pool *pool = ap_new0(struct pool);
    pool->queue_max = queue_max;
    pool->running_max = thread_count;
    thread_count += thread_count * SPARES_PER_THREAD;
    pool->tail = &pool->first;
    pthread_mutex_init(&pool->mtx, NULL);
    pool->threads = ap_new0_array(pthread_t, thread_count);
    pool->idles = ap_new0_array(struct idle, thread_count);
    for (size_t i = 0; i < thread_count; i++)
        sem_init(&pool->idles[i].called, 0, 0);
    for (; pool->thread_count < thread_count; pool->thread_count++) {
        enum ap_rc rc = os_thread_start(name, pool_run, pool, &pool->threads[pool->thread_count], err);
        if (rc != AP_OK)
            return rc;
    }
    *ret_pool = AP_MOVE(pool);
    return AP_OK;
}

enum ap_rc pool_submit(struct pool *pool, struct pool_task *task, struct ap_err *err)
{
    task->next = NULL;
    pthread_mutex_lock(&pool->mtx);
    bool is_stopping = pool->is_stopping;
    bool is_taken = !is_stopping && pool->waiting_count < pool->queue_max;
    struct idle *idle = NULL;
    if (is_taken) {
        *pool->tail = task;
        pool->tail = &task->next;
        pool->waiting_count++;
        idle = take_idle_locked(pool);
    }
    pthread_mutex_unlock(&pool->mtx);
    call(idle);
    if (is_taken)
        return AP_OK;
    return ap_fail(err, AP_E_BUSY,
                   is_stopping ? "the server is stopping" : "too many questions wait already; ask again in a moment");
}

void pool_stop(struct pool *pool)
{
    pthread_mutex_lock(&pool->mtx);
    pool->is_stopping = true;
    struct idle *idle = pool->first_idle;
    pool->first_idle = NULL;
    for (; idle; idle = idle->next) /* none goes on without the lock */
        call(idle);
    pthread_mutex_unlock(&pool->mtx);
    for (size_t i = 0; i < pool->thread_count; i++)
        pthread_join(pool->threads[i], NULL);
    pool->thread_count = 0;
}

void pool_close(struct pool *pool)
{
    if (!pool)
        return;
    pool_stop(pool);
    pthread_mutex_destroy(&pool->mtx);
    free(pool->threads);
    free(pool->idles);
    free(pool);
}
