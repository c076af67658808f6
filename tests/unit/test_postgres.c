#include "collect/postgres.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "collect/postgres_link.h"
#include "collect/postgres_queries.h"
#include "collect/postgres_rows.h"
#include "collect/postgres_statement.h"
#include "collect/postgres_text.h"
#include "os/thread.h"

/* ---- The table ---- */

static bool is_name(const char *text)
{
    for (const char *c = text; *c; c++) {
        if (!islower((unsigned char)*c) && !isdigit((unsigned char)*c) && *c != '_')
            return false;
    }
    return *text != '\0' && !isdigit((unsigned char)*text);
}

static bool is_value(enum postgres_column_kind kind)
{
    return kind == POSTGRES_COUNTER || kind == POSTGRES_GAUGE || kind == POSTGRES_UNTYPED;
}

static void check_columns(const struct postgres_query *query)
{
    size_t values = 0, count = 0;
    for (; count < POSTGRES_COLUMNS_MAX && query->columns[count].kind != POSTGRES_END; count++) {
        const struct postgres_column *column = &query->columns[count];
        bool is_named = query->columns[0].kind == POSTGRES_NAME;
        if (!is_name(column->name))
            fail_msg("%s: column %zu has no proper name", query->collector, count);
        if (is_value(column->kind) && !is_named && (!column->help || !*column->help))
            fail_msg("%s.%s: no help", query->collector, column->name);
        if (column->kind == POSTGRES_COUNTER && strstr(column->name, "current"))
            fail_msg("%s.%s: a current value is a gauge", query->collector, column->name);
        values += is_value(column->kind);
    }
    if (values == 0 || count == POSTGRES_COLUMNS_MAX)
        fail_msg("%s: %zu columns, %zu values", query->collector, count, values);
}

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < postgres_query_count; i++) {
        const struct postgres_query *query = &postgres_queries[i];
        assert_true(is_name(query->collector) && is_name(query->prefix));
        check_columns(query);
        if ((query->limit == POSTGRES_LIMIT_NONE) != (strstr(query->sql, "$1") == NULL))
            fail_msg("%s: the limit and $1 do not go together", query->collector);
        if (!query->extension != !strstr(query->sql, "@extension@"))
            fail_msg("%s: the extension and @extension@ do not go together", query->collector);
        if (strchr(query->sql, ';'))
            fail_msg("%s: one statement only", query->collector);
    }
}

/* In each version, each collector is one entry at most, or two would tell the same series. */
static void test_one_entry_for_a_version(void **state)
{
    (void)state;
    static const int servers[] = {120000, 130000, 140000, 150020, 160000, 170004, 180000};
    static const int extensions[] = {107, 108, 109, 110, 111, 112, 203};
    for (size_t s = 0; s < AP_ARRAY_COUNT(servers); s++) {
        for (size_t e = 0; e < AP_ARRAY_COUNT(extensions); e++) {
            for (size_t i = 0; i < postgres_query_count; i++) {
                for (size_t j = i + 1; j < postgres_query_count; j++) {
                    if (strcmp(postgres_queries[i].collector, postgres_queries[j].collector) == 0 &&
                        postgres_query_is_for(&postgres_queries[i], servers[s], extensions[e]) &&
                        postgres_query_is_for(&postgres_queries[j], servers[s], extensions[e]))
                        fail_msg("%s is there twice in %d", postgres_queries[i].collector, servers[s]);
                }
            }
        }
    }
}

static const struct postgres_query *find_query(const char *collector, int server_version, int extension_version)
{
    for (size_t i = 0; i < postgres_query_count; i++) {
        if (strcmp(postgres_queries[i].collector, collector) == 0 &&
            postgres_query_is_for(&postgres_queries[i], server_version, extension_version))
            return &postgres_queries[i];
    }
    return NULL;
}

