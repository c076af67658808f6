#include "api/panel_promql.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "api/pool.h"
#include "base/buf.h"
#include "base/mem.h"
#include "promql/engine.h"
#include "tsdb/labels.h"

enum { SERIES_MAX = 200 /* lines or rows that somebody could still look at */ };

/* In the request's arena, until its reply. */
struct asking {
    struct pool_task task;
    struct api *api;
    struct http_request *request; /* suspended */
    const struct pack_panel *panel;
    struct dashboards_window window;
    int64_t started_us;
    int64_t end_ms; /* of the window, or the present where that is earlier */
};

static bool is_gone(void *request)
{
    return http_is_gone(request);
}

/* `step_ms` 0: at `end_ms` alone. */
static enum ap_rc execute(const struct asking *asking, int64_t start_ms, int64_t end_ms, int64_t step_ms,
                          struct promql_execution **ret_execution, struct ap_err *err)
{
    const struct promql_request request = {
        .text = ap_slice_cstr(asking->panel->promql),
        .start_ms = step_ms ? start_ms : end_ms,
        .end_ms = end_ms,
        .step_ms = step_ms,
        .timeout_ms = asking->api->query_timeout_ms,
        .is_cancelled = is_gone,
        .context = asking->request,
    };
    enum ap_rc rc =
        promql_execute(asking->api->engine, promql_storage_tsdb(asking->api->tsdb), &request, ret_execution, err);
    if (rc == AP_OK && promql_execution_count(*ret_execution) > SERIES_MAX)
        rc = ap_fail(err, AP_E_LIMIT, "the query gives %zu series, and a panel shows at most %d: aggregate them",
                     promql_execution_count(*ret_execution), SERIES_MAX);
    return rc;
}

/* ---- Values ---- */

/* JSON has no infinity, and a chart no place for it. */
static void add_value(struct ap_buf *json, double value)
{
    if (isfinite(value))
        ap_buf_add_json_double(json, value);
    else
        ap_buf_add_cstr(json, "null");
}

/* What tells a series from the others: the values of its labels, "generator, openai/gpt". */
static void add_series_name(const struct asking *asking, struct ap_slice labels, struct ap_buf *json)
{
    AP_AUTO_BUF struct ap_buf name = {0};
    struct label label;
    while (labels_next(&labels, &label)) {
        if (ap_slice_equal_cstr(label.name, LABEL_METRIC_NAME))
            continue;
        ap_buf_add_cstr(&name, name.bytes ? ", " : "");
        ap_buf_add_slice(&name, label.value);
    }
    ap_buf_add_json_string(json, name.bytes ? ap_buf_slice(&name) : ap_slice_cstr(asking->panel->title));
}

/* The value of the first series that has one. */
static enum ap_rc ask_figure(const struct asking *asking, int64_t at_ms, const char *key, struct ap_buf *json,
                             struct ap_err *err)
{
    AP_AUTO(promql_execution) struct promql_execution *execution = NULL;
    enum ap_rc rc = execute(asking, at_ms, at_ms, 0, &execution, err);
    double value = NAN;
    for (size_t i = 0; rc == AP_OK && isnan(value) && i < promql_execution_count(execution); i++) {
        struct promql_points points;
        rc = promql_execution_read(execution, i, &points, err);
        if (rc == AP_OK && points.count > 0)
            value = points.values[0];
    }
    if (rc != AP_OK)
        return rc;
    ap_buf_printf(json, ",\"%s\":", key);
    add_value(json, value);
    return AP_OK;
}

/* ---- Over the window ---- */

/* A value for each step and series; NAN: none. */
struct grid {
    double *values; /* owned; step by step, series_count for each */
    size_t step_count;
    size_t series_count;
};

