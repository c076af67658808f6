/*
 * os/thread.h - starting threads, and waiting with a deadline
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"

/*
 * Starts a thread with all signals blocked, so that they reach the main thread only. `name` (at most 15 bytes) is what
 * top and gdb show. Join it with pthread_join().
 */
ap_nodiscard enum ap_rc os_thread_start(const char *name, void *(*run)(void *context), void *context,
                                        pthread_t *ret_thread, struct ap_err *err);

/* A condition whose deadlines are on the monotonic clock: it does not care when somebody sets the wall clock. */
void os_cond_init(pthread_cond_t *cond);

/* `timeout_ms` from now, in microseconds of the monotonic clock; negative is never. */
int64_t os_deadline_us(int64_t timeout_ms);

/* Waits for a signal, as pthread_cond_wait() does, false when the deadline has passed. */
bool os_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mtx, int64_t deadline_us);
