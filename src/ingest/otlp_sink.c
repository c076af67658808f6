#include "ingest/otlp_sink_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "ingest/otlp_known.h"
#include "ingest/otlp_streams.h"

enum {
    TELL_AGAIN_MS = 60 * 1000,     /* senders describe a metric with every request; now and then is enough */
    OVERRUN_BYTES = 32,            /* readable behind bytes that otlp_labels.c copies */
    TARGET_INFO_SAMPLES_MAX = 100, /* of one resource in one request: four hours */
};

void otlp_settings_init(struct otlp_settings *settings)
{
    *settings = (struct otlp_settings){
        .naming = {.strategy = OTLP_UNDERSCORES_WITH_SUFFIXES,
                   .is_prefixing_underscores = true,
                   .is_keeping_underscores = true},
        .target_info_interval_ms = 150 * 1000,
        .window_ms = 2 * 3600 * 1000,
        .streams_max = 1000 * 1000,
        .stream_idle_ms = 10 * 60 * 1000,
    };
}

struct otlp_sink *otlp_sink_new(const struct otlp_sink_options *options)
{
    struct metrics_body *body = options->body;
    struct otlp_sink *sink = ap_realloc(NULL, sizeof(*sink)); /* large, and most of it is never looked at */
    sink->body = body;
    sink->settings = options->settings;
    sink->streams = options->streams;
    sink->now_ms = options->now_ms;
    sink->has_turn = false;
    sink->has_told_target_info = false;
    sink->point_count = 0;
    sink->is_making_all_labels = options->is_making_all_labels;
    otlp_known_begin(body, options->settings);
    if (!body->otlp_cache)
        body->otlp_cache = otlp_cache_new(body->hash_seed);
    sink->cache = body->otlp_cache;
    otlp_cache_begin(sink->cache, sink->now_ms);
    otlp_labels_init(&sink->labels, &options->settings->naming, &body->arena, options->source);
    return sink;
}

void otlp_sink_free(struct otlp_sink *sink)
{
    free(sink);
}

struct ap_arena *otlp_sink_arena(struct otlp_sink *sink)
{
    return &sink->body->arena;
}

enum ap_rc otlp_sink_fail_full(struct ap_err *err)
{
    return ap_fail(err, AP_E_LIMIT, "the request holds too many labels; send it in smaller parts");
}

/* ---- Resource and scope ---- */

enum ap_rc otlp_sink_begin_resource(struct otlp_sink *sink, const struct otlp_attributes *attributes,
                                    struct ap_err *err)
{
    sink->ts_ns_min = UINT64_MAX;
    sink->ts_ns_max = 0;
    sink->resource_number = sink->context_number = OTLP_CACHE_NONE;
    if (attributes->raw.data && !sink->is_making_all_labels)
        sink->resource_number = sink->context_number = otlp_cache_text(sink->cache, attributes->raw);
    return otlp_resource_begin(&sink->resource, attributes, sink->settings, &sink->labels, err);
}

bool otlp_sink_reads_scopes(const struct otlp_sink *sink)
{
    return sink->settings->is_promoting_scope;
}

enum ap_rc otlp_sink_begin_scope(struct otlp_sink *sink, const struct otlp_scope *scope, struct ap_err *err)
{
    otlp_labels_begin_scope(&sink->labels);
    if (!sink->settings->is_promoting_scope)
        return AP_OK;
    sink->context_number = otlp_known_context(sink->cache, sink->resource_number, scope);
    if (scope->name.bytes == 0)
        return AP_OK;
    return otlp_resource_set_scope(scope, &sink->settings->naming, &sink->labels, err);
}

/* ---- Metrics ---- */

enum ap_rc otlp_sink_keep_label(struct otlp_sink *sink, const char *name, struct ap_slice value,
                                struct ap_slice *ret_label, struct ap_err *err)
{
    struct ap_buf *scratch = &sink->body->labels;
    ap_buf_reset(scratch);
    labels_add(scratch, &(struct label){ap_slice_cstr(name), value});
    char *kept = ap_arena_try_alloc(&sink->body->arena, scratch->bytes + OVERRUN_BYTES);
    if (!kept)
        return otlp_sink_fail_full(err);
    *ret_label = ap_slice(memcpy(kept, scratch->data, scratch->bytes), scratch->bytes);
    return AP_OK;
}

static enum otlp_suffix suffix_of(const struct otlp_metric *metric)
{
    if (metric->kind == OTLP_SUM && metric->is_monotonic)
        return OTLP_SUFFIX_TOTAL;
    return metric->kind == OTLP_GAUGE && ap_slice_equal_cstr(metric->unit, "1") ? OTLP_SUFFIX_RATIO : OTLP_SUFFIX_NONE;
}

