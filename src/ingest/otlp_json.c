#include "ingest/otlp_json.h"

#include "base/mem.h"
#include "codec/protobuf_json.h"
#include "ingest/otlp_array.h"
#include "ingest/otlp_json_internal.h"

/* A value that is read later, because what stands behind it must be known first. */
struct later {
    struct ap_slice *items; /* in the arena */
    size_t count;
    size_t capacity;
};

/* ---- What is read in place, or later ---- */

typedef enum ap_rc (*add_fn)(struct otlp_json *json, struct json_reader *reader, struct ap_err *err);

/* Passes over the value, to be read by read_later(). */
static enum ap_rc put_off(struct otlp_json *json, struct json_reader *reader, struct later *later, struct ap_err *err)
{
    struct ap_slice raw;
    enum ap_rc rc = json_reader_skip(reader, &raw, err);
    if (rc != AP_OK)
        return rc;
    struct ap_slice *items =
        otlp_array_reserve(json->arena, later->items, later->count, &later->capacity, 1, sizeof(*items));
    if (!items)
        return otlp_json_fail_full(err);
    later->items = items;
    items[later->count++] = raw;
    return AP_OK;
}

/* `add` for each item of an array. */
static enum ap_rc read_array(struct otlp_json *json, struct json_reader *reader, add_fn add, struct ap_err *err)
{
    bool is_there;
    enum ap_rc rc = json_reader_begin_array(reader, err);
    while (rc == AP_OK && (rc = json_reader_next_item(reader, &is_there, err)) == AP_OK && is_there)
        rc = add(json, reader, err);
    return rc;
}

/* The same for arrays that were put off. */
static enum ap_rc read_later(struct otlp_json *json, const struct later *later, add_fn add, struct ap_err *err)
{
    enum ap_rc rc = AP_OK;
    for (size_t i = 0; i < later->count && rc == AP_OK; i++) {
        struct json_reader reader;
        otlp_json_begin(json, &reader, later->items[i]);
        rc = otlp_json_ended(json, &reader, read_array(json, &reader, add, err));
    }
    return rc;
}

/* ---- Metrics ---- */

static enum ap_rc add_point(struct otlp_json *json, struct json_reader *reader, struct ap_err *err)
{
    struct otlp_point point = {.fault = NULL};
    json->attribute_count = 0;
    enum ap_rc rc = otlp_json_read_message(json, reader, json->point, &point, err);
    if (rc != AP_OK)
        return rc;
    if (json->attribute_count > OTLP_ATTRIBUTES_MAX)
        point.fault = "a point has too many attributes";
    point.attributes.items = json->attributes;
    point.attributes.count = AP_MIN(json->attribute_count, (size_t)OTLP_ATTRIBUTES_MAX);
    return otlp_sink_add_point(json->sink, &point, err);
}

static enum otlp_kind kind_of(struct ap_slice key)
{
    static const char *const names[] = {[OTLP_GAUGE] = "gauge",
                                        [OTLP_SUM] = "sum",
                                        [OTLP_HISTOGRAM] = "histogram",
                                        [OTLP_EXPONENTIAL] = "exponentialHistogram",
                                        [OTLP_SUMMARY] = "summary"};
    for (size_t i = OTLP_GAUGE; i < AP_ARRAY_COUNT(names); i++)
        if (ap_slice_equal_cstr(key, names[i]))
            return (enum otlp_kind)i;
    return OTLP_NO_DATA;
}

static enum ap_rc read_temporality(struct json_reader *reader, uint64_t *ret_temporality, struct ap_err *err)
{
    static const char *const names[] = {"AGGREGATION_TEMPORALITY_UNSPECIFIED", "AGGREGATION_TEMPORALITY_DELTA",
                                        "AGGREGATION_TEMPORALITY_CUMULATIVE"};
    return protobuf_json_enum(reader, names, AP_ARRAY_COUNT(names), "1 (delta) or 2 (cumulative)", ret_temporality,
                              err);
}

static enum ap_rc begin_metric(struct otlp_json *json, const struct otlp_metric *metric, struct ap_err *err)
{
    json->point = otlp_point_message(metric->kind);
    return otlp_sink_begin_metric(json->sink, metric, err);
}

