/* warehouse/guard.h and the limits of questions: nothing but one SELECT runs, it cannot reach out, and it cannot hog.
 */
#include "test_warehouse_fixture.h"

#include <pthread.h>
#include <stdatomic.h>

/* Asks with a limit of its own; the answer is thrown away. */
static enum ap_rc try_sql(struct fixture *fx, const char *sql, uint32_t timeout_ms, struct warehouse_query_err *err)
{
    AP_AUTO(warehouse_result) struct warehouse_result *result = NULL;
    struct warehouse_query query = {.sql = ap_slice_cstr(sql), .is_uncached = true, .timeout_ms = timeout_ms};
    return warehouse_query_run(fx->warehouse, &query, &result, err);
}

static void assert_refused(struct fixture *fx, const char *sql, const char *want_text, int line)
{
    struct warehouse_query_err err;
    enum ap_rc rc = try_sql(fx, sql, 5000, &err);
    if (rc != AP_E_PARSE || !strstr(err.err.text, want_text)) {
        print_error("line %d: %s\n  gave %d: %s\n  not: %s\n", line, sql, rc, rc == AP_OK ? "rows" : err.err.text,
                    want_text);
        fail();
    }
}

static void assert_answered(struct fixture *fx, const char *sql, int line)
{
    struct warehouse_query_err err;
    if (try_sql(fx, sql, 5000, &err) != AP_OK)
        fail_msg("line %d: %s: %s", line, sql, err.err.text);
}

#define REFUSED(sql, want_text) assert_refused(fx, sql, want_text, __LINE__)
#define ANSWERED(sql)           assert_answered(fx, sql, __LINE__)

static void test_only_one_select(void **state)
{
    struct fixture *fx = *state;
    append_events(fx, "s", "u", NOON_US, 0, 3);
    wait_applied(fx);
    REFUSED("DELETE FROM events", "only SELECT can be asked here, not DELETE");
    REFUSED("INSERT INTO events(lsn) VALUES (1)", "not INSERT");
    REFUSED("UPDATE events SET lsn = 0", "not UPDATE");
    REFUSED("DROP TABLE events", "not DROP");
    REFUSED("CREATE TABLE t (i INT)", "not CREATE");
    REFUSED("CREATE TEMP TABLE t AS SELECT 1", "not CREATE");
    REFUSED("CREATE MACRO f() AS 1", "not CREATE");
    REFUSED("ALTER TABLE events DROP COLUMN lsn", "not ALTER");
    REFUSED("MERGE INTO events USING events AS e ON false WHEN NOT MATCHED THEN INSERT DEFAULT VALUES", "only SELECT");
    REFUSED("COMMENT ON TABLE events IS 'x'", "only SELECT");
    REFUSED("SET threads = 1", "not SET");
    REFUSED("SET VARIABLE x = 1", "not SET");
    REFUSED("RESET threads", "not SET");
    REFUSED("USE memory", "not SET");
    REFUSED("PRAGMA enable_profiling", "not PRAGMA");
    REFUSED("CALL pragma_version()", "not CALL");
    REFUSED("CHECKPOINT", "only SELECT");
    REFUSED("FORCE CHECKPOINT", "only SELECT");
    REFUSED("VACUUM", "not VACUUM");
    REFUSED("EXPLAIN SELECT 1", "not EXPLAIN");
    REFUSED("EXPLAIN ANALYZE DELETE FROM events", "not EXPLAIN");
    REFUSED("PREPARE p AS SELECT 1", "not PREPARE");
    REFUSED("EXECUTE p", "p");
    REFUSED("BEGIN", "not a transaction statement");
    REFUSED("COMMIT", "not a transaction statement");
    REFUSED("ROLLBACK", "not a transaction statement");
    REFUSED("LOAD httpfs", "not LOAD");
    REFUSED("INSTALL httpfs", "not LOAD");
    REFUSED("UPDATE EXTENSIONS", "only SELECT");
    REFUSED("ATTACH ':memory:' AS x", "not ATTACH");
    REFUSED("DETACH hot", "not DETACH");
    REFUSED("SELECT 1; SELECT 2", "expected one SELECT, got 2 statements");
    REFUSED("SELECT 1; DELETE FROM events", "expected one SELECT, got 2 statements");
    REFUSED("", "the query is empty");
    REFUSED(" ; -- nothing", "the query is empty");
    REFUSED("SELECT 1 INTO x", "INTO");
    REFUSED("WITH x AS (DELETE FROM events RETURNING *) SELECT * FROM x", "CTE");
    REFUSED("WITH x AS (INSERT INTO events(lsn) VALUES (1) RETURNING *) SELECT * FROM x", "CTE");
    REFUSED("WITH x AS (COPY events TO '/tmp/x') SELECT 1", "CTE");
    REFUSED("SELECT * FROM (DELETE FROM events RETURNING 1)", "syntax error");
    ANSWERED("SELECT 1;");
    ANSWERED("FROM events");
    ANSWERED("VALUES (1)");
    ANSWERED("DESCRIBE events");
    ANSWERED("SUMMARIZE events");
    ANSWERED("SHOW TABLES");
    ANSWERED("PIVOT events ON session_id IN ('s') USING count(*)");
    assert_true(number(fx, "SELECT COUNT(*) FROM events") == 3);
}

