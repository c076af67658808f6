/* warehouse/: rows of the log into DuckDB, exactly once; roll-ups; results. Through the header, with a real log. */
#include "test_warehouse_fixture.h"

#include <duckdb.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/random.h"

static void test_every_type(void **state)
{
    struct fixture *fx = *state;
    const struct table *events = table_find("events");
    AP_AUTO_BUF struct ap_buf record = {0};
    struct row_batch batch;
    row_batch_begin(&batch, events, NOON_US, &record);
    row_set_ts(&batch, column(events, "timestamp"), NOON_US - 1);
    row_set_text(&batch, column(events, "event_type"), ap_slice_cstr("t\xc3\xa9st"));
    row_set_f64(&batch, column(events, "duration_ms"), 412.2);
    row_set_bool(&batch, column(events, "success"), true);
    row_set_text(&batch, column(events, "context"), ap_slice_cstr("{\"tasks\":7}"));
    row_set_text(&batch, column(events, "version"), ap_slice("a\0b", 3));
    row_set_text(&batch, column(events, "command"), ap_slice("", 0));
    row_batch_commit(&batch);
    row_set_text(&batch, column(events, "event_type"), ap_slice_cstr("discarded"));
    row_batch_discard(&batch);
    row_batch_commit(&batch); /* nothing but the defaults */
    row_batch_finish(&batch);
    append(fx, &record);
    wait_applied(fx);

    assert_true(number(fx, "SELECT COUNT(*) FROM events") == 2);
    assert_text(fx, "SELECT event_type FROM events WHERE duration_ms = 412.2 AND success", "t\xc3\xa9st");
    assert_true(number(fx, "SELECT CAST(context->>'tasks' AS INTEGER) FROM events WHERE success") == 7);
    assert_true(number(fx, "SELECT length(version) FROM events WHERE success") == 3);
    assert_true(number(fx, "SELECT COUNT(*) FROM events WHERE command = '' AND user_id IS NULL") == 1);
    assert_text(fx, "SELECT date FROM events WHERE success", "2026-11-23");
    AP_AUTO(warehouse_result)
    struct warehouse_result *result = ask(fx, "SELECT timestamp, received_at FROM events ORDER BY timestamp");
    assert_int_equal(warehouse_result_cell(result, 0, 0)->ts_us, NOON_US - 1);
    assert_int_equal(warehouse_result_cell(result, 1, 0)->ts_us, NOON_US); /* the time of receipt */
    assert_int_equal(warehouse_result_kind(result, 0), WAREHOUSE_KIND_TIMESTAMP);
}

/* More than one of DuckDB's vectors, in batches that do not divide it. */
static void test_many_rows(void **state)
{
    struct fixture *fx = *state;
    for (unsigned i = 0; i < 30; i++)
        append_events(fx, "many", "u", NOON_US, i * 999, 999);
    wait_applied(fx);
    assert_true(number(fx, "SELECT COUNT(DISTINCT duration_ms) FROM events") == 30 * 999);
    assert_true(number(fx, "SELECT SUM(duration_ms) FROM events") == 29970.0 * 29969 / 2);
}

/* Closed and opened again at every stage, with the log still there: nothing twice, nothing missing. */
static void test_exactly_once_over_restarts(void **state)
{
    struct fixture *fx = *state;
    for (unsigned round = 0; round < 5; round++) {
        append_events(fx, "s", "u", NOON_US, round * 10, 10);
        if (round % 2)
            wait_applied(fx);
        close_all(fx);
        open_all(fx);
    }
    wait_applied(fx);
    assert_true(number(fx, "SELECT COUNT(*) FROM events") == 50);
    assert_true(number(fx, "SELECT COUNT(DISTINCT duration_ms) FROM events") == 50);
}

