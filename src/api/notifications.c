#include "api/notifications.h"

#include <inttypes.h>

#include "api/params.h"
#include "api/result_json.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "promql/lexer.h"
#include "warehouse/warehouse.h"

enum { LIMIT_DEFAULT = 100, LIMIT_MAX = 500 };

/* What is told of a row, in this order: the first one is the key that pages go by. */
static const struct {
    const char *key;
    const char *sql;
    bool is_json; /* text that goes into the answer as it is */
} columns[] = {
    {"id", "CAST(lsn AS BIGINT)", false},
    {"ts_ms", "epoch_ms(timestamp)", false},
    {"receiver", "receiver", false},
    {"way", "way", false},
    {"way_index", "CAST(way_index AS BIGINT)", false},
    {"kind", "kind", false},
    {"reason", "reason", false},
    {"outcome", "outcome", false},
    {"status", "CAST(status AS BIGINT)", false},
    {"answer", "answer", false},
    {"duration_ms", "duration_ms", false},
    {"attempt", "CAST(attempt AS BIGINT)", false},
    {"group_key", "group_key", false},
    {"group_labels", "COALESCE(CAST(group_labels AS VARCHAR), '{}')", true},
    {"alerts", "COALESCE(CAST(alerts AS VARCHAR), '[]')", true},
    {"alert_count", "CAST(alert_count AS BIGINT)", false},
    {"firing_count", "CAST(firing_count AS BIGINT)", false},
    {"dedup_key", "dedup_key", false},
};

/* What a request may ask for with a text of its own. */
static const struct {
    const char *param;
    const char *sql;
    const char *words; /* those that it can be; NULL: any text */
} filters[] = {
    {"receiver", "receiver = $receiver"},
    {"outcome", "outcome = $outcome", "done, retry or refused"},
    {"kind", "kind = $kind", "alert, test or watchdog"},
    {"alert", "list_contains(json_extract_string(alerts, '$[*].name'), $alert)"},
    {"q", "contains(lower(concat_ws(' ', receiver, way, answer, group_key, CAST(alerts AS VARCHAR))), lower($q))"},
};

/* ---- The question ---- */

struct listing {
    struct http_request *request; /* its arena has the texts */
    struct ap_buf sql;            /* owned */
    struct warehouse_param params[AP_ARRAY_COUNT(filters) + 3];
    size_t param_count;
};

static void listing_clear(struct listing *listing)
{
    ap_buf_clear(&listing->sql);
}

static void add_condition(struct listing *listing, const char *sql, struct warehouse_param param)
{
    ap_buf_printf(&listing->sql, " AND %s", sql);
    listing->params[listing->param_count++] = param;
}

static void add_moment(struct listing *listing, const char *sql, const char *name, int64_t ts_ms)
{
    add_condition(
        listing, sql,
        (struct warehouse_param){.name = name, .kind = WAREHOUSE_PARAM_TIMESTAMP, .us = ts_ms * AP_US_PER_MS});
}

static enum ap_rc add_times(struct listing *listing, const struct params *params, int64_t now_ms, struct ap_err *err)
{
    int64_t since_ms, start_ms, end_ms;
    struct ap_slice since = params_get(params, "since");
    if (since.data && (params_get(params, "start").data || params_get(params, "end").data))
        return ap_fail(err, AP_E_PARSE, "since: not together with start and end");
    if (since.data && !promql_parse_duration(since, &since_ms))
        return ap_fail(err, AP_E_PARSE, "since: expected a duration such as 24h, found \"%.*s\"", PARAMS_TEXT(since));
    if (since.data)
        add_moment(listing, "timestamp >= $start", "start", now_ms - since_ms);
    if (params_get(params, "start").data) {
        enum ap_rc rc = params_needed_time(params, "start", &start_ms, err);
        if (rc != AP_OK)
            return rc;
        add_moment(listing, "timestamp >= $start", "start", start_ms);
    }
    if (params_get(params, "end").data) {
        enum ap_rc rc = params_needed_time(params, "end", &end_ms, err);
        if (rc != AP_OK)
            return rc;
        add_moment(listing, "timestamp <= $end", "end", end_ms);
    }
    return AP_OK;
}

/* Whether it is one of "done, retry or refused". */
static bool is_one_of(struct ap_slice word, const char *words)
{
    struct ap_slice rest = ap_slice_cstr(words);
    while (rest.data) {
        struct ap_slice known = ap_slice_split(&rest, ' ');
        if (known.bytes && known.data[known.bytes - 1] == ',')
            known.bytes--;
        if (ap_slice_equal(word, known) && !ap_slice_equal_cstr(known, "or"))
            return true;
    }
    return false;
}