/* A metric while it is read. */
struct reading_metric {
    struct otlp_metric metric;
    bool has_name, has_description, has_unit, has_temporality, is_monotonic_said;
    bool is_begun;       /* the sink knows it: what else is said of it comes too late */
    struct later points; /* that came before all that must be known of them */
};

static bool is_complete(const struct reading_metric *reading)
{
    enum otlp_kind kind = reading->metric.kind;
    bool has_data_head = kind == OTLP_GAUGE || kind == OTLP_SUMMARY ||
                         (reading->has_temporality && (kind != OTLP_SUM || reading->is_monotonic_said));
    return reading->has_name && reading->has_description && reading->has_unit && has_data_head;
}

/* In place if that can be; otherwise later: what they mean may stand behind them. */
static enum ap_rc read_points(struct otlp_json *json, struct json_reader *reader, struct reading_metric *reading,
                              struct ap_err *err)
{
    if (!is_complete(reading))
        return put_off(json, reader, &reading->points, err);
    enum ap_rc rc = reading->is_begun ? AP_OK : begin_metric(json, &reading->metric, err);
    reading->is_begun = true;
    return rc == AP_OK ? read_array(json, reader, add_point, err) : rc;
}

static enum ap_rc read_data(struct otlp_json *json, struct json_reader *reader, struct reading_metric *reading,
                            struct ap_err *err)
{
    struct ap_slice key;
    bool is_there;
    reading->points.count = 0; /* of several the last one counts */
    enum ap_rc rc = json_reader_begin_object(reader, err);
    while (rc == AP_OK && (rc = protobuf_json_next_member(reader, &key, &is_there, err)) == AP_OK && is_there) {
        if (ap_slice_equal_cstr(key, "dataPoints")) {
            rc = read_points(json, reader, reading, err);
        } else if (ap_slice_equal_cstr(key, "aggregationTemporality")) {
            rc = read_temporality(reader, &reading->metric.temporality, err);
            reading->has_temporality = true;
        } else if (ap_slice_equal_cstr(key, "isMonotonic")) {
            rc = json_reader_boolean(reader, &reading->metric.is_monotonic, err);
            reading->is_monotonic_said = true;
        } else {
            rc = json_reader_skip(reader, NULL, err);
        }
    }
    return rc;
}

static enum ap_rc add_metric(struct otlp_json *json, struct json_reader *reader, struct ap_err *err)
{
    struct reading_metric reading = {
        .metric = {.name = ap_slice("", 0), .description = ap_slice("", 0), .unit = ap_slice("", 0)}};
    struct otlp_metric *metric = &reading.metric;
    struct ap_slice key;
    bool is_there;
    enum ap_rc rc = json_reader_begin_object(reader, err);
    while (rc == AP_OK && (rc = protobuf_json_next_member(reader, &key, &is_there, err)) == AP_OK && is_there) {
        if (reading.is_begun) {
            rc = json_reader_skip(reader, NULL, err);
        } else if (ap_slice_equal_cstr(key, "name")) {
            rc = json_reader_string(reader, &metric->name, err);
            reading.has_name = true;
        } else if (ap_slice_equal_cstr(key, "description")) {
            rc = json_reader_string(reader, &metric->description, err);
            reading.has_description = true;
        } else if (ap_slice_equal_cstr(key, "unit")) {
            rc = json_reader_string(reader, &metric->unit, err);
            reading.has_unit = true;
        } else if (kind_of(key) != OTLP_NO_DATA) {
            metric->kind = kind_of(key);
            rc = read_data(json, reader, &reading, err);
        } else {
            rc = json_reader_skip(reader, NULL, err);
        }
    }
    if (rc == AP_OK && !reading.is_begun)
        rc = begin_metric(json, metric, err);
    return rc == AP_OK ? read_later(json, &reading.points, add_point, err) : rc;
}

/* ---- Scopes and resources ---- */

