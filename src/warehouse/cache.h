/*
 * warehouse/cache.h - answers to questions that were just asked
 *
 * The key holds everything that the answer depends on: the SQL, its parameters and limits, and how much of the log was
 * visible. Because SQL may also ask for the time, an answer is given again for a second at most. Any thread.
 */
#pragma once

#include "base/slice.h"
#include "warehouse/warehouse.h"

struct cache;

struct cache *cache_new(uint64_t bytes_max, const struct ap_clock *clock);
void cache_free(struct cache *cache); /* NULL is allowed */

/* A further hold on the result, or NULL. */
struct warehouse_result *cache_find(struct cache *cache, struct ap_slice key);

/* Takes a hold of its own; drops the oldest answers above bytes_max. */
void cache_add(struct cache *cache, struct ap_slice key, struct warehouse_result *result);
