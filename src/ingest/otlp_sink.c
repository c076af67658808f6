#include "ingest/otlp_sink.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bits.h"
#include "codec/protobuf.h"
#include "ingest/otlp_cache.h"
#include "ingest/otlp_histogram.h"
#include "ingest/otlp_known.h"
#include "ingest/otlp_resource.h"
#include "ingest/otlp_streams.h"
#include "tsdb/labels.h"

#define STALE_NAN_BITS UINT64_C(0x7ff0000000000002) /* Prometheus' staleness marker */

enum {
    NS_PER_MS = 1000 * 1000,
    TELL_AGAIN_MS = 60 * 1000,     /* senders describe a metric with every request; now and then is enough */
    OVERRUN_BYTES = 32,            /* readable behind bytes that otlp_labels.c copies */
    TARGET_INFO_SAMPLES_MAX = 100, /* of one resource in one request: four hours */
};

#define NO_POINT UINT32_MAX

/* The series of a metric: its name, and for histograms and summaries with what comes behind it. */
enum part { PART_PLAIN, PART_SUM, PART_COUNT, PART_BUCKET, PART_OTHER_COUNT };
_Static_assert((int)PART_OTHER_COUNT == (int)OTLP_CACHE_PARTS, "the cache keeps all of them");

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
    struct ap_slice name;                    /* as Prometheus'; in the arena, as what follows */
    struct ap_slice parts[PART_OTHER_COUNT]; /* labels __name__ */
    char fault[METRICS_REASON_BYTES];        /* why all its points are refused; empty: they are not */
    const double *bounds;                    /* of the last histogram, and their labels le, +Inf's behind them */
    size_t bound_count;
    struct ap_slice *bound_labels;
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

static enum ap_rc fail_full(struct ap_err *err)
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

/* A label of the store's bytes, readable a little beyond its end. */
static enum ap_rc keep_label(struct otlp_sink *sink, const char *name, struct ap_slice value,
                             struct ap_slice *ret_label, struct ap_err *err)
{
    struct ap_buf *scratch = &sink->body->labels;
    ap_buf_reset(scratch);
    labels_add(scratch, &(struct label){ap_slice_cstr(name), value});
    char *kept = ap_arena_try_alloc(&sink->body->arena, scratch->bytes + OVERRUN_BYTES);
    if (!kept)
        return fail_full(err);
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
    static const char *const suffixes[PART_OTHER_COUNT] = {"", "_sum", "_count", "_bucket"};
    bool has_parts = sink->metric.kind == OTLP_HISTOGRAM || sink->metric.kind == OTLP_SUMMARY;
    AP_AUTO_BUF struct ap_buf text = {0};
    memset(sink->parts, 0, sizeof(sink->parts));
    enum ap_rc rc = metrics_body_keep(sink->body, name, &sink->name, err);
    for (size_t i = 0; i < (has_parts ? PART_OTHER_COUNT : 1u) && rc == AP_OK; i++) {
        ap_buf_reset(&text);
        ap_buf_add_slice(&text, name);
        ap_buf_add_cstr(&text, suffixes[i]);
        rc = keep_label(sink, LABEL_METRIC_NAME, ap_buf_slice(&text), &sink->parts[i], err);
    }
    return rc;
}

static bool has_temporality(const struct otlp_metric *metric)
{
    return metric->kind == OTLP_SUM || metric->kind == OTLP_HISTOGRAM || metric->kind == OTLP_EXPONENTIAL;
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
    if (has_temporality(metric) && !is_known) {
        say_fault(sink, "its aggregation temporality is neither delta nor cumulative");
        return AP_OK;
    }
    uint32_t number = otlp_cache_find_metric(sink->cache, &sink->metric);
    enum ap_rc rc = number == OTLP_CACHE_NONE ? learn_metric(sink, &number, err) : recall_metric(sink, number, err);
    if (number != OTLP_CACHE_NONE && sink->context_number != OTLP_CACHE_NONE && is_number(sink))
        sink->group_number = otlp_cache_group(sink->cache, sink->context_number, number);
    return rc;
}

/* ---- Points ---- */

static int64_t ms_of(uint64_t ts_ns)
{
    return (int64_t)(ts_ns / NS_PER_MS);
}

