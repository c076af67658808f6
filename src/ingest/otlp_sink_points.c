#include "ingest/otlp_sink_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "ingest/otlp_histogram.h"
#include "ingest/otlp_known.h"
#include "ingest/otlp_streams.h"

#define STALE_NAN_BITS UINT64_C(0x7ff0000000000002) /* Prometheus' staleness marker */

/* A point that cannot be kept is no reason to refuse the request; that it is too large is. */
static enum ap_rc refuse_or_fail(struct otlp_sink *sink, enum ap_rc rc, const struct ap_err *err)
{
    if (rc != AP_E_PARSE)
        return rc;
    otlp_sink_refuse_point(sink, err->text);
    return AP_OK;
}

void otlp_sink_begin_series(struct otlp_sink *sink, const struct otlp_made *made, uint32_t point)
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

/* The value as of the point's time. A cumulative sum tells when it began: if that is behind all that the store has, the
 * sender was started again, and a 0 must come between for rate() to see it. Too far back the store would refuse it. */
static void make_cumulative(const struct otlp_sink *sink, const struct otlp_point *point, double value, bool is_counter,
                            struct otlp_cumulative *ret_cumulative)
{
    int64_t ts_ms = otlp_ms_of(point->ts_ns), start_ms = otlp_ms_of(point->start_ns);
    bool has_start = point->start_ns > 0 && point->start_ns < point->ts_ns;
    *ret_cumulative = (struct otlp_cumulative){
        .ts_ms = ts_ms,
        .value = value,
        .has_zero = is_counter && has_start && ts_ms - start_ms <= sink->settings->window_ms && !is_stale(point),
        .zero_ts_ms = AP_MIN(start_ms, ts_ms - 1), /* both may lie in one millisecond */
    };
}

/* The first sample of the series begun last stands for the beginning. */
static void note_start_zero(struct otlp_sink *sink)
{
    struct metrics_body *body = sink->body;
    struct batch_series *series = &body->batch.series[body->batch.series_count - 1];
    series->has_start_zero = true;
    series->is_start_zero_for_restart = !otlp_is_delta(&sink->metric) && !body->is_injecting_start_zeros;
}

/* One series with one value. `is_counter`: it rises from 0 on. */
static void add_value(struct otlp_sink *sink, const struct otlp_point *point, const struct otlp_made *made,
                      double value, bool is_counter)
{
    struct metrics_body *body = sink->body;
    struct otlp_cumulative cumulative;
    make_cumulative(sink, point, is_stale(point) ? ap_double_of_bits(STALE_NAN_BITS) : value, is_counter, &cumulative);
    if (otlp_is_delta(&sink->metric)) {
        struct otlp_delta delta = delta_of(sink, point, made->hash, is_counter);
        if (is_stale(point))
            otlp_streams_note_stale(sink->streams, &delta, false);
        else
            otlp_streams_add_number(sink->streams, &delta, value, &cumulative);
    }
    if (cumulative.is_nothing)
        return;
    otlp_sink_begin_series(sink, made, sink->point_count);
    if (cumulative.has_zero) {
        note_start_zero(sink);
        batch_add_sample(&body->batch, cumulative.zero_ts_ms, 0);
    }
    batch_add_sample(&body->batch, cumulative.ts_ms, cumulative.value);
}

/* The labels of a point that is one series, and their hash. */
static enum ap_rc make_labels(struct otlp_sink *sink, const struct otlp_point *point, struct otlp_made *ret_made,
                              struct ap_err *err)
{
    enum ap_rc rc =
        otlp_labels_of_series(&sink->labels, &point->attributes, sink->parts[OTLP_PART_PLAIN], &ret_made->labels, err);
    if (rc == AP_OK)
        ret_made->hash = labels_hash_of(sink->body->hash_seed, ret_made->labels);
    ret_made->number = OTLP_CACHE_NONE;
    return rc;
}

