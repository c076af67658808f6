/*
 * ingest/otlp_sink_internal.h - what the two files of the sink share
 *
 * otlp_sink.c keeps what a request has said so far: resource, scope, metric, and what became of the points.
 * otlp_sink_points.c makes series of a point, each instrument in its way.
 */
#pragma once

#include "ingest/otlp_cache.h"
#include "ingest/otlp_resource.h"
#include "ingest/otlp_sink.h"
#include "tsdb/labels.h"

#define OTLP_NO_POINT UINT32_MAX /* of a series that is no point's */

/* The series of a metric: its name, and for histograms and summaries with what comes behind it. */
enum otlp_part { OTLP_PART_PLAIN, OTLP_PART_SUM, OTLP_PART_COUNT, OTLP_PART_BUCKET, OTLP_PART_OTHER_COUNT };
_Static_assert((int)OTLP_PART_OTHER_COUNT == (int)OTLP_CACHE_PARTS, "the cache keeps all of them");

struct otlp_sink {
    struct metrics_body *body;            /* lent */
    const struct otlp_settings *settings; /* lent */
    struct otlp_streams *streams;         /* lent; may be NULL */
    struct otlp_cache *cache;             /* the body's */
    bool has_turn;                        /* they are locked */
    bool is_making_all_labels;
    int64_t now_ms;
    bool has_told_target_info; /* in this request */
    uint32_t point_count;
    struct otlp_labels labels;
    /* The resource. */
    struct otlp_resource resource;
    uint64_t ts_ns_min; /* of its points; UINT64_MAX: none */
    uint64_t ts_ns_max;
    /* What it is in the cache, OTLP_CACHE_NONE: not there. */
    uint32_t resource_number;
    uint32_t context_number; /* with the scope */
    uint32_t group_number;
    uint32_t point_number; /* of its series, as otlp_sink_knows() found it */
    /* The metric. */
    struct otlp_metric metric;
    struct ap_slice name;                         /* as Prometheus'; in the arena, as what follows */
    struct ap_slice parts[OTLP_PART_OTHER_COUNT]; /* labels __name__ */
    char fault[METRICS_REASON_BYTES];             /* why all its points are refused; empty: they are not */
    const double *bounds;                         /* of the last histogram, and their labels le, +Inf's behind them */
    size_t bound_count;
    struct ap_slice *bound_labels;
};

/* A series of the batch: its labels and their hash, and what it is in the cache. */
struct otlp_made {
    struct ap_slice labels; /* data NULL: it is known */
    struct labels_hash hash;
    uint32_t number; /* OTLP_CACHE_NONE: it is not there */
};

static inline int64_t otlp_ms_of(uint64_t ts_ns)
{
    return (int64_t)(ts_ns / 1000000);
}

static inline bool otlp_has_temporality(const struct otlp_metric *metric)
{
    return metric->kind == OTLP_SUM || metric->kind == OTLP_HISTOGRAM || metric->kind == OTLP_EXPONENTIAL;
}

static inline bool otlp_is_delta(const struct otlp_metric *metric)
{
    return otlp_has_temporality(metric) && metric->temporality == OTLP_DELTA;
}

/* AP_E_LIMIT: the arena is full. */
ap_nodiscard enum ap_rc otlp_sink_fail_full(struct ap_err *err);

/* A label of the store's bytes, readable a little beyond its end. */
ap_nodiscard enum ap_rc otlp_sink_keep_label(struct otlp_sink *sink, const char *name, struct ap_slice value,
                                             struct ap_slice *ret_label, struct ap_err *err);

/* Counts the point that is being added, and tells why. */
void otlp_sink_refuse_point(struct otlp_sink *sink, const char *reason);

/* The next series of the batch, whose samples are to be added behind it; `point` is its number, or OTLP_NO_POINT. */
void otlp_sink_begin_series(struct otlp_sink *sink, const struct otlp_made *made, uint32_t point);

/* All series of a point that is sound so far. What its kind of metric cannot have is refused. */
ap_nodiscard enum ap_rc otlp_sink_add_series(struct otlp_sink *sink, const struct otlp_point *point,
                                             struct ap_err *err);
