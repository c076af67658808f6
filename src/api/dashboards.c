#include "api/dashboards.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>

#include "api/panel_promql.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"
#include "codec/yaml.h"
#include "pack/pack.h"
#include "warehouse/warehouse.h"

enum { NAME_BYTES_MAX = 64, POINTS_MAX = 200, MINUTE_MS = 60 * 1000 };

#define HOUR_MS (60 * (int64_t)MINUTE_MS)
#define DAY_MS  (24 * HOUR_MS)

/* ---- The window ---- */

static const int64_t steps_ms[] = {
    MINUTE_MS, 2 * MINUTE_MS, 5 * MINUTE_MS, 10 * MINUTE_MS, 15 * MINUTE_MS, 30 * MINUTE_MS,
    HOUR_MS,   2 * HOUR_MS,   3 * HOUR_MS,   4 * HOUR_MS,    6 * HOUR_MS,    12 * HOUR_MS,
    DAY_MS,    2 * DAY_MS,    7 * DAY_MS,    14 * DAY_MS,    28 * DAY_MS,
};
/* DuckDB's time_bucket() counts from here, a Monday; points must begin where its buckets do. */
static const int64_t origin_ms = INT64_C(946857600000); /* 2000-01-03T00:00:00Z */
static const int64_t window_ms_max = 3653 * DAY_MS;

static int64_t step_for(int64_t length_ms)
{
    for (size_t i = 0; i < AP_ARRAY_COUNT(steps_ms); i++) {
        if (length_ms <= POINTS_MAX * steps_ms[i])
            return steps_ms[i];
    }
    return steps_ms[AP_ARRAY_COUNT(steps_ms) - 1];
}

/* The multiple of `step_ms`, counted from the origin, that is at or before `ms`. */
static int64_t round_down(int64_t ms, int64_t step_ms)
{
    int64_t behind = (ms - origin_ms) % step_ms;
    return ms - (behind < 0 ? behind + step_ms : behind);
}

bool dashboards_window_of_ends(int64_t from_ms, int64_t to_ms, struct dashboards_window *ret_window)
{
    /* Timestamps beyond this are no times, and would overflow below. */
    static const int64_t ms_max = INT64_C(253402300800000); /* the year 10000 */
    if (from_ms < -ms_max || to_ms > ms_max || from_ms >= to_ms || to_ms - from_ms > window_ms_max)
        return false;
    int64_t step_ms = step_for(to_ms - from_ms);
    ret_window->step_ms = step_ms;
    ret_window->from_ms = round_down(from_ms, step_ms);
    ret_window->to_ms = round_down(to_ms + step_ms - 1, step_ms);
    return true;
}

void dashboards_window_of_range(int64_t range_ms, int64_t now_ms, struct dashboards_window *ret_window)
{
    AP_ASSERT(range_ms > 0 && range_ms <= window_ms_max);
    int64_t step_ms = step_for(range_ms);
    ret_window->step_ms = step_ms;
    ret_window->to_ms = round_down(now_ms, step_ms) + step_ms; /* behind what happens right now */
    ret_window->from_ms = round_down(ret_window->to_ms - range_ms, step_ms);
}

/* From the query of the address. False: *ret_error says what is wrong with it. */
static bool read_window(const struct http_request *request, const struct pack_dashboard *dashboard, int64_t now_ms,
                        struct dashboards_window *ret_window, const char **ret_error)
{
    struct ap_slice from = http_query(request, "from");
    struct ap_slice to = http_query(request, "to");
    struct ap_slice range = http_query(request, "range");
    if (from.data || to.data) {
        int64_t from_ms, to_ms;
        *ret_error = "from and to are two times in milliseconds since 1970, the first one earlier, at most ten years "
                     "apart";
        return !range.data && yaml_parse_integer(from, &from_ms) && yaml_parse_integer(to, &to_ms) &&
               dashboards_window_of_ends(from_ms, to_ms, ret_window);
    }
    char text[NAME_BYTES_MAX];
    snprintf(text, sizeof(text), "%.*s", AP_SLICE_ARG(range));
    int64_t range_ms;
    *ret_error = "range is a duration such as 24h, 7d or 90d, at most ten years";
    if (!pack_parse_range(range.data ? text : dashboard->default_range, &range_ms) || range_ms > window_ms_max)
        return false;
    dashboards_window_of_range(range_ms, now_ms, ret_window);
    return true;
}

