#include "api/query_json.h"

#include <inttypes.h>

#include "api/histogram_json.h"
#include "api/prometheus.h"
#include "tsdb/labels.h"

enum { ANNOTATIONS_SHOWN_MAX = 10 };

static void add_float(struct ap_buf *out, int64_t ts_ms, double value)
{
    ap_buf_add_char(out, '[');
    prometheus_add_time(out, ts_ms);
    ap_buf_add_cstr(out, ",\"");
    prometheus_add_value(out, value);
    ap_buf_add_cstr(out, "\"]");
}

static void add_histogram(struct ap_buf *out, int64_t ts_ms, const struct float_histogram *histogram)
{
    ap_buf_add_char(out, '[');
    prometheus_add_time(out, ts_ms);
    ap_buf_add_char(out, ',');
    histogram_json_add(out, histogram);
    ap_buf_add_char(out, ']');
}

static enum ap_rc add_matrix_points(struct question *question, const struct promql_points *points, struct ap_buf *out,
                                    struct ap_err *err)
{
    enum ap_rc rc = AP_OK;
    for (size_t i = 0; rc == AP_OK && i < points->count; i++) {
        ap_buf_add_cstr(out, i ? "," : ",\"values\":[");
        add_float(out, points->ts_ms[i], points->values[i]);
        rc = question_flush(question, out, err);
    }
    ap_buf_add_cstr(out, points->count ? "]" : "");
    for (size_t i = 0; rc == AP_OK && i < points->histogram_count; i++) {
        ap_buf_add_cstr(out, i ? "," : ",\"histograms\":[");
        add_histogram(out, points->histogram_ts_ms[i], points->histograms[i]);
        rc = question_flush(question, out, err);
    }
    ap_buf_add_cstr(out, points->histogram_count ? "]" : "");
    return rc;
}

static enum ap_rc add_vector_point(struct question *question, const struct promql_points *points, struct ap_buf *out,
                                   struct ap_err *err)
{
    if (points->count) {
        ap_buf_add_cstr(out, ",\"value\":");
        add_float(out, points->ts_ms[0], points->values[0]);
    } else {
        ap_buf_add_cstr(out, ",\"histogram\":");
        add_histogram(out, points->histogram_ts_ms[0], points->histograms[0]);
    }
    return question_flush(question, out, err);
}

static enum ap_rc add_series(struct question *question, struct promql_execution *execution,
                             const struct query_json_options *options, struct ap_buf *out, bool *ret_is_cut,
                             struct ap_err *err)
{
    bool is_matrix = promql_execution_type(execution) == TYPE_MATRIX;
    uint64_t count = 0;
    *ret_is_cut = false;
    ap_buf_add_char(out, '[');
    for (size_t i = 0; i < promql_execution_count(execution); i++) {
        struct promql_points points;
        enum ap_rc rc = promql_execution_read(execution, i, &points, err);
        if (rc != AP_OK)
            return rc;
        if (points.count + points.histogram_count == 0)
            continue;
        if (count == options->series_max) {
            *ret_is_cut = true;
            break;
        }
        ap_buf_add_cstr(out, count++ ? ",{\"metric\":" : "{\"metric\":");
        labels_format_json(promql_execution_labels(execution, i), out);
        rc = (is_matrix ? add_matrix_points : add_vector_point)(question, &points, out, err);
        if (rc != AP_OK)
            return rc;
        ap_buf_add_char(out, '}');
    }
    ap_buf_add_char(out, ']');
    return AP_OK;
}

static enum ap_rc add_scalar(struct promql_execution *execution, struct ap_buf *out, struct ap_err *err)
{
    struct promql_points points;
    enum ap_rc rc = promql_execution_read(execution, 0, &points, err);
    if (rc != AP_OK)
        return rc;
    ap_buf_add_char(out, '[');
    prometheus_add_time(out, points.ts_ms[0]);
    ap_buf_add_cstr(out, ",\"");
    prometheus_add_scalar(out, points.values[0]);
    ap_buf_add_cstr(out, "\"]");
    return AP_OK;
}

