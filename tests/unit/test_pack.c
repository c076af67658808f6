#include "pack/pack.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "warehouse/warehouse.h"

/* ---- A pack in a temporary directory ---- */

struct fixture {
    char dir[64];
    char **paths; /* owned; files to be removed */
    size_t path_count;
};

static void fixture_init(struct fixture *fx)
{
    *fx = (struct fixture){.dir = "/tmp/test_pack_XXXXXX"};
    assert_non_null(mkdtemp(fx->dir));
    static const char *const folders[] = {"views", "rollups", "dashboards", "db"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(folders); i++) {
        AP_AUTO_FREE char *path = ap_asprintf("%s/%s", fx->dir, folders[i]);
        assert_int_equal(mkdir(path, 0700), 0);
    }
}

static void fixture_write(struct fixture *fx, const char *name, const char *text)
{
    char *path = ap_asprintf("%s/%s", fx->dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    fclose(file);
    fx->paths = ap_realloc(fx->paths, (fx->path_count + 1) * sizeof(char *));
    fx->paths[fx->path_count++] = path;
}

static void fixture_clear(struct fixture *fx)
{
    for (size_t i = 0; i < fx->path_count; i++) {
        unlink(fx->paths[i]);
        free(fx->paths[i]);
    }
    free(fx->paths);
    static const char *const folders[] = {
        "/db/hot.duckdb", "/db/hot.duckdb.wal", "/views", "/rollups", "/dashboards", "/db", ""};
    for (size_t i = 0; i < AP_ARRAY_COUNT(folders); i++) {
        AP_AUTO_FREE char *path = ap_asprintf("%s%s", fx->dir, folders[i]);
        remove(path);
    }
}

#define PACK_HEAD "name: shop\nversion: \"3\"\ntitle: The shop\n"
#define PANEL     "title: T\nsections:\n- title: S\n  panels:\n  - id: p\n    title: P\n"

static void fixture_write_good(struct fixture *fx)
{
    fixture_write(fx, "pack.yaml", PACK_HEAD);
    fixture_write(fx, "views/orders.sql", "-- all\nSELECT timestamp, feature AS item FROM events\n");
    fixture_write(fx, "views/old_orders.sql", "SELECT 1 AS one\n");
    fixture_write(fx, "views/README.md", "not a view\n");
    fixture_write(fx, "rollups/days.yaml",
                  "tables: [shop_days]\n"
                  "create: CREATE TABLE shop_days (date DATE, orders BIGINT)\n"
                  "merge:\n"
                  "  - INSERT INTO shop_days SELECT date, count(*) FROM new_events GROUP BY date\n");
    fixture_write(fx, "dashboards/overview.yaml",
                  "title: Overview\n"
                  "sections:\n"
                  "  - title: Today\n"
                  "    style: cards\n"
                  "    panels:\n"
                  "      - id: orders\n"
                  "        title: Orders\n"
                  "        visualization: number\n"
                  "        unit: count\n"
                  "        target: '>= 12000'\n"
                  "        query: |\n"
                  "          SELECT count(*)\n"
                  "          FROM orders\n"
                  "          WHERE timestamp >= $from AND timestamp < $to\n"
                  "        trend: SELECT date::TIMESTAMP AS time, orders FROM shop_days\n"
                  "  - title: Later\n"
                  "    panels:\n"
                  "      - {id: items, title: Items, visualization: bar_chart, width: 12, better: lower,\n"
                  "         query: 'SELECT item, count(*) FROM orders GROUP BY item'}\n");
    fixture_write(fx, "dashboards/zero.yaml",
                  "title: Zero\nhome: true\nranges: [1h, 2w]\ndefault_range: 1h\n"
                  "sections:\n- title: S\n  panels:\n  - {id: one, title: One, visualization: gauge, unit: ratio,\n"
                  "      query: 'SELECT one FROM old_orders'}\n");
}

static void test_good_pack(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx);
    fixture_write_good(&fx);
    struct pack *pack;
    struct ap_err err;
    if (pack_load(fx.dir, &pack, &err) != AP_OK)
        fail_msg("%s", err.text);
    assert_string_equal(pack->name, "shop");
    assert_string_equal(pack->version, "3");
    assert_int_equal(pack->view_count, 2);
    assert_string_equal(pack->views[0].name, "old_orders"); /* by name */
    assert_int_equal(pack->rollup_count, 1);
    assert_string_equal(pack->rollups[0].tables[0], "shop_days");
    assert_int_equal(pack->dashboard_count, 2);
    assert_string_equal(pack->dashboards[0].id, "zero"); /* the home page first */
    assert_string_equal(pack->dashboards[0].default_range, "1h");

    const struct pack_dashboard *overview = pack_find_dashboard((const struct pack *const *)&pack, 1, "overview");
    assert_non_null(overview);
    assert_string_equal(overview->default_range, "7d");
    assert_int_equal(overview->range_count, 4);
    assert_int_equal(overview->section_count, 2);
    assert_true(overview->sections[0].is_cards);
    const struct pack_panel *orders = pack_find_panel(overview, "orders");
    assert_int_equal(orders->visualization, PACK_VISUALIZATION_NUMBER);
    assert_int_equal(orders->unit, PACK_UNIT_COUNT);
    assert_int_equal(orders->target.op, PACK_TARGET_GE);
    assert_string_equal(orders->target.text, "≥ 12,000");
    assert_int_equal(orders->better, PACK_BETTER_HIGHER);
    assert_int_equal(orders->width, 3);
    assert_int_equal(orders->query.line, 12);
    assert_true(orders->query.uses_range);
    assert_false(orders->trend.uses_range);
    assert_null(orders->previous.text);
    const struct pack_panel *items = pack_find_panel(overview, "items");
    assert_int_equal(items->better, PACK_BETTER_LOWER);
    assert_int_equal(items->width, 12);
    assert_null(pack_find_panel(overview, "nothing"));
    pack_free(pack);
    fixture_clear(&fx);
}