/* The process dies at a random moment, again and again. What wal_append_sync() returned for must be there once. */
static void test_exactly_once_over_kills(void **state)
{
    struct fixture *fx = *state;
    close_all(fx);
    unsigned acknowledged = 0;
    for (unsigned round = 0; round < 10; round++) {
        int pipe_fd[2];
        assert_int_equal(pipe(pipe_fd), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            open_all(fx);
            for (unsigned i = round * 100000;; i++) {
                append_events(fx, "killed", "u", NOON_US, i, 1);
                if (write(pipe_fd[1], "x", 1) != 1)
                    _exit(1);
            }
        }
        close(pipe_fd[1]);
        char byte;
        unsigned count = 0;
        while (count < 40 + round * 17 && read(pipe_fd[0], &byte, 1) == 1)
            count++;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        while (read(pipe_fd[0], &byte, 1) == 1)
            count++;
        close(pipe_fd[0]);
        assert_true(count >= 40);
        acknowledged += count;
    }
    open_all(fx);
    wait_applied(fx);
    double rows = number(fx, "SELECT COUNT(*) FROM events");
    assert_true(rows >= acknowledged && rows <= acknowledged + 10); /* each round one may be durable and not told */
    assert_true(number(fx, "SELECT COUNT(DISTINCT duration_ms) FROM events") == rows);
}

/* ---- Roll-ups ---- */

static const char *const session_merges[] = {
    "CREATE OR REPLACE TEMP TABLE touched AS SELECT session_id, any_value(user_id) AS user_id, min(timestamp) AS "
    "first, "
    "max(timestamp) AS last, COUNT(*) AS n FROM new_events GROUP BY session_id",
    "INSERT INTO touched SELECT session_id, user_id, first, last, n FROM session_rollup WHERE session_id IN (SELECT "
    "session_id FROM touched)",
    "DELETE FROM session_rollup WHERE session_id IN (SELECT session_id FROM touched)",
    "INSERT INTO session_rollup SELECT session_id, any_value(user_id), min(first), max(last), SUM(n) FROM touched "
    "GROUP "
    "BY session_id",
};
/* The middle two name no new rows of their own but go with the others. */
static const char *const rollup_tables[] = {"session_rollup"};
static struct warehouse_rollup session_rollup = {
    .name = "sessions",
    .tables = rollup_tables,
    .table_count = 1,
    .ddl =
        "CREATE TABLE session_rollup (session_id VARCHAR, user_id VARCHAR, first TIMESTAMP, last TIMESTAMP, n BIGINT)",
    .merges = session_merges,
    .merge_count = AP_ARRAY_COUNT(session_merges),
    .where = "test",
};
static struct warehouse_view session_view = {"sessions", "SELECT * FROM session_rollup", "test"};

static void assert_rollup_is_exact(struct fixture *fx)
{
    assert_true(number(fx,
                       "SELECT COUNT(*) FROM (SELECT session_id, user_id, min(timestamp) AS first, max(timestamp) AS "
                       "last, COUNT(*) AS n FROM events GROUP BY ALL EXCEPT SELECT session_id, user_id, first, last, n "
                       "FROM sessions)") == 0);
    assert_true(
        number(fx, "SELECT (SELECT COUNT(*) FROM sessions) - (SELECT COUNT(DISTINCT session_id) FROM events)") == 0);
}

static void test_rollup_is_exact_at_every_moment(void **state)
{
    struct fixture *fx = *state;
    close_all(fx);
    fx->rollups = &session_rollup;
    fx->rollup_count = 1;
    fx->views = &session_view;
    fx->view_count = 1;
    open_all(fx);
    struct ap_random random;
    ap_random_init(&random, 42);
    for (unsigned round = 0; round < 60; round++) {
        char session_id[16];
        snprintf(session_id, sizeof(session_id), "s%u", (unsigned)ap_random_below(&random, 12));
        int64_t late_us = (int64_t)ap_random_below(&random, 5) * AP_US_PER_DAY;
        append_events(fx, session_id, "u", NOON_US - late_us, round, 1 + (unsigned)ap_random_below(&random, 30));
        if (round % 7 == 0) {
            wait_applied(fx);
            assert_rollup_is_exact(fx);
        }
        if (round % 20 == 19) {
            close_all(fx);
            open_all(fx);
        }
    }
    wait_applied(fx);
    assert_rollup_is_exact(fx);
    assert_true(number(fx, "SELECT COUNT(*) FROM sessions") > 5);
}