static void test_versions(void **state)
{
    (void)state;
    assert_null(find_query("stat_checkpointer", 160009, 0));
    assert_non_null(find_query("stat_checkpointer", 170000, 0));
    assert_non_null(strstr(find_query("stat_bgwriter", 160009, 0)->sql, "checkpoints_timed"));
    assert_null(strstr(find_query("stat_bgwriter", 170000, 0)->sql, "checkpoints_timed"));
    assert_null(find_query("stat_io", 150020, 0));
    assert_null(find_query("stat_database_sessions", 130000, 0));
    /* The columns are the extension's, which may be older than the server. */
    assert_non_null(strstr(find_query("stat_statements", 150020, 107)->sql, "sum(total_time)"));
    assert_non_null(strstr(find_query("stat_statements", 150020, 110)->sql, "sum(total_exec_time)"));
    assert_non_null(strstr(find_query("stat_statements", 150020, 110)->sql, "sum(blk_read_time)"));
    assert_non_null(strstr(find_query("stat_statements", 170000, 111)->sql, "sum(shared_blk_read_time)"));
}

/* ---- Values and labels ---- */

static void check_value(const char *cell, const char *want, int line)
{
    AP_AUTO_BUF struct ap_buf out = {0};
    bool is_value_there = postgres_text_value(ap_slice_cstr(cell), &out);
    if (is_value_there != (want != NULL) || !ap_slice_equal_cstr(ap_buf_slice(&out), want ? want : ""))
        fail_msg("line %d: \"%.*s\"", line, AP_SLICE_ARG(ap_buf_slice(&out)));
}
#define VALUE(cell, want) check_value(cell, want, __LINE__)
static void test_values(void **state)
{
    (void)state;
    VALUE("0", "0");
    VALUE("-17", "-17");
    VALUE("9223372036854775807", "9223372036854775807");
    VALUE("0.001", "0.001");
    VALUE("1e-05", "1e-05");
    VALUE("1.5e+300", "1.5e+300");
    VALUE("NaN", "NaN");
    VALUE("Infinity", "+Inf");
    VALUE("-Infinity", "-Inf");
    VALUE("t", "1");
    VALUE("f", "0");
    VALUE(NULL, NULL);
    VALUE("", NULL);
    VALUE("-", NULL);
    VALUE(".", NULL);
    VALUE("1e", NULL);
    VALUE("1 2", NULL);
    VALUE("0x1f", NULL);
    VALUE("2026-11-29 12:00:00+00", NULL);
    VALUE("00:00:01", NULL);
    VALUE("1\nx 2", NULL);
}

static void check_label(struct ap_slice value, const char *want, int line)
{
    AP_AUTO_BUF struct ap_buf out = {0};
    postgres_text_label(value, &out);
    if (!ap_slice_equal_cstr(ap_buf_slice(&out), want))
        fail_msg("line %d: %.*s", line, AP_SLICE_ARG(ap_buf_slice(&out)));
}
#define LABEL(value, want) check_label(ap_slice_cstr(value), want, __LINE__)
static void test_labels(void **state)
{
    (void)state;
    LABEL("plain", "\"plain\"");
    LABEL("a\"b\\c\nd", "\"a\\\"b\\\\c\\nd\"");
    LABEL("Größe", "\"Größe\"");
    LABEL("a\xFF\xC3", "\"a\xEF\xBF\xBD\xEF\xBF\xBD\"");
    LABEL("", "\"\"");
    /* Cut between characters: one byte before the maximum the three of "…" do not fit. */
    char text[POSTGRES_LABEL_BYTES_MAX + 3];
    memset(text, 'x', sizeof(text));
    memcpy(text + POSTGRES_LABEL_BYTES_MAX - 1, "…", 3);
    AP_AUTO_BUF struct ap_buf out = {0};
    postgres_text_label(ap_slice(text, POSTGRES_LABEL_BYTES_MAX + 2), &out);
    assert_int_equal(out.bytes, POSTGRES_LABEL_BYTES_MAX - 1 + 2);
}

/* ---- Statements ---- */

