#include "api/alertmanager.h"

#include <stdio.h>

#include "alert/alerting.h"
#include "alert/config_text.h"
#include "alert/matcher_text.h"
#include "api/question.h"
#include "base/mem.h"

enum { MOMENT_BYTES_MIN = sizeof("2026-11-30T09:00") - 1, MOMENT_BYTES_MAX = 48 };
#define GO_TIME_ZERO_US INT64_C(-62135596800000000)

/* ---- Errors ---- */

bool alertmanager_is_path(const struct http_request *request)
{
    static const char *const beginnings[] = {"/api/v2/alerts", "/api/v2/silence", "/api/v2/status",
                                             "/api/v2/receivers"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(beginnings); i++)
        if (ap_slice_starts_with(http_path(request), beginnings[i]))
            return true;
    return false;
}

void alertmanager_reply_error(struct http_request *request, unsigned status, const char *text)
{
    struct ap_buf body = {0};
    ap_buf_add_json_string(&body, ap_slice_cstr(text));
    ap_buf_add_char(&body, '\n');
    http_reply(request, &(struct http_reply){
                            .status = status,
                            .content_type = "application/json",
                            .body = ap_buf_slice(&body),
                            .body_owner = HTTP_BODY_TAKEN,
                        });
}

void alertmanager_reply_err(struct http_request *request, const struct ap_err *err)
{
    alertmanager_reply_error(request, err->rc == AP_E_LIMIT ? 400 : api_status_of(err->rc), err->text);
}

/* ---- What its handlers share ---- */

void alertmanager_add_time(struct ap_buf *out, int64_t ts_ms)
{
    char text[AP_TIME_TEXT_BYTES];
    ap_time_format(ts_ms * AP_US_PER_MS, text);
    ap_buf_printf(out, "\"%s\"", text);
}

/*
 * RFC 3339, and what Alertmanager takes beside it, since scripts write their times so: without a zone, which is UTC
 * then; without seconds; a zone without its colon.
 */
static bool parse_moment(struct ap_slice text, int64_t *ret_us)
{
    static const char *const ends[] = {"Z", ":00Z"};
    char whole[MOMENT_BYTES_MAX + 8];
    if (ap_time_parse(text, ret_us))
        return true;
    if (text.bytes < MOMENT_BYTES_MIN || text.bytes > MOMENT_BYTES_MAX)
        return false;
    bool has_z = text.data[text.bytes - 1] == 'Z';
    for (size_t i = 0; i < AP_ARRAY_COUNT(ends); i++) {
        snprintf(whole, sizeof(whole), "%.*s%s", (int)(text.bytes - has_z), text.data, ends[i]);
        if (ap_time_parse(ap_slice_cstr(whole), ret_us))
            return true;
    }
    snprintf(whole, sizeof(whole), "%.*s:%.2s", (int)text.bytes - 2, text.data, text.data + text.bytes - 2);
    return ap_time_parse(ap_slice_cstr(whole), ret_us);
}

enum ap_rc alertmanager_parse_time(struct ap_slice text, const char *what, int64_t *ret_ts_ms, struct ap_err *err)
{
    int64_t us;
    if (!parse_moment(text, &us))
        return ap_fail(err, AP_E_PARSE, "%s: expected a time such as 2026-11-30T09:00:00.000Z, found \"%.*s\"", what,
                       PARAMS_TEXT(text));
    *ret_ts_ms = us == GO_TIME_ZERO_US ? 0 : us / AP_US_PER_MS;
    return AP_OK;
}

enum ap_rc alertmanager_read_switch(const struct params *params, const char *name, bool *ret_value, struct ap_err *err)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {{"true", true},   {"1", true},  {"t", true},  {"yes", true}, {"y", true},  {"on", true},
                 {"false", false}, {"0", false}, {"f", false}, {"no", false}, {"n", false}, {"off", false}};
    struct ap_slice text = params_get(params, name);
    *ret_value = true;
    for (size_t i = 0; i < AP_ARRAY_COUNT(words); i++) {
        if (!ap_slice_equal_nocase(text, words[i].word))
            continue;
        *ret_value = words[i].value;
        return AP_OK;
    }
    return text.bytes == 0
               ? AP_OK
               : ap_fail(err, AP_E_PARSE, "invalid parameter \"%s\": expected true or false, found \"%.*s\"", name,
                         PARAMS_TEXT(text));
}

enum ap_rc alertmanager_read_filter(const struct params *params, struct matchers *ret_filter, struct ap_err *err)
{
    struct ap_slice text;
    *ret_filter = (struct matchers){0};
    for (size_t at = 0; params_next(params, "filter", &at, &text);) {
        struct matcher *matcher;
        enum ap_rc rc = matcher_text_parse(text, &matcher, err);
        if (rc == AP_OK && ret_filter->count == MATCHERS_MAX) {
            matcher_free(matcher);
            rc = ap_fail(err, AP_E_LIMIT, "more than %d filters", MATCHERS_MAX);
        }
        if (rc != AP_OK)
            return rc;
        ret_filter->items[ret_filter->count++] = matcher;
    }
    return AP_OK;
}

bool alertmanager_filter_passes(const struct matcher *matcher, struct ap_slice value)
{
    enum matcher_kind kind = matcher_kind_of(matcher);
    bool is_negative = kind == MATCHER_NOT_EQUAL || kind == MATCHER_NOT_REGEX, is_there = value.data != NULL;
    if (matcher_value(matcher).bytes == 0 && is_there == is_negative)
        return true;
    return matcher_matches(matcher, is_there ? value : ap_slice("", 0));
}

/* ---- status, receivers ---- */

static enum ap_rc answer_status(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    (void)err;
    const struct api *api = question->api;
    AP_AUTO_BUF struct ap_buf config = {0};
    alert_config_format(alerting_lock_config(api->alerting), &config);
    alerting_unlock_config(api->alerting);
    question_set_bare(question, out, "application/json");
    ap_buf_add_cstr(out, "{\"cluster\":{\"peers\":[],\"status\":\"disabled\"},\"config\":{\"original\":");
    ap_buf_add_json_string(out, ap_buf_slice(&config));
    ap_buf_add_cstr(out, "},\"uptime\":");
    alertmanager_add_time(out, api->started_ms);
    ap_buf_add_cstr(out, ",\"versionInfo\":{\"branch\":\"\",\"buildDate\":\"\",\"buildUser\":\"\",\"goVersion\":\"\","
                         "\"revision\":\"\",\"version\":\"" APIARY_VERSION "\"}}\n");
    return AP_OK;
}

void alertmanager_handle_status(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->alert_questions, answer_status);
}

static enum ap_rc answer_receivers(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    (void)err;
    question_set_bare(question, out, "application/json");
    ap_buf_add_char(out, '[');
    const struct alert_config *config = alerting_lock_config(question->api->alerting);
    for (size_t i = 0; i < config->receiver_count; i++) {
        ap_buf_add_cstr(out, i ? ",{\"name\":" : "{\"name\":");
        ap_buf_add_json_string(out, ap_slice_cstr(config->receivers[i].name));
        ap_buf_add_char(out, '}');
    }
    alerting_unlock_config(question->api->alerting);
    ap_buf_add_cstr(out, "]\n");
    return AP_OK;
}

void alertmanager_handle_receivers(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->alert_questions, answer_receivers);
}