static enum ap_rc add_scope(struct otlp_json *json, struct json_reader *reader, struct ap_err *err)
{
    struct otlp_scope scope = {.name = ap_slice("", 0), .version = ap_slice("", 0), .schema_url = ap_slice("", 0)};
    struct later metrics = {0};
    struct ap_slice key;
    bool is_there, has_scope = false, is_begun = false;
    enum ap_rc rc = json_reader_begin_object(reader, err);
    while (rc == AP_OK && (rc = protobuf_json_next_member(reader, &key, &is_there, err)) == AP_OK && is_there) {
        bool is_enough = has_scope && (scope.schema_url.bytes || !otlp_sink_reads_scopes(json->sink));
        if (ap_slice_equal_cstr(key, "metrics") && (is_begun || is_enough)) {
            rc = is_begun ? AP_OK : otlp_sink_begin_scope(json->sink, &scope, err);
            is_begun = true;
            if (rc == AP_OK)
                rc = read_array(json, reader, add_metric, err);
        } else if (ap_slice_equal_cstr(key, "metrics")) {
            rc = put_off(json, reader, &metrics, err);
        } else if (ap_slice_equal_cstr(key, "scope") && !is_begun) {
            rc = otlp_json_read_message(json, reader, &otlp_scope_message, &scope, err);
            has_scope = true;
        } else if (ap_slice_equal_cstr(key, "schemaUrl")) {
            rc = json_reader_string(reader, &scope.schema_url, err);
        } else {
            rc = json_reader_skip(reader, NULL, err);
        }
    }
    if (rc == AP_OK && !is_begun)
        rc = otlp_sink_begin_scope(json->sink, &scope, err);
    return rc == AP_OK ? read_later(json, &metrics, add_metric, err) : rc;
}

static enum ap_rc add_resource(struct otlp_json *json, struct json_reader *reader, struct ap_err *err)
{
    struct otlp_attributes attributes = {0};
    struct later scopes = {0};
    struct ap_slice key;
    bool is_there, has_resource = false, is_begun = false;
    enum ap_rc rc = json_reader_begin_object(reader, err);
    while (rc == AP_OK && (rc = protobuf_json_next_member(reader, &key, &is_there, err)) == AP_OK && is_there) {
        if (ap_slice_equal_cstr(key, "scopeMetrics") && has_resource) {
            rc = is_begun ? AP_OK : otlp_sink_begin_resource(json->sink, &attributes, err);
            is_begun = true;
            if (rc == AP_OK)
                rc = read_array(json, reader, add_scope, err);
        } else if (ap_slice_equal_cstr(key, "scopeMetrics")) {
            rc = put_off(json, reader, &scopes, err);
        } else if (ap_slice_equal_cstr(key, "resource") && !is_begun) {
            rc = otlp_json_read_message(json, reader, &otlp_resource_message, &attributes, err);
            has_resource = true;
        } else {
            rc = json_reader_skip(reader, NULL, err);
        }
    }
    if (rc == AP_OK && !is_begun)
        rc = otlp_sink_begin_resource(json->sink, &attributes, err);
    if (rc == AP_OK)
        rc = read_later(json, &scopes, add_scope, err);
    return rc == AP_OK ? otlp_sink_end_resource(json->sink, err) : rc;
}

static enum ap_rc decode(struct otlp_json *json, struct json_reader *reader, struct ap_err *err)
{
    struct ap_slice key;
    bool is_there;
    enum ap_rc rc = json_reader_begin_object(reader, err);
    while (rc == AP_OK && (rc = protobuf_json_next_member(reader, &key, &is_there, err)) == AP_OK && is_there) {
        if (ap_slice_equal_cstr(key, "resourceMetrics"))
            rc = read_array(json, reader, add_resource, err);
        else
            rc = json_reader_skip(reader, NULL, err);
    }
    return rc == AP_OK ? json_reader_finish(reader, err) : rc;
}

enum ap_rc otlp_json_decode(struct otlp_sink *sink, struct ap_slice text, struct ap_err *err)
{
    struct otlp_json json;
    struct json_reader reader;
    json.sink = sink;
    json.arena = otlp_sink_arena(sink);
    json.failed_at = NULL;
    otlp_json_begin(&json, &reader, text);
    enum ap_rc rc = otlp_json_ended(&json, &reader, decode(&json, &reader, err));
    if (rc != AP_E_PARSE)
        return rc;
    struct ap_err what = *err;
    return ap_fail(err, rc, "%s, at offset %zu of the decompressed body", what.text,
                   (size_t)(json.failed_at - text.data));
}