static void test_new_or_changed_rollup_is_built_anew(void **state)
{
    struct fixture *fx = *state;
    append_events(fx, "a", "u", NOON_US, 0, 10);
    append_events(fx, "b", "u", NOON_US - 3 * AP_US_PER_DAY, 10, 10);
    wait_applied(fx);
    close_all(fx);
    struct warehouse_rollup mine = session_rollup;
    fx->rollups = &mine;
    fx->rollup_count = 1;
    fx->views = &session_view;
    fx->view_count = 1;
    open_all(fx); /* new */
    assert_rollup_is_exact(fx);
    close_all(fx);
    const char *merges[AP_ARRAY_COUNT(session_merges)];
    memcpy(merges, session_merges, sizeof(merges));
    merges[0] =
        "CREATE OR REPLACE TEMP TABLE touched AS SELECT session_id, any_value(user_id) AS user_id, min(timestamp) "
        "AS first, max(timestamp) AS last, 2 * COUNT(*) AS n FROM new_events GROUP BY session_id";
    mine.merges = merges;
    open_all(fx); /* defined otherwise */
    assert_true(number(fx, "SELECT SUM(n) FROM sessions") == 40);
}

static void test_bad_sql_of_packs_is_named(void **state)
{
    struct fixture *fx = *state;
    close_all(fx);
    struct warehouse_options options;
    warehouse_options_init(&options);
    options.dir = fx->dir;
    struct warehouse_view view = {"broken", "SELECT nothing FROM nowhere", "packs/x/views/broken.sql"};
    struct warehouse *warehouse;
    MUST(warehouse_open(&options, &warehouse, err));
    struct ap_err err;
    assert_int_equal(warehouse_apply_schema(warehouse, NULL, 0, &view, 1, NULL, NULL, &err), AP_E_PARSE);
    assert_non_null(strstr(err.text, "packs/x/views/broken.sql"));
    assert_non_null(strstr(err.text, "nowhere"));
    warehouse_close(warehouse);
}

/* ---- When the writer fails ---- */

static void test_damaged_record_is_set_aside(void **state)
{
    struct fixture *fx = *state;
    append_events(fx, "before", "u", NOON_US, 0, 3);
    MUST(wal_append_sync(fx->wal, ROW_RECORD_TYPE, ap_slice_cstr("this is no batch of rows"), NULL, err));
    append_events(fx, "after", "u", NOON_US, 3, 3);
    wait_applied(fx);
    assert_true(number(fx, "SELECT COUNT(*) FROM events") == 6);
    assert_true(number(fx, "SELECT COUNT(*) FROM _apiary_quarantine") == 1);
    struct warehouse_stats stats;
    warehouse_stats_get(fx->warehouse, &stats);
    assert_int_equal(stats.quarantine_count, 1);
    assert_false(stats.is_failing);
}

/* Other stores have their records in the same log, also ones that look like rows, and many more than rows. */
static void test_records_of_other_stores_are_skipped(void **state)
{
    struct fixture *fx = *state;
    static char samples[1 << 20];
    for (unsigned round = 0; round < 3; round++) {
        MUST(wal_append_sync(fx->wal, ROW_RECORD_TYPE + 1, ap_slice_cstr("samples"), NULL, err));
        append_events(fx, "s", "u", NOON_US, round * 20, 10);
        for (unsigned i = 0; i < 10; i++)
            MUST(wal_append_sync(fx->wal, ROW_RECORD_TYPE + 1, ap_slice(samples, sizeof(samples)), NULL, err));
        append_events(fx, "s", "u", NOON_US, round * 20 + 10, 10);
        MUST(wal_append_sync(fx->wal, ROW_RECORD_TYPE + 2, ap_slice_cstr("deletion"), NULL, err));
        wait_applied(fx);
        assert_true(number(fx, "SELECT COUNT(*) FROM events") == (round + 1) * 20);
        assert_true(number(fx, "SELECT COUNT(*) FROM _apiary_quarantine") == 0);
        close_all(fx);
        open_all(fx);
    }
    wait_applied(fx);
    assert_true(number(fx, "SELECT COUNT(DISTINCT duration_ms) FROM events") == 60);
    assert_true(number(fx, "SELECT COUNT(*) FROM events") == 60);
}

