#include "promql/helpers.h"

#include <pthread.h>
#include <stdbool.h>

struct job {
    void (*part)(void *context, size_t part);
    void *context;
    size_t parts;
    size_t taken;
    size_t done;
    struct job *next;
};

struct helpers {
    pthread_mutex_t mtx;
    pthread_cond_t has_job;
    pthread_cond_t is_done;
    struct job *jobs; /* that have parts nobody took yet */
    bool is_closing;
    size_t thread_count;
    pthread_t threads[];
};

/* With the lock: takes parts of this job until there are none left. */
static void work_locked(struct helpers *helpers, struct job *job)
{
    while (job->taken < job->parts) {
        size_t part = job->taken++;
        if (job->taken == job->parts) {
            struct job **at = &helpers->jobs;
            while (*at != job)
                at = &(*at)->next;
            *at = job->next;
        }
        pthread_mutex_unlock(&helpers->mtx);
        job->part(job->context, part);
        pthread_mutex_lock(&helpers->mtx);
        if (++job->done == job->parts)
            pthread_cond_broadcast(&helpers->is_done);
    }
}

static void *helper_main(void *context)
{
    struct helpers *helpers = context;
    pthread_mutex_lock(&helpers->mtx);
    while (!helpers->is_closing) {
        if (helpers->jobs)
            work_locked(helpers, helpers->jobs);
        else
            pthread_cond_wait(&helpers->has_job, &helpers->mtx);
    }
    pthread_mutex_unlock(&helpers->mtx);
    return NULL;
}

enum ap_rc helpers_open(size_t thread_count, struct helpers **ret_helpers, struct ap_err *err)
{
    struct helpers *helpers = ap_alloc0(1, sizeof(*helpers) + thread_count * sizeof(pthread_t));
    pthread_mutex_init(&helpers->mtx, NULL);
    pthread_cond_init(&helpers->has_job, NULL);
    pthread_cond_init(&helpers->is_done, NULL);
    for (size_t i = 0; i < thread_count; i++) {
        int failed = pthread_create(&helpers->threads[i], NULL, helper_main, helpers);
        if (failed) {
            helpers_close(helpers);
            return ap_fail_errno(err, failed, "cannot start a thread for queries");
        }
        pthread_setname_np(helpers->threads[i], "promql");
        helpers->thread_count++;
    }
    *ret_helpers = helpers;
    return AP_OK;
}

void helpers_close(struct helpers *helpers)
{
    if (!helpers)
        return;
    pthread_mutex_lock(&helpers->mtx);
    helpers->is_closing = true;
    pthread_cond_broadcast(&helpers->has_job);
    pthread_mutex_unlock(&helpers->mtx);
    for (size_t i = 0; i < helpers->thread_count; i++)
        pthread_join(helpers->threads[i], NULL);
    pthread_cond_destroy(&helpers->has_job);
    pthread_cond_destroy(&helpers->is_done);
    pthread_mutex_destroy(&helpers->mtx);
    free(helpers);
}

void helpers_run(struct helpers *helpers, size_t parts, void (*part)(void *context, size_t part), void *context)
{
    struct job job = {.part = part, .context = context, .parts = parts};
    pthread_mutex_lock(&helpers->mtx);
    if (parts > 0) {
        job.next = helpers->jobs;
        /* cppcheck-suppress autoVariables ; it leaves the list before this returns */
        helpers->jobs = &job;
        pthread_cond_broadcast(&helpers->has_job);
    }
    work_locked(helpers, &job);
    while (job.done < job.parts)
        pthread_cond_wait(&helpers->is_done, &helpers->mtx);
    pthread_mutex_unlock(&helpers->mtx);
}
