/*
 * ingest/otlp_cache.h - what earlier requests told: metrics with their names, and the series that points are
 *
 * Senders tell the same points with every request, mostly in the same order. Three texts decide on the labels of a
 * point that is one series, each as it was sent, and each kept once:
 *
 *     context: the resource (and its scope) ─┐
 *     head: the metric's name, unit …       ─┼─► a series: the hash of its labels
 *     attributes: the point's               ─┘
 *
 * What is expected next is what came next the last time: comparing its text with the request's is all that has to be
 * done then. Otherwise texts are looked up by their hash and compared: never are two taken for one. The labels are not
 * kept; otlp_known.h makes them again for a store that asks.
 *
 * Nothing here depends on what the store has. Bounded: what does not fit is not kept, and all is forgotten some minutes
 * later. One owner, no locks: it belongs to a metrics_body, and lends to its batch.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/slice.h"
#include "ingest/otlp_point.h"
#include "tsdb/labels.h"
#include "tsdb/slots.h"

enum {
    OTLP_CACHE_ALL_BYTES_MAX = 56 << 20, /* what follows from the others */
    OTLP_CACHE_BYTES_MAX = 16 << 20,     /* of texts and names */
    OTLP_CACHE_METRICS_MAX = 16 << 10,
    OTLP_CACHE_SERIES_MAX = 128 << 10,
    OTLP_CACHE_FULL_MS = 10 * 60 * 1000, /* so long a full one is kept as it is: learning costs more than it gives */
    OTLP_CACHE_PARTS = 4,                /* labels __name__ of a metric */
    OTLP_CACHE_OVERRUN_BYTES = 32,       /* readable beyond the end of what is lent */
};
#define OTLP_CACHE_NONE UINT32_MAX

struct otlp_cached_text {
    const char *data; /* in the arena; of its own, even if there are no bytes */
    uint32_t bytes;
    uint32_t metric; /* whose key it is; OTLP_CACHE_NONE: of none */
};

struct otlp_cached_metric {
    struct otlp_metric metric; /* but for its temporality; its texts lie in its head */
    int64_t told_ms;           /* when its metadata went to the store */
    struct ap_slice name;      /* as Prometheus' */
    struct ap_slice parts[OTLP_CACHE_PARTS];
    uint32_t next; /* the one that came behind it last time */
};

/* The series of one context and metric. */
struct otlp_cached_group {
    uint32_t context; /* number of a text */
    uint32_t metric;
    uint32_t next; /* as a metric's */
    uint32_t count;
    uint32_t last;   /* the series that was told last; where there are any */
    uint32_t missed; /* points since one was as expected */
};

struct otlp_cached_series {
    struct labels_hash hash; /* of the labels; these are canonical */
    uint32_t attributes;     /* number of a text */
    uint32_t group;
    uint32_t sibling; /* the group's series in a ring */
    uint32_t next;    /* as a metric's */
};

struct otlp_cache {
    uint64_t seed; /* of the hash tables; texts come from outside */
    bool is_full;
    int64_t full_ms; /* since when */
    struct ap_arena arena;
    struct ap_buf key;              /* while one is made */
    struct otlp_cached_text *texts; /* owned, as all arrays */
    size_t text_count;
    size_t text_capacity;
    struct slots text_slots;
    struct otlp_cached_metric *metrics;
    size_t metric_count;
    size_t metric_capacity;
    uint32_t metric_last; /* the one that was told last; where there are any, as group_last */
    struct otlp_cached_group *groups;
    size_t group_count;
    size_t group_capacity;
    struct slots group_slots;
    uint32_t group_last;
    struct otlp_cached_series *series;
    size_t series_count;
    size_t series_capacity;
    struct slots series_slots;
};

struct otlp_cache *otlp_cache_new(uint64_t seed);
void otlp_cache_free(struct otlp_cache *cache); /* NULL is allowed */
AP_DEFINE_AUTO(otlp_cache, struct otlp_cache, otlp_cache_free)
/* Before a request: from here on nothing is lent any more. */
void otlp_cache_begin(struct otlp_cache *cache, int64_t now_ms);
size_t otlp_cache_bytes(const struct otlp_cache *cache);

/* The number of this text, which is kept from here on. OTLP_CACHE_NONE: there is no room. */
uint32_t otlp_cache_text(struct otlp_cache *cache, struct ap_slice text);
static inline struct ap_slice otlp_cache_text_at(const struct otlp_cache *cache, uint32_t text)
{
    return ap_slice(cache->texts[text].data, cache->texts[text].bytes);
}

/* ---- Metrics ---- */

/* The metric that should come next, if the message begins with its head; else NULL. */
static inline const struct otlp_metric *otlp_cache_expected_metric(const struct otlp_cache *cache,
                                                                   struct ap_slice message)
{
    if (cache->metric_count == 0)
        return NULL;
    const struct otlp_metric *metric = &cache->metrics[cache->metrics[cache->metric_last].next].metric;
    struct ap_slice head = metric->head;
    return message.bytes >= head.bytes && memcmp(message.data, head.data, head.bytes) == 0 ? metric : NULL;
}

/* The number of a metric by its head (or without one by name, description and unit) and kind. OTLP_CACHE_NONE: it is
 * not known. */
uint32_t otlp_cache_find_metric(struct otlp_cache *cache, const struct otlp_metric *metric);
/* Adds one that is not known. OTLP_CACHE_NONE: there is no room. */
uint32_t otlp_cache_add_metric(struct otlp_cache *cache, const struct otlp_cached_metric *metric);

/* ---- Series ---- */

/* The group of these numbers, which is there from here on. OTLP_CACHE_NONE: there is no room. */
uint32_t otlp_cache_group(struct otlp_cache *cache, uint32_t context, uint32_t metric);
/* To be called once for each point: false, finding it would cost more than making its labels. */
bool otlp_cache_is_worth_asking(struct otlp_cache *cache, uint32_t group);
/* The group's series with these attributes, as they were sent. OTLP_CACHE_NONE: there is none. */
uint32_t otlp_cache_find_series(struct otlp_cache *cache, uint32_t group, struct ap_slice attributes);
/* Adds one that is new, if there is room. */
void otlp_cache_add_series(struct otlp_cache *cache, uint32_t group, struct ap_slice attributes,
                           struct labels_hash hash);