static void check_statement(const char *sql, const char *want, int line)
{
    AP_AUTO_BUF struct ap_buf out = {0};
    postgres_statement_label(ap_slice_cstr(sql), &out);
    if (!ap_slice_equal_cstr(ap_buf_slice(&out), want))
        fail_msg("line %d: %.*s", line, AP_SLICE_ARG(ap_buf_slice(&out)));
}
#define STATEMENT(sql, want) check_statement(sql, want, __LINE__)
static void test_statements(void **state)
{
    (void)state;
    STATEMENT("", "");
    STATEMENT("SELECT $1 + a.\"b\" FROM t WHERE x = $12", "SELECT $1 + a.\"b\" FROM t WHERE x = $12");
    STATEMENT("\n  SELECT\t1,\r\n 2  \n", "SELECT 1, 2");
    STATEMENT("SELECT a\x01\x7F\xC2\x85z", "SELECT a z");
    STATEMENT("SELECT 'Grüße' AS größe", "SELECT '?' AS größe");
    STATEMENT("SELECT a\xFF", "SELECT a\xEF\xBF\xBD");
    /* Comments go; what looks like one inside of quotes is none. */
    STATEMENT("SELECT 1 -- don't\n, 2 /* it's /* nested */ */ FROM t", "SELECT 1 , 2 FROM t");
    STATEMENT("SELECT \"--\", \"/*\" FROM \"a\"\"'b\"", "SELECT \"--\", \"/*\" FROM \"a\"\"'b\"");
    STATEMENT("SELECT 4-3, 4/2", "SELECT 4-3, 4/2");
    STATEMENT("/* traceparent='00-abc' */", "");
    STATEMENT("SELECT 1 /* open", "SELECT 1");
}

/* What PostgreSQL does not normalise: commands with a password, whatever way it is quoted. */
static void test_statements_hide_literals(void **state)
{
    (void)state;
    STATEMENT("ALTER ROLE a PASSWORD 'hunter2'", "ALTER ROLE a PASSWORD '?'");
    STATEMENT("ALTER ROLE a PASSWORD 'hun''ter2' VALID UNTIL 'infinity'", "ALTER ROLE a PASSWORD '?' VALID UNTIL '?'");
    STATEMENT("ALTER ROLE a PASSWORD $$hunter2$$ CREATEDB", "ALTER ROLE a PASSWORD '?' CREATEDB");
    STATEMENT("ALTER ROLE a PASSWORD $p$hun$$ter2$p$ CREATEDB", "ALTER ROLE a PASSWORD '?' CREATEDB");
    STATEMENT("ALTER ROLE a PASSWORD 'hunter2", "ALTER ROLE a PASSWORD '?'");
    STATEMENT("ALTER ROLE a PASSWORD $$hunter2", "ALTER ROLE a PASSWORD '?'");
    STATEMENT("SELECT a$b$c FROM t", "SELECT a$b$c FROM t"); /* a name with dollars */
    STATEMENT("SELECT 'a', E'it\\'s hunter2' , 'x'", "SELECT '?', E'?'…");
    STATEMENT("ALTER ROLE a PASSWORD 'C:\\' VALID UNTIL 'hunter2'", "ALTER ROLE a PASSWORD '?'…");
    STATEMENT("CREATE SUBSCRIPTION s CONNECTION 'host=a password=hunter2' PUBLICATION p",
              "CREATE SUBSCRIPTION s CONNECTION '?' PUBLICATION p");
}

static void test_statements_are_short(void **state)
{
    (void)state;
    for (size_t bytes = 200; bytes < 300; bytes++) {
        AP_AUTO_BUF struct ap_buf sql = {0}, out = {0};
        while (sql.bytes < bytes)
            ap_buf_add_cstr(&sql, sql.bytes % 7 ? "ü" : "x");
        postgres_statement_label(ap_buf_slice(&sql), &out);
        assert_true(out.bytes <= POSTGRES_STATEMENT_BYTES_MAX);
        assert_int_equal(ap_utf8_valid_bytes(ap_buf_slice(&out)), out.bytes);
        bool is_whole = ap_slice_equal(ap_buf_slice(&sql), ap_buf_slice(&out));
        bool is_marked = out.bytes >= 3 && memcmp(out.data + out.bytes - 3, "…", 3) == 0;
        assert_true(is_whole != is_marked);
        assert_true(is_whole == (sql.bytes <= POSTGRES_STATEMENT_BYTES_MAX - 3));
    }
}