/* ---- What there is ---- */

static void add_text(struct ap_buf *out, const char *key, const char *text)
{
    ap_buf_printf(out, "\"%s\":", key);
    if (text)
        ap_buf_add_json_string(out, ap_slice_trim(ap_slice_cstr(text)));
    else
        ap_buf_add_cstr(out, "null");
}

static void reply_buf(struct http_request *request, struct ap_buf *json)
{
    ap_buf_add_char(json, '\n');
    api_reply_json(request, ap_buf_slice(json)); /* its memory is the server's now */
}

static void reply_list(struct api *api, struct http_request *request)
{
    struct ap_buf json = {0};
    ap_buf_add_cstr(&json, "{\"dashboards\":[");
    bool has_home = false; /* of several packs with a home page, that of the first one counts */
    const char *comma = "";
    for (size_t i = 0; i < api->pack_count; i++) {
        for (size_t d = 0; d < api->packs[i]->dashboard_count; d++) {
            const struct pack_dashboard *dashboard = &api->packs[i]->dashboards[d];
            ap_buf_printf(&json, "%s{", comma);
            add_text(&json, "id", dashboard->id);
            ap_buf_add_char(&json, ',');
            add_text(&json, "title", dashboard->title);
            ap_buf_add_char(&json, ',');
            add_text(&json, "description", dashboard->description);
            ap_buf_printf(&json, ",\"is_home\":%s}", dashboard->is_home && !has_home ? "true" : "false");
            has_home = has_home || dashboard->is_home;
            comma = ",";
        }
    }
    ap_buf_add_cstr(&json, "]}");
    reply_buf(request, &json);
}

static bool panel_uses_range(const struct pack_panel *panel)
{
    return panel->promql || panel->query.uses_range || panel->previous.uses_range || panel->trend.uses_range;
}

static void add_panel(struct ap_buf *json, const struct pack_panel *panel)
{
    ap_buf_add_char(json, '{');
    add_text(json, "id", panel->id);
    ap_buf_add_char(json, ',');
    add_text(json, "title", panel->title);
    ap_buf_add_char(json, ',');
    add_text(json, "description", panel->description);
    ap_buf_add_char(json, ',');
    add_text(json, "visualization", pack_visualization_name(panel->visualization));
    ap_buf_add_char(json, ',');
    add_text(json, "unit", pack_unit_name(panel->unit));
    if (panel->target.op == PACK_TARGET_NONE) {
        ap_buf_add_cstr(json, ",\"target\":null,");
    } else {
        ap_buf_printf(json, ",\"target\":{\"op\":\"%s\",\"value\":", pack_target_op_name(panel->target.op));
        ap_buf_add_json_double(json, panel->target.value);
        ap_buf_add_char(json, ',');
        add_text(json, "text", panel->target.text);
        ap_buf_add_cstr(json, "},");
    }
    add_text(json, "better", panel->better == PACK_BETTER_LOWER ? "lower" : "higher");
    ap_buf_printf(json, ",\"width\":%d,\"uses_range\":%s,", panel->width, panel_uses_range(panel) ? "true" : "false");
    add_text(json, "query", panel->promql ? panel->promql : panel->query.text);
    ap_buf_printf(json, ",\"language\":\"%s\"}", panel->promql ? "promql" : "sql");
}