static void test_mistakes_have_a_place(void **state)
{
    struct fixture *fx = *state;
    struct warehouse_query_err err;
    assert_int_equal(try_sql(fx, "SELECT 1\nFROM events\nWHERE nonsense = 1", 0, &err), AP_E_PARSE);
    assert_int_equal(err.line, 3);
    assert_int_equal(err.column, 7);
    assert_non_null(strstr(err.err.text, "nonsense"));
    assert_int_equal(try_sql(fx, "SELEC 1", 0, &err), AP_E_PARSE);
    assert_int_equal(err.line, 1);
    assert_int_equal(err.column, 1);
    assert_int_equal(try_sql(fx, "SELECT CAST('x' AS INTEGER)", 0, &err), AP_E_PARSE);
    assert_non_null(strstr(err.err.text, "'x'"));
}

static void test_nothing_outside(void **state)
{
    struct fixture *fx = *state;
    static const char *const reads[] = {
        "'/etc/passwd.csv'",
        "'https://example.com/x.parquet'",
        "read_csv('/etc/passwd')",
        "read_csv('https://example.com/x.csv')",
        "read_csv_auto('/etc/passwd')",
        "sniff_csv('/etc/passwd')",
        "read_text('/etc/passwd')",
        "read_blob('/etc/passwd')",
        "glob('/etc/*')",
        "glob('*')",
        "read_parquet('/etc/passwd')",
        "parquet_scan('/etc/passwd')",
        "parquet_metadata('/etc/passwd')",
        "parquet_schema('/etc/passwd')",
        "parquet_file_metadata('/etc/passwd')",
        "parquet_kv_metadata('/etc/passwd')",
        "parquet_bloom_probe('/etc/passwd', 'a', 1)",
        "read_json('/etc/passwd')",
        "read_json_objects('/etc/passwd')",
        "read_ndjson('/etc/passwd')",
        "read_text('hot.duckdb')",
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(reads); i++) {
        char sql[256];
        snprintf(sql, sizeof(sql), "SELECT * FROM %s", reads[i]);
        REFUSED(sql, "file system operations are disabled");
    }
    REFUSED("SELECT * FROM '/etc/passwd'", "does not exist");
    REFUSED("SELECT * FROM query_table('/etc/passwd')", "does not exist");
    REFUSED("ATTACH '/etc/passwd' AS x", "");
    REFUSED("COPY events TO '/tmp/x.csv'", "file system operations are disabled");
    REFUSED("COPY (SELECT 1) TO '/tmp/x.csv'", "file system operations are disabled");
    REFUSED("COPY events FROM '/tmp/x.csv'", "file system operations are disabled");
    REFUSED("EXPORT DATABASE '/tmp/x'", "file system operations are disabled");
    REFUSED("IMPORT DATABASE '/tmp/x'", "file system operations are disabled");
    assert_text(fx, "SELECT value FROM duckdb_settings() WHERE name = 'enable_external_access'", "false");
    assert_text(fx, "SELECT value FROM duckdb_settings() WHERE name = 'lock_configuration'", "true");
}