/* ---- Answers ---- */

/* The first row is the columns' names. */
static void add_row(struct postgres_rows *rows, const char *const *texts, size_t count)
{
    struct ap_slice cells[POSTGRES_COLUMNS_MAX];
    struct ap_err err;
    for (size_t i = 0; i < count; i++)
        cells[i] = ap_slice_cstr(texts[i]);
    if (rows->names)
        assert_int_equal(postgres_rows_add(rows, cells, &err), AP_OK);
    else
        assert_int_equal(postgres_rows_set_columns(rows, cells, count, &err), AP_OK);
}
#define ADD_ROW(rows, ...)                                                                                             \
    add_row(rows, (const char *const[]){__VA_ARGS__}, AP_ARRAY_COUNT(((const char *const[]){__VA_ARGS__})))

static void check_text(const struct postgres_query *query, const struct postgres_rows *answers, size_t count,
                       const char *want)
{
    AP_AUTO_BUF struct ap_buf out = {0};
    struct ap_err err = {0};
    for (size_t i = 0; i < count; i++)
        if (postgres_text_check(query, &answers[i], &err) != AP_OK)
            fail_msg("%s", err.text);
    postgres_text_write(query, answers, count, ap_slice_cstr("db1:5432"), &out);
    ap_buf_add_char(&out, '\0');
    assert_string_equal(out.data, want);
}

static const struct postgres_query tables_query = {
    .collector = "t",
    .prefix = "pg_t",
    .limit = POSTGRES_LIMIT_TABLES,
    .sql = "",
    .columns = {{POSTGRES_LABEL, "datname", NULL, NULL},
                {POSTGRES_LABEL, "relname", NULL, NULL},
                {POSTGRES_COUNTER, "scans", "Scans.\nAll", NULL},
                {POSTGRES_GAUGE, "age", "Age.", NULL},
                {POSTGRES_GAUGE, "nothing", "Never there.", NULL}},
};

/* A family in one piece over two databases; no sample of NULL, no family without samples, no label without a value. */
static void test_answers(void **state)
{
    (void)state;
    struct postgres_rows answers[2];
    for (size_t i = 0; i < 2; i++) {
        postgres_rows_init(&answers[i], 1 << 20);
        ADD_ROW(&answers[i], "datname", "relname", "scans", "age", "nothing", "cut");
    }
    ADD_ROW(&answers[0], "a", "t\"1", "5", NULL, NULL, "0");
    ADD_ROW(&answers[0], "a", NULL, "6", "0.5", NULL, "0");
    ADD_ROW(&answers[1], "b", "t1", "7", "t", "soon", "3");
    check_text(&tables_query, answers, 2,
               "# HELP pg_t_scans Scans.\\nAll\n# TYPE pg_t_scans counter\n"
               "pg_t_scans{server=\"db1:5432\",datname=\"a\",relname=\"t\\\"1\"} 5\n"
               "pg_t_scans{server=\"db1:5432\",datname=\"a\"} 6\n"
               "pg_t_scans{server=\"db1:5432\",datname=\"b\",relname=\"t1\"} 7\n"
               "# HELP pg_t_age Age.\n# TYPE pg_t_age gauge\n"
               "pg_t_age{server=\"db1:5432\",datname=\"a\"} 0.5\n"
               "pg_t_age{server=\"db1:5432\",datname=\"b\",relname=\"t1\"} 1\n");
    for (size_t i = 0; i < 2; i++)
        postgres_rows_clear(&answers[i]);
}

