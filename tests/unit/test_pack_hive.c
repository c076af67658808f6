/*
 * Hive's roll-ups against the events themselves: whatever the order in which events arrive and however they are cut
 * into transactions, every roll-up says what one query over all events says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>
#include <duckdb.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/random.h"
#include "pack/pack.h"
#include "warehouse/tables.h"

enum { EVENT_COUNT = 600, SEED_COUNT = 4 };

struct fixture {
    struct pack *pack;
    duckdb_database database;
    duckdb_connection connection;
    uint64_t seed;
};

/* Runs statements; the first cell of the last one, to be freed, or NULL. */
static char *run(struct fixture *fx, const char *sql)
{
    duckdb_result result;
    if (duckdb_query(fx->connection, sql, &result) == DuckDBError)
        fail_msg("seed %llu: %s\n%s", (unsigned long long)fx->seed, duckdb_result_error(&result), sql);
    char *cell = NULL;
    if (duckdb_row_count(&result) > 0) {
        char *text = duckdb_value_varchar(&result, 0, 0);
        cell = text ? ap_strdup(text) : NULL;
        duckdb_free(text);
    }
    duckdb_destroy_result(&result);
    return cell;
}

static void run_only(struct fixture *fx, const char *sql)
{
    free(run(fx, sql));
}

static void create_events(struct fixture *fx)
{
    AP_AUTO_BUF struct ap_buf sql = {0};
    ap_buf_add_cstr(&sql, "CREATE TABLE events (lsn UBIGINT, received_at TIMESTAMP, timestamp TIMESTAMP, date DATE");
    const struct table *table = table_find("events");
    for (size_t i = 0; i < table->column_count; i++) {
        if (table->columns[i].role != COLUMN_ROLE_TIMESTAMP)
            ap_buf_printf(&sql, ", %.*s %s", AP_SLICE_ARG(table->columns[i].name),
                          column_type_sql(table->columns[i].type));
    }
    ap_buf_add_cstr(&sql, ")");
    AP_AUTO_FREE char *text = ap_buf_detach(&sql);
    run_only(fx, text);
}