/* Functions with effects, however the name is written, and the ways to build SQL while a statement is bound. */
static void test_refused_functions(void **state)
{
    struct fixture *fx = *state;
    static const char *const calls[] = {
        "FROM checkpoint()",
        "FROM CheckPoint ()",
        "FROM \"checkpoint\"()",
        "FROM system.main.checkpoint()",
        "FROM checkpoint/**/()",
        "FROM checkpoint/* /* */ */()",
        "FROM checkpoint -- ()\n()",
        "FROM checkpoint\n\t()",
        "FROM checkpoint\xc2\xa0()",
        "FROM force_checkpoint()",
        "FROM enable_logging()",
        "FROM enable_logging/**/()",
        "FROM duckdb_logs()",
        "FROM truncate_duckdb_logs()",
        "SELECT write_log('x')",
        "SELECT write_log/**/('x')",
        "FROM duckdb_secrets()",
        "FROM which_secret('s3://x', 's3')",
        "SELECT getenv('HOME')",
        "SELECT sleep_ms(1000000)",
        "FROM arrow_scan(1, 1, 1)",
        "FROM query('SELECT 1')",
        "FROM query('FROM check' || 'point()')",
        "FROM json_execute_serialized_sql(json_serialize_sql('FROM x'))",
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(calls); i++)
        REFUSED(calls[i], "cannot be called here");
    ANSWERED("SELECT checkpoint FROM (SELECT 1 AS checkpoint)"); /* a word, not a call */
    ANSWERED("SELECT current_query()");
    ANSWERED("FROM query_table('events')");
}

/* What a function might write after all: the transaction itself is read-only. */
static void test_transaction_is_read_only(void **state)
{
    struct fixture *fx = *state;
    close_all(fx);
    static const char *const merges[] = {"INSERT INTO counted SELECT nextval('counter') FROM new_events"};
    static const char *const names[] = {"counted"};
    struct warehouse_rollup counted = {.name = "counted",
                                       .tables = names,
                                       .table_count = 1,
                                       .ddl = "CREATE SEQUENCE counter; CREATE TABLE counted (n BIGINT)",
                                       .merges = merges,
                                       .merge_count = 1,
                                       .where = "test"};
    fx->rollups = &counted;
    fx->rollup_count = 1;
    open_all(fx);
    append_events(fx, "s", "u", NOON_US, 0, 2);
    wait_applied(fx);
    REFUSED("SELECT nextval('counter')", "read-only");
    assert_true(number(fx, "SELECT max(n) FROM counted") == 2);
    fx->rollup_count = 0;
}