static void refuse_point(struct otlp_sink *sink, const char *reason)
{
    if (!sink->fault[0])
        say_fault(sink, reason);
    metrics_body_refuse_sample(sink->body, sink->fault);
    if (reason != sink->fault)
        sink->fault[0] = '\0';
}

/* A point that cannot be kept is no reason to refuse the request; that it is too large is. */
static enum ap_rc refuse_or_fail(struct otlp_sink *sink, enum ap_rc rc, const struct ap_err *err)
{
    if (rc != AP_E_PARSE)
        return rc;
    refuse_point(sink, err->text);
    return AP_OK;
}

/* A series of the batch: its labels and their hash, and what it is in the cache. */
struct made {
    struct ap_slice labels; /* data NULL: it is known */
    struct labels_hash hash;
    uint32_t number; /* OTLP_CACHE_NONE: it is not there */
};

static void begin_series(struct otlp_sink *sink, const struct made *made, uint32_t point)
{
    otlp_known_add_origin(sink->body, (struct otlp_origin){.point = point, .number = made->number});
    (void)batch_add_series(&sink->body->batch, made->labels, made->hash);
}

/* ---- Values in time: as they came, or summed up ---- */

static bool is_stale(const struct otlp_point *point)
{
    return point->flags & OTLP_FLAG_NO_RECORDED_VALUE;
}

/* What the sums say of a delta of this point; `hash` is that of its series, the next in the batch. */
static struct otlp_delta delta_of(struct otlp_sink *sink, const struct otlp_point *point, struct labels_hash hash,
                                  bool is_counter)
{
    if (!sink->has_turn)
        otlp_streams_begin(sink->streams);
    sink->has_turn = true;
    return (struct otlp_delta){.hash = hash,
                               .series = (uint32_t)sink->body->batch.series_count,
                               .start_ns = point->start_ns,
                               .ts_ns = point->ts_ns,
                               .has_start = is_counter};
}

static bool is_delta(const struct otlp_sink *sink)
{
    return has_temporality(&sink->metric) && sink->metric.temporality == OTLP_DELTA;
}

/* The value as of the point's time. A cumulative sum tells when it began: if that is behind all that the store has, the
 * sender was started again, and a 0 must come between for rate() to see it. Too far back the store would refuse it. */
static void make_cumulative(const struct otlp_sink *sink, const struct otlp_point *point, double value, bool is_counter,
                            struct otlp_cumulative *ret_cumulative)
{
    int64_t ts_ms = ms_of(point->ts_ns), start_ms = ms_of(point->start_ns);
    bool has_start = point->start_ns > 0 && point->start_ns < point->ts_ns;
    *ret_cumulative = (struct otlp_cumulative){
        .ts_ms = ts_ms,
        .value = value,
        .has_zero = is_counter && has_start && ts_ms - start_ms <= sink->settings->window_ms && !is_stale(point),
        .zero_ts_ms = AP_MIN(start_ms, ts_ms - 1), /* both may lie in one millisecond */
    };
}

/* One series with one value. `is_counter`: it rises from 0 on. */
static void add_value(struct otlp_sink *sink, const struct otlp_point *point, const struct made *made, double value,
                      bool is_counter)
{
    struct metrics_body *body = sink->body;
    struct otlp_cumulative cumulative;
    make_cumulative(sink, point, is_stale(point) ? ap_double_of_bits(STALE_NAN_BITS) : value, is_counter, &cumulative);
    if (is_delta(sink)) {
        struct otlp_delta delta = delta_of(sink, point, made->hash, is_counter);
        if (is_stale(point))
            otlp_streams_note_stale(sink->streams, &delta, false);
        else
            otlp_streams_add_number(sink->streams, &delta, value, &cumulative);
    }
    if (cumulative.is_nothing)
        return;
    begin_series(sink, made, sink->point_count);
    if (cumulative.has_zero) {
        struct batch_series *series = &body->batch.series[body->batch.series_count - 1];
        series->has_start_zero = true;
        series->is_start_zero_for_restart = !is_delta(sink) && !body->is_injecting_start_zeros;
        batch_add_sample(&body->batch, cumulative.zero_ts_ms, 0);
    }
    batch_add_sample(&body->batch, cumulative.ts_ms, cumulative.value);
}