static enum ap_rc read_grid(const struct asking *asking, struct promql_execution *execution, struct grid *grid,
                            struct ap_err *err)
{
    const struct dashboards_window *window = &asking->window;
    grid->step_count = (size_t)((asking->end_ms - window->from_ms) / window->step_ms) + 1;
    grid->series_count = promql_execution_count(execution);
    size_t cell_count = grid->step_count * grid->series_count;
    grid->values = ap_realloc(NULL, (cell_count + 1) * sizeof(double));
    for (size_t i = 0; i < cell_count; i++)
        grid->values[i] = NAN;
    for (size_t i = 0; i < grid->series_count; i++) {
        struct promql_points points;
        enum ap_rc rc = promql_execution_read(execution, i, &points, err);
        if (rc != AP_OK)
            return rc;
        for (size_t p = 0; p < points.count; p++) {
            size_t step = (size_t)((points.ts_ms[p] - window->from_ms) / window->step_ms);
            grid->values[step * grid->series_count + i] = points.values[p];
        }
    }
    return AP_OK;
}

/* [[time, a value for each series], …]; without any series no rows. */
static void add_grid(const struct asking *asking, const struct grid *grid, struct ap_buf *json)
{
    ap_buf_add_char(json, '[');
    for (size_t step = 0; step < grid->step_count && grid->series_count > 0; step++) {
        ap_buf_printf(json, "%s[%" PRId64, step ? "," : "",
                      asking->window.from_ms + (int64_t)step * asking->window.step_ms);
        for (size_t i = 0; i < grid->series_count; i++) {
            ap_buf_add_char(json, ',');
            add_value(json, grid->values[step * grid->series_count + i]);
        }
        ap_buf_add_char(json, ']');
    }
    ap_buf_add_char(json, ']');
}

static void add_line_columns(const struct asking *asking, const struct promql_execution *execution, struct ap_buf *json)
{
    ap_buf_add_cstr(json, ",\"columns\":[{\"name\":\"time\",\"type\":\"timestamp\"}");
    for (size_t i = 0; i < promql_execution_count(execution); i++) {
        ap_buf_add_cstr(json, ",{\"name\":");
        add_series_name(asking, promql_execution_labels(execution, i), json);
        ap_buf_add_cstr(json, ",\"type\":\"number\"}");
    }
    ap_buf_add_cstr(json, "],\"rows\":");
}

/* A chart of lines, or, for a figure, the line below it: its first series. */
static enum ap_rc ask_lines(const struct asking *asking, bool is_trend, struct ap_buf *json, struct ap_err *err)
{
    const struct dashboards_window *window = &asking->window;
    AP_AUTO(promql_execution) struct promql_execution *execution = NULL;
    if (asking->end_ms < window->from_ms) { /* a window in the future */
        ap_buf_add_cstr(json, is_trend ? ",\"trend\":[]" : ",\"columns\":[],\"rows\":[]");
        return AP_OK;
    }
    struct grid grid = {0};
    enum ap_rc rc = execute(asking, window->from_ms, asking->end_ms, window->step_ms, &execution, err);
    if (rc == AP_OK)
        rc = read_grid(asking, execution, &grid, err);
    if (rc == AP_OK) {
        if (is_trend)
            ap_buf_add_cstr(json, ",\"trend\":");
        else
            add_line_columns(asking, execution, json);
        add_grid(asking, &grid, json);
    }
    free(grid.values);
    return rc;
}

/* ---- Rows of the present ---- */

static enum ap_rc ask_rows(const struct asking *asking, struct ap_buf *json, struct ap_err *err)
{
    AP_AUTO(promql_execution) struct promql_execution *execution = NULL;
    enum ap_rc rc = execute(asking, asking->end_ms, asking->end_ms, 0, &execution, err);
    if (rc != AP_OK)
        return rc;
    ap_buf_add_cstr(json,
                    ",\"columns\":[{\"name\":\"series\",\"type\":\"text\"},{\"name\":\"value\",\"type\":\"number\"}],"
                    "\"rows\":[");
    const char *comma = "";
    for (size_t i = 0; i < promql_execution_count(execution); i++) {
        struct promql_points points;
        rc = promql_execution_read(execution, i, &points, err);
        if (rc != AP_OK)
            return rc;
        if (points.count == 0)
            continue;
        ap_buf_printf(json, "%s[", comma);
        comma = ",";
        add_series_name(asking, promql_execution_labels(execution, i), json);
        ap_buf_add_char(json, ',');
        add_value(json, points.values[0]);
        ap_buf_add_char(json, ']');
    }
    ap_buf_add_char(json, ']');
    return AP_OK;
}