static void add_step_stats(const struct promql_execution *execution, const struct query_json_options *options,
                           struct ap_buf *out)
{
    ap_buf_add_cstr(out, "\"totalQueryableSamplesPerStep\":[");
    for (size_t i = 0; i < promql_execution_steps(execution); i++) {
        ap_buf_add_cstr(out, i ? ",[" : "[");
        prometheus_add_time(out, options->ts_ms + (int64_t)i * options->step_ms);
        ap_buf_add_char(out, ',');
        ap_buf_add_integer(out, (int64_t)promql_execution_samples_at(execution, i));
        ap_buf_add_char(out, ']');
    }
    ap_buf_add_cstr(out, "],");
}

static void add_stats(const struct promql_execution *execution, const struct query_json_options *options,
                      struct ap_buf *out)
{
    struct promql_stats stats;
    promql_execution_stats(execution, &stats);
    double evaluation_s = (double)(stats.open_us + stats.read_us) / 1e6;
    ap_buf_printf(out,
                  ",\"stats\":{\"timings\":{\"evalTotalTime\":%.6f,\"resultSortTime\":0,\"queryPreparationTime\":%.6f,"
                  "\"innerEvalTime\":%.6f,\"execQueueTime\":0,\"execTotalTime\":%.6f},\"samples\":{",
                  evaluation_s, (double)stats.parse_us / 1e6, evaluation_s,
                  (double)stats.parse_us / 1e6 + evaluation_s);
    if (options->has_step_stats)
        add_step_stats(execution, options, out);
    ap_buf_printf(out,
                  "\"totalQueryableSamples\":%" PRIu64 ",\"samplesRead\":%" PRIu64 ",\"peakSamples\":%" PRIu64 "}}",
                  stats.samples_queried, stats.samples_read, stats.samples_peak);
}

enum ap_rc query_json_add(struct question *question, struct promql_execution *execution,
                          const struct query_json_options *options, struct ap_buf *out, bool *ret_is_cut,
                          struct ap_err *err)
{
    static const char *const names[] = {
        [TYPE_SCALAR] = "scalar", [TYPE_VECTOR] = "vector", [TYPE_MATRIX] = "matrix", [TYPE_STRING] = "string"};
    enum promql_type type = promql_execution_type(execution);
    enum ap_rc rc = AP_OK;
    *ret_is_cut = false;
    ap_buf_printf(out, "{\"resultType\":\"%s\",\"result\":", names[type]);
    if (type == TYPE_STRING) {
        ap_buf_add_char(out, '[');
        prometheus_add_time(out, options->ts_ms);
        ap_buf_add_char(out, ',');
        ap_buf_add_json_string(out, promql_execution_text(execution));
        ap_buf_add_char(out, ']');
    } else if (type == TYPE_SCALAR) {
        rc = add_scalar(execution, out, err);
    } else {
        rc = add_series(question, execution, options, out, ret_is_cut, err);
    }
    if (options->has_stats)
        add_stats(execution, options, out);
    ap_buf_add_char(out, '}');
    return rc;
}

static void add_texts(const struct promql_execution *execution, enum promql_annotation_kind kind, const char *first,
                      struct ap_buf *out)
{
    static const char *const members[] = {[PROMQL_WARNING] = "warnings", [PROMQL_INFO] = "infos"};
    static const char *const names[] = {[PROMQL_WARNING] = "warning", [PROMQL_INFO] = "info"};
    size_t count = promql_execution_annotations(execution, kind);
    if (count == 0 && !first)
        return;
    ap_buf_printf(out, ",\"%s\":[", members[kind]);
    if (first)
        ap_buf_add_json_string(out, ap_slice_cstr(first));
    for (size_t i = 0; i < AP_MIN(count, (size_t)ANNOTATIONS_SHOWN_MAX); i++) {
        ap_buf_add_cstr(out, i || first ? "," : "");
        ap_buf_add_json_string(out, ap_slice_cstr(promql_execution_annotation(execution, kind, i)));
    }
    if (count > ANNOTATIONS_SHOWN_MAX)
        ap_buf_printf(out, ",\"%zu more %s annotations omitted\"", count - ANNOTATIONS_SHOWN_MAX, names[kind]);
    ap_buf_add_char(out, ']');
}

void query_json_add_annotations(const struct promql_execution *execution, const char *warning, struct ap_buf *out)
{
    add_texts(execution, PROMQL_WARNING, warning, out);
    add_texts(execution, PROMQL_INFO, NULL, out);
}