/* The labels of a point that is one series, and their hash. */
static enum ap_rc make_labels(struct otlp_sink *sink, const struct otlp_point *point, struct made *ret_made,
                              struct ap_err *err)
{
    enum ap_rc rc =
        otlp_labels_of_series(&sink->labels, &point->attributes, sink->parts[PART_PLAIN], &ret_made->labels, err);
    if (rc == AP_OK)
        ret_made->hash = labels_hash_of(sink->body->hash_seed, ret_made->labels);
    ret_made->number = OTLP_CACHE_NONE;
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

/* The same of a point that may be known. */
static enum ap_rc find_or_make_labels(struct otlp_sink *sink, const struct otlp_point *point, struct made *ret_made,
                                      struct ap_err *err)
{
    if (point->is_known) {
        *ret_made = (struct made){{0}, sink->cache->series[sink->point_number].hash, sink->point_number};
        return AP_OK;
    }
    enum ap_rc rc = make_labels(sink, point, ret_made, err);
    struct ap_err ignored;
    /* Who leaves labels out promises the store that they are sound. */
    if (rc == AP_OK && point->attributes.raw.data && !sink->cache->is_full &&
        labels_check(ret_made->labels, &ignored) == AP_OK)
        otlp_cache_add_series(sink->cache, sink->group_number, point->attributes.raw, ret_made->hash);
    return rc;
}

static size_t character_count(struct ap_slice text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.bytes; i++)
        count += ((uint8_t)text.data[i] & 0xc0) != 0x80;
    return count;
}

/* To the series added last. The ids go first; attributes come along if all of them fit. */
static enum ap_rc add_exemplar(struct otlp_sink *sink, const struct otlp_exemplar *exemplar, int64_t point_ts_ms,
                               struct ap_err *err)
{
    const struct label ids[] = {{ap_slice_cstr("trace_id"), exemplar->trace_id},
                                {ap_slice_cstr("span_id"), exemplar->span_id}};
    struct label labels[OTLP_ATTRIBUTES_MAX + AP_ARRAY_COUNT(ids)];
    size_t count = 0, characters = 0;
    if (!exemplar->has_value) {
        metrics_body_refuse_exemplar(sink->body, "an exemplar has no value");
        return AP_OK;
    }
    for (size_t i = 0; i < AP_ARRAY_COUNT(ids); i++) {
        if (ids[i].value.bytes == 0)
            continue;
        characters += ids[i].name.bytes + ids[i].value.bytes;
        labels[count++] = ids[i];
    }
    for (size_t i = 0; i < exemplar->attributes.count; i++)
        characters +=
            character_count(exemplar->attributes.items[i].key) + character_count(exemplar->attributes.items[i].value);
    for (size_t i = 0; i < exemplar->attributes.count && characters <= METRICS_EXEMPLAR_CHARACTERS_MAX; i++)
        labels[count++] = (struct label){exemplar->attributes.items[i].key, exemplar->attributes.items[i].value};
    return metrics_body_add_exemplar(sink->body, labels, count, exemplar->ts_ns ? ms_of(exemplar->ts_ns) : point_ts_ms,
                                     exemplar->value, err);
}

static enum ap_rc add_exemplars(struct otlp_sink *sink, const struct otlp_point *point, struct ap_err *err)
{
    enum ap_rc rc = AP_OK;
    const struct otlp_exemplar *exemplars = point->exemplars.items;
    for (size_t i = 0; i < point->exemplars.count && rc == AP_OK; i++)
        rc = add_exemplar(sink, &exemplars[i], ms_of(point->ts_ns), err);
    return rc;
}

static enum ap_rc add_number(struct otlp_sink *sink, const struct otlp_point *point, struct ap_err *err)
{
    struct made made;
    if (!point->has_value && !is_stale(point)) {
        refuse_point(sink, "a point has no value");
        return AP_OK;
    }
    enum ap_rc rc = find_or_make_labels(sink, point, &made, err);
    if (rc != AP_OK)
        return refuse_or_fail(sink, rc, err);
    size_t before = sink->body->batch.series_count;
    add_value(sink, point, &made, point->value, sink->metric.kind == OTLP_SUM && sink->metric.is_monotonic);
    bool is_added = sink->body->batch.series_count > before;
    return is_added && sink->metric.kind == OTLP_SUM ? add_exemplars(sink, point, err) : AP_OK;
}

/* ---- Histograms as one series a bucket, and summaries ---- */