/* Loads a pack in which one file is otherwise; `want` is what stands behind "<dir>/<name>". */
static void check_error(const char *name, const char *text, const char *want, int line)
{
    struct fixture fx;
    fixture_init(&fx);
    fixture_write_good(&fx);
    fixture_write(&fx, name, text);
    struct pack *pack = NULL;
    struct ap_err err = {0};
    enum ap_rc rc = pack_load(fx.dir, &pack, &err);
    pack_free(pack);
    fixture_clear(&fx);
    AP_AUTO_FREE char *wanted = ap_asprintf("%s/%s%s", fx.dir, name, want);
    if (rc != AP_E_PARSE || strncmp(err.text, wanted, strlen(wanted)) != 0)
        fail_msg("line %d: rc %s, \"%s\"", line, ap_rc_name(rc), err.text);
}
#define ERROR(name, text, want) check_error(name, text, want, __LINE__)
#define D                       "dashboards/a.yaml"
static void test_errors(void **state)
{
    (void)state;
    ERROR("pack.yaml", "nmae: shop\n", ":1:1: unknown key \"nmae\"; did you mean \"name\"?");
    ERROR("pack.yaml", "name: shop\ntitle: x\n", ":1:1: \"version\" is missing");
    ERROR("pack.yaml", "name: The Shop\nversion: \"1\"\ntitle: x\n", ":1:7: name: expected a-z");
    ERROR("views/No.sql", "SELECT 1", ": its name may have a-z");
    ERROR("views/empty.sql", " \n", ":1:1: expected a SELECT");
    ERROR("rollups/r.yaml", "tables: [t]\ncreate: CREATE TABLE t (a INT)\nmerge: INSERT\n",
          ":3:8: merge: expected a list");
    ERROR("rollups/r.yaml", "tables: [t]\ncreate: CREATE TABLE t (a INT)\nmerge:\n- INSERT INTO t SELECT 1\n",
          ":4:3: merge: names no table's new rows (new_events, ");
    ERROR("rollups/r.yaml", "tables: [T-t]\ncreate: CREATE TABLE t (a INT)\nmerge: [new_events]\n",
          ":1:10: tables: expected a-z");
    ERROR(D, "titel: x\n", ":1:1: unknown key \"titel\"; did you mean \"title\"?");
    ERROR(D, "title: x\nsections: []\n", ":2:11: sections: expected a list with at least one section");
    ERROR(D, "title: x\nsections:\n- title: y\n  panels: {}\n", ":4:11: panels: expected a list");
    ERROR(D, "title: x\nranges: [7d, week]\nsections: [x]\n", ":2:14: ranges: expected a duration");
    ERROR(D, "title: x\ndefault_range: 5d\nsections: [x]\n", ":2:16: default_range: \"5d\" is none of the ranges");
    ERROR(D, PANEL "    visualization: gage\n    query: SELECT 1\n",
          ":7:20: visualization: unknown word \"gage\"; did you mean \"gauge\"?");
    ERROR(D, PANEL "    visualization: number\n    unit: second\n    query: SELECT 1\n",
          ":8:11: unit: unknown word \"second\"");
    ERROR(D, PANEL "    visualization: number\n", ":5:5: a panel has one of query, promql and metric");
    ERROR(D, PANEL "    visualization: number\n    query: SELECT 1\n    promql: up\n",
          ":5:5: a panel has one of query, promql and metric");
    ERROR(D, PANEL "    visualization: number\n    promql: sum(up\n", ":8:19: promql: parse error: unclosed left");
    ERROR(D, PANEL "    visualization: number\n    promql: up[5m]\n",
          ":8:13: promql: expected one that gives a figure");
    ERROR(D, PANEL "    visualization: number\n    promql: []\n", ":8:13: promql: expected PromQL");
    ERROR(D, PANEL "    visualization: number\n    promql: up\n    trend: SELECT 1\n",
          ":9:12: goes with query; a panel of PromQL");
    ERROR(D, PANEL "    visualization: world_map\n    promql: up\n", ":5:5: a world_map needs countries");
    ERROR(D, PANEL "    visualization: number\n    metric: up\n", ":8:13: metric: the catalogue has none of that name");
    ERROR(D, PANEL "    visualization: number\n    query: ' '\n", ":8:12: query: expected SQL");
    ERROR(D, PANEL "    visualization: number\n    query: SELECT $form\n",
          ":8:12: query: unknown parameter $form; there are $from, $to and $step");
    ERROR(D, PANEL "    visualization: number\n    query: SELECT 1\n    width: 13\n", ":9:12: width: expected 1 to 12");
    ERROR(D, PANEL "    visualization: percentage\n    query: SELECT 1\n", ":5:5: a percentage has the unit ratio");
    ERROR(D, PANEL "    visualization: bar_chart\n    query: SELECT 1\n    trend: SELECT 2\n",
          ":9:12: only a number, gauge or percentage has a previous value and a trend; this is a bar_chart");
    ERROR(D, PANEL "    visualization: number\n    unit: s\n    target: fast\n    query: SELECT 1\n",
          ":9:13: target: expected a comparison such as");
    ERROR(D, PANEL "    visualization: number\n    unit: users\n    target: '< 5ms'\n    query: SELECT 1\n",
          ":9:13: target: \"ms\" does not fit the unit users; expected a number alone");
    ERROR(D,
          PANEL "    visualization: number\n    query: SELECT 1\n"
                "  - {id: p, title: Q, visualization: number, query: SELECT 2}\n",
          ":9:5: a second panel with the id \"p\"; the first is at ");
    ERROR(D, PANEL "    visualization: number\n    query: SELECT 1\nhome: yes\n", ":9:7: home: expected true or false");
}