/* ---- A panel ---- */

static enum ap_rc ask_all(const struct asking *asking, struct ap_buf *json, struct ap_err *err)
{
    const struct dashboards_window *window = &asking->window;
    if (pack_visualization_is_figure(asking->panel->visualization)) {
        enum ap_rc rc = ask_figure(asking, asking->end_ms, "value", json, err);
        if (rc == AP_OK)
            rc = ask_figure(asking, asking->end_ms - (window->to_ms - window->from_ms), "previous", json, err);
        if (rc == AP_OK)
            rc = ask_lines(asking, true, json, err);
        ap_buf_add_cstr(json, ",\"columns\":[],\"rows\":[]");
        return rc;
    }
    ap_buf_add_cstr(json, ",\"value\":null,\"previous\":null,\"trend\":[]");
    return asking->panel->visualization == PACK_VISUALIZATION_LINE_CHART ? ask_lines(asking, false, json, err)
                                                                         : ask_rows(asking, json, err);
}

/* The query is the pack's: what is wrong with it is not the client's fault. */
static unsigned status_of(enum ap_rc rc)
{
    if (rc == AP_E_TIMEOUT)
        return 504;
    return rc == AP_E_BUSY || rc == AP_E_NOMEM ? api_status_of(rc) : 500;
}

static void run(struct pool_task *task, bool is_stopping)
{
    struct asking *asking = AP_CONTAINER_OF(task, struct asking, task);
    if (is_stopping) {
        api_reply_error(asking->request, 503, "the server is stopping");
        return;
    }
    struct ap_err err = {0};
    struct ap_buf json = {0}, answer = {0};
    const struct dashboards_window *window = &asking->window;
    enum ap_rc rc = ask_all(asking, &json, &err);
    if (rc == AP_OK) {
        ap_buf_add_cstr(&answer, "{\"panel\":");
        ap_buf_add_json_string(&answer, ap_slice_cstr(asking->panel->id));
        ap_buf_printf(&answer, ",\"from\":%" PRId64 ",\"to\":%" PRId64 ",\"step\":%" PRId64 ",\"took_ms\":%.1f",
                      window->from_ms, window->to_ms, window->step_ms,
                      (double)(ap_clock_monotonic_us(asking->api->clock) - asking->started_us) / 1000);
        ap_buf_add_slice(&answer, ap_buf_slice(&json));
        ap_buf_add_cstr(&answer, "}\n");
        api_reply_json(asking->request, ap_buf_slice(&answer)); /* its memory is the server's now */
    } else {
        api_reply_error(asking->request, status_of(rc), "panel %s: %s", asking->panel->id, err.text);
    }
    ap_buf_clear(&json);
}

void panel_promql_ask(struct api *api, struct http_request *request, const struct pack_panel *panel,
                      const struct dashboards_window *window)
{
    int64_t now_ms = ap_clock_wall_us(api->clock) / AP_US_PER_MS;
    struct asking *asking = ap_arena_alloc0(http_arena(request), sizeof(*asking));
    *asking = (struct asking){
        .task = {.run = run},
        .api = api,
        .request = request,
        .panel = panel,
        .window = *window,
        .started_us = ap_clock_monotonic_us(api->clock),
        .end_ms = AP_MIN(window->to_ms, now_ms),
    };
    http_suspend(request); /* the answer may come on another thread before the next line */
    struct ap_err err;
    if (pool_submit(api->questions, &asking->task, &err) != AP_OK)
        api_reply_err(request, &err);
}