static void test_params(void **state)
{
    struct fixture *fx = *state;
    const struct warehouse_param params[] = {
        {.name = "from", .kind = WAREHOUSE_PARAM_TIMESTAMP, .us = NOON_US},
        {.name = "step", .kind = WAREHOUSE_PARAM_INTERVAL, .us = 90 * AP_US_PER_S},
        {.name = "n", .kind = WAREHOUSE_PARAM_NUMBER, .number = 1.5},
        {.name = "who", .kind = WAREHOUSE_PARAM_TEXT, .text = "Robert'); DROP TABLE events"},
    };
    struct warehouse_query query = {
        .sql = ap_slice_cstr("SELECT $from, $from + $step, $n * 2, $who, time_bucket($step, $from)"),
        .params = params,
        .param_count = AP_ARRAY_COUNT(params),
    };
    AP_AUTO(warehouse_result) struct warehouse_result *result = NULL;
    struct warehouse_query_err err;
    if (warehouse_query_run(fx->warehouse, &query, &result, &err) != AP_OK)
        fail_msg("%s", err.err.text);
    assert_int_equal(warehouse_result_cell(result, 0, 0)->ts_us, NOON_US);
    assert_int_equal(warehouse_result_cell(result, 0, 1)->ts_us, NOON_US + 90 * AP_US_PER_S);
    double value;
    assert_true(warehouse_cell_number(warehouse_result_cell(result, 0, 2), &value) && value == 3);
    assert_true(ap_slice_equal_cstr(warehouse_result_cell(result, 0, 3)->text, params[3].text));

    query.sql = ap_slice_cstr("SELECT $missing");
    assert_int_equal(warehouse_query_check(fx->warehouse, &query, &err), AP_E_PARSE);
    assert_non_null(strstr(err.err.text, "$missing"));
    query.sql = ap_slice_cstr("SELECT ?");
    assert_int_equal(warehouse_query_check(fx->warehouse, &query, &err), AP_E_PARSE);
    query.sql = ap_slice_cstr("SELECT $who");
    assert_int_equal(warehouse_query_check(fx->warehouse, &query, &err), AP_OK);
}

/* ---- Hogs ---- */

#define ENDLESS_SQL "SELECT sum(a.i * b.i) FROM range(100000000000) a(i), range(1000) b(i)"

static void test_runaway_query_is_interrupted(void **state)
{
    struct fixture *fx = *state;
    struct warehouse_query_err err;
    for (unsigned round = 0; round < 3; round++) {
        append_events(fx, "s", "u", NOON_US, round * 10, 10);
        assert_int_equal(try_sql(fx, ENDLESS_SQL, 300, &err), AP_E_TIMEOUT);
        assert_non_null(strstr(err.err.text, "300 ms"));
        wait_applied(fx);                                                          /* the writer goes on */
        assert_true(number(fx, "SELECT COUNT(*) FROM events") == round * 10 + 10); /* and so does the reader */
    }
}

static void test_limits_of_results(void **state)
{
    struct fixture *fx = *state;
    struct warehouse_query query = {.sql = ap_slice_cstr("SELECT * FROM range(100000000000)"), .row_max = 5000};
    struct warehouse_query_err err;
    {
        AP_AUTO(warehouse_result) struct warehouse_result *result = NULL;
        assert_int_equal(warehouse_query_run(fx->warehouse, &query, &result, &err), AP_OK);
        assert_int_equal(warehouse_result_rows(result), 5000);
        assert_true(warehouse_result_is_truncated(result));
    }
    {
        AP_AUTO(warehouse_result) struct warehouse_result *result = NULL;
        query.sql = ap_slice_cstr("SELECT * FROM range(5000)"); /* exactly as many: nothing is missing */
        assert_int_equal(warehouse_query_run(fx->warehouse, &query, &result, &err), AP_OK);
        assert_int_equal(warehouse_result_rows(result), 5000);
        assert_false(warehouse_result_is_truncated(result));
    }
    AP_AUTO(warehouse_result) struct warehouse_result *result = NULL;
    query.sql = ap_slice_cstr("SELECT repeat('x', 1000) FROM range(5000)");
    query.result_bytes_max = 100 * 1000;
    assert_int_equal(warehouse_query_run(fx->warehouse, &query, &result, &err), AP_E_LIMIT);
    assert_non_null(strstr(err.err.text, "larger than 100000 bytes"));

    AP_AUTO_FREE char *sql = malloc(WAREHOUSE_SQL_BYTES_MAX + 2);
    memset(sql, ' ', WAREHOUSE_SQL_BYTES_MAX + 1);
    sql[WAREHOUSE_SQL_BYTES_MAX + 1] = '\0';
    assert_int_equal(try_sql(fx, sql, 0, &err), AP_E_LIMIT);
}

