#include "collect/postgres.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "collect/postgres_link.h"
#include "collect/postgres_queries.h"
#include "collect/postgres_rows.h"
#include "collect/postgres_text.h"
#include "os/thread.h"

enum {
    ANSWER_BYTES_MAX = 32 << 20, /* of one query; 500 tables are 150 kB */
    OTHERS_MARGIN_MS = 500,      /* before the deadline visits to other databases end */
    ANSWER_MARGIN_MS = 250,      /* before it, that of the collection itself, at most a tenth of it */
    EXTENSIONS_MAX = 8,
    IDENTIFIER_BYTES = 64, /* NAMEDATALEN */
};

struct target {
    char *name;     /* owned */
    char *conninfo; /* owned; secret */
    pthread_mutex_t mutex;
    pthread_cond_t freed;       /* !is_taken */
    bool is_taken;              /* under mutex; what follows is whoever took it's */
    struct postgres_link *link; /* NULL: none yet, or it broke */
    uint64_t collections;
    bool is_role_told;
    bool *is_failing; /* owned; a query each */
};

struct postgres {
    struct target *targets; /* owned */
    size_t target_count;
    uint32_t statements_max, databases_max, tables_max;
    void (*notice)(const struct ap_err *err, void *context);
    void *context;
};

/* What became of one query. */
struct outcome {
    struct postgres_rows *answers; /* owned: one, or one for each database */
    size_t answer_count;
    size_t answer_capacity;
    bool is_asked;
    uint64_t cut; /* rows beyond the limit */
    int64_t duration_us;
    struct ap_err err; /* rc is AP_OK when nothing failed */
};

struct extension {
    char name[IDENTIFIER_BYTES];
    char schema[2 * IDENTIFIER_BYTES + 2]; /* quoted where it must be */
    int version;                           /* 108 is 1.8 */
};

/* One collection. */
struct collection {
    struct postgres *postgres;
    struct target *target;
    int64_t deadline_us;
    int server_version;
    struct outcome *outcomes; /* owned; a query each */
    struct extension extensions[EXTENSIONS_MAX];
    size_t extension_count;
    struct postgres_rows databases; /* that may be visited, the connection's own first */
    uint64_t databases_cut;
};

static int64_t now_us(void)
{
    return ap_clock_monotonic_us(&ap_clock_system);
}

/* ---- Targets ---- */

static void target_clear(struct target *target)
{
    postgres_link_close(target->link);
    free(target->name);
    free(target->conninfo);
    free(target->is_failing);
    pthread_cond_destroy(&target->freed);
    pthread_mutex_destroy(&target->mutex);
}

static void target_init(struct target *target, const struct postgres_connection *connection)
{
    target->name = ap_strdup(connection->name);
    target->conninfo = ap_strdup(connection->conninfo);
    target->is_failing = ap_new0_array(bool, postgres_query_count);
    pthread_mutex_init(&target->mutex, NULL);
    os_cond_init(&target->freed);
}

static struct target *find_target(struct postgres *postgres, struct ap_slice name)
{
    for (size_t i = 0; i < postgres->target_count; i++) {
        if (ap_slice_equal_cstr(name, postgres->targets[i].name))
            return &postgres->targets[i];
    }
    return NULL;
}

/* Two jobs may have the same target: one after the other. */
static bool take_target(struct target *target, int64_t deadline_us)
{
    pthread_mutex_lock(&target->mutex);
    bool is_in_time = true;
    while (target->is_taken && is_in_time)
        is_in_time = os_cond_wait_until(&target->freed, &target->mutex, deadline_us);
    bool is_ours = !target->is_taken;
    target->is_taken = true;
    pthread_mutex_unlock(&target->mutex);
    return is_ours;
}

static void give_back(struct target *target)
{
    pthread_mutex_lock(&target->mutex);
    target->is_taken = false;
    pthread_cond_signal(&target->freed);
    pthread_mutex_unlock(&target->mutex);
}

/* ---- Telling what fails ---- */

