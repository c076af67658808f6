#include "cli/range_sql.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "net/http_client.h"
#include "rules/rule_file.h"
#include "rules/sql_columns.h"
#include "tsdb/labels.h"
#include "warehouse/sql_words.h"

enum { DEADLINE_MS = 30 * 1000 };

/* ---- The question ---- */

bool range_sql_has_time(struct ap_slice sql)
{
    struct ap_slice word;
    bool is_found = false;
    while (sql_next_word(&sql, &word))
        is_found = is_found || ap_slice_equal_cstr(word, "$now") || ap_slice_equal_cstr(word, "$from") ||
                   ap_slice_equal_cstr(word, "$to");
    return is_found;
}

/* With a literal for $step: /api/sql takes no intervals. */
static void write_step(struct ap_slice sql, int64_t step_ms, struct ap_buf *out)
{
    struct ap_slice word;
    const char *from = sql.data, *end = sql.data + sql.bytes;
    while (sql_next_word(&sql, &word)) {
        if (!ap_slice_equal_cstr(word, "$step"))
            continue;
        ap_buf_add(out, from, (size_t)(word.data - from));
        ap_buf_printf(out, "(INTERVAL '%" PRId64 " milliseconds')", step_ms);
        from = word.data + word.bytes;
    }
    ap_buf_add(out, from, (size_t)(end - from));
}

static void set_time(json_t *params, const char *name, int64_t ts_ms)
{
    char text[AP_TIME_TEXT_BYTES];
    ap_time_format(ts_ms * AP_US_PER_MS, text);
    json_object_set_new(params, name, json_string(text));
}

static char *write_body(struct ap_slice sql, int64_t ts_ms, int64_t step_ms)
{
    json_t *body = json_object(), *params = json_object();
    json_object_set_new(body, "query", json_stringn(sql.data, sql.bytes));
    set_time(params, "now", ts_ms);
    set_time(params, "from", ts_ms - step_ms);
    set_time(params, "to", ts_ms);
    json_object_set_new(body, "params", params);
    char *text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    return text;
}

/* ---- The answer ---- */

static enum ap_rc read_columns(const json_t *answer, struct sql_columns *columns, struct ap_err *err)
{
    const json_t *list = json_object_get(answer, "columns");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        const char *name = json_string_value(json_object_get(item, "name"));
        const char *type = json_string_value(json_object_get(item, "type"));
        enum warehouse_kind kind = WAREHOUSE_KIND_NUMBER;
        while (type && kind < WAREHOUSE_KIND_TIMESTAMP && strcmp(type, warehouse_kind_name(kind)) != 0)
            kind++;
        sql_columns_add(name ? name : "", kind, columns);
    }
    return sql_columns_judge(columns, err);
}

static bool read_figure(const json_t *cell, double *ret_value)
{
    *ret_value = json_is_boolean(cell) ? json_is_true(cell) : json_number_value(cell);
    return json_is_boolean(cell) || json_is_number(cell);
}

static enum ap_rc read_labels(const struct sql_columns *columns, const json_t *row, struct ap_buf *out,
                              struct ap_err *err)
{
    struct label labels[SQL_COLUMNS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < columns->count; i++) {
        const json_t *cell = json_array_get(row, i);
        struct ap_slice value = ap_slice(json_string_value(cell), json_string_length(cell));
        if (json_is_boolean(cell))
            value = ap_slice_cstr(json_is_true(cell) ? "true" : "false");
        if (i != columns->figure && value.bytes)
            labels[count++] = (struct label){ap_slice_cstr(columns->items[i].label), value};
    }
    return count ? labels_encode(labels, count, out, err) : AP_OK;
}

