#include "api/question.h"

#include "api/prometheus.h"
#include "base/mem.h"

static void reply_data(const struct question *question, struct ap_buf *take_data)
{
    if (question->status == 204) {
        ap_buf_clear(take_data);
        http_reply_empty(question->request, 204);
        return;
    }
    if (!question->content_type) {
        ap_buf_add_char(take_data, '}');
        ap_buf_add_char(take_data, '\n');
    }
    struct http_field encoding = {"Content-Encoding", question->content_encoding};
    http_reply(question->request,
               &(struct http_reply){
                   .fields = &encoding,
                   .field_count = question->content_encoding != NULL,
                   .status = question->status,
                   .content_type = question->content_type ? question->content_type : "application/json",
                   .body = ap_buf_slice(take_data),
                   .body_owner = HTTP_BODY_TAKEN,
               });
}

static void run(struct pool_task *task, bool is_stopping)
{
    struct question *question = AP_CONTAINER_OF(task, struct question, task);
    if (is_stopping) {
        prometheus_reply_error(question->request, 503, "the server is stopping");
        return;
    }
    struct ap_buf data = {0};
    ap_buf_add_cstr(&data, "{\"status\":\"success\",\"data\":");
    struct ap_err err = {0};
    enum ap_rc rc = question->answer(question, &data, &err);
    if (rc != AP_OK) {
        ap_buf_clear(&data);
        prometheus_reply_err(question->request, &err);
        return;
    }
    if (question->warning && !question->content_type) {
        ap_buf_add_cstr(&data, ",\"warnings\":[");
        ap_buf_add_json_string(&data, ap_slice_cstr(question->warning));
        ap_buf_add_char(&data, ']');
    }
    reply_data(question, &data);
}

void question_set_bare(struct question *question, struct ap_buf *out, const char *content_type)
{
    ap_buf_reset(out);
    question->content_type = content_type;
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
        prometheus_reply_err(request, &err);
        return;
    }
    question->api = api;
    question->request = request;
    question->rest = ap_slice(rest_copy, rest.bytes);
    question->status = 200;
    question->answer = answer;
    question->task.run = run;
    http_suspend(request); /* the answer may come on another thread before the next line */
    if (pool_submit(pool, &question->task, &err) != AP_OK)
        prometheus_reply_err(request, &err);
}
