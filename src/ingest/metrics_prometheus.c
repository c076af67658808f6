/*
 * Prometheus' own ways to be written to: remote write 1.0 and 2.0 (POST /api/v1/write), and text (POST
 * /api/v1/import/prometheus). What is good in a request is kept; what is not is told with 400, so that no sender tries
 * it again.
 */
#include <inttypes.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "codec/inflate.h"
#include "ingest/metrics_import.h"
#include "ingest/metrics_protocol.h"
#include "ingest/remote_write.h"
#include "ingest/remote_write2.h"
#include "net/http_field.h"

/* metrics_request.state */
struct prometheus_request {
    bool is_unsaid_snappy; /* remote write without a Content-Encoding */
    bool is_openmetrics;
    struct ap_slice lines; /* of an import: a JSON array of the bad lines, in the arena; data NULL: none */
};

/* ---- Answers ---- */

/* A 2.0 sender takes a missing count for 0, and an answer without any for one of a 1.0 receiver: always all three. */
static void add_written(const struct metrics_request *request, struct metrics_fields *fields)
{
    if (request->way != METRICS_WAY_WRITE_2)
        return;
    const struct tsdb_outcome *outcome = &request->append.outcome;
    metrics_fields_add_number(fields, "X-Prometheus-Remote-Write-Samples-Written", outcome->samples_written);
    metrics_fields_add_number(fields, "X-Prometheus-Remote-Write-Histograms-Written", outcome->histograms_written);
    metrics_fields_add_number(fields, "X-Prometheus-Remote-Write-Exemplars-Written", outcome->exemplars_written);
}

static void reply_json(struct metrics_request *request, unsigned status, struct ap_buf *take_json,
                       int64_t retry_after_ms)
{
    struct metrics_fields fields = {.count = 0};
    add_written(request, &fields);
    metrics_fields_add_error(&fields, request, status, retry_after_ms);
    http_reply(request->http, &(struct http_reply){
                                  .status = status,
                                  .content_type = "application/json",
                                  .body = ap_buf_slice(take_json),
                                  .body_owner = HTTP_BODY_TAKEN,
                                  .fields = fields.fields,
                                  .field_count = fields.count,
                              });
}

static void reply_error(struct metrics_request *request, unsigned status, int64_t retry_after_ms, const char *text)
{
    struct ap_buf json = {0};
    ap_buf_add_cstr(&json, "{\"error\":");
    ap_buf_add_json_string(&json, ap_slice_cstr(text));
    ap_buf_add_char(&json, '}');
    reply_json(request, status, &json, retry_after_ms);
}

static void reply_refused(struct metrics_request *request, uint64_t refused)
{
    const struct tsdb_outcome *outcome = &request->append.outcome;
    const struct prometheus_request *state = request->state;
    AP_AUTO_BUF struct ap_buf text = {0};
    struct ap_buf json = {0};
    metrics_request_say_refused(request, request->way == METRICS_WAY_WRITE_2, &text);
    ap_buf_add_cstr(&json, "{\"error\":");
    ap_buf_add_json_string(&json, ap_buf_slice(&text));
    ap_buf_printf(&json, ",\"written\":%" PRIu64 ",\"refused\":%" PRIu64,
                  outcome->samples_written + outcome->histograms_written, refused);
    if (state->lines.data) {
        ap_buf_add_cstr(&json, ",\"lines\":");
        ap_buf_add_slice(&json, state->lines);
    }
    ap_buf_add_char(&json, '}');
    metrics_request_count_refused(request, 400);
    reply_json(request, 400, &json, 0);
}

static void reply_outcome(struct metrics_request *request)
{
    uint64_t refused = metrics_request_samples_refused(request);
    /* 1.0 and text have never failed for an exemplar; 2.0 forbids 2xx unless all was written. */
    if (refused || (metrics_request_exemplars_refused(request) && request->way == METRICS_WAY_WRITE_2)) {
        reply_refused(request, refused);
        return;
    }
    if (request->way != METRICS_WAY_WRITE_2) {
        http_reply_empty(request->http, 204);
        return;
    }
    struct metrics_fields fields = {.count = 0};
    add_written(request, &fields);
    http_reply(request->http,
               &(struct http_reply){.status = 204, .fields = fields.fields, .field_count = fields.count});
}