static void test_memory_hog(void **state)
{
    struct fixture *fx = *state;
    close_all(fx);
    fx->memory_bytes_max = 64 << 20;
    open_all(fx);
    struct warehouse_query_err err;
    static const char *const hogs[] = {
        "SELECT count(*) FROM (SELECT DISTINCT i, i::VARCHAR || 'and more' FROM range(20000000) t(i))",
        "SELECT count(*) FROM (SELECT i FROM range(50000000) t(i) ORDER BY hash(i), random() LIMIT 40000000)",
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(hogs); i++) {
        assert_int_equal(try_sql(fx, hogs[i], 60000, &err), AP_E_LIMIT);
        assert_non_null(strstr(err.err.text, "memory"));
        append_events(fx, "s", "u", NOON_US, (unsigned)i * 10, 10);
        wait_applied(fx);
    }
    assert_true(number(fx, "SELECT COUNT(*) FROM events") == 20);
}

/* ---- Queue and shutdown ---- */

struct answers {
    atomic_uint ok_count;
    atomic_uint busy_count;
    atomic_uint timeout_count;
    atomic_uint other_count;
};

static void count_answer(struct warehouse_result *take_result, const struct warehouse_query_err *err, void *context)
{
    struct answers *answers = context;
    if (take_result)
        answers->ok_count++;
    else if (err->err.rc == AP_E_BUSY)
        answers->busy_count++;
    else if (err->err.rc == AP_E_TIMEOUT)
        answers->timeout_count++;
    else
        answers->other_count++;
    warehouse_result_unref(take_result);
}

static void test_full_queue_and_close(void **state)
{
    struct fixture *fx = *state;
    close_all(fx);
    fx->query_queue_max = 4;
    open_all(fx);
    struct answers answers = {0};
    struct warehouse_query query = {.sql = ap_slice_cstr(ENDLESS_SQL), .is_uncached = true, .timeout_ms = 600 * 1000};
    unsigned accepted = 0;
    enum ap_rc rc = AP_OK;
    struct ap_err err;
    /* Two run at most, four wait: the seventh is refused at the latest. */
    while (rc == AP_OK && accepted < 10) {
        rc = warehouse_query_submit(fx->warehouse, &query, count_answer, &answers, &err);
        accepted += rc == AP_OK;
    }
    assert_int_equal(rc, AP_E_BUSY);
    assert_true(accepted >= 4 && accepted <= 6);
    assert_non_null(strstr(err.text, "too many queries"));
    /* With running and waiting ones: ends at once, and each is told. Without the interrupt this would take days. */
    close_all(fx);
    assert_int_equal(answers.busy_count, accepted);
    assert_int_equal(answers.ok_count + answers.timeout_count + answers.other_count, 0);
}

/* Closing at any moment: also between taking a query and running it. */
static void test_close_again_and_again(void **state)
{
    struct fixture *fx = *state;
    struct warehouse_query query = {.sql = ap_slice_cstr(ENDLESS_SQL), .is_uncached = true, .timeout_ms = 600 * 1000};
    for (unsigned round = 0; round < 20; round++) {
        struct answers answers = {0};
        for (unsigned i = 0; i < 3; i++)
            MUST(warehouse_query_submit(fx->warehouse, &query, count_answer, &answers, err));
        nanosleep(&(struct timespec){.tv_nsec = round * 50000L}, NULL); /* another moment each time, not a wait */
        close_all(fx);
        assert_int_equal(answers.busy_count, 3);
        open_all(fx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_only_one_select, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mistakes_have_a_place, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_outside, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_functions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_transaction_is_read_only, setup, teardown),
        cmocka_unit_test_setup_teardown(test_params, setup, teardown),
        cmocka_unit_test_setup_teardown(test_runaway_query_is_interrupted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits_of_results, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory_hog, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_queue_and_close, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_again_and_again, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
