/*
 * The Pushgateway's addresses: PUT, POST and DELETE of /metrics/job/JOB{/LABEL/VALUE}, also with @base64, and PUT
 * /api/v1/admin/wipe. Answers are its own: 200 and 202 without a body, errors as plain text. A push is taken whole or
 * not at all.
 */
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "codec/inflate.h"
#include "ingest/metrics_protocol.h"
#include "ingest/push.h"
#include "meta/keyring.h"
#include "net/http_field.h"

static void reply_error(struct metrics_request *request, unsigned status, int64_t retry_after_ms, const char *text)
{
    struct metrics_fields fields = {.count = 0};
    struct ap_buf body = {0};
    ap_buf_add_cstr(&body, text);
    ap_buf_add_char(&body, '\n');
    metrics_fields_add_error(&fields, request, status, retry_after_ms);
    http_reply(request->http, &(struct http_reply){
                                  .status = status,
                                  .content_type = "text/plain; charset=utf-8",
                                  .body = ap_buf_slice(&body),
                                  .body_owner = HTTP_BODY_TAKEN,
                                  .fields = fields.fields,
                                  .field_count = fields.count,
                              });
}

/* metrics_request.state: the status to answer with when all went well. */
static unsigned *status_of(struct metrics_request *request)
{
    return request->state;
}

static void reply_outcome(struct metrics_request *request)
{
    if (metrics_request_samples_refused(request) == 0) {
        http_reply_empty(request->http, *status_of(request));
        return;
    }
    AP_AUTO_BUF struct ap_buf text = {0};
    metrics_request_say_refused(request, false, &text);
    ap_buf_add_char(&text, '\0');
    metrics_request_count_refused(request, 400);
    reply_error(request, 400, 0, text.data);
}

static const char *begin(struct metrics_request *request)
{
    enum inflate_encoding encoding;
    request->state = ap_arena_alloc0(http_arena(request->http), sizeof(unsigned));
    bool is_known = inflate_encoding_parse(http_header(request->http, "Content-Encoding"), &encoding);
    return is_known ? NULL : "the Content-Encoding is not known; send gzip, zstd or snappy";
}

/* ---- With the body ---- */

/* All else is text, whatever it says to be: so does the Pushgateway. */
static bool is_protobuf(struct ap_slice content_type)
{
    struct ap_slice rest = content_type;
    return ap_slice_equal_nocase(ap_slice_trim(ap_slice_split(&rest, ';')), "application/vnd.google.protobuf") &&
           ap_slice_equal_cstr(http_field_parameter(content_type, "proto"), "io.prometheus.client.MetricFamily") &&
           ap_slice_equal_cstr(http_field_parameter(content_type, "encoding"), "delimited");
}

static enum ap_rc read_update(struct metrics_request *request, struct push_key *key, struct ap_slice bytes,
                              struct push_update *update, struct ap_err *err)
{
    const struct push *push = request->options->push;
    struct label labels[PUSH_KEY_LABELS_MAX];
    memcpy(labels, key->labels, key->count * sizeof(labels[0]));
    enum ap_rc rc = labels_encode(labels, key->count, &update->labels, err);
    if (rc != AP_OK || update->kind == PUSH_DELETE)
        return rc;
    struct push_body_options options = {
        .key = key,
        .hash_seed = push_hash_seed(push),
        .pushed_us = ap_clock_wall_us(request->options->clock),
        .bytes_max = push_bytes_max(push),
        .is_protobuf = is_protobuf(http_header(request->http, "Content-Type")),
    };
    return push_body_read(&options, bytes, &update->families, err);
}

static enum ap_rc read_push(struct metrics_request *request, struct ap_slice bytes, struct push_update *update,
                            struct ap_err *err)
{
    struct push_key key;
    bool is_base64 = request->protocol == &metrics_protocol_push_base64;
    enum ap_rc rc = push_key_read(request->rest, is_base64, &key, err);
    if (rc != AP_OK)
        return rc;
    rc = read_update(request, &key, bytes, update, err);
    push_key_clear(&key);
    return rc;
}