static enum ap_rc add_part(struct otlp_sink *sink, const struct otlp_base *base, enum part part, struct ap_slice extra,
                           const struct otlp_point *point, double value, struct ap_err *err)
{
    struct made made = {.number = OTLP_CACHE_NONE};
    enum ap_rc rc = otlp_labels_complete(&sink->labels, base, sink->parts[part], extra, &made.labels, err);
    if (rc != AP_OK)
        return rc;
    made.hash = labels_hash_of(sink->body->hash_seed, made.labels);
    add_value(sink, point, &made, value, part != PART_PLAIN);
    return AP_OK;
}

/* As Go's 'f' format: no exponent, as many digits as it takes. */
static void add_decimal(struct ap_buf *out, double value)
{
    if (!isfinite(value)) {
        ap_buf_add_cstr(out, isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
        return;
    }
    if (signbit(value))
        ap_buf_add_char(out, '-');
    if (value == 0) {
        ap_buf_add_char(out, '0');
        return;
    }
    struct ap_shortest shortest;
    ap_shortest(value, &shortest);
    ap_buf_add_positional(out, &shortest);
}

static enum ap_rc number_label(struct otlp_sink *sink, const char *name, double value, struct ap_slice *ret_label,
                               struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    add_decimal(&text, value);
    return keep_label(sink, name, ap_buf_slice(&text), ret_label, err);
}

/* The labels le of these bounds; most points of a metric have the same ones. */
static enum ap_rc make_bound_labels(struct otlp_sink *sink, const double *bounds, size_t count, struct ap_err *err)
{
    if (sink->bound_labels && sink->bound_count == count &&
        (count == 0 || memcmp(sink->bounds, bounds, count * sizeof(*bounds)) == 0))
        return AP_OK;
    double *kept = ap_arena_try_alloc(&sink->body->arena, count * sizeof(*bounds));
    struct ap_slice *labels = ap_arena_try_alloc(&sink->body->arena, (count + 1) * sizeof(*labels));
    if (!kept || !labels)
        return fail_full(err);
    enum ap_rc rc = number_label(sink, "le", INFINITY, &labels[count], err);
    for (size_t i = 0; i < count && rc == AP_OK; i++)
        rc = number_label(sink, "le", bounds[i], &labels[i], err);
    if (count)
        memcpy(kept, bounds, count * sizeof(*bounds));
    sink->bounds = kept;
    sink->bound_count = count;
    sink->bound_labels = rc == AP_OK ? labels : NULL;
    return rc;
}

static int compare_exemplars(const void *a, const void *b)
{
    double left = ((const struct otlp_exemplar *)a)->value, right = ((const struct otlp_exemplar *)b)->value;
    if (isnan(left) || isnan(right))
        return isnan(left) - isnan(right);
    return left < right ? -1 : left > right;
}

/* A copy in order of value, NaN behind all. */
static enum ap_rc sort_exemplars(struct otlp_sink *sink, const struct otlp_point *point,
                                 struct otlp_exemplar **ret_exemplars, struct ap_err *err)
{
    size_t bytes = point->exemplars.count * sizeof(struct otlp_exemplar);
    struct otlp_exemplar *exemplars = ap_arena_try_alloc(&sink->body->arena, bytes);
    if (!exemplars)
        return fail_full(err);
    if (bytes) {
        memcpy(exemplars, point->exemplars.items, bytes);
        qsort(exemplars, point->exemplars.count, sizeof(*exemplars), compare_exemplars);
    }
    *ret_exemplars = exemplars;
    return AP_OK;
}

static enum ap_rc add_buckets(struct otlp_sink *sink, const struct otlp_point *point, const struct otlp_base *base,
                              struct ap_err *err)
{
    size_t count = AP_MIN(point->bounds.count, point->bucket_counts.count), exemplar = 0;
    struct otlp_exemplar *exemplars = NULL;
    enum ap_rc rc = make_bound_labels(sink, point->bounds.doubles, count, err);
    if (rc == AP_OK)
        rc = sort_exemplars(sink, point, &exemplars, err);
    uint64_t cumulative = 0;
    for (size_t i = 0; i <= count && rc == AP_OK; i++) {
        bool is_last = i == count;
        cumulative = is_last ? point->count : cumulative + point->bucket_counts.items[i];
        size_t before = sink->body->batch.series_count;
        rc = add_part(sink, base, PART_BUCKET, sink->bound_labels[i], point, (double)cumulative, err);
        bool is_added = sink->body->batch.series_count > before;
        for (; rc == AP_OK && is_added && exemplar < point->exemplars.count &&
               (is_last || exemplars[exemplar].value <= point->bounds.doubles[i]);
             exemplar++)
            rc = add_exemplar(sink, &exemplars[exemplar], ms_of(point->ts_ns), err);
    }
    return rc;
}

static enum ap_rc add_classic(struct otlp_sink *sink, const struct otlp_point *point, struct ap_err *err)
{
    struct otlp_base base;
    struct ap_slice none = ap_slice("", 0);
    enum ap_rc rc = otlp_labels_of_point(&sink->labels, &point->attributes, OTLP_EXTRA_LE, &base, err);
    if (rc != AP_OK)
        return refuse_or_fail(sink, rc, err);
    if (point->has_sum)
        rc = add_part(sink, &base, PART_SUM, none, point, point->sum, err);
    if (rc == AP_OK)
        rc = add_part(sink, &base, PART_COUNT, none, point, (double)point->count, err);
    return rc == AP_OK ? add_buckets(sink, point, &base, err) : rc;
}

static enum ap_rc add_summary(struct otlp_sink *sink, const struct otlp_point *point, struct ap_err *err)
{
    struct otlp_base base;
    struct ap_slice none = ap_slice("", 0);
    enum ap_rc rc = otlp_labels_of_point(&sink->labels, &point->attributes, OTLP_EXTRA_QUANTILE, &base, err);
    if (rc != AP_OK)
        return refuse_or_fail(sink, rc, err);
    rc = add_part(sink, &base, PART_SUM, none, point, point->sum, err);
    if (rc == AP_OK)
        rc = add_part(sink, &base, PART_COUNT, none, point, (double)point->count, err);
    const struct otlp_quantile *quantiles = point->quantiles.items;
    for (size_t i = 0; i < point->quantiles.count && rc == AP_OK; i++) {
        struct ap_slice label;
        rc = number_label(sink, "quantile", quantiles[i].quantile, &label, err);
        if (rc == AP_OK)
            rc = add_part(sink, &base, PART_PLAIN, label, point, quantiles[i].value, err);
    }
    return rc;
}

/* ---- Native histograms ---- */

static enum ap_rc keep_histogram(struct otlp_sink *sink, const struct histogram *histogram, struct ap_slice *ret_blob,
                                 struct ap_err *err)
{
    struct metrics_body *body = sink->body;
    ap_buf_reset(&body->blob);
    histogram_encode(histogram, &body->blob);
    return metrics_body_keep(body, ap_buf_slice(&body->blob), ret_blob, err);
}

/* One series with one histogram, and the empty one before it where it begins. */
static enum ap_rc add_histograms(struct otlp_sink *sink, const struct otlp_point *point, const struct made *made,
                                 const struct histogram *histogram, struct ap_err *err)
{
    struct metrics_body *body = sink->body;
    struct histogram sum = *histogram;
    struct histogram zero = {.schema = histogram->schema,
                             .zero_threshold = histogram->zero_threshold,
                             .custom_values = histogram->custom_values,
                             .custom_value_count = histogram->custom_value_count};
    struct otlp_cumulative cumulative;
    struct ap_slice blob, zero_blob;
    enum ap_rc rc = AP_OK;
    make_cumulative(sink, point, 0, true, &cumulative);
    if (is_delta(sink)) {
        struct otlp_delta delta = delta_of(sink, point, made->hash, true);
        if (is_stale(point))
            otlp_streams_note_stale(sink->streams, &delta, true);
        else
            rc = otlp_streams_add_histogram(sink->streams, &delta, histogram, &body->arena, &cumulative, &sum, &zero,
                                            err);
    }
    if (rc == AP_OK && cumulative.is_nothing)
        return AP_OK;
    if (rc == AP_OK && cumulative.has_zero)
        rc = keep_histogram(sink, &zero, &zero_blob, err);
    if (rc == AP_OK)
        rc = keep_histogram(sink, &sum, &blob, err);
    if (rc != AP_OK)
        return rc;
    begin_series(sink, made, sink->point_count);
    if (cumulative.has_zero) {
        struct batch_series *series = &body->batch.series[body->batch.series_count - 1];
        series->has_start_zero = true;
        series->is_start_zero_for_restart = !is_delta(sink) && !body->is_injecting_start_zeros;
        batch_add_histogram(&body->batch, cumulative.zero_ts_ms, zero_blob);
    }
    batch_add_histogram(&body->batch, cumulative.ts_ms, blob);
    return add_exemplars(sink, point, err);
}

static enum ap_rc add_native(struct otlp_sink *sink, const struct otlp_point *point, struct ap_err *err)
{
    struct histogram histogram;
    struct made made;
    enum ap_rc rc = otlp_histogram_make(sink->metric.kind, point, &sink->body->arena, &histogram, err);
    if (rc == AP_OK)
        rc = make_labels(sink, point, &made, err);
    if (rc != AP_OK)
        return refuse_or_fail(sink, rc, err);
    return add_histograms(sink, point, &made, &histogram, err);
}

static enum ap_rc add_any(struct otlp_sink *sink, const struct otlp_point *point, struct ap_err *err)
{
    switch (sink->metric.kind) {
    case OTLP_GAUGE:
    case OTLP_SUM:
        return add_number(sink, point, err);
    case OTLP_HISTOGRAM:
        return sink->settings->is_making_custom_buckets ? add_native(sink, point, err) : add_classic(sink, point, err);
    case OTLP_EXPONENTIAL:
        return add_native(sink, point, err);
    case OTLP_SUMMARY:
        return add_summary(sink, point, err);
    default:
        return AP_OK;
    }
}

enum ap_rc otlp_sink_add_point(struct otlp_sink *sink, const struct otlp_point *point, struct ap_err *err)
{
    if (sink->fault[0] || point->fault) {
        refuse_point(sink, sink->fault[0] ? sink->fault : point->fault);
        return AP_OK;
    }
    if (point->ts_ns == 0) {
        refuse_point(sink, "a point has no time");
        return AP_OK;
    }
    if (is_delta(sink) && !(isfinite(point->value) && isfinite(point->sum))) {
        refuse_point(sink, "a delta must be a finite number");
        return AP_OK;
    }
    sink->point_count++;
    sink->ts_ns_min = AP_MIN(sink->ts_ns_min, point->ts_ns);
    sink->ts_ns_max = AP_MAX(sink->ts_ns_max, point->ts_ns);
    enum ap_rc rc = add_any(sink, point, err);
    return rc == AP_OK ? metrics_body_check_size(sink->body, err) : rc;
}

/* ---- target_info ---- */

enum ap_rc otlp_sink_end_resource(struct otlp_sink *sink, struct ap_err *err)
{
    struct metrics_body *body = sink->body;
    struct made made = {.number = OTLP_CACHE_NONE};
    bool is_wanted;
    if (sink->ts_ns_min == UINT64_MAX)
        return AP_OK;
    enum ap_rc rc = otlp_resource_target_info(&sink->resource, sink->settings, body, &is_wanted, &made.labels, err);
    if (rc != AP_OK || !is_wanted)
        return rc;
    made.hash = labels_hash_of(body->hash_seed, made.labels);
    begin_series(sink, &made, NO_POINT);
    if (!sink->has_told_target_info && body->batch.metadata_count < METRICS_SERIES_MAX)
        *batch_add_metadata(&body->batch) = (struct batch_metadata){.metric = ap_slice_cstr("target_info"),
                                                                    .help = ap_slice_cstr("Target metadata"),
                                                                    .unit = ap_slice("", 0),
                                                                    .type = METADATA_GAUGE};
    sink->has_told_target_info = true;
    int64_t last_ms = ms_of(sink->ts_ns_max), interval_ms = sink->settings->target_info_interval_ms;
    /* One point of another century must not make a series of it. */
    int64_t first_ms = AP_MAX(ms_of(sink->ts_ns_min), last_ms - TARGET_INFO_SAMPLES_MAX * interval_ms);
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
    uint32_t last = NO_POINT;
    for (size_t i = 0; i < count && refused_by_series; i++) {
        if (refused_by_series[i] == 0 || origins[i].point == NO_POINT || origins[i].point == last)
            continue;
        last = origins[i].point;
        refused++;
    }
    if (sink->has_turn)
        otlp_streams_end(sink->streams, refused_by_series);
    sink->has_turn = false;
    return refused;
}
