#include "api/heartbeats.h"

#include <inttypes.h>

#include "alert/heartbeats.h"
#include "api/question.h"
#include "base/buf.h"

/* ---- The list ---- */

static void add_time(struct ap_buf *out, const char *key, int64_t ts_ms)
{
    if (ts_ms)
        ap_buf_printf(out, ",\"%s\":%" PRId64, key, ts_ms);
    else
        ap_buf_printf(out, ",\"%s\":null", key);
}

static void add_heartbeat(const struct heartbeat_view *view, void *context)
{
    struct ap_buf *out = context;
    const struct heartbeat *heartbeat = view->heartbeat;
    if (out->data[out->bytes - 1] == '}')
        ap_buf_add_char(out, ',');
    ap_buf_add_cstr(out, "{\"name\":");
    ap_buf_add_json_string(out, ap_slice_cstr(heartbeat->name));
    ap_buf_printf(out, ",\"every_ms\":%" PRId64 ",\"grace_ms\":%" PRId64 ",\"state\":\"%s\"", heartbeat->every_ms,
                  heartbeat->grace_ms, heartbeat_state_name(view->state));
    add_time(out, "last_ms", view->last_ms);
    add_time(out, "due_ms", view->due_ms);
    ap_buf_add_cstr(out, ",\"severity\":");
    ap_buf_add_json_string(out, ap_slice_cstr(heartbeat->severity));
    ap_buf_add_cstr(out, ",\"last_source\":");
    if (view->source[0])
        ap_buf_add_json_string(out, ap_slice_cstr(view->source));
    else
        ap_buf_add_cstr(out, "null");
    ap_buf_add_char(out, '}');
}

void heartbeats_handle_list(struct api *api, struct http_request *request, struct ap_slice rest)
{
    (void)rest;
    struct ap_buf out = {0};
    ap_buf_add_cstr(&out, "{\"heartbeats\":[");
    heartbeats_each(api->heartbeats, add_heartbeat, &out);
    ap_buf_add_cstr(&out, "]}\n");
    api_reply_json(request, ap_buf_slice(&out));
}

/* ---- Beats ---- */

static enum ap_rc answer_beat(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    struct ap_slice verb = ap_slice(question->rest.data + 1, question->rest.bytes - 1); /* behind the slash */
    struct ap_slice name = ap_slice_split(&verb, '/');
    bool is_failure = ap_slice_equal_cstr(verb, "fail");
    if (verb.data && !is_failure)
        return ap_fail(err, AP_E_NOT_FOUND, "a heart-beat is sent to …/heartbeats/NAME or …/heartbeats/NAME/fail");
    enum ap_rc rc =
        heartbeats_beat(question->api->heartbeats, name, is_failure, http_peer_text(question->request), err);
    if (rc != AP_OK)
        return rc;
    question_set_bare(question, out, "text/plain; charset=utf-8");
    ap_buf_add_cstr(out, "OK\n");
    return AP_OK;
}

void heartbeats_handle_beat(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->alert_questions, answer_beat);
}
