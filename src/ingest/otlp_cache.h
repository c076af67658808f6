/*
 * ingest/otlp_cache.h - the metrics that earlier requests had, by name, unit and description
 *
 * Senders describe the same metrics with every request, and many send one point of each: the names made of them, and
 * whether the store was told about them lately, are kept from request to request. (Label sets are not: making one is
 * quicker than finding it among a hundred thousand.)
 *
 * Keys are 128 bits of seeded hashes, as the store's. Bounded: what does not fit is not kept, and the next request
 * begins with an empty cache. One owner, no locks: it belongs to a metrics_body, and lends to its batch.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/slice.h"
#include "tsdb/labels.h"

enum {
    OTLP_CACHE_BYTES_MAX = 8 << 20,
    OTLP_CACHE_COUNT_MAX = 16 << 10,
    OTLP_CACHE_PARTS = 4,          /* labels __name__ of a metric */
    OTLP_CACHE_OVERRUN_BYTES = 32, /* readable beyond the end of what is lent */
};

struct otlp_cache; /* private to otlp_cache.c */

struct otlp_cache *otlp_cache_new(void);
void otlp_cache_free(struct otlp_cache *cache); /* NULL is allowed */
AP_DEFINE_AUTO(otlp_cache, struct otlp_cache, otlp_cache_free)
/* Before a request: from here on nothing is lent any more. */
void otlp_cache_begin(struct otlp_cache *cache);

struct otlp_cached_metric {
    struct labels_hash key;
    bool is_there;
    int64_t told_ms; /* when its metadata went to the store */
    struct ap_slice name;
    struct ap_slice parts[OTLP_CACHE_PARTS];
};
/* NULL: not known. Lent until otlp_cache_add() or otlp_cache_begin(), its texts until the latter. */
struct otlp_cached_metric *otlp_cache_find(struct otlp_cache *cache, struct labels_hash key);
void otlp_cache_add(struct otlp_cache *cache, const struct otlp_cached_metric *metric);