static void reply_dashboard(struct http_request *request, const struct pack_dashboard *dashboard)
{
    struct ap_buf json = {0};
    ap_buf_add_char(&json, '{');
    add_text(&json, "id", dashboard->id);
    ap_buf_add_char(&json, ',');
    add_text(&json, "title", dashboard->title);
    ap_buf_add_char(&json, ',');
    add_text(&json, "description", dashboard->description);
    ap_buf_add_char(&json, ',');
    add_text(&json, "default_range", dashboard->default_range);
    ap_buf_add_cstr(&json, ",\"ranges\":[");
    for (size_t i = 0; i < dashboard->range_count; i++) {
        ap_buf_add_cstr(&json, i > 0 ? "," : "");
        ap_buf_add_json_string(&json, ap_slice_cstr(dashboard->ranges[i]));
    }
    ap_buf_add_cstr(&json, "],\"sections\":[");
    for (size_t s = 0; s < dashboard->section_count; s++) {
        const struct pack_section *section = &dashboard->sections[s];
        ap_buf_add_cstr(&json, s > 0 ? ",{" : "{");
        add_text(&json, "title", section->title);
        ap_buf_printf(&json, ",\"style\":\"%s\",\"panels\":[", section->is_cards ? "cards" : "charts");
        for (size_t p = 0; p < section->panel_count; p++) {
            ap_buf_add_cstr(&json, p > 0 ? "," : "");
            add_panel(&json, &section->panels[p]);
        }
        ap_buf_add_cstr(&json, "]}");
    }
    ap_buf_add_cstr(&json, "]}");
    reply_buf(request, &json);
}

/* ---- Data of a panel ---- */

enum part { PART_QUERY, PART_PREVIOUS, PART_TREND, PART_COUNT };

static const char *const part_names[PART_COUNT] = {"query", "previous", "trend"};

struct answer {
    struct job *job;
    struct warehouse_result *result; /* owned; NULL: not asked, or failed */
    struct ap_err err;               /* rc is AP_OK unless it failed */
};

/* Lives from the request until its reply. Whoever takes open_count to 0 replies and frees it. */
struct job {
    /* Set before anything is asked. */
    struct api *api;
    struct http_request *request; /* suspended */
    const struct pack_panel *panel;
    struct dashboards_window window;
    int64_t started_us;
    /* Each answer is written by the thread that brings it; open_count orders that before the reply. */
    struct answer answers[PART_COUNT];
    atomic_int open_count;
};

/* The SQL is ours: what is wrong with it is not the client's fault. */
static unsigned status_of(enum ap_rc rc)
{
    if (rc == AP_E_TIMEOUT)
        return 504;
    return rc == AP_E_PARSE || rc == AP_E_LIMIT || rc == AP_E_NOT_FOUND ? 500 : api_status_of(rc);
}

static void add_cell(struct ap_buf *json, const struct warehouse_cell *cell)
{
    switch (cell->kind) {
    case WAREHOUSE_CELL_NULL:
        ap_buf_add_cstr(json, "null");
        break;
    case WAREHOUSE_CELL_INTEGER:
        ap_buf_printf(json, "%" PRId64, cell->integer);
        break;
    case WAREHOUSE_CELL_DOUBLE:
        ap_buf_add_json_double(json, cell->number);
        break;
    case WAREHOUSE_CELL_BOOLEAN:
        ap_buf_add_cstr(json, cell->boolean ? "true" : "false");
        break;
    case WAREHOUSE_CELL_TIMESTAMP:
        ap_buf_add_json_double(json, (double)cell->ts_us / 1000);
        break;
    case WAREHOUSE_CELL_TEXT:
        ap_buf_add_json_string(json, cell->text);
        break;
    }
}

/* The first cell of the first row, where that is a number. */
static void add_figure(struct ap_buf *json, const char *key, const struct warehouse_result *result)
{
    double number = 0;
    bool is_number = result && warehouse_result_rows(result) > 0 && warehouse_result_columns(result) > 0 &&
                     warehouse_cell_number(warehouse_result_cell(result, 0, 0), &number);
    ap_buf_printf(json, ",\"%s\":", key);
    if (is_number)
        ap_buf_add_json_double(json, number);
    else
        ap_buf_add_cstr(json, "null");
}