/* Where no rows come for long, the log still lets go of what the warehouse has no need of. */
static void test_other_stores_do_not_fill_the_log(void **state)
{
    struct fixture *fx = *state;
    static char samples[1 << 20];
    for (unsigned i = 0; i < 40; i++)
        MUST(wal_append_sync(fx->wal, ROW_RECORD_TYPE + 1, ap_slice(samples, sizeof(samples)), NULL, err));
    wait_applied(fx);
    struct warehouse_stats stats;
    warehouse_stats_get(fx->warehouse, &stats);
    assert_true(stats.commit_count < 10); /* not one a record */
    struct wal_stats wal_stats;
    for (unsigned i = 0; i < WAIT_TURNS_MAX; i++) {
        wal_stats_get(fx->wal, &wal_stats);
        if (wal_stats.retained_bytes <= 18 << 20)
            return;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    fail_msg("the log still keeps %llu bytes", (unsigned long long)wal_stats.retained_bytes);
}

static void test_failing_rollup_does_not_hold_up_rows(void **state)
{
    struct fixture *fx = *state;
    close_all(fx);
    static const char *const merges[] = {"INSERT INTO fragile SELECT CAST(session_id AS INTEGER) FROM new_events"};
    static const char *const names[] = {"fragile"};
    struct warehouse_rollup fragile = {.name = "fragile",
                                       .tables = names,
                                       .table_count = 1,
                                       .ddl = "CREATE TABLE fragile (n INTEGER)",
                                       .merges = merges,
                                       .merge_count = 1,
                                       .where = "test"};
    fx->rollups = &fragile;
    fx->rollup_count = 1;
    open_all(fx);
    append_events(fx, "1", "u", NOON_US, 0, 3);
    wait_applied(fx);
    append_events(fx, "not a number", "u", NOON_US, 3, 3);
    append_events(fx, "2", "u", NOON_US, 6, 3);
    wait_applied(fx);
    assert_true(number(fx, "SELECT COUNT(*) FROM events") == 9);
    struct warehouse_stats stats;
    warehouse_stats_get(fx->warehouse, &stats);
    assert_int_equal(stats.broken_rollup_count, 1);
    assert_int_equal(stats.quarantine_count, 0);
    fx->rollup_count = 0;
}

/* ---- When the disk fails ---- */

/* Rows that do not compress, numbered in duration_ms from *first on, which moves behind them. */
static void append_noise(struct fixture *fx, struct ap_random *random, unsigned *first, unsigned count)
{
    const struct table *events = table_find("events");
    AP_AUTO_BUF struct ap_buf record = {0};
    struct row_batch batch;
    row_batch_begin(&batch, events, NOON_US, &record);
    for (unsigned i = 0; i < count; i++) {
        char noise[120];
        for (size_t k = 0; k < sizeof(noise); k++)
            noise[k] = (char)('!' + ap_random_below(random, 90));
        row_set_text(&batch, column(events, "session_id"), ap_slice(noise, sizeof(noise)));
        row_set_f64(&batch, column(events, "duration_ms"), (*first)++);
        row_batch_commit(&batch);
    }
    row_batch_finish(&batch);
    append(fx, &record);
}

/* No file may grow beyond this: to the writer of a file the same as a full disk. Segments of the log are 4 MiB. */
static void limit_file_size(uint64_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes ? bytes : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void assert_each_once(struct fixture *fx, unsigned count)
{
    wait_applied(fx);
    assert_true(number(fx, "SELECT COUNT(*) FROM events") == count);
    assert_true(number(fx, "SELECT COUNT(DISTINCT duration_ms) FROM events") == count);
    assert_true(number(fx, "SELECT COUNT(*) FROM _apiary_quarantine") == 0);
}

static uint64_t wait_failures(struct fixture *fx, uint64_t count)
{
    struct warehouse_stats stats = {0};
    for (int i = 0; i < WAIT_TURNS_MAX && stats.failure_count < count; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        warehouse_stats_get(fx->warehouse, &stats);
    }
    assert_true(stats.failure_count >= count && stats.is_failing);
    return stats.failure_count;
}

/* Long enough for the writer to try records alone, and to have set aside what is not at fault if it wrongly would. */
static void test_disk_is_full_for_a_while(void **state)
{
    struct fixture *fx = *state;
    struct ap_random random;
    ap_random_init(&random, 5);
    limit_file_size(4 << 20);
    unsigned count = 0;
    struct warehouse_stats stats = {0};
    while (!stats.is_failing && count < 200 * 1000) {
        append_noise(fx, &random, &count, 200);
        warehouse_stats_get(fx->warehouse, &stats);
    }
    wait_failures(fx, 8);
    limit_file_size(0);
    append_noise(fx, &random, &count, 200);
    assert_each_once(fx, count);
}

/* What DuckDB makes of a failed checkpoint in memory must never reach its file. */
static void test_checkpoint_fails(void **state)
{
    struct fixture *fx = *state;
    close_all(fx);
    fx->checkpoint_bytes = 1 << 20;
    open_all(fx);
    struct ap_random random;
    ap_random_init(&random, 6);
    char path[128];
    snprintf(path, sizeof(path), "%s/hot.duckdb", fx->dir);
    struct stat info = {0};
    unsigned count = 0;
    while (info.st_size < 6 << 20 && count < 400 * 1000) {
        append_noise(fx, &random, &count, 1000);
        wait_applied(fx);
        assert_int_equal(stat(path, &info), 0);
    }
    assert_true(info.st_size >= 6 << 20); /* checkpoints were made */
    limit_file_size((uint64_t)info.st_size);
    struct warehouse_stats stats = {0};
    for (int i = 0; i < 2000 && !stats.is_failing; i++) {
        append_noise(fx, &random, &count, 1000);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        warehouse_stats_get(fx->warehouse, &stats);
    }
    wait_failures(fx, 2);
    limit_file_size(0);
    append_noise(fx, &random, &count, 1000);
    close_all(fx);
    open_all(fx);
    assert_each_once(fx, count);
}

/* ---- Retention ---- */

/* The real clocks, moved by as much as the test says. */
static atomic_llong clock_shift_us;

static int64_t shifted_wall_us(void *context)
{
    (void)context;
    return NOON_US + clock_shift_us;
}

static int64_t shifted_monotonic_us(void *context)
{
    (void)context;
    return ap_clock_monotonic_us(&ap_clock_system) + clock_shift_us;
}

static void wait_event_count(struct fixture *fx, double want)
{
    for (int i = 0; i < WAIT_TURNS_MAX && number(fx, "SELECT COUNT(*) FROM events") != want; i++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    assert_true(number(fx, "SELECT COUNT(*) FROM events") == want);
}

/* A day goes when it is retention_days old, one day a minute, oldest first. Roll-ups keep what they summed up. */
static void test_old_days_are_dropped(void **state)
{
    struct fixture *fx = *state;
    static const struct ap_clock clock = {shifted_wall_us, shifted_monotonic_us, NULL};
    close_all(fx);
    clock_shift_us = 0;
    fx->clock = &clock;
    fx->rollups = &session_rollup;
    fx->rollup_count = 1;
    open_all(fx); /* without retention */
    append_events(fx, "today", "u", NOON_US, 0, 1);
    append_events(fx, "edge", "u", NOON_US - 7 * AP_US_PER_DAY, 1, 2);
    append_events(fx, "old", "u", NOON_US - 8 * AP_US_PER_DAY, 3, 4);
    append_events(fx, "older", "u", NOON_US - 30 * AP_US_PER_DAY, 7, 8);
    wait_applied(fx);
    close_all(fx);
    fx->retention_days = 7;
    open_all(fx);
    wait_event_count(fx, 7); /* the oldest day */
    clock_shift_us += 61 * AP_US_PER_S;
    wait_event_count(fx, 3); /* the next; the seventh day before today stays */
    clock_shift_us += AP_US_PER_DAY;
    wait_event_count(fx, 1);
    clock_shift_us += 61 * AP_US_PER_S;
    append_events(fx, "today", "u", NOON_US + AP_US_PER_DAY, 15, 1); /* the writer goes on as before */
    wait_event_count(fx, 2);
    assert_true(number(fx, "SELECT SUM(n) FROM session_rollup") == 16);
    close_all(fx);
    open_all(fx); /* and what was dropped does not come back */
    wait_applied(fx);
    assert_true(number(fx, "SELECT COUNT(*) FROM events") == 2);
}

static void test_cache_follows_commits(void **state)
{
    struct fixture *fx = *state;
    struct warehouse_query query = {.sql = AP_SLICE_LITERAL("SELECT COUNT(*) FROM events")};
    struct warehouse_query_err err;
    double value;
    for (unsigned round = 1; round <= 3; round++) {
        append_events(fx, "c", "u", NOON_US, round, 1);
        wait_applied(fx);
        for (int i = 0; i < 2; i++) {
            AP_AUTO(warehouse_result) struct warehouse_result *result = NULL;
            assert_int_equal(warehouse_query_run(fx->warehouse, &query, &result, &err), AP_OK);
            assert_true(warehouse_cell_number(warehouse_result_cell(result, 0, 0), &value) && value == round);
        }
    }
    struct warehouse_stats stats;
    warehouse_stats_get(fx->warehouse, &stats);
    assert_true(stats.cache_hit_count > 0);
}

static void count_done(struct warehouse_result *take_result, const struct warehouse_query_err *err, void *context)
{
    assert_null(err);
    warehouse_result_unref(take_result);
    (*(atomic_uint *)context)++;
}

/* All ask before the first has its answer; then it is everybody's. */
static void test_many_ask_the_same(void **state)
{
    struct fixture *fx = *state;
    enum { ASKERS = 50 };
    struct warehouse_query query = {.sql = AP_SLICE_LITERAL("SELECT sum(hash(i)) FROM range(20000000) r(i)")};
    atomic_uint done_count = 0;
    for (unsigned i = 0; i < ASKERS; i++)
        MUST(warehouse_query_submit(fx->warehouse, &query, count_done, &done_count, err));
    while (done_count < ASKERS)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    struct warehouse_stats stats;
    warehouse_stats_get(fx->warehouse, &stats);
    assert_int_equal(stats.query_count + stats.cache_hit_count, ASKERS);
    assert_true(stats.query_count < ASKERS / 2);
}

/* ---- Columns that come and go ---- */

static void change_database(struct fixture *fx, const char *sql)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/hot.duckdb", fx->dir);
    duckdb_database database;
    duckdb_connection connection;
    assert_int_equal(duckdb_open(path, &database), DuckDBSuccess);
    assert_int_equal(duckdb_connect(database, &connection), DuckDBSuccess);
    assert_int_equal(duckdb_query(connection, sql, NULL), DuckDBSuccess);
    duckdb_disconnect(&connection);
    duckdb_close(&database);
}

/* As if an older program had made it: the missing columns come, old rows have null in them, new rows can fill them. */
static void test_database_with_fewer_columns(void **state)
{
    struct fixture *fx = *state;
    append_events(fx, "old", "u", NOON_US, 0, 3);
    wait_applied(fx);
    close_all(fx);
    change_database(fx, "ALTER TABLE events DROP COLUMN props; ALTER TABLE events DROP COLUMN address_prefix; "
                        "ALTER TABLE events DROP COLUMN country");
    open_all(fx);
    const struct table *events = table_find("events");
    AP_AUTO_BUF struct ap_buf record = {0};
    struct row_batch batch;
    row_batch_begin(&batch, events, NOON_US, &record);
    row_set_text(&batch, (size_t)table_column_of_role(events, COLUMN_ROLE_COUNTRY), ap_slice_cstr("CH"));
    row_set_text(&batch, (size_t)table_column_of_role(events, COLUMN_ROLE_PROPS), ap_slice_cstr("{\"a\":1}"));
    row_batch_commit(&batch);
    row_batch_finish(&batch);
    append(fx, &record);
    wait_applied(fx);
    assert_true(number(fx, "SELECT COUNT(*) FROM events WHERE country IS NULL AND props IS NULL") == 3);
    assert_text(fx, "SELECT props FROM events WHERE country = 'CH'", "{\"a\":1}");
}

/* A newer program's: refused, with what to do; not taken apart. */
static void test_database_of_a_newer_program(void **state)
{
    struct fixture *fx = *state;
    close_all(fx);
    change_database(fx, "ALTER TABLE events ADD COLUMN mood VARCHAR");
    struct warehouse_options options;
    warehouse_options_init(&options);
    options.dir = fx->dir;
    struct warehouse *warehouse;
    struct ap_err err;
    assert_int_equal(warehouse_open(&options, &warehouse, &err), AP_E_CONFLICT);
    assert_non_null(strstr(err.text, "newer"));
}

static void test_results_of_other_types(void **state)
{
    struct fixture *fx = *state;
    assert_text(fx, "SELECT [1, 2, NULL]", "[1,2,null]");
    assert_text(fx, "SELECT {'a': 1.5, 'b': 'x\"y'}", "{\"a\":1.5,\"b\":\"x\\\"y\"}");
    assert_text(fx, "SELECT TIME '12:34:56'", "12:34:56.000");
    assert_text(fx, "SELECT DATE '5877641-06-24'", "5877641-06-24");
    assert_text(fx, "SELECT DATE '-infinity'", "-infinity");
    {
        AP_AUTO(warehouse_result) struct warehouse_result *result = ask(fx, "SELECT '-infinity'::TIMESTAMP_S");
        assert_int_equal(warehouse_result_cell(result, 0, 0)->ts_us, INT64_MIN);
    }
    assert_text(fx, "SELECT INTERVAL '3 days'", "3 days");
    assert_text(fx, "SELECT CAST('6fd5e4b0-7c1e-4b7e-9a59-2a3f0d6c1b11' AS UUID)",
                "6fd5e4b0-7c1e-4b7e-9a59-2a3f0d6c1b11");
    assert_text(fx, "SELECT CAST('\\xAB\\x00' AS BLOB)", "ab00");
    assert_true(number(fx, "SELECT 0.1::DECIMAL(10,3)") == 0.1);
    assert_true(number(fx, "SELECT -12345678901234567890.5::DECIMAL(38,1)") == -12345678901234567890.5);
    assert_true(number(fx, "SELECT SUM(i) FROM range(5) r(i)") == 10);
    assert_true(number(fx, "SELECT 18446744073709551615::UBIGINT") == 18446744073709551615.0);
    assert_true(number(fx, "SELECT CURRENT_DATE - CURRENT_DATE") == 0);
    assert_text(fx, "SELECT current_setting('TimeZone')", "UTC");
}

int main(void)
{
    signal(SIGXFSZ, SIG_IGN); /* limit_file_size(): an error, as on a full disk, not a signal */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_type, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_exactly_once_over_restarts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_exactly_once_over_kills, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rollup_is_exact_at_every_moment, setup, teardown),
        cmocka_unit_test_setup_teardown(test_new_or_changed_rollup_is_built_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_sql_of_packs_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged_record_is_set_aside, setup, teardown),
        cmocka_unit_test_setup_teardown(test_records_of_other_stores_are_skipped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_stores_do_not_fill_the_log, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failing_rollup_does_not_hold_up_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_disk_is_full_for_a_while, setup, teardown),
        cmocka_unit_test_setup_teardown(test_checkpoint_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_old_days_are_dropped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cache_follows_commits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_ask_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(test_database_with_fewer_columns, setup, teardown),
        cmocka_unit_test_setup_teardown(test_database_of_a_newer_program, setup, teardown),
        cmocka_unit_test_setup_teardown(test_results_of_other_types, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
