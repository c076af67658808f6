/* The metric catalogue of a pack: what it reads, and what it refuses, with the place. */
#include "pack/catalogue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "promql/parser.h"

/* ---- A pack with one area in a temporary directory ---- */

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    fclose(file);
}

static enum ap_rc load(const char *area, char dir[64], struct pack **ret_pack, struct ap_err *err)
{
    strcpy(dir, "/tmp/test_catalogue_XXXXXX");
    assert_non_null(mkdtemp(dir));
    AP_AUTO_FREE char *folder = ap_asprintf("%s/metrics", dir);
    AP_AUTO_FREE char *pack = ap_asprintf("%s/pack.yaml", dir);
    AP_AUTO_FREE char *file = ap_asprintf("%s/a.yaml", folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    write_file(pack, "name: shop\nversion: \"3\"\ntitle: The shop\nservices: [till, shop/web]\n");
    write_file(file, area);
    enum ap_rc rc = pack_load(dir, ret_pack, err);
    unlink(file);
    unlink(pack);
    rmdir(folder);
    rmdir(dir);
    return rc;
}

#define HEAD "title: A\nmetrics:\n"
/* One entry of five lines; its own line 3 is line 5 of the file. */
#define ENTRY(name, series, type, unit, rest)                                                                          \
    "- {name: " name ", series: " series ", type: " type ", unit: \"" unit "\",\n"                                     \
    "   title: T, meaning: M, owner: O,\n"                                                                             \
    "   " rest "}\n"

static void test_reads_entries(void **state)
{
    (void)state;
    char dir[64];
    struct ap_err err;
    AP_AUTO(pack) struct pack *pack = NULL;
    if (load(HEAD "- name: till.open.duration\n"
                  "  series: till_open_duration_seconds\n"
                  "  type: histogram\n"
                  "  unit: s\n"
                  "  title: Opening\n"
                  "  meaning: From key to drawer.\n"
                  "  owner: tills\n"
                  "  short_name: opening\n"
                  "  attributes:\n"
                  "  - {name: kind, meaning: Which., values: [old, new]}\n"
                  "  query: histogram_quantile(0.9, rate(till_open_duration_seconds_bucket[5m]))\n"
                  "  target: '<50ms'\n" ENTRY("sales", "sales_total", "counter", "{sale}",
                                              "query: 'sum(rate(sales_total[5m]))', query_unit: per_second"),
             dir, &pack, &err) != AP_OK)
        fail_msg("%s", err.text);
    assert_int_equal(pack->service_count, 2);
    assert_string_equal(pack->services[1], "shop/web");
    assert_int_equal(pack->area_count, 1);
    assert_string_equal(pack->areas[0].id, "a");
    assert_int_equal(pack->areas[0].metric_count, 2);
    const struct catalogue_metric *opening = catalogue_find(pack, ap_slice_cstr("opening"));
    assert_ptr_equal(opening, &pack->areas[0].metrics[0]);
    assert_ptr_equal(catalogue_find(pack, ap_slice_cstr("till.open.duration")), opening);
    assert_int_equal(opening->type, CATALOGUE_HISTOGRAM);
    assert_int_equal(opening->query_unit, PACK_UNIT_S);
    assert_true(opening->target.op == PACK_TARGET_LT && opening->target.value > 0.0499 &&
                opening->target.value < 0.0501);
    assert_int_equal(opening->better, PACK_BETTER_LOWER);
    assert_int_equal(opening->attribute_count, 1);
    assert_string_equal(opening->attributes[0].values[1], "new");
    const struct catalogue_metric *sales = catalogue_find(pack, ap_slice_cstr("sales_total"));
    assert_int_equal(sales->query_unit, PACK_UNIT_PER_SECOND);
    assert_null(sales->short_name);
    assert_null(catalogue_find(pack, ap_slice_cstr("nothing")));

    assert_ptr_equal(catalogue_find_series(pack, ap_slice_cstr("till_open_duration_seconds_count")), opening);
    assert_ptr_equal(catalogue_find_series(pack, ap_slice_cstr("till_open_duration_seconds")), opening);
    assert_null(catalogue_find_series(pack, ap_slice_cstr("till_open_duration_seconds_total")));
    assert_ptr_equal(catalogue_find_series(pack, ap_slice_cstr("sales_total")), sales);
    assert_null(catalogue_find_series(pack, ap_slice_cstr("sales_total_count"))); /* it is no histogram */
}

static void check_error(const char *area, const char *want, int line)
{
    char dir[64];
    struct ap_err err = {0};
    struct pack *pack = NULL;
    enum ap_rc rc = load(area, dir, &pack, &err);
    pack_free(pack);
    AP_AUTO_FREE char *wanted = ap_asprintf("%s/metrics/a.yaml:%s", dir, want);
    if (rc != AP_E_PARSE || strncmp(err.text, wanted, strlen(wanted)) != 0)
        fail_msg("line %d: rc %s, \"%s\"", line, ap_rc_name(rc), err.text);
}
#define ERROR(area, want) check_error(HEAD area, want, __LINE__)
#define QUERY             "query: sum(x)"

static void test_errors(void **state)
{
    (void)state;
    check_error("title: A\nmetrics: {}\n", "2:10: metrics: expected a list with at least one metric", __LINE__);
    check_error("title: A\nmetrisc: []\n", "2:1: unknown key \"metrisc\"; did you mean \"metrics\"?", __LINE__);
    ERROR(ENTRY("x", "x", "gauge", "1", "owner_: me"), "5:4: unknown key \"owner_\"; did you mean \"owner\"?");
    ERROR(ENTRY("x", "x", "gauge", "1", "short_name: x"), "3:3: \"query\" is missing");
    ERROR(ENTRY("x", "x", "gaauge", "1", QUERY), "3:30: type: unknown word \"gaauge\"; did you mean \"gauge\"?");
    ERROR(ENTRY("x y", "x", "gauge", "1", QUERY), "3:10: name: expected a letter");
    ERROR(ENTRY("x", "x.y", "gauge", "1", QUERY), "3:21: series: expected a letter or _");
    ERROR(ENTRY("x", "x", "gauge", "sec", QUERY), "3:43: unit: \"sec\" is no unit that is known here; expected one of");
    ERROR(ENTRY("x", "x", "gauge", "{}", QUERY), "3:43: unit: \"{}\" is no unit");
    ERROR(ENTRY("x", "x", "gauge", "{a}/m", QUERY), "3:43: unit: \"{a}/m\" is no unit");
    ERROR(ENTRY("x", "x", "gauge", "s", QUERY ", target: fast"), "5:27: target: expected a comparison such as");
    ERROR(ENTRY("x", "x", "gauge", "s", QUERY ", target: '<25MB'"), "5:27: target: \"MB\" does not fit the unit s;");
    ERROR(ENTRY("x", "x", "gauge", "1", QUERY ", short_name: X"), "5:31: short_name: expected a-z");
    ERROR(ENTRY("x", "x", "gauge", "1", QUERY ", attributes: {}"), "5:31: attributes: expected a list");
    ERROR(ENTRY("x", "x", "gauge", "1", QUERY ", attributes: [{name: a}, {name: a}]"),
          "5:43: attributes: \"a\" is there twice");
}

static void test_queries_are_checked(void **state)
{
    (void)state;
    ERROR(ENTRY("x", "x", "gauge", "1", "query: 'sum(x'"), "5:17: query: parse error: unclosed left parenthesis");
    ERROR(ENTRY("x", "x", "gauge", "1", "query: 'x[5m]'"),
          "5:11: query: expected one that gives a figure, this one gives a range vector");
    ERROR(ENTRY("x", "x", "gauge", "1", "query: \"'x'\""), "5:11: query: expected one that gives a figure");
    ERROR("- name: x\n  series: x\n  type: gauge\n  unit: s\n  title: T\n  meaning: M\n  owner: O\n"
          "  query: |\n    sum(x)\n      + bogus(x)\n",
          "12:5: query: parse error: unknown function with name \"bogus\"");
    ERROR(ENTRY("x", "x", "gauge", "1", "query: 'sum(x) / sum(rate({__name__=\"y_total\"}[5m]))'"),
          "3:3: query: \"y_total\" is the series of no metric in the catalogue");
    ERROR(ENTRY("x", "x", "gauge", "1", "query: 'rate(x_count[5m])'"),
          "3:3: query: \"x_count\" is the series of no metric in the catalogue");
}

static void test_names_are_there_once(void **state)
{
    (void)state;
#define ONE ENTRY("x.a", "x_a", "gauge", "1", "query: x_a, short_name: xa")
    ERROR(ONE ENTRY("x.a", "y", "gauge", "1", "query: y"),
          "6:3: a second metric with the name \"x.a\"; the first is at ");
    ERROR(ONE ENTRY("y", "x_a", "gauge", "1", "query: x_a"), "6:3: a second metric with the name \"x_a\"");
    ERROR(ONE ENTRY("y", "y", "gauge", "1", "query: y, short_name: xa"), "6:3: a second metric with the name \"xa\"");
    ERROR(ONE ENTRY("xa", "y", "gauge", "1", "query: y"), "6:3: a second metric with the name \"xa\"");
    ERROR(ONE ENTRY("y", "y", "gauge", "1", "query: y, short_name: x_a"), "6:3: a second metric with the name \"x_a\"");
}

static void test_units_have_words(void **state)
{
    (void)state;
    assert_string_equal(catalogue_unit_word("s"), "seconds");
    assert_string_equal(catalogue_unit_word("By"), "bytes");
    assert_string_equal(catalogue_unit_word("1"), "");
    assert_string_equal(catalogue_unit_word("{session}"), "");
    assert_string_equal(catalogue_unit_word("{file}/s"), "per_second");
    assert_null(catalogue_unit_word("{file"));
    assert_null(catalogue_unit_word(""));
}

/* ---- The pack that is shipped ---- */

/* Everything that the product was promised to be watched for, and the short names that its alert rules use. */
static void test_hive(void **state)
{
    (void)state;
    const char *root = getenv("APIARY_SOURCE_ROOT");
    if (!root)
        skip();
    AP_AUTO_FREE char *dir = ap_asprintf("%s/packs/hive", root);
    struct ap_err err;
    AP_AUTO(pack) struct pack *pack = NULL;
    if (pack_load(dir, &pack, &err) != AP_OK) /* parses every query and finds every series in it */
        fail_msg("%s", err.text);
    static const char *const areas[] = {"core", "planning", "repository_analysis", "terminal"};
    static const size_t counts[] = {6, 4, 4, 4};
    assert_int_equal(pack->area_count, AP_ARRAY_COUNT(areas));
    for (size_t i = 0; i < AP_ARRAY_COUNT(areas); i++) {
        assert_string_equal(pack->areas[i].id, areas[i]);
        assert_int_equal(pack->areas[i].metric_count, counts[i]);
    }
    static const struct {
        const char *short_name;
        enum pack_unit unit;
        enum pack_target_op op;
        double target;
    } promised[] = {
        {"startup_time", PACK_UNIT_S, PACK_TARGET_LT, 0.05},
        {"consensus_duration", PACK_UNIT_S, PACK_TARGET_LT, 0.5},
        {"memory_usage", PACK_UNIT_BYTES, PACK_TARGET_LT, 25e6},
        {"error_rate", PACK_UNIT_RATIO, PACK_TARGET_LT, 0.001},
        {"tui_frame_rate", PACK_UNIT_PER_SECOND, PACK_TARGET_GT, 60},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(promised); i++) {
        const struct catalogue_metric *metric = catalogue_find(pack, ap_slice_cstr(promised[i].short_name));
        assert_non_null(metric);
        assert_string_equal(metric->short_name, promised[i].short_name);
        assert_int_equal(metric->query_unit, promised[i].unit);
        assert_int_equal(metric->target.op, promised[i].op);
        assert_true(metric->target.value > promised[i].target * 0.999 &&
                    metric->target.value < promised[i].target * 1.001);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_entries),       cmocka_unit_test(test_errors),
        cmocka_unit_test(test_queries_are_checked), cmocka_unit_test(test_names_are_there_once),
        cmocka_unit_test(test_units_have_words),    cmocka_unit_test(test_hive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
