#include "rules/sql_query.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "os/thread.h"
#include "rules/sql_columns.h"
#include "tsdb/labels.h"
#include "warehouse/warehouse.h"

enum { LOOK_MS = 100 /* how often whether the program ends */ };

/* ---- Asking ---- */

static void make_params(int64_t ts_ms, int64_t step_ms, struct warehouse_param params[SQL_PARAM_COUNT])
{
    const int64_t us[SQL_PARAM_COUNT] = {[SQL_PARAM_NOW] = ts_ms * AP_US_PER_MS,
                                         [SQL_PARAM_FROM] = (ts_ms - step_ms) * AP_US_PER_MS,
                                         [SQL_PARAM_TO] = ts_ms * AP_US_PER_MS,
                                         [SQL_PARAM_STEP] = step_ms * AP_US_PER_MS};
    for (size_t i = 0; i < SQL_PARAM_COUNT; i++)
        params[i] =
            (struct warehouse_param){.name = sql_text_params[i],
                                     .kind = i == SQL_PARAM_STEP ? WAREHOUSE_PARAM_INTERVAL : WAREHOUSE_PARAM_TIMESTAMP,
                                     .us = us[i]};
}

/* An answer on its way: of whoever waits for it and of the warehouse, and freed by the later of the two. */
struct answer {
    pthread_mutex_t mutex;
    pthread_cond_t done;
    bool is_done;
    bool is_given_up;
    struct warehouse_result *result; /* owned */
    struct warehouse_query_err err;
};

static void answer_free(struct answer *answer)
{
    warehouse_result_unref(answer->result);
    pthread_cond_destroy(&answer->done);
    pthread_mutex_destroy(&answer->mutex);
    free(answer);
}

static void answered(struct warehouse_result *take_result, const struct warehouse_query_err *err, void *context)
{
    struct answer *answer = context;
    pthread_mutex_lock(&answer->mutex);
    answer->result = take_result;
    if (err)
        answer->err = *err;
    answer->is_done = true;
    bool is_given_up = answer->is_given_up;
    pthread_cond_signal(&answer->done);
    pthread_mutex_unlock(&answer->mutex);
    if (is_given_up)
        answer_free(answer);
}

/* False: the program ends, and whoever has the answer next frees it. */
static bool wait_for(const struct rules_world *world, struct answer *answer)
{
    pthread_mutex_lock(&answer->mutex);
    while (!answer->is_done && !rules_world_is_ending(world))
        os_cond_wait_until(&answer->done, &answer->mutex, os_deadline_us(LOOK_MS));
    bool is_done = answer->is_done;
    answer->is_given_up = !is_done;
    pthread_mutex_unlock(&answer->mutex);
    return is_done;
}

/* Tables that are behind would say that nothing is wrong, or that nothing is there. */
static enum ap_rc check_tables(struct warehouse *warehouse, struct ap_err *err)
{
    struct warehouse_stats stats;
    warehouse_stats_get(warehouse, &stats);
    if (stats.is_failing)
        return ap_fail(err, AP_E_BUSY, "the tables take no new rows: %s", stats.last_error);
    if (!stats.is_caught_up)
        return ap_fail(err, AP_E_BUSY, "the tables do not have all rows yet that came before the server started");
    return AP_OK;
}

static enum ap_rc ask(const struct rules_world *world, const struct warehouse_query *query,
                      struct warehouse_result **ret_result, struct ap_err *err)
{
    struct answer *answer = ap_new0(struct answer);
    pthread_mutex_init(&answer->mutex, NULL);
    os_cond_init(&answer->done);
    enum ap_rc rc = warehouse_query_submit(world->warehouse, query, answered, answer, err);
    if (rc == AP_OK && !wait_for(world, answer))
        return ap_fail(err, AP_E_TIMEOUT, "the server is shutting down");
    if (rc == AP_OK && answer->result) {
        *ret_result = AP_MOVE(answer->result);
    } else if (rc == AP_OK) {
        *err = answer->err.err;
        rc = answer->err.err.rc;
    }
    answer_free(answer);
    return rc;
}

/* ---- Rows ---- */

static struct ap_slice cell_text(const struct warehouse_cell *cell)
{
    switch (cell->kind) {
    case WAREHOUSE_CELL_TEXT:
        return cell->text;
    case WAREHOUSE_CELL_BOOLEAN:
        return ap_slice_cstr(cell->boolean ? "true" : "false");
    default:
        return ap_slice_cstr(""); /* as if the label was not there */
    }
}

static enum ap_rc row_labels(const struct sql_columns *columns, const struct warehouse_result *result, size_t row,
                             struct ap_slice *ret_labels, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf bytes = {0};
    struct label labels[SQL_COLUMNS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < columns->count; i++) {
        if (i == columns->figure)
            continue;
        struct ap_slice value = cell_text(warehouse_result_cell(result, row, i));
        if (value.bytes)
            labels[count++] = (struct label){ap_slice_cstr(columns->items[i].label), value};
    }
    enum ap_rc rc = count ? labels_encode(labels, count, &bytes, err) : AP_OK;
    if (rc != AP_OK)
        return rc;
    char *copy = ap_arena_alloc0(columns->arena, bytes.bytes + 1);
    if (bytes.bytes)
        memcpy(copy, bytes.data, bytes.bytes);
    *ret_labels = ap_slice(copy, bytes.bytes);
    return AP_OK;
}

