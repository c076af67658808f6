#include "api/sql.h"

#include <jansson.h>
#include <string.h>

#include "api/result_json.h"
#include "base/buf.h"
#include "warehouse/warehouse.h"

struct sql_question {
    struct http_request *request;
    bool is_csv;
};

/* "" when it does not matter what type the body says it is of. */
static struct ap_slice media_type(struct http_request *request)
{
    struct ap_slice value = http_header(request, "Content-Type");
    return value.data ? ap_slice_trim(ap_slice_split(&value, ';')) : value;
}

static void reply_failure(struct http_request *request, const struct warehouse_query_err *err)
{
    if (!err->line) {
        api_reply_err(request, &err->err);
        return;
    }
    struct ap_buf body = {0};
    ap_buf_add_cstr(&body, "{\"error\":");
    ap_buf_add_json_string(&body, ap_slice_cstr(err->err.text));
    ap_buf_printf(&body, ",\"line\":%u,\"column\":%u}\n", err->line, err->column);
    http_reply(request, &(struct http_reply){
                            .status = api_status_of(err->err.rc),
                            .content_type = "application/json",
                            .body = ap_buf_slice(&body),
                            .body_owner = HTTP_BODY_TAKEN,
                        });
}

static void answered(struct warehouse_result *take_result, const struct warehouse_query_err *err, void *context)
{
    struct sql_question *question = context; /* in the request's arena */
    if (!take_result) {
        reply_failure(question->request, err);
        return;
    }
    struct ap_buf body = {0};
    bool is_csv = question->is_csv;
    if (is_csv)
        result_add_csv(&body, take_result);
    else
        result_add_json(&body, take_result);
    struct http_field truncated = {"X-Apiary-Truncated", "true"};
    http_reply(question->request, &(struct http_reply){
                                      .status = 200,
                                      .content_type = is_csv ? "text/csv; charset=utf-8" : "application/json",
                                      .body = ap_buf_slice(&body),
                                      .body_owner = HTTP_BODY_TAKEN,
                                      .fields = &truncated,
                                      .field_count = warehouse_result_is_truncated(take_result),
                                  });
    warehouse_result_unref(take_result);
}

/* 0 where the object does not say; false when it says something that is no whole number above 0. */
static bool read_number(const json_t *object, const char *key, uint32_t *ret_number)
{
    const json_t *value = json_object_get(object, key);
    json_int_t number = json_integer_value(value);
    *ret_number = (uint32_t)number;
    return !value || (json_is_integer(value) && number > 0 && number <= UINT32_MAX);
}

static enum ap_rc read_params(const json_t *object, struct warehouse_param params[WAREHOUSE_PARAMS_MAX],
                              size_t *ret_count, struct ap_err *err)
{
    *ret_count = 0;
    json_t *given = json_object_get(object, "params");
    if (given && !json_is_object(given))
        return ap_fail(err, AP_E_PARSE, "params: expected an object of names and values");
    const char *name;
    json_t *value;
    json_object_foreach(given, name, value)
    {
        if (*ret_count == WAREHOUSE_PARAMS_MAX)
            return ap_fail(err, AP_E_LIMIT, "params: at most %d are allowed", WAREHOUSE_PARAMS_MAX);
        struct warehouse_param *param = &params[(*ret_count)++];
        *param = (struct warehouse_param){.name = name};
        if (json_is_number(value)) {
            param->kind = WAREHOUSE_PARAM_NUMBER;
            param->number = json_number_value(value);
        } else if (json_is_string(value)) {
            struct ap_slice text = ap_slice(json_string_value(value), json_string_length(value));
            bool is_time = ap_time_parse(text, &param->us);
            param->kind = is_time ? WAREHOUSE_PARAM_TIMESTAMP : WAREHOUSE_PARAM_TEXT;
            param->text = json_string_value(value);
        } else {
            return ap_fail(err, AP_E_PARSE, "params.%s: expected a number or a text", name);
        }
    }
    return AP_OK;
}

static enum ap_rc read_json(const json_t *object, struct warehouse_query *query,
                            struct warehouse_param params[WAREHOUSE_PARAMS_MAX], struct ap_err *err)
{
    const json_t *text = json_object_get(object, "query");
    if (!json_is_string(text))
        return ap_fail(err, AP_E_PARSE, "expected {\"query\":\"SELECT …\"}");
    query->sql = ap_slice(json_string_value(text), json_string_length(text));
    uint32_t timeout_ms, row_max;
    if (!read_number(object, "timeout_ms", &timeout_ms) || !read_number(object, "limit", &row_max))
        return ap_fail(err, AP_E_PARSE, "limit and timeout_ms: expected whole numbers above 0");
    /* A question may ask for less than the server allows, not for more. */
    query->timeout_ms = timeout_ms ? AP_MIN(timeout_ms, query->timeout_ms) : query->timeout_ms;
    query->row_max = row_max ? AP_MIN(row_max, query->row_max) : query->row_max;
    query->is_uncached = json_is_false(json_object_get(object, "cache"));
    query->params = params;
    return read_params(object, params, &query->param_count, err);
}

static void ask(struct api *api, struct http_request *request, const struct warehouse_query *query)
{
    struct sql_question *question = ap_arena_alloc0(http_arena(request), sizeof(*question));
    question->request = request;
    question->is_csv = ap_slice_equal_cstr(http_header(request, "Accept"), "text/csv");
    struct ap_err err;
    http_suspend(request); /* the answer may come on another thread before the next line */
    if (warehouse_query_submit(api->warehouse, query, answered, question, &err) != AP_OK)
        api_reply_err(request, &err);
}

void sql_handle(struct api *api, struct http_request *request, struct ap_slice rest)
{
    (void)rest;
    struct warehouse_param params[WAREHOUSE_PARAMS_MAX];
    struct warehouse_query query = {
        .sql = http_body(request),
        .row_max = api->query_rows_max,
        .timeout_ms = api->query_timeout_ms,
    };
    if (!ap_slice_equal_nocase(media_type(request), "application/json")) {
        ask(api, request, &query);
        return;
    }
    json_error_t json_error;
    json_t *object = json_loadb(query.sql.data, query.sql.bytes, 0, &json_error);
    struct ap_err err;
    enum ap_rc rc = object ? read_json(object, &query, params, &err)
                           : ap_fail(&err, AP_E_PARSE, "not JSON: %s (line %d, column %d)", json_error.text,
                                     json_error.line, json_error.column);
    if (rc == AP_OK)
        ask(api, request, &query); /* copies what it needs of `object` */
    else
        api_reply_err(request, &err);
    json_decref(object);
}
