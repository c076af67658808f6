/* The answers that all handlers share. */
#include <stdio.h>

#include "api/alertmanager.h"
#include "api/api.h"
#include "api/prometheus.h"
#include "base/buf.h"
#include "base/mem.h"

enum { RETRY_AFTER_S = 1 };

unsigned api_status_of(enum ap_rc rc)
{
    static const unsigned short statuses[AP_RC_COUNT] = {
        [AP_OK] = 200,         [AP_E_PARSE] = 400, [AP_E_LIMIT] = 413,    [AP_E_AUTH] = 401,    [AP_E_NOT_FOUND] = 404,
        [AP_E_CONFLICT] = 409, [AP_E_FULL] = 503,  [AP_E_BUSY] = 503,     [AP_E_TIMEOUT] = 504, [AP_E_IO] = 503,
        [AP_E_CORRUPT] = 500,  [AP_E_NOMEM] = 503, [AP_E_INTERNAL] = 500,
    };
    return (unsigned)rc < AP_RC_COUNT ? statuses[rc] : 500;
}

static void reply_error_text(struct http_request *request, unsigned status, const char *text)
{
    if (prometheus_is_path(request)) {
        prometheus_reply_error(request, status, text);
        return;
    }
    if (alertmanager_is_path(request)) {
        alertmanager_reply_error(request, status, text);
        return;
    }
    struct ap_buf body = {0};
    ap_buf_add_cstr(&body, "{\"error\":");
    ap_buf_add_json_string(&body, ap_slice_cstr(text));
    ap_buf_add_cstr(&body, "}\n");
    char retry_after[12];
    snprintf(retry_after, sizeof(retry_after), "%d", RETRY_AFTER_S);
    struct http_field field = {"Retry-After", retry_after};
    http_reply(request, &(struct http_reply){
                            .status = status,
                            .content_type = "application/json",
                            .body = ap_buf_slice(&body),
                            .body_owner = HTTP_BODY_TAKEN,
                            .fields = &field,
                            .field_count = status == 503 || status == 429,
                        });
}

void api_reply_error(struct http_request *request, unsigned status, const char *format, ...)
{
    char text[AP_ERR_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    reply_error_text(request, status, text);
}

void api_reply_err(struct http_request *request, const struct ap_err *err)
{
    reply_error_text(request, api_status_of(err->rc), err->text);
}

static struct ap_slice without_weakness(struct ap_slice tag)
{
    return ap_slice_starts_with(tag, "W/") ? ap_slice(tag.data + 2, tag.bytes - 2) : tag;
}

bool api_is_tag_among(struct ap_slice if_none_match, const char *tag)
{
    struct ap_slice wanted = without_weakness(ap_slice_cstr(tag));
    while (if_none_match.data) {
        struct ap_slice each = ap_slice_trim(ap_slice_split(&if_none_match, ','));
        if (ap_slice_equal(without_weakness(each), wanted) || ap_slice_equal_cstr(each, "*"))
            return true;
    }
    return false;
}

void api_reply_json(struct http_request *request, struct ap_slice take_json)
{
    http_reply(request, &(struct http_reply){
                            .status = 200,
                            .content_type = "application/json",
                            .body = take_json,
                            .body_owner = HTTP_BODY_TAKEN,
                        });
}

struct ap_slice api_error_body(unsigned status, const char *reason, struct ap_arena *arena, void *context)
{
    (void)status;
    (void)context;
    AP_AUTO_BUF struct ap_buf body = {0};
    ap_buf_add_cstr(&body, "{\"error\":");
    ap_buf_add_json_string(&body, ap_slice_cstr(reason));
    ap_buf_add_cstr(&body, "}\n");
    char *copy = ap_arena_try_strndup(arena, ap_buf_slice(&body));
    return copy ? ap_slice(copy, body.bytes) : (struct ap_slice){0};
}
