#include "api/pool.h"

#include <pthread.h>

#include "base/assert.h"
#include "os/thread.h"

struct pool {
    /* Constant once the threads run. */
    size_t queue_max;
    pthread_t *threads; /* owned */
    size_t thread_count;
    /* Any thread, under mtx. A leaf lock. */
    pthread_mutex_t mtx;
    pthread_cond_t work; /* first is not NULL, or is_stopping */
    struct pool_task *first;
    struct pool_task **tail;
    size_t waiting_count;
    bool is_stopping;
};

static void *pool_run(void *context)
{
    struct pool *pool = context;
    pthread_mutex_lock(&pool->mtx);
    for (;;) {
        while (!pool->first && !pool->is_stopping)
            pthread_cond_wait(&pool->work, &pool->mtx);
        struct pool_task *task = pool->first;
        if (!task)
            break;
        pool->first = task->next;
        if (!pool->first)
            pool->tail = &pool->first;
        pool->waiting_count--;
        bool is_stopping = pool->is_stopping;
        pthread_mutex_unlock(&pool->mtx);
        task->run(task, is_stopping);
        pthread_mutex_lock(&pool->mtx);
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
    pool->tail = &pool->first;
    pthread_mutex_init(&pool->mtx, NULL);
    pthread_cond_init(&pool->work, NULL);
    pool->threads = ap_new0_array(pthread_t, thread_count);
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
    if (is_taken) {
        *pool->tail = task;
        pool->tail = &task->next;
        pool->waiting_count++;
    }
    pthread_mutex_unlock(&pool->mtx);
    if (is_taken) {
        pthread_cond_signal(&pool->work); /* without the lock, which the thread that wakes wants at once */
        return AP_OK;
    }
    return ap_fail(err, AP_E_BUSY,
                   is_stopping ? "the server is stopping" : "too many questions wait already; ask again in a moment");
}

void pool_stop(struct pool *pool)
{
    pthread_mutex_lock(&pool->mtx);
    pool->is_stopping = true;
    pthread_cond_broadcast(&pool->work);
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
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->mtx);
    free(pool->threads);
    free(pool);
}