static void tell(struct postgres *postgres, const struct ap_err *err)
{
    if (postgres->notice)
        postgres->notice(err, postgres->context);
}

static void tell_change(struct collection *c, size_t query)
{
    const struct outcome *outcome = &c->outcomes[query];
    bool is_failing = outcome->err.rc != AP_OK;
    if (!outcome->is_asked || is_failing == c->target->is_failing[query])
        return;
    c->target->is_failing[query] = is_failing;
    struct ap_err err = {0};
    if (is_failing)
        (void)ap_fail(&err, outcome->err.rc, "connection \"%s\": no figures of %s: %s", c->target->name,
                      postgres_queries[query].collector, outcome->err.text);
    else
        snprintf(err.text, sizeof(err.text), "connection \"%s\": figures of %s are there again", c->target->name,
                 postgres_queries[query].collector);
    tell(c->postgres, &err);
}

/* ---- One query ---- */

static const struct extension *find_extension(const struct collection *c, const char *name)
{
    for (size_t i = 0; name && i < c->extension_count; i++) {
        if (strcmp(c->extensions[i].name, name) == 0)
            return &c->extensions[i];
    }
    return NULL;
}

/* @extension@ replaced. Free it. */
static char *finish_sql(const struct collection *c, const struct postgres_query *query)
{
    static const char mark[] = "@extension@";
    const struct extension *extension = find_extension(c, query->extension);
    AP_AUTO_BUF struct ap_buf sql = {0};
    const char *rest = query->sql;
    for (const char *at; extension && (at = strstr(rest, mark)) != NULL; rest = at + strlen(mark)) {
        ap_buf_add(&sql, rest, (size_t)(at - rest));
        ap_buf_add_cstr(&sql, extension->schema);
    }
    ap_buf_add_cstr(&sql, rest);
    return ap_buf_detach(&sql);
}

static uint32_t limit_of(const struct postgres *postgres, enum postgres_limit limit)
{
    switch (limit) {
    case POSTGRES_LIMIT_NONE:
        break;
    case POSTGRES_LIMIT_STATEMENTS:
        return postgres->statements_max;
    case POSTGRES_LIMIT_DATABASES:
        return postgres->databases_max;
    case POSTGRES_LIMIT_TABLES:
        return postgres->tables_max;
    }
    return UINT32_MAX;
}

static uint64_t number_of(struct ap_slice cell)
{
    return cell.data ? strtoull(cell.data, NULL, 10) : 0;
}

/* In all rows it is the same; without rows nothing was cut. */
static uint64_t cut_of(const struct postgres_query *query, const struct postgres_rows *rows)
{
    if (query->limit == POSTGRES_LIMIT_NONE || rows->row_count == 0)
        return 0;
    return number_of(postgres_rows_cell(rows, 0, rows->column_count - 1));
}

static struct postgres_rows *next_answer(struct outcome *outcome)
{
    if (outcome->answer_count == outcome->answer_capacity) {
        outcome->answer_capacity = AP_MAX(outcome->answer_capacity * 2, 1);
        outcome->answers = ap_realloc(outcome->answers, outcome->answer_capacity * sizeof(*outcome->answers));
    }
    struct postgres_rows *rows = &outcome->answers[outcome->answer_count++];
    postgres_rows_init(rows, ANSWER_BYTES_MAX);
    return rows;
}

static enum ap_rc ask(struct collection *c, size_t index, struct postgres_link *link, int64_t deadline_us,
                      struct ap_err *err)
{
    const struct postgres_query *query = &postgres_queries[index];
    struct outcome *outcome = &c->outcomes[index];
    int64_t start_us = now_us();
    char limit[16];
    snprintf(limit, sizeof(limit), "%" PRIu32, limit_of(c->postgres, query->limit));
    const char *const params[] = {limit};
    AP_AUTO_FREE char *sql = finish_sql(c, query);
    struct postgres_rows *rows = next_answer(outcome);
    enum ap_rc rc = postgres_link_query(link, sql, params, query->limit != POSTGRES_LIMIT_NONE, deadline_us, rows, err);
    if (rc == AP_OK)
        rc = postgres_text_check(query, rows, err);
    if (rc == AP_OK)
        outcome->cut += cut_of(query, rows);
    else
        postgres_rows_clear(&outcome->answers[--outcome->answer_count]);
    outcome->is_asked = true;
    outcome->duration_us += now_us() - start_us;
    return rc;
}

