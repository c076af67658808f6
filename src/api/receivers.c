#include "api/receivers.h"

#include <inttypes.h>

#include "alert/alerting.h"
#include "api/params.h"
#include "api/pool.h"
#include "api/question.h"
#include "api/result_json.h"
#include "base/buf.h"
#include "base/mem.h"
#include "notify/path_test.h"
#include "warehouse/warehouse.h"

enum { TEST_TIMEOUT_MS = 60000 };

/* ---- What the log of notifications says of each way ---- */

/*
 * The newest row of each way, of tests and of what is no test, with the moment of the first failure since something got
 * through, whatever it was. Thirty days are enough: what has not been used for longer has nothing to say. (Aggregates:
 * windows over the same rows take four times as long.)
 */
static const char newest_sql[] =
    "WITH recent AS (SELECT * FROM notifications WHERE timestamp >= $start), "
    "newest AS (SELECT receiver, way, way_index, kind = 'test' AS is_test, "
    "MAX(lsn) FILTER (outcome = 'done') AS done_lsn, "
    "arg_max({'ts': timestamp, 'outcome': outcome, 'status': status, 'answer': answer}, lsn) AS row "
    "FROM recent GROUP BY ALL), "
    "done AS (SELECT receiver, way, way_index, MAX(done_lsn) AS done_lsn FROM newest GROUP BY ALL), "
    "failing AS (SELECT receiver, way, way_index, MIN(timestamp) AS since "
    "FROM recent JOIN done USING (receiver, way, way_index) WHERE done_lsn IS NULL OR lsn > done_lsn GROUP BY ALL) "
    "SELECT receiver, way, CAST(way_index AS BIGINT), CAST(is_test AS BIGINT), epoch_ms(row.ts), row.outcome, "
    "CAST(row.status AS BIGINT), row.answer, epoch_ms(since) "
    "FROM newest LEFT JOIN failing USING (receiver, way, way_index)";
enum {
    CELL_RECEIVER,
    CELL_WAY,
    CELL_INDEX,
    CELL_IS_TEST,
    CELL_TS_MS,
    CELL_OUTCOME,
    CELL_STATUS,
    CELL_ANSWER,
    CELL_FAILING_SINCE
};

static enum ap_rc ask_newest(struct question *question, struct warehouse_result **ret_result, struct ap_err *err)
{
    struct api *api = question->api;
    const struct warehouse_param start = {
        .name = "start",
        .kind = WAREHOUSE_PARAM_TIMESTAMP,
        .us = ap_clock_wall_us(api->clock) - 30 * AP_US_PER_DAY,
    };
    const struct warehouse_query query = {
        .sql = ap_slice(newest_sql, sizeof(newest_sql) - 1),
        .params = &start,
        .param_count = 1,
        .timeout_ms = api->query_timeout_ms,
    };
    struct warehouse_query_err query_err;
    pool_step_aside(question->pool);
    enum ap_rc rc = warehouse_query_run(api->warehouse, &query, ret_result, &query_err);
    pool_step_back(question->pool);
    if (rc != AP_OK)
        *err = query_err.err;
    return rc;
}

/* SIZE_MAX: nothing is known. */
static size_t find_row(const struct warehouse_result *result, const struct receiver *receiver,
                       const struct receiver_way *way, bool is_test)
{
    int64_t way_index = (int64_t)receiver_way_index(receiver, way);
    for (size_t row = 0; row < warehouse_result_rows(result); row++)
        if (warehouse_result_cell(result, row, CELL_INDEX)->integer == way_index &&
            warehouse_result_cell(result, row, CELL_IS_TEST)->integer == is_test &&
            ap_slice_equal_cstr(warehouse_result_cell(result, row, CELL_RECEIVER)->text, receiver->name) &&
            ap_slice_equal_cstr(warehouse_result_cell(result, row, CELL_WAY)->text, receiver_kind_name(way->kind)))
            return row;
    return SIZE_MAX;
}

/* ---- GET ---- */

static void add_newest(struct ap_buf *out, const struct warehouse_result *result, size_t row)
{
    static const struct {
        const char *key;
        size_t cell;
    } members[] = {{"{\"ts_ms\":", CELL_TS_MS},
                   {",\"outcome\":", CELL_OUTCOME},
                   {",\"status\":", CELL_STATUS},
                   {",\"answer\":", CELL_ANSWER}};
    if (row == SIZE_MAX) {
        ap_buf_add_cstr(out, "null");
        return;
    }
    for (size_t i = 0; i < AP_ARRAY_COUNT(members); i++) {
        ap_buf_add_cstr(out, members[i].key);
        result_add_cell(out, warehouse_result_cell(result, row, members[i].cell));
    }
    ap_buf_add_char(out, '}');
}

static void add_way(struct ap_buf *out, const struct warehouse_result *result, const struct receiver *receiver,
                    const struct receiver_way *way)
{
    size_t last = find_row(result, receiver, way, false), last_test = find_row(result, receiver, way, true);
    size_t any = last != SIZE_MAX ? last : last_test;
    ap_buf_printf(out, "{\"kind\":\"%s\",\"index\":%zu,\"last\":", receiver_kind_name(way->kind),
                  receiver_way_index(receiver, way));
    add_newest(out, result, last);
    ap_buf_add_cstr(out, ",\"last_test\":");
    add_newest(out, result, last_test);
    ap_buf_add_cstr(out, ",\"failing_since_ms\":");
    if (any == SIZE_MAX)
        ap_buf_add_cstr(out, "null");
    else
        result_add_cell(out, warehouse_result_cell(result, any, CELL_FAILING_SINCE));
    ap_buf_add_char(out, '}');
}