static enum ap_rc read_rows(const struct sql_columns *columns, const struct warehouse_result *result,
                            const struct rule *rule, int64_t ts_ms, struct rules_vector *vector, bool *ret_has_figure,
                            struct ap_err *err)
{
    size_t count = warehouse_result_rows(result);
    vector->samples = ap_arena_alloc0(columns->arena, (count + 1) * sizeof(*vector->samples));
    *ret_has_figure = false;
    for (size_t row = 0; row < count; row++) {
        struct rules_sample sample = {.ts_ms = ts_ms};
        const struct warehouse_cell *cell = warehouse_result_cell(result, row, columns->figure);
        if (!warehouse_cell_number(cell, &sample.value) || isnan(sample.value))
            continue;
        *ret_has_figure = true;
        if (!rule_threshold_is_met(&rule->threshold, sample.value))
            continue;
        enum ap_rc rc = row_labels(columns, result, row, &sample.labels, err);
        if (rc != AP_OK)
            return rc;
        vector->samples[vector->count++] = sample;
    }
    return AP_OK;
}

enum ap_rc rules_sql_query(const struct rules_world *world, const struct rule *rule, int64_t ts_ms, int64_t step_ms,
                           struct ap_arena *arena, struct rules_vector *ret_vector, bool *ret_has_figure,
                           struct ap_err *err)
{
    struct warehouse_param params[SQL_PARAM_COUNT];
    if (!world->warehouse)
        return ap_fail(err, AP_E_CONFLICT, "SQL cannot be asked here: there are no tables");
    enum ap_rc rc = check_tables(world->warehouse, err);
    if (rc != AP_OK)
        return rc;
    make_params(ts_ms, step_ms, params);
    const struct warehouse_query query = {.sql = rule->expr,
                                          .params = params,
                                          .param_count = SQL_PARAM_COUNT,
                                          .row_max = RULES_SQL_ROWS_MAX,
                                          .timeout_ms = world->sql_timeout_ms};
    AP_AUTO(warehouse_result) struct warehouse_result *result = NULL;
    rc = ask(world, &query, &result, err);
    if (rc != AP_OK)
        return rc;
    if (warehouse_result_is_truncated(result))
        return ap_fail(err, AP_E_LIMIT, "the query gives more than %d rows", RULES_SQL_ROWS_MAX);
    struct sql_columns columns = {.arena = arena};
    for (size_t i = 0; i < warehouse_result_columns(result); i++)
        sql_columns_add(warehouse_result_name(result, i), warehouse_result_kind(result, i), &columns);
    rc = sql_columns_judge(&columns, err);
    struct rules_vector vector = {0};
    if (rc == AP_OK)
        rc = read_rows(&columns, result, rule, ts_ms, &vector, ret_has_figure, err);
    if (rc == AP_OK)
        *ret_vector = vector;
    return rc;
}

/* ---- Checking ---- */

enum ap_rc rules_sql_check(struct warehouse *warehouse, struct ap_slice sql, int *ret_line, struct ap_err *err)
{
    struct warehouse_param params[SQL_PARAM_COUNT];
    struct warehouse_query_err query_err;
    AP_AUTO_ARENA struct ap_arena arena;
    ap_arena_init(&arena, 0);
    struct sql_columns columns = {.arena = &arena};
    make_params(0, 60000, params); /* any will do: types are what counts */
    const struct warehouse_query query = {.sql = sql, .params = params, .param_count = SQL_PARAM_COUNT};
    enum ap_rc rc = warehouse_query_describe(warehouse, &query, sql_columns_add, &columns, &query_err);
    *ret_line = rc != AP_OK && query_err.line ? (int)query_err.line : 1;
    if (rc != AP_OK) {
        *err = query_err.err;
        return rc;
    }
    return columns.count ? sql_columns_judge(&columns, err) : AP_OK; /* none: they are known when it runs */
}

bool rules_group_has_sql(const struct rule_group *group)
{
    bool is_found = false;
    for (size_t i = 0; i < group->rule_count; i++)
        is_found = is_found || group->rules[i].language == RULE_LANGUAGE_SQL;
    return is_found;
}

size_t rules_sql_check_group(struct warehouse *warehouse, const struct rule_group *group, rule_file_report_fn report,
                             void *context)
{
    size_t wrong = 0;
    for (size_t i = 0; i < group->rule_count; i++) {
        const struct rule *rule = &group->rules[i];
        struct ap_err reason, sentence;
        int line;
        if (rule->language != RULE_LANGUAGE_SQL || rules_sql_check(warehouse, rule->expr, &line, &reason) == AP_OK)
            continue;
        ap_fail(&sentence, AP_E_PARSE, "%s:%d: %s %s: sql: %s", group->file, rule->expr_line + line - 1,
                rule->is_alert ? "alert" : "record", rule->name, reason.text);
        for (char *at = sentence.text; (at = strchr(at, '\n')) != NULL;)
            *at = ' '; /* DuckDB's: a sentence is a line in logs */
        report(sentence.text, context);
        wrong++;
    }
    return wrong;
}