static void test_answers_that_name_metrics(void **state)
{
    (void)state;
    struct postgres_rows rows;
    postgres_rows_init(&rows, 1 << 20);
    ADD_ROW(&rows, "name", "help", "value");
    ADD_ROW(&rows, "fsync", "Forces.", "1");
    ADD_ROW(&rows, "evil} 1\nup", "x", "1"); /* the query leaves no such name; nobody has to believe that */
    ADD_ROW(&rows, "empty", "x", NULL);
    check_text(find_query("settings", 150000, 0), &rows, 1,
               "# HELP pg_settings_fsync Forces.\n# TYPE pg_settings_fsync gauge\n"
               "pg_settings_fsync{server=\"db1:5432\"} 1\n");
    postgres_rows_clear(&rows);
}

static void test_answers_with_statements(void **state)
{
    (void)state;
    static const struct postgres_query query = {
        .collector = "s",
        .prefix = "pg_s",
        .sql = "",
        .columns = {{POSTGRES_LABEL, "user", NULL, NULL},
                    {POSTGRES_LABEL, "queryid", NULL, NULL},
                    {POSTGRES_STATEMENT, "query", "Text.", NULL},
                    {POSTGRES_COUNTER, "calls_total", "Calls.", NULL}},
    };
    struct postgres_rows rows;
    postgres_rows_init(&rows, 1 << 20);
    ADD_ROW(&rows, "user", "queryid", "query", "calls_total");
    ADD_ROW(&rows, "a", "-5", "SELECT \"x\"\n FROM t", "1");
    ADD_ROW(&rows, "b", "-5", NULL, "2");
    check_text(&query, &rows, 1,
               "# HELP pg_s_query_id Text.\n# TYPE pg_s_query_id counter\n"
               "pg_s_query_id{server=\"db1:5432\",queryid=\"-5\",query=\"SELECT \\\"x\\\" FROM t\"} 1\n"
               "# HELP pg_s_calls_total Calls.\n# TYPE pg_s_calls_total counter\n"
               "pg_s_calls_total{server=\"db1:5432\",user=\"a\",queryid=\"-5\"} 1\n"
               "pg_s_calls_total{server=\"db1:5432\",user=\"b\",queryid=\"-5\"} 2\n");
    postgres_rows_clear(&rows);
}

static void test_answers_of_another_form(void **state)
{
    (void)state;
    struct ap_err err;
    struct postgres_rows rows;
    postgres_rows_init(&rows, 1 << 20);
    ADD_ROW(&rows, "datname", "relname", "scans", "years", "nothing", "cut");
    assert_int_equal(postgres_text_check(&tables_query, &rows, &err), AP_E_INTERNAL);
    assert_string_equal(err.text, "column 4 of the answer is not age");
    postgres_rows_clear(&rows);
    postgres_rows_init(&rows, 1 << 20);
    ADD_ROW(&rows, "datname", "relname", "scans", "age", "nothing");
    assert_int_equal(postgres_text_check(&tables_query, &rows, &err), AP_E_INTERNAL);
    assert_string_equal(err.text, "the answer has 5 columns instead of 6");
    postgres_rows_clear(&rows);
}

static void test_rows_have_a_maximum(void **state)
{
    (void)state;
    struct ap_err err;
    struct postgres_rows rows;
    postgres_rows_init(&rows, 100 << 10);
    ADD_ROW(&rows, "a", "b");
    const struct ap_slice cells[] = {ap_slice_cstr("0123456789"), {0}};
    enum ap_rc rc = AP_OK;
    size_t count = 0;
    for (; rc == AP_OK && count < 100000; count++)
        rc = postgres_rows_add(&rows, cells, &err);
    assert_int_equal(rc, AP_E_LIMIT);
    assert_true(count > 1000);
    assert_true(ap_slice_equal_cstr(postgres_rows_cell(&rows, rows.row_count - 1, 0), "0123456789"));
    assert_null(postgres_rows_cell(&rows, 0, 1).data);
    postgres_rows_clear(&rows);
}

/* ---- Connections ---- */