static void add_receiver(struct ap_buf *out, const struct warehouse_result *result, struct path_test *test,
                         const struct receiver *receiver)
{
    int64_t next_ms = receiver->way_count ? path_test_receiver_next_ms(test, receiver->name) : 0;
    ap_buf_add_cstr(out, "{\"name\":");
    ap_buf_add_json_string(out, ap_slice_cstr(receiver->name));
    ap_buf_add_cstr(out, ",\"ways\":[");
    for (size_t i = 0; i < receiver->way_count; i++) {
        if (i)
            ap_buf_add_char(out, ',');
        add_way(out, result, receiver, &receiver->ways[i]);
    }
    ap_buf_add_cstr(out, "],\"next_test_ms\":");
    if (next_ms)
        ap_buf_printf(out, "%" PRId64 "}", next_ms);
    else
        ap_buf_add_cstr(out, "null}");
}

static void add_schedule(struct ap_buf *out, struct path_test *test)
{
    int64_t next_ms = path_test_next_ms(test);
    if (next_ms)
        ap_buf_printf(out, "{\"interval_ms\":%" PRId64 ",\"next_ms\":%" PRId64 "}", path_test_interval_ms(test),
                      next_ms);
    else
        ap_buf_add_cstr(out, "null");
}

static enum ap_rc answer_list(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    struct api *api = question->api;
    AP_AUTO(warehouse_result) struct warehouse_result *result = NULL;
    if (question->rest.bytes)
        return ap_fail(err, AP_E_NOT_FOUND, "there is nothing at this address; expected /api/apiary/v1/receivers");
    enum ap_rc rc = ask_newest(question, &result, err);
    if (rc != AP_OK)
        return rc;
    question_set_bare(question, out, "application/json");
    ap_buf_add_cstr(out, "{\"receivers\":[");
    const struct alert_config *config = alerting_lock_config(api->alerting);
    for (size_t i = 0; i < config->receiver_count; i++) {
        if (i)
            ap_buf_add_char(out, ',');
        add_receiver(out, result, api->path_test, &config->receivers[i]);
    }
    alerting_unlock_config(api->alerting);
    ap_buf_add_cstr(out, "],\"path_test\":");
    add_schedule(out, api->path_test);
    ap_buf_add_cstr(out, "}\n");
    return AP_OK;
}

/* ---- POST …/{name}/test ---- */

static void add_result(const struct path_test_result *result, void *context)
{
    struct ap_buf *out = context;
    if (out->data[out->bytes - 1] != '[')
        ap_buf_add_char(out, ',');
    ap_buf_printf(out, "{\"kind\":\"%s\",\"index\":%zu,\"ts_ms\":%" PRId64 ",\"outcome\":\"%s\",\"status\":",
                  receiver_kind_name(result->kind), result->way_index, result->ended_ms,
                  delivery_outcome_name(result->delivery.outcome));
    if (result->delivery.status)
        ap_buf_printf(out, "%u", result->delivery.status);
    else
        ap_buf_add_cstr(out, "null");
    ap_buf_add_cstr(out, ",\"answer\":");
    ap_buf_add_json_string(out, ap_slice_cstr(result->delivery.text));
    ap_buf_printf(out, ",\"duration_ms\":%.3f}", (double)result->delivery.duration_us / AP_US_PER_MS);
}

/* "team/db" of "/team/db/test"; free() it. NULL: it is another address. */
static char *read_name(struct ap_slice rest)
{
    static const char tail[] = "/test";
    size_t tail_bytes = sizeof(tail) - 1;
    if (rest.bytes < tail_bytes + 2 || memcmp(rest.data + rest.bytes - tail_bytes, tail, tail_bytes) != 0)
        return NULL;
    return ap_slice_dup(ap_slice(rest.data + 1, rest.bytes - tail_bytes - 1));
}

static enum ap_rc answer_test(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    struct path_test *test = question->api->path_test;
    AP_AUTO_FREE char *name = read_name(question->rest);
    if (!name)
        return ap_fail(err, AP_E_NOT_FOUND,
                       "there is nothing at this address; expected /api/apiary/v1/receivers/<name>/test");
    pool_step_aside(question->pool);
    enum ap_rc rc = path_test_run(test, name, TEST_TIMEOUT_MS, err);
    pool_step_back(question->pool);
    if (rc != AP_OK)
        return rc;
    question_set_bare(question, out, "application/json");
    ap_buf_add_cstr(out, "{\"receiver\":");
    ap_buf_add_json_string(out, ap_slice_cstr(name));
    ap_buf_add_cstr(out, ",\"ways\":[");
    path_test_each(test, name, add_result, out);
    ap_buf_add_cstr(out, "]}\n");
    return AP_OK;
}

void receivers_handle(struct api *api, struct http_request *request, struct ap_slice rest)
{
    bool is_test = http_method(request) == HTTP_METHOD_POST;
    question_ask(api, request, rest, api->alert_questions, is_test ? answer_test : answer_list);
}
