/*
 * api/pool.h - a few threads on which questions are answered that would hold up an HTTP loop
 *
 *     handler: params, http_suspend() ──► pool_submit() ──► a thread of the pool: run() ──► http_reply()
 *
 * A pool belongs to one kind of work, so that what takes long does not stand before what is quick. The queue is
 * bounded: above it AP_E_BUSY, which is 503 with Retry-After. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"
#include "base/rc.h"

struct pool; /* private to pool.c */

/* A piece of work, in the memory of whoever submits it (mostly a request's arena) until run() has been called. */
struct pool_task {
    /* Called once, on a thread of the pool; `is_stopping`: there is no time left, say so and return. */
    void (*run)(struct pool_task *task, bool is_stopping);
    struct pool_task *next; /* the pool's */
};

/* `name` (at most 15 bytes) is what top shows. `thread_count`: tasks that run at a time; there are some more threads,
 * for when tasks step aside. `queue_max`: tasks that wait. */
ap_nodiscard enum ap_rc pool_open(const char *name, size_t thread_count, size_t queue_max, struct pool **ret_pool,
                                  struct ap_err *err);

/* AP_OK: run() will be called. AP_E_BUSY: the queue is full, or the pool has stopped; it will not. */
ap_nodiscard enum ap_rc pool_submit(struct pool *pool, struct pool_task *task, struct ap_err *err);

/*
 * For a task that is about to wait for somebody else, such as a client that reads slowly: another one may run in its
 * place until it steps back, which it does without waiting.
 */
void pool_step_aside(struct pool *pool);
void pool_step_back(struct pool *pool);

/* Lets what runs end, tells what waits that it is stopping, joins the threads. Calling it again does nothing. */
void pool_stop(struct pool *pool);
void pool_close(struct pool *pool); /* stops and frees; NULL is allowed */
AP_DEFINE_AUTO(pool, struct pool, pool_close)