/* The same of a point that may be known. */
static enum ap_rc find_or_make_labels(struct otlp_sink *sink, const struct otlp_point *point,
                                      struct otlp_made *ret_made, struct ap_err *err)
{
    if (point->is_known) {
        *ret_made = (struct otlp_made){{0}, sink->cache->series[sink->point_number].hash, sink->point_number};
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
    return metrics_body_add_exemplar(sink->body, labels, count,
                                     exemplar->ts_ns ? otlp_ms_of(exemplar->ts_ns) : point_ts_ms, exemplar->value, err);
}

static enum ap_rc add_exemplars(struct otlp_sink *sink, const struct otlp_point *point, struct ap_err *err)
{
    enum ap_rc rc = AP_OK;
    const struct otlp_exemplar *exemplars = point->exemplars.items;
    for (size_t i = 0; i < point->exemplars.count && rc == AP_OK; i++)
        rc = add_exemplar(sink, &exemplars[i], otlp_ms_of(point->ts_ns), err);
    return rc;
}

static enum ap_rc add_number(struct otlp_sink *sink, const struct otlp_point *point, struct ap_err *err)
{
    struct otlp_made made;
    if (!point->has_value && !is_stale(point)) {
        otlp_sink_refuse_point(sink, "a point has no value");
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

static enum ap_rc add_part(struct otlp_sink *sink, const struct otlp_base *base, enum otlp_part part,
                           struct ap_slice extra, const struct otlp_point *point, double value, struct ap_err *err)
{
    struct otlp_made made = {.number = OTLP_CACHE_NONE};
    enum ap_rc rc = otlp_labels_complete(&sink->labels, base, sink->parts[part], extra, &made.labels, err);
    if (rc != AP_OK)
        return rc;
    made.hash = labels_hash_of(sink->body->hash_seed, made.labels);
    add_value(sink, point, &made, value, part != OTLP_PART_PLAIN);
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
    return otlp_sink_keep_label(sink, name, ap_buf_slice(&text), ret_label, err);
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
        return otlp_sink_fail_full(err);
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
        return otlp_sink_fail_full(err);
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
        rc = add_part(sink, base, OTLP_PART_BUCKET, sink->bound_labels[i], point, (double)cumulative, err);
        bool is_added = sink->body->batch.series_count > before;
        for (; rc == AP_OK && is_added && exemplar < point->exemplars.count &&
               (is_last || exemplars[exemplar].value <= point->bounds.doubles[i]);
             exemplar++)
            rc = add_exemplar(sink, &exemplars[exemplar], otlp_ms_of(point->ts_ns), err);
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
        rc = add_part(sink, &base, OTLP_PART_SUM, none, point, point->sum, err);
    if (rc == AP_OK)
        rc = add_part(sink, &base, OTLP_PART_COUNT, none, point, (double)point->count, err);
    return rc == AP_OK ? add_buckets(sink, point, &base, err) : rc;
}

static enum ap_rc add_summary(struct otlp_sink *sink, const struct otlp_point *point, struct ap_err *err)
{
    struct otlp_base base;
    struct ap_slice none = ap_slice("", 0);
    enum ap_rc rc = otlp_labels_of_point(&sink->labels, &point->attributes, OTLP_EXTRA_QUANTILE, &base, err);
    if (rc != AP_OK)
        return refuse_or_fail(sink, rc, err);
    rc = add_part(sink, &base, OTLP_PART_SUM, none, point, point->sum, err);
    if (rc == AP_OK)
        rc = add_part(sink, &base, OTLP_PART_COUNT, none, point, (double)point->count, err);
    const struct otlp_quantile *quantiles = point->quantiles.items;
    for (size_t i = 0; i < point->quantiles.count && rc == AP_OK; i++) {
        struct ap_slice label;
        rc = number_label(sink, "quantile", quantiles[i].quantile, &label, err);
        if (rc == AP_OK)
            rc = add_part(sink, &base, OTLP_PART_PLAIN, label, point, quantiles[i].value, err);
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
static enum ap_rc add_histograms(struct otlp_sink *sink, const struct otlp_point *point, const struct otlp_made *made,
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
    if (otlp_is_delta(&sink->metric)) {
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
    otlp_sink_begin_series(sink, made, sink->point_count);
    if (cumulative.has_zero) {
        note_start_zero(sink);
        batch_add_histogram(&body->batch, cumulative.zero_ts_ms, zero_blob);
    }
    batch_add_histogram(&body->batch, cumulative.ts_ms, blob);
    return add_exemplars(sink, point, err);
}

static enum ap_rc add_native(struct otlp_sink *sink, const struct otlp_point *point, struct ap_err *err)
{
    struct histogram histogram;
    struct otlp_made made;
    enum ap_rc rc = otlp_histogram_make(sink->metric.kind, point, &sink->body->arena, &histogram, err);
    if (rc == AP_OK)
        rc = make_labels(sink, point, &made, err);
    if (rc != AP_OK)
        return refuse_or_fail(sink, rc, err);
    return add_histograms(sink, point, &made, &histogram, err);
}

enum ap_rc otlp_sink_add_series(struct otlp_sink *sink, const struct otlp_point *point, struct ap_err *err)
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
