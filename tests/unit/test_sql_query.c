/* rules/sql_query.h over a warehouse: rows as samples, and what a rule may ask. */
#include "test_warehouse_fixture.h"

#include "promql/float_text.h"
#include "rules/sql_query.h"
#include "tsdb/labels.h"

/* "{a="b"} 1.5" a line, or what it failed with; behind it "no figure" where no row has one. */
static void ask_rule(struct fixture *fx, const char *sql, struct rule_threshold threshold, struct ap_buf *out)
{
    const struct rules_world world = {.warehouse = fx->warehouse, .sql_timeout_ms = 5000};
    const struct rule rule = {.language = RULE_LANGUAGE_SQL, .expr = ap_slice_cstr(sql), .threshold = threshold};
    AP_AUTO_ARENA struct ap_arena arena;
    ap_arena_init(&arena, 0);
    struct rules_vector vector = {0};
    bool has_figure = true;
    struct ap_err err;
    ap_buf_reset(out);
    if (rules_sql_query(&world, &rule, NOON_US / 1000, 60000, &arena, &vector, &has_figure, &err) != AP_OK)
        ap_buf_printf(out, "failed: %s", err.text);
    for (size_t i = 0; i < vector.count; i++) {
        assert_int_equal(vector.samples[i].ts_ms, NOON_US / 1000);
        labels_format(vector.samples[i].labels, out);
        ap_buf_printf(out, " %s\n", go_float(vector.samples[i].value).text);
    }
    ap_buf_add_cstr(out, has_figure ? "" : "no figure");
    ap_buf_add_char(out, '\0');
}

static void assert_asked(struct fixture *fx, const char *sql, struct rule_threshold threshold, const char *want,
                         int line)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    ask_rule(fx, sql, threshold, &text);
    if (strcmp(text.data, want) != 0)
        fail_msg("line %d: %s\ngave %s\nnot  %s", line, sql, text.data, want);
}

#define NONE               ((struct rule_threshold){0})
#define ABOVE(bound)       ((struct rule_threshold){THRESHOLD_GREATER, bound})
#define GIVES(sql, want)   assert_asked(*state, sql, NONE, want, __LINE__)
#define FAILS(sql, reason) assert_asked(*state, sql, NONE, "failed: " reason, __LINE__)

static void test_rows(void **state)
{
    GIVES("SELECT 1.5 AS value", "{} 1.5\n");
    GIVES("SELECT 3", "{} 3\n"); /* the only number, whatever it is called */
    GIVES("SELECT true AS \"Value\"", "{} 1\n");
    GIVES("FROM (VALUES ('2.1.0', 1), ('2.2.0', 2)) t(version, value)",
          "{version=\"2.1.0\"} 1\n{version=\"2.2.0\"} 2\n");
    GIVES("SELECT 'x' AS \"the command\", 'y' AS \"2nd\", 'é' AS a, true AS b, 7 AS value",
          "{_2nd=\"y\", a=\"é\", b=\"true\", the_command=\"x\"} 7\n");
    GIVES("SELECT NULL::VARCHAR AS gone, '' AS empty, 1 AS value", "{} 1\n");
    GIVES("SELECT 9223372036854775807 AS value", "{} 9.223372036854776e+18\n");
    GIVES("SELECT count(*) AS value FROM events", "{} 0\n"); /* nothing counted is a figure */
}

static void test_figures(void **state)
{
    GIVES("SELECT max(duration_ms) AS value FROM events", "no figure");
    GIVES("SELECT duration_ms AS value FROM events", "no figure");
    GIVES("SELECT 'NaN'::DOUBLE AS value", "no figure");
    assert_asked(*state, "FROM (VALUES ('a', 5), ('b', NULL), ('c', 6)) t(x, value)", ABOVE(5), "{x=\"c\"} 6\n",
                 __LINE__);
    assert_asked(*state, "SELECT 5 AS value", ABOVE(5), "", __LINE__); /* a figure, and all is well */
}

static void test_parameters(void **state)
{
    append_events(*state, "s", "u", NOON_US - 30 * AP_US_PER_S, 7, 1);
    append_events(*state, "s", "u", NOON_US - 90 * AP_US_PER_S, 8, 1);
    wait_applied(*state);
    GIVES("SELECT duration_ms AS value FROM events WHERE timestamp > $from AND timestamp <= $to", "{} 7\n");
    GIVES("SELECT duration_ms AS value FROM events WHERE timestamp <= $now - $step", "{} 8\n");
    GIVES("SELECT epoch_ms($now) / 1000 AS value", "{} 1.7954352e+09\n");
}

static void test_columns_that_fit_nothing(void **state)
{
    FAILS("SELECT 'a' AS x", "no column is a number: expected the figure, called \"value\"");
    FAILS("SELECT 1 AS x, 2 AS y", "several columns are numbers: call the figure \"value\"");
    FAILS("SELECT 'a' AS value", "the column value is a text, and has to be a number");
    FAILS("SELECT 1 AS value, 2 AS y",
          "the column y is a number beside the figure: leave it out, or make a text of it that can be a label "
          "(y::VARCHAR)");
    FAILS("SELECT 1 AS value, $now AS at", "the column at is a time, and can be no label: each moment would be an "
                                           "alert of its own; leave it out");
    FAILS("SELECT 1 AS value, 'a' AS \"x y\", 'b' AS x_y", "the columns x y and x_y would be one label, x_y");
    FAILS("SELECT i AS value FROM range(10001) r(i)", "the query gives more than 10000 rows");
}

