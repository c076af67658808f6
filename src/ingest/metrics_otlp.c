/*
 * OTLP metrics over HTTP: POST /v1/metrics, and /api/v1/otlp/v1/metrics as Prometheus has it. Protocol Buffers and
 * JSON; each is answered in its own encoding. What is good in a request is kept; what is not is told with 200 as a
 * partial success, which no sender repeats.
 */
#include <inttypes.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "codec/inflate.h"
#include "codec/protobuf.h"
#include "ingest/metrics_protocol.h"
#include "ingest/otlp_json.h"
#include "ingest/otlp_protobuf.h"
#include "ingest/otlp_sink.h"

/* metrics_request.state */
struct otlp_request {
    struct otlp_sink *sink;  /* owned; from decode() to settle() */
    uint64_t points_refused; /* by the store */
};

/* ---- Answers ---- */

static bool is_json(const struct metrics_request *request)
{
    return request->way == METRICS_WAY_OTLP_JSON;
}

static void reply(struct metrics_request *request, unsigned status, struct ap_buf *take_body, int64_t retry_after_ms)
{
    struct metrics_fields fields = {.count = 0};
    metrics_fields_add_error(&fields, request, status, retry_after_ms);
    http_reply(request->http, &(struct http_reply){
                                  .status = status,
                                  .content_type = is_json(request) ? "application/json" : "application/x-protobuf",
                                  .body = ap_buf_slice(take_body),
                                  .body_owner = HTTP_BODY_TAKEN,
                                  .fields = fields.fields,
                                  .field_count = fields.count,
                              });
}

/* google.rpc.Code of an HTTP status. */
static uint64_t code_of(unsigned status)
{
    switch (status) {
    case 401:
        return 16; /* UNAUTHENTICATED */
    case 403:
        return 7; /* PERMISSION_DENIED */
    case 404:
        return 5; /* NOT_FOUND */
    case 405:
        return 12; /* UNIMPLEMENTED */
    case 413:
    case 429:
        return 8; /* RESOURCE_EXHAUSTED */
    case 503:
        return 14; /* UNAVAILABLE */
    default:
        return status < 500 ? 3 /* INVALID_ARGUMENT */ : 13 /* INTERNAL */;
    }
}

/* google.rpc.Status { 1 code, 2 message } */
static void reply_error(struct metrics_request *request, unsigned status, int64_t retry_after_ms, const char *text)
{
    struct ap_buf body = {0};
    if (is_json(request)) {
        ap_buf_printf(&body, "{\"code\":%" PRIu64 ",\"message\":", code_of(status));
        ap_buf_add_json_string(&body, ap_slice_cstr(text));
        ap_buf_add_char(&body, '}');
    } else {
        protobuf_add_varint(&body, 1, code_of(status));
        protobuf_add_text(&body, 2, text);
    }
    reply(request, status, &body, retry_after_ms);
}

/* ExportMetricsServiceResponse { 1: partial_success { 1 rejected_data_points, 2 error_message } }, empty when all was
 * kept. */
static void add_response(const struct metrics_request *request, uint64_t rejected, struct ap_slice message,
                         struct ap_buf *body)
{
    bool is_partial = rejected || message.bytes;
    if (is_json(request)) {
        ap_buf_add_char(body, '{');
        if (is_partial) {
            ap_buf_printf(body,
                          "\"partialSuccess\":{\"rejectedDataPoints\":\"%" PRIu64 "\",\"errorMessage\":", rejected);
            ap_buf_add_json_string(body, message);
            ap_buf_add_char(body, '}');
        }
        ap_buf_add_char(body, '}');
        return;
    }
    if (!is_partial)
        return;
    AP_AUTO_BUF struct ap_buf partial = {0};
    if (rejected)
        protobuf_add_varint(&partial, 1, rejected);
    protobuf_add_bytes(&partial, 2, message);
    protobuf_add_bytes(body, 1, ap_buf_slice(&partial));
}

static void reply_outcome(struct metrics_request *request)
{
    AP_AUTO_BUF struct ap_buf message = {0};
    struct ap_buf body = {0};
    const struct otlp_request *state = request->state;
    uint64_t rejected = request->samples_refused + state->points_refused;
    if (metrics_request_samples_refused(request) || metrics_request_exemplars_refused(request))
        metrics_request_say_refused(request, true, &message);
    add_response(request, rejected, ap_buf_slice(&message), &body);
    reply(request, 200, &body, 0);
}

/* ---- Before the body ---- */

static const char *begin(struct metrics_request *request)
{
    request->state = ap_arena_alloc0(http_arena(request->http), sizeof(struct otlp_request));
    struct ap_slice type = http_header(request->http, "Content-Type");
    struct ap_slice name = ap_slice_trim(ap_slice_split(&type, ';'));
    enum inflate_encoding encoding;
    if (!ap_slice_equal_nocase(name, "application/x-protobuf"))
        request->way = METRICS_WAY_OTLP_JSON; /* which people who send something else can read, too */
    if (request->way == METRICS_WAY_OTLP_JSON && !ap_slice_equal_nocase(name, "application/json"))
        return "send OTLP metrics as application/x-protobuf or application/json";
    if (!inflate_encoding_parse(http_header(request->http, "Content-Encoding"), &encoding))
        return "the Content-Encoding is not known; send gzip, zstd or none";
    return NULL;
}

/* ---- With the body ---- */

static enum ap_rc decode(struct metrics_request *request, struct metrics_body *body, struct ap_slice bytes,
                         struct ap_err *err)
{
    struct otlp_request *state = request->state;
    state->sink = otlp_sink_new(&(struct otlp_sink_options){
        .body = body,
        .settings = request->options->otlp,
        .streams = metrics_streams(request->metrics),
        .source = bytes,
        .now_ms = ap_clock_monotonic_us(request->options->clock) / AP_US_PER_MS,
    });
    enum ap_rc rc =
        is_json(request) ? otlp_json_decode(state->sink, bytes, err) : otlp_protobuf_decode(state->sink, bytes, err);
    if (rc != AP_OK)
        return rc;
    size_t refused_bytes = (body->batch.series_count + 1) * sizeof(uint32_t);
    uint32_t *refused = ap_arena_try_alloc(&body->arena, refused_bytes);
    if (!refused)
        return ap_fail(err, AP_E_LIMIT, "the request is too large; send it in smaller parts");
    request->append.refused_by_series = memset(refused, 0, refused_bytes);
    return AP_OK;
}

static void settle(struct metrics_request *request, bool is_appended)
{
    struct otlp_request *state = request->state;
    state->points_refused = otlp_sink_settle(state->sink, is_appended ? request->append.refused_by_series : NULL);
    otlp_sink_free(state->sink);
    state->sink = NULL;
    request->append.refused_by_series = NULL;
}

const struct metrics_protocol metrics_protocol_otlp = {
    .path = "/v1/metrics",
    .methods = 1u << HTTP_METHOD_POST,
    .allow = "POST",
    .is_for_pages = true,
    .way = METRICS_WAY_OTLP_PROTOBUF,
    .begin = begin,
    .decode = decode,
    .settle = settle,
    .reply_outcome = reply_outcome,
    .reply_error = reply_error,
};

const struct metrics_protocol metrics_protocol_otlp_prometheus = {
    .path = "/api/v1/otlp/v1/metrics",
    .methods = 1u << HTTP_METHOD_POST,
    .allow = "POST",
    .is_for_pages = true,
    .way = METRICS_WAY_OTLP_PROTOBUF,
    .begin = begin,
    .decode = decode,
    .settle = settle,
    .reply_outcome = reply_outcome,
    .reply_error = reply_error,
};