/* ---- The connection ---- */

/* "1.10" is 110. */
static int version_of(struct ap_slice text)
{
    AP_AUTO_FREE char *copy = ap_slice_dup(text);
    char *end;
    long major = strtol(copy, &end, 10), minor = *end == '.' ? strtol(end + 1, NULL, 10) : 0;
    return major < 0 || major > 999 || minor < 0 || minor > 99 ? 0 : (int)(major * 100 + minor);
}

static const char extensions_sql[] =
    "SELECT is_monitor, extname, quote_ident(nspname), extversion FROM (SELECT pg_has_role('pg_monitor', 'USAGE') AS "
    "is_monitor) r LEFT JOIN (pg_extension JOIN pg_namespace n ON n.oid = extnamespace) "
    "ON extname IN ('pg_stat_statements', 'pg_stat_monitor')";

static void add_extension(struct collection *c, const struct postgres_rows *rows, size_t row)
{
    if (!postgres_rows_cell(rows, row, 1).data || c->extension_count == EXTENSIONS_MAX)
        return;
    struct extension *extension = &c->extensions[c->extension_count++];
    snprintf(extension->name, sizeof(extension->name), "%.*s", AP_SLICE_ARG(postgres_rows_cell(rows, row, 1)));
    snprintf(extension->schema, sizeof(extension->schema), "%.*s", AP_SLICE_ARG(postgres_rows_cell(rows, row, 2)));
    extension->version = version_of(postgres_rows_cell(rows, row, 3));
}

/* Also whether the connection that was kept is still one. */
static enum ap_rc ask_extensions(struct collection *c, bool *ret_is_monitor, struct ap_err *err)
{
    struct postgres_rows rows POSTGRES_AUTO_ROWS;
    postgres_rows_init(&rows, ANSWER_BYTES_MAX);
    enum ap_rc rc = postgres_link_query(c->target->link, extensions_sql, NULL, 0, c->deadline_us, &rows, err);
    c->extension_count = 0;
    if (rc == AP_OK && (rows.column_count != 4 || rows.row_count == 0))
        return ap_fail(err, AP_E_INTERNAL, "the list of extensions is not what was asked for");
    for (size_t i = 0; rc == AP_OK && i < rows.row_count; i++)
        add_extension(c, &rows, i);
    if (rc == AP_OK)
        *ret_is_monitor = ap_slice_equal_cstr(postgres_rows_cell(&rows, 0, 0), "t");
    return rc;
}

static void drop_link(struct target *target)
{
    postgres_link_close(target->link);
    target->link = NULL;
}

static enum ap_rc connect_target(struct collection *c, struct ap_err *err)
{
    struct target *target = c->target;
    if (target->link && !postgres_link_is_broken(target->link))
        return AP_OK;
    drop_link(target);
    return postgres_link_open(target->conninfo, NULL, c->deadline_us, &target->link, err);
}

static void tell_role(struct collection *c, bool is_monitor)
{
    if (is_monitor == !c->target->is_role_told)
        return;
    c->target->is_role_told = !is_monitor;
    struct ap_err err = {0};
    if (!is_monitor)
        (void)ap_fail(
            &err, AP_E_AUTH,
            "connection \"%s\": role %s is not in pg_monitor, so that figures are missing: GRANT pg_monitor TO "
            "%s",
            c->target->name, postgres_link_user(c->target->link), postgres_link_user(c->target->link));
    else
        snprintf(err.text, sizeof(err.text), "connection \"%s\": its role is in pg_monitor", c->target->name);
    tell(c->postgres, &err);
}

/* A server that was started again since has closed what was kept: that is found by asking, and once more is connected.
 */