/* ---- Before the body ---- */

/* False: 415. */
static bool find_message(struct ap_slice content_type, enum metrics_way *ret_way)
{
    struct ap_slice rest = content_type;
    struct ap_slice name = ap_slice_trim(ap_slice_split(&rest, ';'));
    struct ap_slice message = http_field_parameter(content_type, "proto");
    *ret_way = METRICS_WAY_WRITE_1;
    if (name.bytes && !ap_slice_equal_nocase(name, "application/x-protobuf"))
        return false;
    if (ap_slice_equal_cstr(message, "io.prometheus.write.v2.Request")) {
        *ret_way = METRICS_WAY_WRITE_2;
        return true;
    }
    return message.bytes == 0 || ap_slice_equal_cstr(message, "prometheus.WriteRequest");
}

static bool find_text(struct ap_slice content_type, bool *ret_is_openmetrics)
{
    /* The last two are what curl says of a body unless told otherwise. */
    static const char *const names[] = {"text/plain", "application/x-www-form-urlencoded", "application/octet-stream"};
    struct ap_slice name = ap_slice_trim(ap_slice_split(&content_type, ';'));
    *ret_is_openmetrics = ap_slice_equal_nocase(name, "application/openmetrics-text");
    if (name.bytes == 0 || *ret_is_openmetrics)
        return true;
    for (size_t i = 0; i < AP_ARRAY_COUNT(names); i++)
        if (ap_slice_equal_nocase(name, names[i]))
            return true;
    return false;
}

static struct prometheus_request *new_state(struct metrics_request *request)
{
    struct prometheus_request *state = ap_arena_alloc0(http_arena(request->http), sizeof(*state));
    request->state = state;
    return state;
}

static const char *check_encoding(struct metrics_request *request)
{
    enum inflate_encoding encoding;
    bool is_known = inflate_encoding_parse(http_header(request->http, "Content-Encoding"), &encoding);
    return is_known ? NULL : "the Content-Encoding is not known; send snappy, zstd or gzip";
}

static const char *begin_write(struct metrics_request *request)
{
    struct prometheus_request *state = new_state(request);
    if (!find_message(http_header(request->http, "Content-Type"), &request->way))
        return "send application/x-protobuf, with proto=prometheus.WriteRequest (1.0, the default) or "
               "proto=io.prometheus.write.v2.Request (2.0)";
    /* The protocol says snappy, and some of the first senders did not say so. */
    state->is_unsaid_snappy = http_header(request->http, "Content-Encoding").bytes == 0;
    return check_encoding(request);
}

static const char *begin_import(struct metrics_request *request)
{
    struct prometheus_request *state = new_state(request);
    if (!find_text(http_header(request->http, "Content-Type"), &state->is_openmetrics))
        return "send the Prometheus text format as text/plain, or OpenMetrics as application/openmetrics-text";
    return check_encoding(request);
}

/* ---- With the body ---- */

/* The body of a sender that does not say how it is compressed; `body` owns what comes out. */
static enum ap_rc uncompress(struct metrics_body *body, struct ap_slice *bytes, struct ap_err *err)
{
    AP_AUTO(inflate) struct inflate *inflate = inflate_new();
    enum ap_rc rc = inflate_body(inflate, INFLATE_SNAPPY, *bytes, METRICS_INFLATED_BYTES_MAX, &body->unpacked,
                                 &body->unpacked_bytes, err);
    if (rc == AP_OK)
        *bytes = ap_slice(body->unpacked, body->unpacked_bytes);
    return rc;
}

static enum ap_rc decode_write(struct metrics_request *request, struct metrics_body *body, struct ap_slice bytes,
                               struct ap_err *err)
{
    const struct prometheus_request *state = request->state;
    enum ap_rc rc = state->is_unsaid_snappy ? uncompress(body, &bytes, err) : AP_OK;
    if (rc != AP_OK)
        return rc;
    return request->way == METRICS_WAY_WRITE_2 ? remote_write2_decode(body, bytes, err)
                                               : remote_write_decode(body, bytes, err);
}

