#include "api/question.h"

#include <inttypes.h>
#include <stdio.h>
#include <xxhash.h>

#include "api/alertmanager.h"
#include "api/prometheus.h"
#include "base/mem.h"

/* Prometheus' for a client that has gone; one that has closed its side only may still see it. No fault of the server.
 */
enum { STATUS_GONE = 499 };

static bool is_own_path(const struct http_request *request)
{
    return ap_slice_starts_with(http_path(request), "/api/apiary/");
}

static void reply_error(struct http_request *request, unsigned status, const char *text)
{
    if (is_own_path(request))
        api_reply_error(request, status, "%s", text);
    else
        (alertmanager_is_path(request) ? alertmanager_reply_error : prometheus_reply_error)(request, status, text);
}

static void reply_err(struct http_request *request, const struct ap_err *err)
{
    if (is_own_path(request))
        api_reply_err(request, err);
    else
        (alertmanager_is_path(request) ? alertmanager_reply_err : prometheus_reply_err)(request, err);
}

enum { STATUS_UNCHANGED = 304, FIELDS_MAX = 3 };

static struct http_reply reply_head(const struct question *question, struct http_field fields[FIELDS_MAX])
{
    size_t count = 0;
    if (question->content_encoding)
        fields[count++] = (struct http_field){"Content-Encoding", question->content_encoding};
    if (question->tag[0]) {
        fields[count++] = (struct http_field){"ETag", question->tag};
        fields[count++] = (struct http_field){"Cache-Control", "private, no-cache"};
    }
    return (struct http_reply){
        .fields = fields,
        .field_count = count,
        .status = question->status,
        .content_type = question->content_type ? question->content_type : "application/json",
    };
}

/* Weak, since the bytes depend on the compression that the client takes. */
bool question_set_hash(struct question *question, uint64_t hash)
{
    if (!question->known_tags.data || question->status != 200)
        return false;
    snprintf(question->tag, sizeof(question->tag), "W/\"%016" PRIx64 "\"", hash);
    if (!api_is_tag_among(question->known_tags, question->tag))
        return false;
    question->status = STATUS_UNCHANGED;
    return true;
}

static void reply_whole(struct question *question, struct ap_buf *take_data)
{
    struct http_field fields[FIELDS_MAX];
    if (question->tag[0] == '\0')
        (void)question_set_hash(question, XXH3_64bits(take_data->data, take_data->bytes));
    struct http_reply reply = reply_head(question, fields);
    if (question->status == STATUS_UNCHANGED) {
        ap_buf_clear(take_data);
        reply.content_type = NULL;
        http_reply(question->request, &reply);
        return;
    }
    reply.body = ap_buf_slice(take_data);
    reply.body_owner = HTTP_BODY_TAKEN;
    http_reply(question->request, &reply);
}

static enum ap_rc send_piece(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    if (!question->stream) {
        struct http_field fields[FIELDS_MAX];
        struct http_reply reply = reply_head(question, fields);
        question->stream = http_reply_stream(question->request, &reply);
    }
    pool_step_aside(question->pool); /* the client may be slow */
    enum ap_rc rc = http_stream_write(question->stream, ap_buf_slice(out), err);
    pool_step_back(question->pool);
    ap_buf_reset(out);
    return rc;
}

enum ap_rc question_flush(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    if (question->status == STATUS_UNCHANGED)
        ap_buf_reset(out);
    return out->bytes < QUESTION_PIECE_BYTES ? AP_OK : send_piece(question, out, err);
}

bool question_is_gone(void *question)
{
    return http_is_gone(((const struct question *)question)->request);
}

static void end_envelope(const struct question *question, struct ap_buf *data)
{
    if (question->content_type)
        return;
    if (question->warning) {
        ap_buf_add_cstr(data, ",\"warnings\":[");
        ap_buf_add_json_string(data, ap_slice_cstr(question->warning));
        ap_buf_add_char(data, ']');
    }
    ap_buf_add_cstr(data, "}\n");
}

/* The request is gone afterwards, and the question with it. */
static void reply(struct question *question, enum ap_rc rc, struct ap_buf *take_data, struct ap_err *err)
{
    if (rc == AP_OK)
        end_envelope(question, take_data);
    if (question->stream) {
        rc = rc == AP_OK ? send_piece(question, take_data, err) : rc;
        ap_buf_clear(take_data);
        http_stream_end(question->stream, rc == AP_OK);
    } else if (rc == AP_OK && question->status != 204) {
        reply_whole(question, take_data);
    } else {
        ap_buf_clear(take_data);
        if (rc == AP_OK)
            http_reply_empty(question->request, 204);
        else if (rc == AP_E_BUSY && question_is_gone(question))
            reply_error(question->request, STATUS_GONE, err->text);
        else
            reply_err(question->request, err);
    }
}

static void run(struct pool_task *task, bool is_stopping)
{
    struct question *question = AP_CONTAINER_OF(task, struct question, task);
    if (is_stopping) {
        reply_error(question->request, 503, "the server is stopping");
        return;
    }
    /* What only reads need not be done for nobody; chores are. */
    if (question->pool == question->api->questions && question_is_gone(question)) {
        reply_error(question->request, STATUS_GONE, "the client closed the connection before its turn came");
        return;
    }
    struct ap_buf data = {0};
    ap_buf_add_cstr(&data, "{\"status\":\"success\",\"data\":");
    struct ap_err err = {0};
    enum ap_rc rc = question->answer(question, &data, &err);
    reply(question, rc, &data, &err);
}

void question_set_bare(struct question *question, struct ap_buf *out, const char *content_type)
{
    ap_buf_reset(out);
    question->content_type = content_type;
}

/* Later, on another thread, headers can no longer be asked for. */
static struct ap_slice copy_known_tags(struct http_request *request)
{
    enum http_method method = http_method(request);
    if (method != HTTP_METHOD_GET && method != HTTP_METHOD_HEAD)
        return (struct ap_slice){0};
    struct ap_slice tags = http_header(request, "If-None-Match");
    char *copy = tags.bytes ? ap_arena_try_strndup(http_arena(request), tags) : NULL;
    return copy ? ap_slice(copy, tags.bytes) : ap_slice_cstr("");
}

void question_ask(struct api *api, struct http_request *request, struct ap_slice rest, struct pool *pool,
                  question_answer_fn answer)
{
    struct ap_err err;
    struct question *question = ap_arena_alloc0(http_arena(request), sizeof(*question));
    char *rest_copy = ap_arena_try_strndup(http_arena(request), rest);
    enum ap_rc rc = rest_copy ? params_read(request, &question->params, &err)
                              : ap_fail(&err, AP_E_NOMEM, "no memory is left for this request");
    if (rc != AP_OK) {
        err.rc = rc == AP_E_LIMIT ? AP_E_PARSE : rc;
        reply_err(request, &err);
        return;
    }
    question->api = api;
    question->request = request;
    question->rest = ap_slice(rest_copy, rest.bytes);
    question->status = 200;
    question->known_tags = copy_known_tags(request);
    question->answer = answer;
    question->pool = pool;
    question->task.run = run;
    http_suspend(request); /* the answer may come on another thread before the next line */
    if (pool_submit(pool, &question->task, &err) != AP_OK)
        reply_err(request, &err);
}
