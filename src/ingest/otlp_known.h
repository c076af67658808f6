/*
 * ingest/otlp_known.h - the labels of series that came into a batch without any, because otlp_cache.h knew them
 *
 * The store asks for them when it has let a series go, or names one that it refuses. They are made again of the texts
 * that the cache has: as a request of one point, decoded as any other.
 */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "ingest/metrics_body.h"
#include "ingest/otlp_cache.h"
#include "ingest/otlp_point.h"

struct otlp_settings;

/* Where a series of the batch comes from: metrics_body.numbers[0] has one of each, in the same order. */
struct otlp_origin {
    uint32_t point;
    uint32_t number; /* in the cache; OTLP_CACHE_NONE: it has its labels */
};
static inline void otlp_known_add_origin(struct metrics_body *body, struct otlp_origin origin)
{
    struct ap_buf *origins = &body->numbers[0];
    memcpy(ap_buf_reserve(origins, sizeof(origin)), &origin, sizeof(origin));
    origins->bytes += sizeof(origin);
}
static inline const struct otlp_origin *otlp_known_origins(const struct metrics_body *body)
{
    return (const void *)body->numbers[0].data;
}

/* Before a request is decoded: sets batch.find_labels, which is good until the body is reset. */
void otlp_known_begin(struct metrics_body *body, const struct otlp_settings *settings);

/* What of a resource and scope together decides on labels, as a text of the cache. OTLP_CACHE_NONE: it cannot be. */
uint32_t otlp_known_context(struct otlp_cache *cache, uint32_t resource, const struct otlp_scope *scope);