static const char *pick(struct ap_random *random, const char *const *words, size_t count)
{
    return words[ap_random_below(random, count)];
}
#define PICK(random, ...)                                                                                              \
    pick(random, (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

/* An event somewhere in 60 days. With 60 sessions the gaps within one are about the 7 days that part it. */
static void add_event(struct ap_buf *sql, struct ap_random *random, unsigned lsn)
{
    static const char *const types[] = {"'startup'", "'command_execution'", "'command_execution'", "'feature_usage'",
                                        "'session_end'"};
    /* Whole days every other time: gaps of exactly 7 days, and several events in a minute. */
    unsigned long long second =
        ap_random_below(random, 2) == 0 ? ap_random_below(random, 60) * 86400 : ap_random_below(random, 60 * 86400);
    char session[16];
    snprintf(session, sizeof(session), "'s%llu'", (unsigned long long)ap_random_below(random, 60));
    if (ap_random_below(random, 10) == 0)
        strcpy(session, "NULL");
    ap_buf_printf(sql,
                  "INSERT INTO events BY NAME SELECT %u::UBIGINT AS lsn, now()::TIMESTAMP AS received_at, "
                  "TIMESTAMP '2026-09-01' + to_seconds(%llu) AS timestamp, timestamp::DATE AS date, %s AS event_type, "
                  "%s AS session_id, %s AS user_id, %s AS installation_id, %s AS version, %s AS platform, "
                  "%s AS command, %s AS feature, %s AS duration_ms, %s AS success, %s AS country;\n",
                  lsn, second, pick(random, types, 5), session, PICK(random, "'u1'", "'u2'", "NULL"),
                  PICK(random, "'i1'", "'i2'", "'i3'", "NULL"), PICK(random, "'2.0.0'", "'2.1.0'", "NULL"),
                  PICK(random, "'linux'", "'macos'"), PICK(random, "'consensus'", "'ask'", "NULL"),
                  PICK(random, "'tui'", "'planning_mode'", "NULL"), PICK(random, "12.5", "70", "NULL"),
                  PICK(random, "true", "true", "false", "NULL"), PICK(random, "'DE'", "'US'", "NULL"));
}

/* Adds the events in transactions of 1 to 200, with the merges in each as the writer does it. */
static void fill(struct fixture *fx)
{
    struct ap_random random;
    ap_random_init(&random, fx->seed);
    for (unsigned lsn = 1; lsn <= EVENT_COUNT;) {
        unsigned first_lsn = lsn;
        unsigned end = lsn + 1 + (unsigned)ap_random_below(&random, ap_random_below(&random, 3) == 0 ? 200 : 5);
        AP_AUTO_BUF struct ap_buf sql = {0};
        ap_buf_add_cstr(&sql, "BEGIN;\n");
        for (; lsn < end && lsn <= EVENT_COUNT; lsn++)
            add_event(&sql, &random, lsn);
        ap_buf_printf(&sql, "CREATE OR REPLACE TEMP VIEW new_events AS SELECT * FROM events WHERE lsn >= %u;\n",
                      first_lsn);
        AP_AUTO_FREE char *text = ap_buf_detach(&sql);
        run_only(fx, text);
        for (size_t r = 0; r < fx->pack->rollup_count; r++) {
            for (size_t m = 0; m < fx->pack->rollups[r].merge_count; m++)
                run_only(fx, fx->pack->rollups[r].merges[m].text);
        }
        run_only(fx, "COMMIT");
    }
}

/* Both queries must give the same rows, counted with how often they occur. */
static void check_same(struct fixture *fx, const char *rollup, const char *events, int line)
{
    AP_AUTO_FREE char *sql = ap_asprintf("SELECT count(*) FROM ((FROM (%s) EXCEPT ALL FROM (%s)) UNION ALL "
                                         "(FROM (%s) EXCEPT ALL FROM (%s)))",
                                         rollup, events, events, rollup);
    AP_AUTO_FREE char *differences = run(fx, sql);
    AP_AUTO_FREE char *count_sql = ap_asprintf("SELECT count(*) FROM (%s)", events);
    AP_AUTO_FREE char *count = run(fx, count_sql);
    if (strcmp(differences, "0") != 0 || strcmp(count, "0") == 0)
        fail_msg("seed %llu, line %d: %s rows differ, of %s", (unsigned long long)fx->seed, line, differences, count);
}
#define SAME(rollup, events) check_same(fx, rollup, events, __LINE__)

static void check_all(struct fixture *fx)
{
    SAME("SELECT session_id, user_id, started_at, last_activity, event_count, command_count, error_count, version, "
         "platform, country FROM sessions",
         "SELECT session_id, coalesce(max(user_id), max(installation_id)), min(timestamp), max(timestamp), count(*), "
         "count(*) FILTER (event_type = 'command_execution'), count(*) FILTER (success = false), max(version), "
         "max(platform), max(country) "
         "FROM (SELECT *, sum(is_first) OVER (PARTITION BY session_id ORDER BY timestamp, lsn) AS number "
         "      FROM (SELECT *, CASE WHEN timestamp - lag(timestamp) OVER (PARTITION BY session_id "
         "                           ORDER BY timestamp, lsn) < INTERVAL '7 days' THEN 0 ELSE 1 END AS is_first "
         "            FROM events WHERE session_id IS NOT NULL)) "
         "GROUP BY session_id, number");
    SAME("SELECT user_id, first_seen, last_seen FROM users",
         "SELECT coalesce(user_id, installation_id) AS person, min(timestamp), max(timestamp) FROM events "
         "WHERE person IS NOT NULL GROUP BY person");
    SAME("SELECT date, user_id FROM user_days",
         "SELECT DISTINCT date, coalesce(user_id, installation_id) AS person FROM events "
         "WHERE person IS NOT NULL AND session_id IS NOT NULL");
    SAME("SELECT timestamp, startup_duration FROM performance_metrics",
         "SELECT timestamp, duration_ms / 1000 FROM events WHERE event_type = 'startup' AND duration_ms IS NOT NULL");
    SAME("SELECT timestamp, success, duration_ms FROM consensus_executions",
         "SELECT timestamp, success, duration_ms FROM events WHERE event_type = 'command_execution' AND command = "
         "'consensus'");
    SAME("SELECT timestamp, date, feature FROM feature_usage",
         "SELECT timestamp, date, feature FROM events WHERE event_type = 'feature_usage' AND feature IS NOT NULL");
    SAME("SELECT minute, command, runs, failures FROM command_minutes",
         "SELECT date_trunc('minute', timestamp) AS minute, coalesce(command, 'unknown') AS name, count(*), "
         "count(*) FILTER (success = false) FROM events "
         "WHERE event_type = 'command_execution' AND success IS NOT NULL GROUP BY minute, name");
    /* Which of several versions is the newest depends on the order of arrival; whether there is one does not. */
    SAME("SELECT user_id, version IS NULL, country IS NULL FROM users",
         "SELECT coalesce(user_id, installation_id) AS person, max(version) IS NULL, max(country) IS NULL FROM events "
         "WHERE person IS NOT NULL GROUP BY person");
}

static void open_database(struct fixture *fx)
{
    assert_int_equal(duckdb_open(NULL, &fx->database), DuckDBSuccess);
    assert_int_equal(duckdb_connect(fx->database, &fx->connection), DuckDBSuccess);
    run_only(fx, "SET threads = 1");
    create_events(fx);
    for (size_t i = 0; i < fx->pack->rollup_count; i++)
        run_only(fx, fx->pack->rollups[i].create.text);
    for (size_t i = 0; i < fx->pack->view_count; i++) {
        AP_AUTO_FREE char *sql =
            ap_asprintf("CREATE VIEW %s AS %s", fx->pack->views[i].name, fx->pack->views[i].sql.text);
        run_only(fx, sql);
    }
}

static void close_database(struct fixture *fx)
{
    duckdb_disconnect(&fx->connection);
    duckdb_close(&fx->database);
}

static struct pack *load_hive(void)
{
    const char *root = getenv("APIARY_SOURCE_ROOT");
    if (!root)
        skip();
    AP_AUTO_FREE char *dir = ap_asprintf("%s/packs/hive", root);
    struct pack *pack;
    struct ap_err err;
    if (pack_load(dir, &pack, &err) != AP_OK)
        fail_msg("%s", err.text);
    return pack;
}

static void test_rollups_say_what_events_say(void **state)
{
    (void)state;
    struct fixture fx = {.pack = load_hive()};
    for (fx.seed = 1; fx.seed <= SEED_COUNT; fx.seed++) {
        open_database(&fx);
        fill(&fx);
        check_all(&fx);
        close_database(&fx);
    }
    pack_free(fx.pack);
}

/* Three users first seen in the week four weeks ago, on its first and last moment; two of them active of late. */
static void test_retention(void **state)
{
    (void)state;
    struct fixture fx = {.pack = load_hive()};
    open_database(&fx);
    run_only(&fx,
             "SET VARIABLE monday = date_trunc('week', CURRENT_DATE - INTERVAL '4 weeks')::TIMESTAMP;"
             "INSERT INTO hive_users (user_id, first_seen, last_seen) VALUES"
             " ('a', getvariable('monday'), now()::TIMESTAMP),"
             " ('b', getvariable('monday') + INTERVAL '7 days' - INTERVAL '1 microsecond', CURRENT_DATE - 7),"
             " ('c', getvariable('monday') + INTERVAL '3 days', CURRENT_DATE::TIMESTAMP - INTERVAL '7 days 1 second'),"
             " ('before', getvariable('monday') - INTERVAL '1 microsecond', now()::TIMESTAMP),"
             " ('after', getvariable('monday') + INTERVAL '7 days', now()::TIMESTAMP)");
    AP_AUTO_FREE char *rate = run(&fx, "SELECT round(retention_rate, 6) FROM user_cohorts WHERE cohort_week = "
                                       "date_trunc('week', CURRENT_DATE - INTERVAL '4 weeks')");
    assert_string_equal(rate, "0.666667");
    AP_AUTO_FREE char *users = run(&fx, "SELECT cohort_users FROM user_cohorts WHERE cohort_week = "
                                        "date_trunc('week', CURRENT_DATE - INTERVAL '4 weeks')");
    assert_string_equal(users, "3");
    close_database(&fx);
    pack_free(fx.pack);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rollups_say_what_events_say),
        cmocka_unit_test(test_retention),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