/* The first `column_count` columns of all rows, as lists. */
static void add_rows(struct ap_buf *json, const struct warehouse_result *result, size_t column_count)
{
    ap_buf_add_char(json, '[');
    size_t row_count = result && warehouse_result_columns(result) >= column_count ? warehouse_result_rows(result) : 0;
    for (size_t row = 0; row < row_count; row++) {
        ap_buf_add_cstr(json, row > 0 ? ",[" : "[");
        for (size_t column = 0; column < column_count; column++) {
            ap_buf_add_cstr(json, column > 0 ? "," : "");
            add_cell(json, warehouse_result_cell(result, row, column));
        }
        ap_buf_add_char(json, ']');
    }
    ap_buf_add_char(json, ']');
}

static void add_columns(struct ap_buf *json, const struct warehouse_result *result)
{
    ap_buf_add_char(json, '[');
    for (size_t i = 0; i < warehouse_result_columns(result); i++) {
        ap_buf_add_cstr(json, i > 0 ? ",{" : "{");
        add_text(json, "name", warehouse_result_name(result, i));
        ap_buf_add_char(json, ',');
        add_text(json, "type", warehouse_kind_name(warehouse_result_kind(result, i)));
        ap_buf_add_char(json, '}');
    }
    ap_buf_add_char(json, ']');
}

static void reply_data(struct job *job)
{
    const struct warehouse_result *result = job->answers[PART_QUERY].result;
    bool is_figure = pack_visualization_is_figure(job->panel->visualization);
    double took_ms = (double)(ap_clock_monotonic_us(job->api->clock) - job->started_us) / 1000;

    struct ap_buf json = {0};
    ap_buf_add_char(&json, '{');
    add_text(&json, "panel", job->panel->id);
    ap_buf_printf(&json, ",\"from\":%" PRId64 ",\"to\":%" PRId64 ",\"step\":%" PRId64 ",\"took_ms\":%.1f",
                  job->window.from_ms, job->window.to_ms, job->window.step_ms, took_ms);
    add_figure(&json, "value", is_figure ? result : NULL);
    add_figure(&json, "previous", job->answers[PART_PREVIOUS].result);
    ap_buf_add_cstr(&json, ",\"trend\":");
    add_rows(&json, job->answers[PART_TREND].result, 2);
    ap_buf_add_cstr(&json, ",\"columns\":");
    if (is_figure) {
        ap_buf_add_cstr(&json, "[],\"rows\":[]");
    } else {
        add_columns(&json, result);
        ap_buf_add_cstr(&json, ",\"rows\":");
        add_rows(&json, result, warehouse_result_columns(result));
    }
    ap_buf_add_char(&json, '}');
    reply_buf(job->request, &json);
}

static void job_release(struct job *job)
{
    if (atomic_fetch_sub_explicit(&job->open_count, 1, memory_order_acq_rel) > 1)
        return;
    const struct answer *failed = NULL;
    for (size_t i = 0; i < PART_COUNT && !failed; i++)
        failed = job->answers[i].err.rc != AP_OK ? &job->answers[i] : NULL;
    if (failed)
        api_reply_error(job->request, status_of(failed->err.rc), "panel %s, %s: %s", job->panel->id,
                        part_names[failed - job->answers], failed->err.text);
    else
        reply_data(job);
    for (size_t i = 0; i < PART_COUNT; i++)
        warehouse_result_unref(job->answers[i].result);
    free(job);
}

static void answer_done(struct warehouse_result *take_result, const struct warehouse_query_err *err, void *context)
{
    struct answer *answer = context;
    answer->result = take_result;
    if (err)
        answer->err = err->err;
    job_release(answer->job);
}

static void ask(struct job *job, enum part part, const struct pack_sql *sql, int64_t shift_ms)
{
    struct answer *answer = &job->answers[part];
    answer->job = job;
    const struct warehouse_param params[] = {
        {.name = "from", .kind = WAREHOUSE_PARAM_TIMESTAMP, .us = (job->window.from_ms - shift_ms) * AP_US_PER_MS},
        {.name = "to", .kind = WAREHOUSE_PARAM_TIMESTAMP, .us = (job->window.to_ms - shift_ms) * AP_US_PER_MS},
        {.name = "step", .kind = WAREHOUSE_PARAM_INTERVAL, .us = job->window.step_ms * AP_US_PER_MS},
    };
    struct warehouse_query query = {
        .sql = ap_slice_cstr(sql->text),
        .params = params,
        .param_count = sql->uses_range ? AP_ARRAY_COUNT(params) : 0,
        .row_max = job->api->query_rows_max,
        .timeout_ms = job->api->query_timeout_ms,
    };
    atomic_fetch_add_explicit(&job->open_count, 1, memory_order_relaxed);
    if (warehouse_query_submit(job->api->warehouse, &query, answer_done, answer, &answer->err) != AP_OK)
        job_release(job); /* answer->err says why; done() will not be called */
}