static void test_second_home(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx);
    fixture_write_good(&fx);
    fixture_write(&fx, "dashboards/zzz.yaml", PANEL "    visualization: number\n    query: SELECT 1\nhome: true\n");
    struct pack *pack;
    struct ap_err err;
    assert_int_equal(pack_load(fx.dir, &pack, &err), AP_E_PARSE);
    assert_non_null(strstr(err.text, "a second dashboard with \"home: true\"; the first is "));
    fixture_clear(&fx);
}

static void test_no_pack(void **state)
{
    (void)state;
    struct pack *pack;
    struct ap_err err;
    assert_int_equal(pack_load("/nonexistent", &pack, &err), AP_E_NOT_FOUND);
}

/* ---- Targets, through a pack with one panel ---- */

static void check_target(const char *unit, const char *target, enum pack_target_op want_op, double want_value,
                         const char *want_text, int line)
{
    struct fixture fx;
    fixture_init(&fx);
    fixture_write(&fx, "pack.yaml", PACK_HEAD);
    AP_AUTO_FREE char *text = ap_asprintf(
        PANEL "    visualization: number\n    unit: %s\n    target: \"%s\"\n    query: SELECT 1\n", unit, target);
    fixture_write(&fx, D, text);
    struct pack *pack;
    struct ap_err err;
    enum ap_rc rc = pack_load(fx.dir, &pack, &err);
    fixture_clear(&fx);
    if (rc != AP_OK)
        fail_msg("line %d: %s", line, err.text);
    const struct pack_panel *panel = pack_find_panel(&pack->dashboards[0], "p");
    if (panel->target.op != want_op || fabs(panel->target.value - want_value) > 1e-12 ||
        strcmp(panel->target.text, want_text) != 0)
        fail_msg("line %d: %d %.17g \"%s\"", line, panel->target.op, panel->target.value, panel->target.text);
    bool is_lower = want_op == PACK_TARGET_LT || want_op == PACK_TARGET_LE;
    assert_int_equal(panel->better, is_lower ? PACK_BETTER_LOWER : PACK_BETTER_HIGHER);
    pack_free(pack);
}
#define TARGET(unit, target, op, value, text) check_target(unit, target, PACK_TARGET_##op, value, text, __LINE__)
static void test_targets(void **state)
{
    (void)state;
    TARGET("count", ">= 1000", GE, 1000, "≥ 1,000");
    TARGET("users", ">=5000000", GE, 5000000, "≥ 5,000,000");
    TARGET("users", "> 999", GT, 999, "> 999");
    TARGET("s", "< 50ms", LT, 0.05, "< 50 ms");
    TARGET("s", "< 0.05", LT, 0.05, "< 0.05 s");
    TARGET("ms", "<= 2.5s", LE, 2500, "≤ 2.5 s");
    TARGET("ms", "≤ 2500", LE, 2500, "≤ 2,500 ms");
    TARGET("ratio", "< 0.1%", LT, 0.001, "< 0.1%");
    TARGET("ratio", ">= 0.75", GE, 0.75, "≥ 75%");
    TARGET("bytes", "<= 64MiB", LE, 67108864, "≤ 64 MiB");
    TARGET("bytes", "<25MB", LT, 25e6, "< 25 MB");
    TARGET("per_second", ">60fps", GT, 60, "> 60 fps");
    TARGET("per_second", "> 200/s", GT, 200, "> 200/s");
    TARGET("none", "> -1.5", GT, -1.5, "> -1.5");
}

