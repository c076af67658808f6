/*
 * ingest/otlp_sink.h - OTLP metrics into a batch, whatever encoding they came in
 *
 * A decoder says in order: a resource; its scopes, one after the other; in each its metrics; in each its points; and
 * then that the resource ends. What cannot be kept is counted and told with its reason (body->samples_refused counts
 * points here), and the rest is kept.
 *
 * How a point becomes series: docs/ingest.md. Points of one series that an earlier request told are known by their
 * bytes (otlp_cache.h) and come without labels into the batch; these are found when the store asks, for as long as the
 * body has the batch. A body is used with the same settings always. One owner, no locks; lives as long as one request.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/rc.h"
#include "ingest/metrics_body.h"
#include "ingest/otlp_labels.h"
#include "ingest/otlp_names.h"
#include "ingest/otlp_point.h"

/* What the settings `otlp.*` say. All lent. */
struct otlp_settings {
    struct otlp_naming naming;
    const char *const *resource_attributes; /* promoted to labels, or with is_promoting_all those that are not */
    size_t resource_attribute_count;
    bool is_promoting_all;
    bool is_keeping_identifying; /* service.name and the like are labels of target_info too */
    bool is_promoting_scope;
    bool is_making_custom_buckets; /* of explicit histograms, in place of one series a bucket */
    int64_t target_info_interval_ms;
    int64_t window_ms;    /* tsdb.out_of_order_window: of what began before it no beginning is told */
    uint64_t streams_max; /* otlp_streams.h */
    int64_t stream_idle_ms;
    const char *const *origins; /* of web pages that may send, with a public key too; lent, as in ingest/cors.h */
    size_t origin_count;
};
void otlp_settings_init(struct otlp_settings *settings); /* as without a configuration */

struct otlp_streams;
struct otlp_sink; /* private to otlp_sink.c */

struct otlp_sink_options {
    struct metrics_body *body; /* all lent */
    const struct otlp_settings *settings;
    struct otlp_streams
        *streams;              /* NULL: deltas are refused; otherwise locked from the first one to otlp_sink_settle() */
    struct ap_slice source;    /* the request's body, where most of what points say lies */
    int64_t now_ms;            /* monotonic */
    bool is_making_all_labels; /* of series that are known, too; otherwise batch.find_labels() does it when asked */
};
struct otlp_sink *otlp_sink_new(const struct otlp_sink_options *options);
void otlp_sink_free(struct otlp_sink *sink); /* NULL is allowed */
AP_DEFINE_AUTO(otlp_sink, struct otlp_sink, otlp_sink_free)

struct ap_arena *otlp_sink_arena(struct otlp_sink *sink); /* for what decoders lend */

/* Each returns AP_E_LIMIT when the request is too large for one. */
ap_nodiscard enum ap_rc otlp_sink_begin_resource(struct otlp_sink *sink, const struct otlp_attributes *attributes,
                                                 struct ap_err *err);
/* Whether anything is made of what a scope says; otherwise metrics may come before all of it is known. */
bool otlp_sink_reads_scopes(const struct otlp_sink *sink);
ap_nodiscard enum ap_rc otlp_sink_begin_scope(struct otlp_sink *sink, const struct otlp_scope *scope,
                                              struct ap_err *err);
/* The metric that is expected next, if the message begins with its head; else NULL. */
const struct otlp_metric *otlp_sink_expected_metric(const struct otlp_sink *sink, struct ap_slice message);

ap_nodiscard enum ap_rc otlp_sink_begin_metric(struct otlp_sink *sink, const struct otlp_metric *metric,
                                               struct ap_err *err);
/*
 * Whether an earlier request told a point of this metric, a gauge or a sum, with these attributes. To be asked before
 * otlp_sink_add_point(), which then gets them as attributes.raw, and only where it is worth it, which is to be asked
 * once for each point.
 */
bool otlp_sink_is_worth_asking(struct otlp_sink *sink);
bool otlp_sink_knows(struct otlp_sink *sink, struct ap_slice attributes);
ap_nodiscard enum ap_rc otlp_sink_add_point(struct otlp_sink *sink, const struct otlp_point *point, struct ap_err *err);
ap_nodiscard enum ap_rc otlp_sink_end_resource(struct otlp_sink *sink, struct ap_err *err);

/*
 * What the store refused, by series of the batch (tsdb_append.refused_by_series), NULL: it got nothing. Returns how
 * many points that are, each counted once. Must be called, on every path, if deltas may have come.
 */
uint64_t otlp_sink_settle(struct otlp_sink *sink, const uint32_t *refused_by_series);