/* Readers cannot change anything, whoever asks. */
static void test_only_reading(void **state)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    ask_rule(*state, "DELETE FROM events", NONE, &text);
    assert_non_null(strstr(text.data, "failed: only SELECT can be asked here, not DELETE"));
    ask_rule(*state, "SELECT 1 AS value FROM '/etc/passwd'", NONE, &text);
    assert_non_null(strstr(text.data, "failed: "));
}

static void test_time_limit(void **state)
{
    struct fixture *fx = *state;
    const struct rules_world world = {.warehouse = fx->warehouse, .sql_timeout_ms = 100};
    const struct rule rule = {
        .language = RULE_LANGUAGE_SQL,
        .expr = ap_slice_cstr("SELECT count(*) AS value FROM range(1000000000) a, range(1000000) b WHERE a.range = "
                              "b.range * 7 + random()")};
    AP_AUTO_ARENA struct ap_arena arena;
    ap_arena_init(&arena, 0);
    struct rules_vector vector;
    bool has_figure;
    struct ap_err err;
    assert_int_equal(rules_sql_query(&world, &rule, 0, 1000, &arena, &vector, &has_figure, &err), AP_E_TIMEOUT);
    bool is_ending = true; /* whoever waits for an answer goes, and the answer is freed by the one who brings it */
    const struct rules_world ending = {.warehouse = fx->warehouse, .sql_timeout_ms = 1000, .is_ending = &is_ending};
    assert_int_equal(rules_sql_query(&ending, &rule, 0, 1000, &arena, &vector, &has_figure, &err), AP_E_TIMEOUT);
    assert_string_equal(err.text, "the server is shutting down");
    const struct rules_world nowhere = {0};
    assert_int_equal(rules_sql_query(&nowhere, &rule, 0, 1000, &arena, &vector, &has_figure, &err), AP_E_CONFLICT);
}

/* A warehouse that nothing is written to yet: what is missing in its tables is not missing. */
static void test_tables_that_are_behind(void **state)
{
    struct fixture *fx = *state;
    AP_AUTO_BUF struct ap_buf text = {0};
    struct warehouse_options options;
    close_all(fx);
    warehouse_options_init(&options);
    options.dir = fx->dir;
    MUST(warehouse_open(&options, &fx->warehouse, err));
    ask_rule(fx, "SELECT max(duration_ms) AS value FROM events", NONE, &text);
    warehouse_close(AP_MOVE(fx->warehouse));
    assert_string_equal(text.data, "failed: the tables do not have all rows yet that came before the server started");
    open_all(fx);
}

/* With the rows of before the start, of which there are none. */
static int setup_caught_up(void **state)
{
    struct warehouse_stats stats = {0};
    int rc = setup(state);
    while (!stats.is_caught_up) {
        warehouse_stats_get(((struct fixture *)*state)->warehouse, &stats);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return rc;
}

static void collect(const char *sentence, void *context)
{
    ap_buf_printf(context, "%s\n", sentence);
}

static void test_checking(void **state)
{
    struct fixture *fx = *state;
    AP_AUTO_BUF struct ap_buf text = {0};
    struct rule rules[] = {
        {.name = "good", .language = RULE_LANGUAGE_SQL, .expr = ap_slice_cstr("SELECT 1 AS value"), .expr_line = 3},
        {.name = "series", .expr = ap_slice_cstr("up"), .expr_line = 4},
        {.name = "Bad",
         .is_alert = true,
         .language = RULE_LANGUAGE_SQL,
         .expr = ap_slice_cstr("SELECT count(*) AS value\nFROM nothing"),
         .expr_line = 7},
        {.name = "two", .language = RULE_LANGUAGE_SQL, .expr = ap_slice_cstr("SELECT 1, 2"), .expr_line = 9},
    };
    const struct rule_group group = {.file = "r.yml", .rules = rules, .rule_count = AP_ARRAY_COUNT(rules)};
    assert_int_equal(rules_sql_check_group(fx->warehouse, &group, collect, &text), 2);
    ap_buf_add_char(&text, '\0');
    assert_non_null(
        strstr(text.data, "r.yml:8: alert Bad: sql: Catalog Error: Table with name nothing does not exist"));
    assert_non_null(
        strstr(text.data, "\nr.yml:9: record two: sql: several columns are numbers: call the figure \"value\"\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rows, setup_caught_up, teardown),
        cmocka_unit_test_setup_teardown(test_figures, setup_caught_up, teardown),
        cmocka_unit_test_setup_teardown(test_parameters, setup_caught_up, teardown),
        cmocka_unit_test_setup_teardown(test_columns_that_fit_nothing, setup_caught_up, teardown),
        cmocka_unit_test_setup_teardown(test_only_reading, setup_caught_up, teardown),
        cmocka_unit_test_setup_teardown(test_time_limit, setup_caught_up, teardown),
        cmocka_unit_test_setup_teardown(test_tables_that_are_behind, setup_caught_up, teardown),
        cmocka_unit_test_setup_teardown(test_checking, setup_caught_up, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
