/* Packs and the warehouse: handing over views and roll-ups, and binding every query. */
#include <stdio.h>

#include "pack/pack_internal.h"
#include "rules/sql_query.h"
#include "warehouse/warehouse.h"

/* ---- Views and roll-ups ---- */

static const char *const *merge_texts(struct ap_arena *arena, const struct pack_rollup *rollup)
{
    const char **texts = ap_arena_alloc0(arena, rollup->merge_count * sizeof(*texts));
    for (size_t i = 0; i < rollup->merge_count; i++)
        texts[i] = rollup->merges[i].text;
    return texts;
}

enum ap_rc pack_apply(const struct pack *const *packs, size_t pack_count, struct warehouse *warehouse,
                      void (*progress)(const char *name, unsigned day, unsigned day_count, void *context),
                      void *context, struct ap_err *err)
{
    enum ap_rc rc = pack_check_together(packs, pack_count, err);
    if (rc != AP_OK)
        return rc;
    size_t view_count = 0, rollup_count = 0;
    for (size_t i = 0; i < pack_count; i++) {
        view_count += packs[i]->view_count;
        rollup_count += packs[i]->rollup_count;
    }
    AP_AUTO_ARENA struct ap_arena arena;
    ap_arena_init(&arena, 0);
    struct warehouse_view *views = ap_arena_alloc0(&arena, (view_count + 1) * sizeof(*views));
    struct warehouse_rollup *rollups = ap_arena_alloc0(&arena, (rollup_count + 1) * sizeof(*rollups));
    size_t view_index = 0, rollup_index = 0;
    for (size_t i = 0; i < pack_count; i++) {
        for (size_t v = 0; v < packs[i]->view_count; v++) {
            const struct pack_view *view = &packs[i]->views[v];
            views[view_index++] =
                (struct warehouse_view){.name = view->name, .sql = view->sql.text, .where = view->sql.file};
        }
        for (size_t r = 0; r < packs[i]->rollup_count; r++) {
            const struct pack_rollup *rollup = &packs[i]->rollups[r];
            rollups[rollup_index++] = (struct warehouse_rollup){.name = rollup->name,
                                                                .tables = rollup->tables,
                                                                .table_count = rollup->table_count,
                                                                .ddl = rollup->create.text,
                                                                .merges = merge_texts(&arena, rollup),
                                                                .merge_count = rollup->merge_count,
                                                                .where = rollup->create.file};
        }
    }
    return warehouse_apply_schema(warehouse, rollups, rollup_count, views, view_count, progress, context, err);
}

/* ---- Queries ---- */

struct check {
    const struct pack *pack;
    struct warehouse *warehouse;
    pack_report_fn report;
    void *context;
    struct ap_err *err;
    enum ap_rc rc; /* of the first failure */
};

/* Any window will do for binding; types are what counts. */
static const struct warehouse_param params[] = {
    {.name = "from", .kind = WAREHOUSE_PARAM_TIMESTAMP, .us = 0},
    {.name = "to", .kind = WAREHOUSE_PARAM_TIMESTAMP, .us = INT64_C(86400000000)},
    {.name = "step", .kind = WAREHOUSE_PARAM_INTERVAL, .us = INT64_C(3600000000)},
};

/* `line` is that of the SQL, from 1. */
static void report_sql(struct check *check, const char *what, const struct pack_sql *sql, int line,
                       const struct ap_err *reason)
{
    char sentence[2 * AP_ERR_TEXT_BYTES];
    if (reason) {
        snprintf(sentence, sizeof(sentence), "%s:%d: %s: %s", sql->file, sql->line + line - 1, what, reason->text);
        if (check->rc == AP_OK)
            check->rc = ap_fail(check->err, AP_E_PARSE, "%s", sentence);
    }
    if (check->report)
        check->report(check->pack, what, reason ? sentence : NULL, check->context);
}

static void check_sql(struct check *check, const char *what, const struct pack_sql *sql)
{
    if (!sql->text)
        return;
    struct warehouse_query query = {
        .sql = ap_slice_cstr(sql->text), .params = params, .param_count = AP_ARRAY_COUNT(params)};
    struct warehouse_query_err query_err = {0};
    enum ap_rc rc = warehouse_query_check(check->warehouse, &query, &query_err);
    report_sql(check, what, sql, query_err.line > 0 ? (int)query_err.line : 1, rc == AP_OK ? NULL : &query_err.err);
}

static void check_rule(struct check *check, const char *what, const struct pack_sql *sql)
{
    struct ap_err reason;
    int line;
    enum ap_rc rc = rules_sql_check(check->warehouse, ap_slice_cstr(sql->text), &line, &reason);
    report_sql(check, what, sql, line, rc == AP_OK ? NULL : &reason);
}

/* PromQL needs no warehouse: it was parsed when the pack was loaded. */
static void report_promql(const struct check *check, const char *what)
{
    if (check->report)
        check->report(check->pack, what, NULL, check->context);
}

static void check_panel(struct check *check, const struct pack_dashboard *dashboard, const struct pack_panel *panel)
{
    const struct {
        const char *key;
        const struct pack_sql *sql;
    } queries[] = {{"query", &panel->query}, {"previous", &panel->previous}, {"trend", &panel->trend}};
    for (size_t i = 0; i < AP_ARRAY_COUNT(queries); i++) {
        char what[256];
        snprintf(what, sizeof(what), "dashboard %s, panel %s, %s", dashboard->id, panel->id, queries[i].key);
        if (!panel->promql)
            check_sql(check, what, queries[i].sql);
        else if (i == 0)
            report_promql(check, what);
    }
}

static void check_dashboards(struct check *check)
{
    for (size_t d = 0; d < check->pack->dashboard_count; d++) {
        const struct pack_dashboard *dashboard = &check->pack->dashboards[d];
        for (size_t s = 0; s < dashboard->section_count; s++)
            for (size_t p = 0; p < dashboard->sections[s].panel_count; p++)
                check_panel(check, dashboard, &dashboard->sections[s].panels[p]);
    }
}

enum ap_rc pack_check_dashboards(const struct pack *pack, struct warehouse *warehouse, struct ap_err *err)
{
    struct check check = {.pack = pack, .warehouse = warehouse, .err = err};
    check_dashboards(&check);
    return check.rc;
}

enum ap_rc pack_check(const struct pack *pack, struct warehouse *warehouse, pack_report_fn report, void *context,
                      struct ap_err *err)
{
    struct check check = {.pack = pack, .warehouse = warehouse, .report = report, .context = context, .err = err};
    for (size_t a = 0; a < pack->area_count; a++) {
        for (size_t m = 0; m < pack->areas[a].metric_count; m++) {
            char what[512];
            snprintf(what, sizeof(what), "metric %s, query", pack->areas[a].metrics[m].name);
            report_promql(&check, what);
        }
    }
    for (size_t a = 0; a < pack->alert_count; a++) {
        char what[512];
        snprintf(what, sizeof(what), "alert %s, %s", pack->alerts[a].name, pack->alerts[a].severity);
        if (pack->alerts[a].sql)
            check_rule(&check, what, &pack->alerts[a].sql->sql);
        else
            report_promql(&check, what);
    }
    check_dashboards(&check);
    return check.rc;
}