static void charge(const struct metrics_request *request, const struct push_update *update)
{
    uint64_t series = 0;
    for (size_t i = 0; i < update->families.count; i++)
        series += update->families.items[i]->count;
    if (request->key)
        keyring_entry_charge(request->key, ap_clock_monotonic_us(request->options->clock), series);
}

/* On the log's thread, or the push thread. */
static void done(struct tsdb_append *append, enum ap_rc rc)
{
    struct metrics_request *request = append->context;
    if (rc == AP_OK)
        metrics_request_finish(request);
    else
        metrics_request_fail(request, rc);
}

static void failed(void *context, enum ap_rc rc, const char *text)
{
    struct metrics_request *request = context;
    if (rc == AP_E_PARSE || rc == AP_E_LIMIT)
        metrics_request_refuse(request, rc == AP_E_LIMIT ? 413 : 400, text);
    else
        metrics_request_fail(request, rc);
}

static void submit(struct metrics_request *request, struct push_update *take_update)
{
    struct ap_err err;
    take_update->append = &request->append;
    take_update->failed = failed;
    request->append.done = done;
    request->append.context = request;
    http_suspend_briefly(request->http);
    enum ap_rc rc = push_submit(request->options->push, take_update, &err);
    if (rc != AP_OK)
        metrics_request_fail(request, rc);
}

static void take(struct metrics_request *request, struct ap_slice bytes)
{
    enum http_method method = http_method(request->http);
    enum push_kind kind = method == HTTP_METHOD_DELETE ? PUSH_DELETE
                          : method == HTTP_METHOD_PUT  ? PUSH_REPLACE
                                                       : PUSH_ADD;
    struct ap_err err;
    if (!request->options->push) {
        metrics_request_refuse(request, 404, "this server takes no pushes");
        return;
    }
    AP_AUTO(push_update) struct push_update *update = push_update_new(kind);
    enum ap_rc rc = read_push(request, bytes, update, &err);
    *status_of(request) = kind == PUSH_DELETE ? 202 : 200;
    if (rc != AP_OK) {
        metrics_request_refuse(request, rc == AP_E_LIMIT ? 413 : 400, err.text);
        return;
    }
    charge(request, update);
    submit(request, AP_MOVE(update));
}

static void take_wipe(struct metrics_request *request, struct ap_slice bytes)
{
    (void)bytes;
    if (!request->options->push) {
        metrics_request_refuse(request, 404, "this server takes no pushes");
        return;
    }
    *status_of(request) = 202;
    submit(request, push_update_new(PUSH_WIPE));
}

#define PUSH_METHODS (1u << HTTP_METHOD_PUT | 1u << HTTP_METHOD_POST | 1u << HTTP_METHOD_DELETE)

const struct metrics_protocol metrics_protocol_push = {
    .path = "/metrics/job",
    .is_prefix = true,
    .methods = PUSH_METHODS,
    .allow = "PUT, POST, DELETE",
    .way = METRICS_WAY_PUSH,
    .begin = begin,
    .take = take,
    .reply_outcome = reply_outcome,
    .reply_error = reply_error,
};

const struct metrics_protocol metrics_protocol_push_base64 = {
    .path = "/metrics/job@base64",
    .is_prefix = true,
    .methods = PUSH_METHODS,
    .allow = "PUT, POST, DELETE",
    .way = METRICS_WAY_PUSH,
    .begin = begin,
    .take = take,
    .reply_outcome = reply_outcome,
    .reply_error = reply_error,
};

const struct metrics_protocol metrics_protocol_push_wipe = {
    .path = "/api/v1/admin/wipe",
    .methods = 1u << HTTP_METHOD_PUT | 1u << HTTP_METHOD_POST,
    .allow = "PUT, POST",
    .way = METRICS_WAY_PUSH,
    .begin = begin,
    .take = take_wipe,
    .reply_outcome = reply_outcome,
    .reply_error = reply_error,
};