static enum ap_rc add_filters(struct listing *listing, const struct params *params, struct ap_err *err)
{
    for (size_t i = 0; i < AP_ARRAY_COUNT(filters); i++) {
        struct ap_slice value = params_get(params, filters[i].param);
        const char *text = value.data ? ap_arena_try_strndup(http_arena(listing->request), value) : NULL;
        if (value.data && !text)
            return ap_fail(err, AP_E_LIMIT, "%s: too long", filters[i].param);
        if (text && filters[i].words && !is_one_of(value, filters[i].words))
            return ap_fail(err, AP_E_PARSE, "%s: expected %s, found \"%.*s\"", filters[i].param, filters[i].words,
                           PARAMS_TEXT(value));
        if (text)
            add_condition(
                listing, filters[i].sql,
                (struct warehouse_param){.name = filters[i].param, .kind = WAREHOUSE_PARAM_TEXT, .text = text});
    }
    return AP_OK;
}

static enum ap_rc make_sql(struct listing *listing, const struct params *params, int64_t now_ms, uint64_t *ret_limit,
                           struct ap_err *err)
{
    struct ap_buf *sql = &listing->sql;
    uint64_t before;
    ap_buf_add_cstr(sql, "SELECT ");
    for (size_t i = 0; i < AP_ARRAY_COUNT(columns); i++)
        ap_buf_printf(sql, "%s%s", i ? ", " : "", columns[i].sql);
    ap_buf_add_cstr(sql, " FROM notifications WHERE true");
    enum ap_rc rc = add_times(listing, params, now_ms, err);
    if (rc == AP_OK)
        rc = add_filters(listing, params, err);
    if (rc == AP_OK)
        rc = params_number(params, "before", 0, INT64_MAX, &before, err);
    if (rc == AP_OK)
        rc = params_number(params, "limit", LIMIT_DEFAULT, LIMIT_MAX, ret_limit, err);
    if (rc == AP_OK && *ret_limit == 0)
        rc = ap_fail(err, AP_E_PARSE, "limit: expected a whole number from 1 to %d", LIMIT_MAX);
    if (rc != AP_OK)
        return rc;
    if (params_get(params, "before").data)
        ap_buf_printf(sql, " AND lsn < %" PRIu64, before);
    /* One more than is wanted says whether there are more. */
    ap_buf_printf(sql, " ORDER BY lsn DESC LIMIT %" PRIu64, *ret_limit + 1);
    return AP_OK;
}

/* ---- The answer ---- */

static void add_row(struct ap_buf *out, const struct warehouse_result *result, size_t row)
{
    for (size_t i = 0; i < AP_ARRAY_COUNT(columns); i++) {
        const struct warehouse_cell *cell = warehouse_result_cell(result, row, i);
        ap_buf_printf(out, "%s\"%s\":", i ? "," : "{", columns[i].key);
        if (columns[i].is_json && cell->kind == WAREHOUSE_CELL_TEXT)
            ap_buf_add_slice(out, cell->text);
        else
            result_add_cell(out, cell);
    }
    ap_buf_add_char(out, '}');
}

static void answered(struct warehouse_result *take_result, const struct warehouse_query_err *err, void *context)
{
    struct http_request *request = context;
    AP_AUTO(warehouse_result) struct warehouse_result *result = take_result;
    if (!result) {
        api_reply_err(request, &err->err);
        return;
    }
    struct ap_buf out = {0};
    size_t row_count = warehouse_result_rows(result);
    ap_buf_add_cstr(&out, "{\"notifications\":[");
    for (size_t row = 0; row < row_count; row++) {
        if (row)
            ap_buf_add_char(&out, ',');
        add_row(&out, result, row);
    }
    ap_buf_add_cstr(&out, "],\"next_before\":");
    if (warehouse_result_is_truncated(result))
        result_add_cell(&out, warehouse_result_cell(result, row_count - 1, 0));
    else
        ap_buf_add_cstr(&out, "null");
    ap_buf_add_cstr(&out, "}\n");
    api_reply_json(request, ap_buf_slice(&out));
}

void notifications_handle(struct api *api, struct http_request *request, struct ap_slice rest)
{
    (void)rest;
    AP_CLEANUP(listing_clear) struct listing listing = {.request = request};
    struct params params;
    struct ap_err err;
    uint64_t limit = 0;
    enum ap_rc rc = params_read(request, &params, &err);
    if (rc == AP_OK)
        rc = make_sql(&listing, &params, ap_clock_wall_us(api->clock) / AP_US_PER_MS, &limit, &err);
    if (rc == AP_OK) {
        const struct warehouse_query query = {
            .sql = ap_buf_slice(&listing.sql),
            .params = listing.params,
            .param_count = listing.param_count,
            .row_max = (uint32_t)limit,
            .timeout_ms = api->query_timeout_ms,
        };
        http_suspend(request); /* the answer may come on another thread before the next line */
        rc = warehouse_query_submit(api->warehouse, &query, answered, request, &err); /* copies */
    }
    if (rc != AP_OK)
        api_reply_err(request, &err);
}
