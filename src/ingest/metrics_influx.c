/*
 * InfluxDB's ways to be written to: POST /write (1.x) and POST /api/v2/write. What is good in a request is kept; what
 * is not is told with 400 in InfluxDB's words, with the number of the first bad line.
 */
#include <inttypes.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "codec/inflate.h"
#include "ingest/influx_write.h"
#include "ingest/metrics_protocol.h"

/* metrics_request.state: what to say of bad lines, in the request's arena. */
struct influx_request {
    struct ap_slice errors; /* "unable to parse 'm v=': missing field value", a line each; data NULL: none */
    size_t first_line;      /* the first bad one; 0: none */
    uint64_t lines_refused;
};

static bool is_version_2(const struct metrics_request *request)
{
    return request->protocol == &metrics_protocol_influx_2;
}

/* ---- Answers ---- */

/* `code` of 2.x's errors. */
static const char *code_of(unsigned status)
{
    switch (status) {
    case 401:
        return "unauthorized";
    case 403:
        return "forbidden";
    case 405:
        return "method not allowed";
    case 413:
        return "request too large";
    case 429:
        return "too many requests";
    case 503:
        return "unavailable";
    default:
        return "invalid";
    }
}

static void reply_json(struct metrics_request *request, unsigned status, int64_t retry_after_ms, struct ap_slice text,
                       size_t line)
{
    struct metrics_fields fields = {.count = 0};
    struct ap_buf json = {0};
    if (is_version_2(request))
        ap_buf_printf(&json, "{\"code\":\"%s\",\"message\":", code_of(status));
    else
        ap_buf_add_cstr(&json, "{\"error\":");
    ap_buf_add_json_string(&json, text);
    if (line)
        ap_buf_printf(&json, ",\"line\":%zu", line);
    ap_buf_add_char(&json, '}');
    metrics_fields_add_error(&fields, request, status, retry_after_ms);
    http_reply(request->http, &(struct http_reply){
                                  .status = status,
                                  .content_type = "application/json",
                                  .body = ap_buf_slice(&json),
                                  .body_owner = HTTP_BODY_TAKEN,
                                  .fields = fields.fields,
                                  .field_count = fields.count,
                              });
}

static void reply_error(struct metrics_request *request, unsigned status, int64_t retry_after_ms, const char *text)
{
    reply_json(request, status, retry_after_ms, ap_slice_cstr(text), 0);
}

static void reply_outcome(struct metrics_request *request)
{
    const struct influx_request *state = request->state;
    const struct tsdb_outcome *outcome = &request->append.outcome;
    if (state->lines_refused + outcome->samples_refused == 0) {
        http_reply_empty(request->http, 204);
        return;
    }
    AP_AUTO_BUF struct ap_buf text = {0};
    bool is_partial = outcome->samples_written > 0;
    if (is_partial)
        ap_buf_add_cstr(&text, "partial write: ");
    ap_buf_add_slice(&text, state->errors);
    if (outcome->samples_refused) {
        ap_buf_add_cstr(&text, state->errors.bytes ? "\n" : "");
        metrics_request_say_refused(request, false, &text);
    }
    if (is_partial)
        ap_buf_printf(&text, " dropped=%" PRIu64, state->lines_refused + outcome->samples_refused);
    metrics_request_count_refused(request, 400);
    reply_json(request, 400, 0, ap_buf_slice(&text), state->first_line);
}

/* ---- Before the body ---- */

static const char *begin(struct metrics_request *request)
{
    enum inflate_encoding encoding;
    request->state = ap_arena_alloc0(http_arena(request->http), sizeof(struct influx_request));
    bool is_known = inflate_encoding_parse(http_header(request->http, "Content-Encoding"), &encoding);
    return is_known ? NULL : "the Content-Encoding is not known; send gzip or zstd";
}

/* ---- With the body ---- */

/* In the request's arena: the report is gone when the answer is written. */
static void keep_errors(struct metrics_request *request, const struct influx_write_report *report)
{
    struct influx_request *state = request->state;
    state->lines_refused = report->lines_refused;
    if (report->error_count == 0)
        return;
    AP_AUTO_BUF struct ap_buf text = {0};
    state->first_line = report->errors[0].line;
    for (size_t i = 0; i < report->error_count; i++)
        ap_buf_printf(&text, "%sunable to parse '%.*s': %s", i ? "\n" : "", AP_SLICE_ARG(report->errors[i].text),
                      report->errors[i].reason);
    if (report->lines_refused > report->error_count)
        ap_buf_printf(&text, "\nand %" PRIu64 " lines more", report->lines_refused - report->error_count);
    char *kept = ap_arena_try_alloc(http_arena(request->http), text.bytes);
    if (kept)
        state->errors = ap_slice(memcpy(kept, text.data, text.bytes), text.bytes);
}

static enum ap_rc decode(struct metrics_request *request, struct metrics_body *body, struct ap_slice text,
                         struct ap_err *err)
{
    struct ap_slice precision = http_query(request->http, "precision");
    struct influx_write_options options = {
        .separator = ap_slice_cstr(request->options->influx_separator),
        .db = http_query(request->http, is_version_2(request) ? "bucket" : "db"),
        .default_ts_ms = ap_clock_wall_us(request->options->clock) / AP_US_PER_MS,
    };
    if (!influx_write_precision(precision, &options.ns_per_unit))
        return ap_fail(err, AP_E_PARSE, "invalid precision \"%.*s\" (use ns, us, ms, s, m or h)",
                       AP_SLICE_ARG(ap_slice(precision.data, AP_MIN(precision.bytes, (size_t)40))));
    AP_AUTO_FREE struct influx_write_report *report = ap_new0(struct influx_write_report);
    enum ap_rc rc = influx_write_decode(body, &options, text, report, err);
    if (rc != AP_OK)
        return rc;
    metrics_request_count_texts_skipped(request, report->texts_skipped);
    keep_errors(request, report);
    return AP_OK;
}

const struct metrics_protocol metrics_protocol_influx_1 = {
    .path = "/write",
    .methods = 1u << HTTP_METHOD_POST,
    .allow = "POST",
    .way = METRICS_WAY_INFLUX,
    .key_parameter = "p", /* with u, the user, which does not matter */
    .begin = begin,
    .decode = decode,
    .reply_outcome = reply_outcome,
    .reply_error = reply_error,
};

const struct metrics_protocol metrics_protocol_influx_2 = {
    .path = "/api/v2/write",
    .methods = 1u << HTTP_METHOD_POST,
    .allow = "POST",
    .way = METRICS_WAY_INFLUX,
    .begin = begin,
    .decode = decode,
    .reply_outcome = reply_outcome,
    .reply_error = reply_error,
};