static enum ap_rc begin(struct collection *c, struct ap_err *err)
{
    bool was_kept = c->target->link != NULL, is_monitor = true;
    enum ap_rc rc = connect_target(c, err);
    if (rc == AP_OK)
        rc = ask_extensions(c, &is_monitor, err);
    if (rc != AP_OK && was_kept && rc != AP_E_TIMEOUT) {
        drop_link(c->target);
        rc = connect_target(c, err);
        if (rc == AP_OK)
            rc = ask_extensions(c, &is_monitor, err);
    }
    if (rc != AP_OK)
        return rc;
    c->server_version = postgres_link_version(c->target->link);
    tell_role(c, is_monitor);
    return AP_OK;
}

/* ---- All queries ---- */

static bool is_wanted(const struct collection *c, const struct postgres_query *query)
{
    const struct extension *extension = find_extension(c, query->extension);
    return limit_of(c->postgres, query->limit) > 0 && (extension || !query->extension) &&
           postgres_query_is_for(query, c->server_version, extension ? extension->version : 0);
}

/* What needs an extension that is not there has failed; of several entries for one, the oldest stands for all. */
static void fail_missing(struct collection *c, size_t index)
{
    const struct postgres_query *query = &postgres_queries[index];
    if (!query->extension || query->is_optional || query->extension_min || find_extension(c, query->extension) ||
        limit_of(c->postgres, query->limit) == 0)
        return;
    c->outcomes[index].is_asked = true;
    (void)ap_fail(&c->outcomes[index].err, AP_E_NOT_FOUND, "extension %s is not in database %s: CREATE EXTENSION %s",
                  query->extension, postgres_link_database(c->target->link), query->extension);
}

/* A failure that ends the collection is returned; others are the query's. */
static enum ap_rc ask_server(struct collection *c, struct ap_err *err)
{
    for (size_t i = 0; i < postgres_query_count; i++) {
        fail_missing(c, i);
        if (postgres_queries[i].is_of_each_database || !is_wanted(c, &postgres_queries[i]))
            continue;
        struct outcome *outcome = &c->outcomes[i];
        enum ap_rc rc = ask(c, i, c->target->link, c->deadline_us, &outcome->err);
        if (rc != AP_OK && rc != AP_E_LIMIT && postgres_link_is_broken(c->target->link)) {
            *err = outcome->err;
            return rc;
        }
        rc = connect_target(c, err); /* an answer that was too large has cost it */
        if (rc != AP_OK)
            return rc;
    }
    return AP_OK;
}

static const char databases_sql[] =
    "SELECT datname, greatest(count(*) OVER () - $1::int, 0) FROM pg_database WHERE datallowconn AND NOT datistemplate "
    "AND has_database_privilege(oid, 'CONNECT') ORDER BY datname <> current_database(), oid LIMIT $1::int";

static enum ap_rc ask_databases(struct collection *c, struct ap_err *err)
{
    char limit[16];
    snprintf(limit, sizeof(limit), "%" PRIu32, c->postgres->databases_max);
    const char *const params[] = {limit};
    enum ap_rc rc = postgres_link_query(c->target->link, databases_sql, params, 1, c->deadline_us, &c->databases, err);
    if (rc == AP_OK && c->databases.row_count > 0)
        c->databases_cut = number_of(postgres_rows_cell(&c->databases, 0, 1));
    return rc;
}

static void fail_database(struct outcome *outcome, const char *database, const struct ap_err *reason)
{
    outcome->is_asked = true;
    if (outcome->err.rc != AP_OK)
        return; /* the first one is told */
    outcome->err = *reason;
    (void)ap_err_prefix(&outcome->err, "database %s", database);
}