struct import_parameters {
    struct label extra_labels[METRICS_IMPORT_EXTRA_LABELS_MAX];
    size_t extra_label_count;
    const char *fault;
};

static bool read_parameter(struct ap_slice name, struct ap_slice value, void *context)
{
    struct import_parameters *parameters = context;
    if (!ap_slice_equal_cstr(name, "extra_label"))
        return true;
    struct ap_slice label_value = value;
    struct ap_slice label_name = ap_slice_split(&label_value, '=');
    if (!label_value.data || label_name.bytes == 0)
        parameters->fault = "extra_label must be name=value";
    else if (parameters->extra_label_count == METRICS_IMPORT_EXTRA_LABELS_MAX)
        parameters->fault = "there are too many extra_label";
    else
        parameters->extra_labels[parameters->extra_label_count++] = (struct label){label_name, label_value};
    return !parameters->fault;
}

static bool parse_ts(struct ap_slice text, int64_t *ret_ts_ms)
{
    int64_t value = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, text.data[i] - '0', &value))
            return false;
    }
    *ret_ts_ms = value;
    return text.bytes > 0;
}

/* The bad lines as JSON, into the request's arena: the report is gone when the answer is written. */
static void keep_lines(struct metrics_request *request, const struct metrics_import_report *report)
{
    AP_AUTO_BUF struct ap_buf json = {0};
    for (size_t i = 0; i < report->error_count; i++) {
        const struct metrics_import_error *error = &report->errors[i];
        ap_buf_printf(&json, "%c{\"line\":%zu,\"column\":%zu,\"error\":", i ? ',' : '[', error->line, error->column);
        ap_buf_add_json_string(&json, ap_slice_cstr(error->text));
        ap_buf_add_char(&json, '}');
    }
    if (report->error_count == 0)
        return;
    ap_buf_add_char(&json, ']');
    char *kept = ap_arena_try_alloc(http_arena(request->http), json.bytes);
    if (kept)
        ((struct prometheus_request *)request->state)->lines =
            ap_slice(memcpy(kept, json.data, json.bytes), json.bytes);
}

static enum ap_rc decode_import(struct metrics_request *request, struct metrics_body *body, struct ap_slice text,
                                struct ap_err *err)
{
    const struct prometheus_request *state = request->state;
    struct import_parameters parameters = {.extra_label_count = 0};
    struct metrics_import_options options = {
        .format = state->is_openmetrics ? EXPOSITION_OPENMETRICS : EXPOSITION_TEXT,
        .default_ts_ms = ap_clock_wall_us(request->options->clock) / AP_US_PER_MS,
    };
    struct ap_slice ts = http_query(request->http, "timestamp");
    if (ts.data && !parse_ts(ts, &options.default_ts_ms))
        return ap_fail(err, AP_E_PARSE, "the parameter timestamp must be milliseconds since 1970");
    http_query_each(request->http, read_parameter, &parameters);
    if (parameters.fault)
        return ap_fail(err, AP_E_PARSE, "%s", parameters.fault);
    options.extra_labels = parameters.extra_labels;
    options.extra_label_count = parameters.extra_label_count;
    struct metrics_import_report report;
    enum ap_rc rc = metrics_import_decode(body, &options, text, &report, err);
    if (rc == AP_OK)
        keep_lines(request, &report);
    return rc;
}

const struct metrics_protocol metrics_protocol_remote_write = {
    .path = "/api/v1/write",
    .methods = 1u << HTTP_METHOD_POST,
    .allow = "POST",
    .way = METRICS_WAY_WRITE_1,
    .begin = begin_write,
    .decode = decode_write,
    .reply_outcome = reply_outcome,
    .reply_error = reply_error,
};

const struct metrics_protocol metrics_protocol_import = {
    .path = "/api/v1/import/prometheus",
    .methods = 1u << HTTP_METHOD_POST,
    .allow = "POST",
    .way = METRICS_WAY_IMPORT,
    .begin = begin_import,
    .decode = decode_import,
    .reply_outcome = reply_outcome,
    .reply_error = reply_error,
};