static enum ap_rc read_rows(const json_t *answer, const struct sql_columns *columns, const struct rule *rule,
                            int64_t ts_ms, struct range_answer *all, struct ap_err *err)
{
    const json_t *rows = json_object_get(answer, "rows");
    range_answer_step(all, ts_ms)->condition = RULE_CONDITION_NO_DATA;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        AP_AUTO_BUF struct ap_buf labels = {0};
        double value;
        if (!read_figure(json_array_get(row, columns->figure), &value))
            continue;
        range_answer_step(all, ts_ms)->condition = RULE_CONDITION_OK;
        if (!rule_threshold_is_met(&rule->threshold, value))
            continue;
        enum ap_rc rc = read_labels(columns, row, &labels, err);
        if (rc != AP_OK)
            return rc;
        struct replay_series *series = range_answer_find(all, ap_buf_slice(&labels), i);
        if (!series)
            return ap_fail(err, AP_E_FULL, "the query gives more than %d series", RANGE_SERIES_MAX);
        if (series->count && series->points[series->count - 1].ts_ms == ts_ms)
            return ap_fail(err, AP_E_CONFLICT, "two rows have the same labels");
        *range_answer_grow(series, 1) = (struct replay_point){.ts_ms = ts_ms, .value = value};
    }
    return AP_OK;
}

/* AP_E_CONFLICT: the query is wrong, or what it computes goes wrong. */
static enum ap_rc fail(const json_t *answer, unsigned status, struct ap_err *err)
{
    const char *error = json_string_value(json_object_get(answer, "error"));
    bool is_of_query = status == 400 || status == 409 || status == 413;
    if (!error)
        return ap_fail(err, AP_E_IO, "the server answered with status %u", status);
    return ap_fail(err, is_of_query ? AP_E_CONFLICT : AP_E_IO, "%s", error);
}

static enum ap_rc read_answer(const json_t *answer, unsigned status, const struct rule *rule, int64_t ts_ms,
                              struct range_answer *all, struct ap_err *err)
{
    if (status != 200)
        return fail(answer, status, err);
    if (!json_is_array(json_object_get(answer, "rows")))
        return ap_fail(err, AP_E_IO, "the answer is not that of a query");
    if (json_is_true(json_object_get(answer, "truncated")))
        return ap_fail(err, AP_E_FULL, "the query gives more rows than the server answers");
    AP_AUTO_ARENA struct ap_arena arena;
    ap_arena_init(&arena, 0);
    struct sql_columns columns = {.arena = &arena};
    enum ap_rc rc = read_columns(answer, &columns, err);
    return rc == AP_OK ? read_rows(answer, &columns, rule, ts_ms, all, err) : rc;
}

/* ---- Asking ---- */

static enum ap_rc ask_step(struct http_client *client, const struct remote *remote, struct ap_slice sql,
                           const struct rule *rule, int64_t ts_ms, struct range_answer *all, struct ap_err *err)
{
    AP_AUTO_FREE char *body = write_body(sql, ts_ms, all->step_ms);
    const struct remote_question question = {.path = "/api/sql",
                                             .content_type = "application/json",
                                             .body = ap_slice_cstr(body),
                                             .deadline_ms = DEADLINE_MS};
    struct http_client_answer answer;
    enum ap_rc rc = remote_ask(client, remote, &question, &answer, err);
    if (rc != AP_OK)
        return AP_E_IO; /* whatever it is, it says nothing about the query */
    json_t *json = json_loadb(answer.body.data, answer.body.bytes, JSON_ALLOW_NUL, NULL);
    rc = read_answer(json, answer.status, rule, ts_ms, all, err);
    json_decref(json);
    return rc;
}

enum ap_rc range_sql_ask(const struct remote *remote, const struct rule *rule, struct range_answer *answer,
                         struct ap_err *err)
{
    AP_AUTO(http_client) struct http_client *client = http_client_new(&(struct http_client_options){0});
    AP_AUTO_BUF struct ap_buf sql = {0};
    write_step(rule->expr, answer->step_ms, &sql);
    for (size_t i = 0; i < answer->step_count; i++) {
        int64_t ts_ms = answer->start_ms + (int64_t)i * answer->step_ms;
        enum ap_rc rc = ask_step(client, remote, ap_buf_slice(&sql), rule, ts_ms, answer, err);
        if (rc == AP_E_CONFLICT || rc == AP_E_PARSE || rc == AP_E_LIMIT) /* also columns that are no labels */
            range_answer_fail(answer, ts_ms, err->text);
        else if (rc != AP_OK)
            return rc;
    }
    return AP_OK;
}