/* What fails here fails for this database only, and in one that cannot be reached, all of it. */
static void ask_database(struct collection *c, const char *database, int64_t deadline_us)
{
    bool is_own = strcmp(database, postgres_link_database(c->target->link)) == 0;
    AP_AUTO(postgres_link) struct postgres_link *other = NULL;
    struct ap_err err = {0};
    enum ap_rc rc = is_own ? AP_OK : postgres_link_open(c->target->conninfo, database, deadline_us, &other, &err);
    struct postgres_link *link = is_own ? c->target->link : other;
    for (size_t i = 0; i < postgres_query_count; i++) {
        if (!postgres_queries[i].is_of_each_database || !is_wanted(c, &postgres_queries[i]))
            continue;
        if (link && !postgres_link_is_broken(link))
            rc = ask(c, i, link, deadline_us, &err);
        if (rc != AP_OK)
            fail_database(&c->outcomes[i], database, &err);
    }
}

static enum ap_rc ask_each_database(struct collection *c, struct ap_err *err)
{
    if (c->postgres->tables_max == 0)
        return AP_OK;
    enum ap_rc rc = ask_databases(c, err);
    int64_t deadline_us = c->deadline_us - OTHERS_MARGIN_MS * AP_US_PER_MS;
    for (size_t i = 0; i < c->databases.row_count && rc == AP_OK; i++) {
        if (now_us() >= deadline_us) {
            c->databases_cut += c->databases.row_count - i;
            break;
        }
        const char *database = postgres_rows_cell(&c->databases, i, 0).data;
        if (database)
            ask_database(c, database, deadline_us);
        rc = connect_target(c, err);
    }
    return rc;
}

/* ---- Writing ---- */

static void write_value(const char *name, const char *type, const char *help, double value, struct ap_buf *out)
{
    postgres_text_family(name, type, ap_slice_cstr(help), out);
    ap_buf_printf(out, "%s %.9g\n", name, value);
}

enum about { ABOUT_SUCCESS, ABOUT_DURATION, ABOUT_CUT };

static void write_about(const struct collection *c, enum about about, const char *name, const char *help,
                        struct ap_buf *out)
{
    postgres_text_family(name, "gauge", ap_slice_cstr(help), out);
    for (size_t i = 0; i < postgres_query_count; i++) {
        const struct outcome *outcome = &c->outcomes[i];
        if (!outcome->is_asked || (about == ABOUT_CUT && postgres_queries[i].limit == POSTGRES_LIMIT_NONE))
            continue;
        double value = about == ABOUT_SUCCESS    ? outcome->err.rc == AP_OK
                       : about == ABOUT_DURATION ? (double)outcome->duration_us / (double)AP_US_PER_S
                                                 : (double)outcome->cut;
        ap_buf_printf(out, "%s{collector=\"%s\"} %.9g\n", name, postgres_queries[i].collector, value);
    }
}

static void write_all(const struct collection *c, int64_t start_us, struct ap_buf *out)
{
    bool has_failed = false;
    struct ap_slice server = ap_slice_cstr(postgres_link_server(c->target->link));
    for (size_t i = 0; i < postgres_query_count; i++) {
        const struct outcome *outcome = &c->outcomes[i];
        postgres_text_write(&postgres_queries[i], outcome->answers, outcome->answer_count, server, out);
        has_failed |= outcome->err.rc != AP_OK;
    }
    write_about(c, ABOUT_SUCCESS, "pg_scrape_collector_success", "Whether the query had an answer.", out);
    write_about(c, ABOUT_DURATION, "pg_scrape_collector_duration_seconds", "How long the query took.", out);
    write_about(c, ABOUT_CUT, "pg_scrape_collector_rows_cut",
                "Databases, tables, indexes or statements beyond the limit, which have no figures here.", out);
    write_value("pg_scrape_databases_cut", "gauge", "Databases that were not visited for their tables and indexes.",
                (double)c->databases_cut, out);
    write_value("pg_exporter_last_scrape_error", "gauge", "Whether a query failed (1 for error, 0 for success).",
                has_failed, out);
    write_value("pg_exporter_last_scrape_duration_seconds", "gauge", "Duration of this collection.",
                (double)(now_us() - start_us) / (double)AP_US_PER_S, out);
    write_value("pg_exporter_scrapes_total", "counter", "Number of collections since the start.",
                (double)c->target->collections, out);
}