static void test_ranges(void **state)
{
    (void)state;
    int64_t ms;
    assert_true(pack_parse_range("7d", &ms));
    assert_int_equal(ms, 604800000);
    assert_false(pack_parse_range("10s", &ms));
    assert_false(pack_parse_range("100000d", &ms));
    assert_false(pack_parse_range("", &ms));
}

/* ---- With a warehouse ---- */

static struct warehouse *open_warehouse(const struct fixture *fx)
{
    AP_AUTO_FREE char *dir = ap_asprintf("%s/db", fx->dir);
    struct warehouse_options options;
    warehouse_options_init(&options);
    options.dir = dir;
    options.clock = &ap_clock_system;
    options.memory_bytes_max = 128 << 20;
    options.threads = 1;
    options.reader_count = 1;
    struct warehouse *warehouse;
    struct ap_err err;
    if (warehouse_open(&options, &warehouse, &err) != AP_OK)
        fail_msg("%s", err.text);
    return warehouse;
}

struct report {
    size_t good_count;
    size_t bad_count;
};

static void count_report(const struct pack *pack, const char *what, const char *error, void *context)
{
    (void)pack;
    (void)what;
    struct report *report = context;
    if (error)
        report->bad_count++;
    else
        report->good_count++;
}

static void test_check_binds_queries(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx);
    fixture_write_good(&fx);
    struct pack *pack;
    struct ap_err err;
    assert_int_equal(pack_load(fx.dir, &pack, &err), AP_OK);
    struct warehouse *warehouse = open_warehouse(&fx);
    const struct pack *packs[] = {pack};
    if (pack_apply(packs, 1, warehouse, NULL, NULL, &err) != AP_OK)
        fail_msg("%s", err.text);
    struct report report = {0};
    if (pack_check(pack, warehouse, count_report, &report, &err) != AP_OK)
        fail_msg("%s", err.text);
    assert_int_equal(report.good_count, 4);
    assert_int_equal(report.bad_count, 0);
    warehouse_close(warehouse);
    pack_free(pack);
    fixture_clear(&fx);
}