static void ask_panel(struct api *api, struct http_request *request, const struct pack_panel *panel,
                      const struct dashboards_window *window)
{
    struct job *job = ap_new0(struct job);
    *job = (struct job){.api = api,
                        .request = request,
                        .panel = panel,
                        .window = *window,
                        .started_us = ap_clock_monotonic_us(api->clock)};
    atomic_init(&job->open_count, 1); /* this function's, so that no early answer ends the job */
    http_suspend(request);
    ask(job, PART_QUERY, &panel->query, 0);
    if (panel->previous.text)
        ask(job, PART_PREVIOUS, &panel->previous, 0);
    else if (panel->query.uses_range && pack_visualization_is_figure(panel->visualization))
        ask(job, PART_PREVIOUS, &panel->query, window->to_ms - window->from_ms);
    if (panel->trend.text)
        ask(job, PART_TREND, &panel->trend, 0);
    job_release(job);
}

/* ---- Paths ---- */

/* False when the part cannot be the name of anything. */
static bool copy_name(struct ap_slice part, char name[NAME_BYTES_MAX])
{
    if (part.bytes == 0 || part.bytes >= NAME_BYTES_MAX || memchr(part.data, '\0', part.bytes))
        return false;
    snprintf(name, NAME_BYTES_MAX, "%.*s", AP_SLICE_ARG(part));
    return true;
}

static void handle_panel(struct api *api, struct http_request *request, const struct pack_dashboard *dashboard,
                         struct ap_slice panel_id)
{
    char id[NAME_BYTES_MAX];
    const struct pack_panel *panel = copy_name(panel_id, id) ? pack_find_panel(dashboard, id) : NULL;
    if (!panel) {
        api_reply_error(request, 404, "the dashboard %s has no such panel", dashboard->id);
        return;
    }
    struct dashboards_window window;
    const char *error;
    if (!read_window(request, dashboard, ap_clock_wall_us(api->clock) / AP_US_PER_MS, &window, &error)) {
        api_reply_error(request, 400, "%s", error);
        return;
    }
    if (panel->promql)
        panel_promql_ask(api, request, panel, &window);
    else
        ask_panel(api, request, panel, &window);
}

void dashboards_handle(struct api *api, struct http_request *request, struct ap_slice rest)
{
    if (http_method(request) != HTTP_METHOD_GET && http_method(request) != HTTP_METHOD_HEAD) {
        api_reply_error(request, 405, "dashboards are read with GET");
        return;
    }
    if (rest.bytes > 0 && rest.data[0] == '/')
        rest = ap_slice(rest.data + 1, rest.bytes - 1);
    if (rest.bytes == 0) {
        reply_list(api, request);
        return;
    }
    struct ap_slice dashboard_id = ap_slice_split(&rest, '/');
    char id[NAME_BYTES_MAX];
    const struct pack_dashboard *dashboard =
        copy_name(dashboard_id, id) ? pack_find_dashboard(api->packs, api->pack_count, id) : NULL;
    if (!dashboard) {
        api_reply_error(request, 404, "there is no such dashboard; GET /api/apiary/v1/dashboards lists them");
        return;
    }
    if (!rest.data) {
        reply_dashboard(request, dashboard);
        return;
    }
    if (ap_slice_equal_cstr(ap_slice_split(&rest, '/'), "panels") && rest.data && !memchr(rest.data, '/', rest.bytes))
        handle_panel(api, request, dashboard, rest);
    else
        api_reply_error(request, 404, "there is nothing at this path");
}