static enum metadata_type type_of(const struct otlp_metric *metric)
{
    switch (metric->kind) {
    case OTLP_GAUGE:
        return METADATA_GAUGE;
    case OTLP_SUM:
        return metric->is_monotonic ? METADATA_COUNTER : METADATA_GAUGE;
    case OTLP_HISTOGRAM:
    case OTLP_EXPONENTIAL:
        return METADATA_HISTOGRAM;
    case OTLP_SUMMARY:
        return METADATA_SUMMARY;
    default:
        return METADATA_UNKNOWN;
    }
}

static enum ap_rc add_metadata(struct otlp_sink *sink, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf unit = {0};
    struct batch_metadata metadata = {
        .metric = sink->name, .help = sink->metric.description, .type = type_of(&sink->metric)};
    otlp_unit_name(sink->metric.unit, &unit);
    metadata.unit = ap_buf_slice(&unit);
    if (sink->body->batch.metadata_count >= METRICS_SERIES_MAX)
        return AP_OK;
    enum ap_rc rc = metrics_body_keep(sink->body, metadata.unit, &metadata.unit, err);
    if (rc == AP_OK)
        *batch_add_metadata(&sink->body->batch) = metadata;
    return rc;
}

static enum ap_rc make_names(struct otlp_sink *sink, struct ap_slice name, struct ap_err *err)
{
    static const char *const suffixes[OTLP_PART_OTHER_COUNT] = {"", "_sum", "_count", "_bucket"};
    bool has_parts = sink->metric.kind == OTLP_HISTOGRAM || sink->metric.kind == OTLP_SUMMARY;
    AP_AUTO_BUF struct ap_buf text = {0};
    memset(sink->parts, 0, sizeof(sink->parts));
    enum ap_rc rc = metrics_body_keep(sink->body, name, &sink->name, err);
    for (size_t i = 0; i < (has_parts ? OTLP_PART_OTHER_COUNT : 1u) && rc == AP_OK; i++) {
        ap_buf_reset(&text);
        ap_buf_add_slice(&text, name);
        ap_buf_add_cstr(&text, suffixes[i]);
        rc = otlp_sink_keep_label(sink, LABEL_METRIC_NAME, ap_buf_slice(&text), &sink->parts[i], err);
    }
    return rc;
}

static void say_fault(struct otlp_sink *sink, const char *reason)
{
    struct ap_slice name = sink->metric.name;
    snprintf(sink->fault, sizeof(sink->fault), "metric \"%.*s\": %s", (int)AP_MIN(name.bytes, (size_t)100),
             name.data ? name.data : "", reason);
}

/* Names and metadata of a metric that the cache does not know; keeps them there. */
static enum ap_rc learn_metric(struct otlp_sink *sink, uint32_t *ret_number, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf name = {0};
    const struct otlp_metric *metric = &sink->metric;
    if (otlp_metric_name(&sink->settings->naming, metric->name, metric->unit, suffix_of(metric), &name, err) != AP_OK) {
        snprintf(sink->fault, sizeof(sink->fault), "%.*s", METRICS_REASON_BYTES - 1, err->text);
        return AP_OK;
    }
    enum ap_rc rc = make_names(sink, ap_buf_slice(&name), err);
    if (rc != AP_OK)
        return rc;
    struct otlp_cached_metric cached = {.metric = *metric, .told_ms = sink->now_ms, .name = sink->name};
    memcpy(cached.parts, sink->parts, sizeof(cached.parts));
    *ret_number = otlp_cache_add_metric(sink->cache, &cached);
    return add_metadata(sink, err);
}

static enum ap_rc recall_metric(struct otlp_sink *sink, uint32_t number, struct ap_err *err)
{
    struct otlp_cached_metric *cached = &sink->cache->metrics[number];
    sink->name = cached->name;
    memcpy(sink->parts, cached->parts, sizeof(sink->parts));
    if (sink->now_ms - cached->told_ms < TELL_AGAIN_MS)
        return AP_OK;
    cached->told_ms = sink->now_ms;
    return add_metadata(sink, err);
}

static bool is_number(const struct otlp_sink *sink)
{
    return sink->metric.kind == OTLP_GAUGE || sink->metric.kind == OTLP_SUM;
}

const struct otlp_metric *otlp_sink_expected_metric(const struct otlp_sink *sink, struct ap_slice message)
{
    return otlp_cache_expected_metric(sink->cache, message);
}

enum ap_rc otlp_sink_begin_metric(struct otlp_sink *sink, const struct otlp_metric *metric, struct ap_err *err)
{
    sink->metric = *metric;
    sink->group_number = OTLP_CACHE_NONE;
    sink->metric.is_monotonic = metric->kind == OTLP_SUM && metric->is_monotonic;
    sink->fault[0] = '\0';
    sink->bounds = NULL;
    sink->bound_count = 0;
    sink->bound_labels = NULL;
    if (metric->kind == OTLP_NO_DATA)
        return AP_OK;
    bool is_known = metric->temporality == OTLP_CUMULATIVE || (metric->temporality == OTLP_DELTA && sink->streams);
    if (otlp_has_temporality(metric) && !is_known) {
        say_fault(sink, "its aggregation temporality is neither delta nor cumulative");
        return AP_OK;
    }
    uint32_t number = otlp_cache_find_metric(sink->cache, &sink->metric);
    enum ap_rc rc = number == OTLP_CACHE_NONE ? learn_metric(sink, &number, err) : recall_metric(sink, number, err);
    if (number != OTLP_CACHE_NONE && sink->context_number != OTLP_CACHE_NONE && is_number(sink))
        sink->group_number = otlp_cache_group(sink->cache, sink->context_number, number);
    return rc;
}