static void check_open(const struct postgres_connection *connections, size_t count, enum ap_rc want_rc,
                       const char *want, int line)
{
    AP_AUTO(postgres) struct postgres *postgres = NULL;
    struct ap_err err = {0};
    const struct postgres_options options = {.connections = connections, .connection_count = count};
    enum ap_rc rc = postgres_open(&options, &postgres, &err);
    if (rc != want_rc || strcmp(err.text, want) != 0)
        fail_msg("line %d: %s: %s", line, ap_rc_name(rc), err.text);
}
#define EXPECTED      "expected postgresql://user@host:5432/database or host=… user=… as libpq takes them: "
#define OPENS(string) check_open(&(struct postgres_connection){"main", string}, 1, AP_OK, "", __LINE__)
#define REFUSES(string, reason)                                                                                        \
    check_open(&(struct postgres_connection){"main", string}, 1, AP_E_PARSE, "connection \"main\": " EXPECTED reason,  \
               __LINE__)
static void test_connections(void **state)
{
    (void)state;
    OPENS("");
    OPENS("postgresql://monitor@db1:5432/postgres?sslmode=require");
    OPENS("host=/run/postgresql user=monitor passfile=/etc/apiary/pgpass");
    OPENS("service=main");
    /* libpq says what it stumbled over, which may be a piece of a password. */
    REFUSES("host=a password=hun ter2", "missing \"…\" after \"…\" in connection info string");
    REFUSES("host=a password=hun ter2=x", "invalid connection option \"…\"");
    REFUSES("postgresql://u:hunter2@[::1/db", "end of string reached when looking for matching \"…\" in IPv6 host "
                                              "address in URI: \"…\"");
    REFUSES("postgresql://u:hunter%zz@h/db", "invalid percent-encoded token: \"…\"");
    REFUSES("postgresql://h/db?hunter2=1", "invalid URI query parameter: \"…\"");
    const struct postgres_connection twice[] = {{"a", "host=x"}, {"a", "host=y"}};
    check_open(twice, 2, AP_E_CONFLICT, "connection \"a\" is there twice", __LINE__);
}

static void test_unknown_target(void **state)
{
    (void)state;
    AP_AUTO(postgres) struct postgres *postgres = NULL;
    AP_AUTO_BUF struct ap_buf out = {0};
    struct ap_err err;
    assert_int_equal(postgres_open(&(struct postgres_options){0}, &postgres, &err), AP_OK);
    struct collector collector = postgres_collector(postgres);
    assert_string_equal(collector.name, "postgres");
    struct collector_request request = {.target = ap_slice_cstr("postgresql://u:hunter2@h/db"),
                                        .deadline_monotonic_us = ap_clock_monotonic_us(&ap_clock_system) + AP_US_PER_S};
    assert_int_equal(collector.collect(collector.context, &request, &out, &err), AP_E_NOT_FOUND);
    assert_string_equal(err.text, "the target is not the name of a connection in the setting postgres.connections");
}

/* Nobody listens: an error that says so, and that the server is down. */
static void test_nobody_there(void **state)
{
    (void)state;
    AP_AUTO(postgres) struct postgres *postgres = NULL;
    AP_AUTO_BUF struct ap_buf out = {0};
    struct ap_err err;
    const struct postgres_connection connection = {"main", "host=/nonexistent user=u password=hunter2"};
    const struct postgres_options options = {.connections = &connection, .connection_count = 1};
    assert_int_equal(postgres_open(&options, &postgres, &err), AP_OK);
    struct collector collector = postgres_collector(postgres);
    struct collector_request request = {.target = ap_slice_cstr("main"),
                                        .deadline_monotonic_us =
                                            ap_clock_monotonic_us(&ap_clock_system) + 60 * AP_US_PER_S};
    assert_int_equal(collector.collect(collector.context, &request, &out, &err), AP_E_IO);
    assert_string_equal(err.text,
                        "connection to server on socket \"/nonexistent/.s.PGSQL.5432\" failed: No such file or "
                        "directory");
    assert_true(memmem(out.data, out.bytes, "\npg_up 0\n", 9) != NULL);
}