static void test_check_names_the_line(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx);
    fixture_write_good(&fx);
    fixture_write(&fx, D,
                  PANEL "    visualization: number\n    query: |\n      SELECT count(*)\n      FROM orders\n"
                        "      WHERE itme = 'x'\n"
                        "  - {id: q, title: Q, visualization: number, query: DELETE FROM events}\n");
    struct pack *pack;
    struct ap_err err;
    assert_int_equal(pack_load(fx.dir, &pack, &err), AP_OK);
    struct warehouse *warehouse = open_warehouse(&fx);
    const struct pack *packs[] = {pack};
    assert_int_equal(pack_apply(packs, 1, warehouse, NULL, NULL, &err), AP_OK);
    struct report report = {0};
    assert_int_equal(pack_check(pack, warehouse, count_report, &report, &err), AP_E_PARSE);
    assert_int_equal(report.good_count, 4);
    assert_int_equal(report.bad_count, 2);
    AP_AUTO_FREE char *want = ap_asprintf("%s/" D ":11: dashboard a, panel p, query: ", fx.dir);
    if (strncmp(err.text, want, strlen(want)) != 0 || !strstr(err.text, "itme"))
        fail_msg("%s", err.text);
    warehouse_close(warehouse);
    pack_free(pack);
    fixture_clear(&fx);
}

static void test_packs_must_not_overlap(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx);
    fixture_write_good(&fx);
    struct pack *a, *b;
    struct ap_err err;
    assert_int_equal(pack_load(fx.dir, &a, &err), AP_OK);
    assert_int_equal(pack_load(fx.dir, &b, &err), AP_OK);
    const struct pack *packs[] = {a, b};
    assert_int_equal(pack_check_together(packs, 1, &err), AP_OK);
    assert_int_equal(pack_check_together(packs, 2, &err), AP_E_CONFLICT);
    assert_non_null(strstr(err.text, "is also the name of a dashboard of the pack in"));
    pack_free(a);
    pack_free(b);
    fixture_clear(&fx);
}

