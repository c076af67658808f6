/*
 * scrape/collect_pool.h - threads that ask collectors, which may make them wait
 *
 * A probe may take its whole timeout, so many run at the same time; threads are started as they are needed and stay.
 */
#pragma once

#include <stddef.h>

#include "base/mem.h"
#include "collect/collector.h"
#include "scrape/target.h"

enum { COLLECT_THREADS_MAX = 64 };

struct collect_pool; /* private to collect_pool.c */

struct collect_pool *collect_pool_new(const struct collector *collectors, size_t count, const struct ap_clock *clock,
                                      void (*answered)(void *context, struct target *target), void *context);
/* Waits for the collectors that are at work; targets that wait are given to answered(), too. NULL is allowed. */
void collect_pool_free(struct collect_pool *pool);
AP_DEFINE_AUTO(collect_pool, struct collect_pool, collect_pool_free)

/* The answer goes into target->answer, and the target to answered() on a thread of the pool. */
void collect_pool_ask(struct collect_pool *pool, struct target *target);