static void write_up(bool is_up, struct ap_buf *out)
{
    write_value(
        "pg_up", "gauge",
        "Whether the last scrape of metrics from PostgreSQL was able to connect to the server (1 for yes, 0 for "
        "no).",
        is_up, out);
}

/* ---- A collection ---- */

static void collection_clear(struct collection *c)
{
    for (size_t i = 0; i < postgres_query_count; i++) {
        for (size_t j = 0; j < c->outcomes[i].answer_count; j++)
            postgres_rows_clear(&c->outcomes[i].answers[j]);
        free(c->outcomes[i].answers);
    }
    free(c->outcomes);
    postgres_rows_clear(&c->databases);
}

static enum ap_rc collect_taken(struct collection *c, struct ap_buf *out, struct ap_err *err)
{
    int64_t start_us = now_us();
    c->target->collections++;
    enum ap_rc rc = begin(c, err);
    if (rc == AP_OK)
        rc = ask_server(c, err);
    if (rc == AP_OK)
        rc = ask_each_database(c, err);
    write_up(rc == AP_OK, out);
    if (rc != AP_OK) {
        drop_link(c->target);
        return rc;
    }
    for (size_t i = 0; i < postgres_query_count; i++)
        tell_change(c, i);
    write_all(c, start_us, out);
    return ap_buf_ok(out) ? AP_OK : ap_fail(err, AP_E_LIMIT, "the figures are larger than a body may be");
}

static enum ap_rc collect(void *context, const struct collector_request *request, struct ap_buf *out,
                          struct ap_err *err)
{
    struct postgres *postgres = context;
    struct target *target = find_target(postgres, request->target);
    /* What is not a name may be an address with a password in it. */
    if (!target)
        return ap_fail(err, AP_E_NOT_FOUND,
                       "the target is not the name of a connection in the setting postgres.connections");
    if (!take_target(target, request->deadline_monotonic_us))
        return ap_fail(err, AP_E_BUSY, "another job is collecting from this connection; give each its own");
    int64_t left_us = request->deadline_monotonic_us - now_us();
    struct collection c = {
        .postgres = postgres,
        .target = target,
        .deadline_us = request->deadline_monotonic_us - AP_MIN(left_us / 10, ANSWER_MARGIN_MS * AP_US_PER_MS),
        .outcomes = ap_new0_array(struct outcome, postgres_query_count),
    };
    postgres_rows_init(&c.databases, ANSWER_BYTES_MAX);
    enum ap_rc rc = collect_taken(&c, out, err);
    collection_clear(&c);
    give_back(target);
    return rc;
}

/* ---- Opening ---- */

enum ap_rc postgres_open(const struct postgres_options *options, struct postgres **ret_postgres, struct ap_err *err)
{
    AP_AUTO(postgres) struct postgres *postgres = ap_new0(struct postgres);
    postgres->targets = ap_new0_array(struct target, AP_MAX(options->connection_count, 1));
    postgres->statements_max = options->statements_max;
    postgres->databases_max = options->databases_max;
    postgres->tables_max = options->tables_max;
    postgres->notice = options->notice;
    postgres->context = options->context;
    for (size_t i = 0; i < options->connection_count; i++) {
        const struct postgres_connection *connection = &options->connections[i];
        if (find_target(postgres, ap_slice_cstr(connection->name)))
            return ap_fail(err, AP_E_CONFLICT, "connection \"%s\" is there twice", connection->name);
        if (postgres_link_check(connection->conninfo, err) != AP_OK)
            return ap_err_prefix(err, "connection \"%s\"", connection->name);
        target_init(&postgres->targets[postgres->target_count++], connection);
    }
    *ret_postgres = AP_MOVE(postgres);
    return AP_OK;
}

void postgres_close(struct postgres *postgres)
{
    if (!postgres)
        return;
    for (size_t i = 0; i < postgres->target_count; i++)
        target_clear(&postgres->targets[i]);
    free(postgres->targets);
    free(postgres);
}

struct collector postgres_collector(struct postgres *postgres)
{
    return (struct collector){
        .name = "postgres", .collect = collect, .context = postgres, .is_telling_of_failure = true};
}