/* ---- Several at a time ---- */

struct collecting {
    struct collector collector;
    const char *target;
    int64_t deadline_us;
    enum ap_rc rc;
    struct ap_err err;
};

static void *collect_one(void *context)
{
    struct collecting *collecting = context;
    AP_AUTO_BUF struct ap_buf out = {0};
    const struct collector_request request = {.target = ap_slice_cstr(collecting->target),
                                              .deadline_monotonic_us = collecting->deadline_us};
    collecting->rc = collecting->collector.collect(collecting->collector.context, &request, &out, &collecting->err);
    return NULL;
}

static int listen_on_loopback(uint16_t *ret_port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof(address);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, bytes), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &bytes), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

/* While a server keeps one collection waiting, a second one of the same target gives up at its own deadline. */
static void test_two_jobs_of_one_target(void **state)
{
    (void)state;
    AP_AUTO(postgres) struct postgres *postgres = NULL;
    struct ap_err err;
    uint16_t port;
    AP_AUTO_FD int listener = listen_on_loopback(&port);
    AP_AUTO_FREE char *conninfo = ap_asprintf("host=127.0.0.1 port=%u user=u sslmode=disable gssencmode=disable", port);
    const struct postgres_connection connection = {"main", conninfo};
    assert_int_equal(
        postgres_open(&(struct postgres_options){.connections = &connection, .connection_count = 1}, &postgres, &err),
        AP_OK);
    int64_t now_us = ap_clock_monotonic_us(&ap_clock_system);
    struct collecting first = {postgres_collector(postgres), "main", now_us + 120 * AP_US_PER_S};
    struct collecting second = {postgres_collector(postgres), "main", now_us + AP_US_PER_S / 20};
    pthread_t thread;
    assert_int_equal(os_thread_start("first", collect_one, &first, &thread, &err), AP_OK);
    int accepted = accept(listener, NULL, NULL);
    assert_true(accepted >= 0); /* now the first one has the target, and waits */
    collect_one(&second);
    assert_int_equal(second.rc, AP_E_BUSY);
    close(accepted);
    pthread_join(thread, NULL);
    assert_int_equal(first.rc, AP_E_IO);
    assert_non_null(strstr(first.err.text, "server closed the connection unexpectedly"));
}

/* Many threads, more than there are targets; for the thread sanitizer. */
static void test_many_collections(void **state)
{
    (void)state;
    AP_AUTO(postgres) struct postgres *postgres = NULL;
    struct ap_err err;
    static const struct postgres_connection connections[] = {{"a", "host=/nonexistent user=u"},
                                                             {"b", "host=/nonexistent user=v"}};
    assert_int_equal(
        postgres_open(&(struct postgres_options){.connections = connections, .connection_count = 2}, &postgres, &err),
        AP_OK);
    struct collecting all[8];
    pthread_t threads[AP_ARRAY_COUNT(all)];
    for (size_t i = 0; i < AP_ARRAY_COUNT(all); i++) {
        all[i] = (struct collecting){postgres_collector(postgres), i % 2 ? "a" : "b",
                                     ap_clock_monotonic_us(&ap_clock_system) + 60 * AP_US_PER_S};
        assert_int_equal(os_thread_start("collect", collect_one, &all[i], &threads[i], &err), AP_OK);
    }
    for (size_t i = 0; i < AP_ARRAY_COUNT(all); i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(all[i].rc, AP_E_IO);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_one_entry_for_a_version),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_statements),
        cmocka_unit_test(test_statements_hide_literals),
        cmocka_unit_test(test_statements_are_short),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_answers_that_name_metrics),
        cmocka_unit_test(test_answers_with_statements),
        cmocka_unit_test(test_answers_of_another_form),
        cmocka_unit_test(test_rows_have_a_maximum),
        cmocka_unit_test(test_connections),
        cmocka_unit_test(test_unknown_target),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_two_jobs_of_one_target),
        cmocka_unit_test(test_many_collections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
