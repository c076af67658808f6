#include "os/thread.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

#include "base/assert.h"
#include "base/clock.h"

enum ap_rc os_thread_start(const char *name, void *(*run)(void *context), void *context, pthread_t *ret_thread,
                           struct ap_err *err)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* inherited by the new thread */
    int failed_errno = pthread_create(ret_thread, NULL, run, context);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed_errno != 0)
        return ap_fail_errno(err, failed_errno, "start thread %s", name);
    (void)pthread_setname_np(*ret_thread, name);
    return AP_OK;
}

void os_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;
    int failed_errno = pthread_condattr_init(&attributes);
    AP_ASSERT(failed_errno == 0);
    failed_errno = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    AP_ASSERT(failed_errno == 0);
    failed_errno = pthread_cond_init(cond, &attributes);
    AP_ASSERT(failed_errno == 0);
    pthread_condattr_destroy(&attributes);
}

int64_t os_deadline_us(int64_t timeout_ms)
{
    int64_t now_us = ap_clock_monotonic_us(&ap_clock_system);
    if (timeout_ms < 0 || timeout_ms > (INT64_MAX - now_us) / AP_US_PER_MS)
        return INT64_MAX;
    return now_us + timeout_ms * AP_US_PER_MS;
}

bool os_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mtx, int64_t deadline_us)
{
    if (deadline_us == INT64_MAX)
        return pthread_cond_wait(cond, mtx) == 0;
    struct timespec deadline = {.tv_sec = (time_t)(deadline_us / AP_US_PER_S),
                                .tv_nsec = (long)(deadline_us % AP_US_PER_S * 1000)};
    return pthread_cond_timedwait(cond, mtx, &deadline) != ETIMEDOUT;
}