/* The pack that is shipped: every query binds, and those of the issue are in it word for word. */
static void test_hive(void **state)
{
    (void)state;
    const char *root = getenv("APIARY_SOURCE_ROOT");
    if (!root)
        skip();
    AP_AUTO_FREE char *dir = ap_asprintf("%s/packs/hive", root);
    struct pack *pack;
    struct ap_err err;
    if (pack_load(dir, &pack, &err) != AP_OK)
        fail_msg("%s", err.text);
    struct fixture fx;
    fixture_init(&fx);
    struct warehouse *warehouse = open_warehouse(&fx);
    const struct pack *packs[] = {pack};
    if (pack_apply(packs, 1, warehouse, NULL, NULL, &err) != AP_OK ||
        pack_check(pack, warehouse, NULL, NULL, &err) != AP_OK)
        fail_msg("%s", err.text);

    static const struct {
        const char *dashboard, *panel, *query;
        double target; /* 0: none */
    } promised[] = {
        {"executive", "downloads_today", "SELECT COUNT(*) FROM downloads WHERE date >= CURRENT_DATE", 1000},
        {"executive", "active_users",
         "SELECT COUNT(DISTINCT user_id) FROM sessions WHERE last_activity >= CURRENT_DATE - INTERVAL '7 days'", 5000},
        {"executive", "retention",
         "SELECT retention_rate FROM user_cohorts WHERE cohort_week = date_trunc('week', CURRENT_DATE - INTERVAL '4 "
         "weeks')",
         0.75},
        {"executive", "startup_p95",
         "SELECT percentile_cont(0.95) WITHIN GROUP (ORDER BY startup_duration) FROM performance_metrics WHERE "
         "timestamp >= CURRENT_DATE",
         0.05},
        {"executive", "consensus_success",
         "SELECT AVG(CASE WHEN success THEN 1.0 ELSE 0.0 END) FROM consensus_executions WHERE timestamp >= "
         "CURRENT_DATE",
         0.99},
        {"product", "tui_uses",
         "SELECT COUNT(*) FROM feature_usage WHERE feature = 'tui' AND date >= CURRENT_DATE - INTERVAL '7 days'", 0},
        {"product", "planning_mode_uses",
         "SELECT COUNT(*) FROM feature_usage WHERE feature = 'planning_mode' AND date >= CURRENT_DATE - INTERVAL '7 "
         "days'",
         0},
        {"product", "repository_analysis_uses",
         "SELECT COUNT(*) FROM feature_usage WHERE feature = 'repository_analysis' AND date >= CURRENT_DATE - INTERVAL "
         "'7 days'",
         0},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(promised); i++) {
        const struct pack_dashboard *dashboard = pack_find_dashboard(packs, 1, promised[i].dashboard);
        assert_non_null(dashboard);
        const struct pack_panel *panel = pack_find_panel(dashboard, promised[i].panel);
        assert_non_null(panel);
        assert_string_equal(panel->query.text, promised[i].query);
        assert_true(fabs(panel->target.value - promised[i].target) < 1e-12);
    }
    warehouse_close(warehouse);
    pack_free(pack);
    fixture_clear(&fx);
}

/* docs/packs.md holds the reference as it is printed. */
static void test_reference_is_current(void **state)
{
    (void)state;
    const char *root = getenv("APIARY_SOURCE_ROOT");
    if (!root)
        skip();
    AP_AUTO_BUF struct ap_buf described = {0};
    pack_describe(&described);
    AP_AUTO_FREE char *want = ap_buf_detach(&described);
    AP_AUTO_FREE char *path = ap_asprintf("%s/docs/packs.md", root);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    static char have[65536];
    size_t bytes = fread(have, 1, sizeof(have) - 1, file);
    fclose(file);
    have[bytes] = '\0';
    if (!strstr(have, want))
        fail_msg("docs/packs.md must end with this:\n%s", want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_pack),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_second_home),
        cmocka_unit_test(test_no_pack),
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_check_binds_queries),
        cmocka_unit_test(test_check_names_the_line),
        cmocka_unit_test(test_packs_must_not_overlap),
        cmocka_unit_test(test_hive),
        cmocka_unit_test(test_reference_is_current),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