bool otlp_sink_is_worth_asking(struct otlp_sink *sink)
{
    return sink->group_number != OTLP_CACHE_NONE && otlp_cache_is_worth_asking(sink->cache, sink->group_number);
}

bool otlp_sink_knows(struct otlp_sink *sink, struct ap_slice attributes)
{
    sink->point_number = otlp_cache_find_series(sink->cache, sink->group_number, attributes);
    return sink->point_number != OTLP_CACHE_NONE;
}

/* ---- Points ---- */

void otlp_sink_refuse_point(struct otlp_sink *sink, const char *reason)
{
    if (!sink->fault[0])
        say_fault(sink, reason);
    metrics_body_refuse_sample(sink->body, sink->fault);
    if (reason != sink->fault)
        sink->fault[0] = '\0';
}

enum ap_rc otlp_sink_add_point(struct otlp_sink *sink, const struct otlp_point *point, struct ap_err *err)
{
    if (sink->fault[0] || point->fault) {
        otlp_sink_refuse_point(sink, sink->fault[0] ? sink->fault : point->fault);
        return AP_OK;
    }
    if (point->ts_ns == 0) {
        otlp_sink_refuse_point(sink, "a point has no time");
        return AP_OK;
    }
    if (otlp_is_delta(&sink->metric) && !(isfinite(point->value) && isfinite(point->sum))) {
        otlp_sink_refuse_point(sink, "a delta must be a finite number");
        return AP_OK;
    }
    sink->point_count++;
    sink->ts_ns_min = AP_MIN(sink->ts_ns_min, point->ts_ns);
    sink->ts_ns_max = AP_MAX(sink->ts_ns_max, point->ts_ns);
    enum ap_rc rc = otlp_sink_add_series(sink, point, err);
    return rc == AP_OK ? metrics_body_check_size(sink->body, err) : rc;
}

/* ---- target_info ---- */

enum ap_rc otlp_sink_end_resource(struct otlp_sink *sink, struct ap_err *err)
{
    struct metrics_body *body = sink->body;
    struct otlp_made made = {.number = OTLP_CACHE_NONE};
    bool is_wanted;
    if (sink->ts_ns_min == UINT64_MAX)
        return AP_OK;
    enum ap_rc rc = otlp_resource_target_info(&sink->resource, sink->settings, body, &is_wanted, &made.labels, err);
    if (rc != AP_OK || !is_wanted)
        return rc;
    made.hash = labels_hash_of(body->hash_seed, made.labels);
    otlp_sink_begin_series(sink, &made, OTLP_NO_POINT);
    if (!sink->has_told_target_info && body->batch.metadata_count < METRICS_SERIES_MAX)
        *batch_add_metadata(&body->batch) = (struct batch_metadata){.metric = ap_slice_cstr("target_info"),
                                                                    .help = ap_slice_cstr("Target metadata"),
                                                                    .unit = ap_slice("", 0),
                                                                    .type = METADATA_GAUGE};
    sink->has_told_target_info = true;
    int64_t last_ms = otlp_ms_of(sink->ts_ns_max), interval_ms = sink->settings->target_info_interval_ms;
    /* One point of another century must not make a series of it. */
    int64_t first_ms = AP_MAX(otlp_ms_of(sink->ts_ns_min), last_ms - TARGET_INFO_SAMPLES_MAX * interval_ms);
    for (int64_t ts_ms = first_ms; ts_ms < last_ms; ts_ms += interval_ms)
        batch_add_sample(&body->batch, ts_ms, 1);
    batch_add_sample(&body->batch, last_ms, 1);
    return metrics_body_check_size(body, err);
}

/* ---- What became of it ---- */

uint64_t otlp_sink_settle(struct otlp_sink *sink, const uint32_t *refused_by_series)
{
    const struct otlp_origin *origins = otlp_known_origins(sink->body);
    size_t count = sink->body->batch.series_count;
    uint64_t refused = 0;
    uint32_t last = OTLP_NO_POINT;
    for (size_t i = 0; i < count && refused_by_series; i++) {
        if (refused_by_series[i] == 0 || origins[i].point == OTLP_NO_POINT || origins[i].point == last)
            continue;
        last = origins[i].point;
        refused++;
    }
    if (sink->has_turn)
        otlp_streams_end(sink->streams, refused_by_series);
    sink->has_turn = false;
    return refused;
}
