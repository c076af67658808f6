#include "collect/postgres_link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/clock.h"
#include "collect/lookup.h"

enum { COLUMNS_MAX = 64, SETTINGS_BYTES_MAX = 64 << 10 };

/*
 * Set in the session and not in its start, so that pg_settings tells what is ours (source "session") from what the
 * server has. By set_config() and not by SET, of which pg_stat_statements would keep one for each time in milliseconds.
 * A table that is being altered must not hold up the figures of all others for long; and names are looked up where only
 * the system's own things are.
 */
static const char session_sql[] =
    "SELECT pg_catalog.set_config('statement_timeout', $1, false), pg_catalog.set_config('lock_timeout', '1s', false), "
    "pg_catalog.set_config('search_path', 'pg_catalog', false), "
    "pg_catalog.set_config('default_transaction_read_only', 'on', false), "
    "pg_catalog.set_config('client_encoding', $2, false)";

struct postgres_link {
    PGconn *conn;
    bool is_broken;
    int64_t statement_timeout_ms; /* as the server was told last; 0: not yet */
    char *server;                 /* owned */
};

/* ---- Errors ---- */

/* The first line of what libpq or the server said, without "ERROR:  " and the like. */
static struct ap_slice first_sentence(const char *message)
{
    struct ap_slice rest = ap_slice_cstr(message);
    struct ap_slice line = ap_slice_trim(ap_slice_split(&rest, '\n'));
    return ap_slice_starts_with(line, "ERROR:") ? ap_slice_trim(ap_slice(line.data + 6, line.bytes - 6)) : line;
}

static enum ap_rc fail_with(struct ap_err *err, enum ap_rc rc, const char *message)
{
    struct ap_slice sentence = first_sentence(message);
    if (sentence.bytes == 0)
        return ap_fail(err, rc, "the connection ended without a reason");
    return ap_fail(err, rc, "%.*s", AP_SLICE_ARG(sentence));
}

static enum ap_rc fail_late(struct postgres_link *link, const char *what, struct ap_err *err)
{
    link->is_broken = true;
    return ap_fail(err, AP_E_TIMEOUT, "%s %s: no answer before the deadline", link->server, what);
}

/*
 * What libpq says about a string that it does not understand quotes the piece that it stumbled over, and with a blank
 * in a password that piece is the password. Its words stay, what is in quotes goes.
 */
static void add_unquoted(const char *message, struct ap_buf *out)
{
    bool is_quoted = false;
    for (const char *c = message; *c && *c != '\n'; c++) {
        if (*c == '"') {
            is_quoted = !is_quoted;
            ap_buf_add_cstr(out, is_quoted ? "\"…\"" : "");
        } else if (!is_quoted) {
            ap_buf_add_char(out, *c);
        }
    }
}

enum ap_rc postgres_link_check(const char *conninfo, struct ap_err *err)
{
    char *message = NULL;
    PQconninfoOption *options = PQconninfoParse(conninfo, &message);
    if (options) {
        PQconninfoFree(options);
        return AP_OK;
    }
    AP_AUTO_BUF struct ap_buf text = {0};
    add_unquoted(message ? message : "out of memory", &text);
    PQfreemem(message);
    return ap_fail(err, AP_E_PARSE,
                   "expected postgresql://user@host:5432/database or host=… user=… as libpq takes them: %.*s",
                   AP_SLICE_ARG(ap_buf_slice(&text)));
}

/* ---- Waiting ---- */

static int64_t left_ms(int64_t deadline_us)
{
    int64_t left_us = deadline_us - ap_clock_monotonic_us(&ap_clock_system);
    return left_us <= 0 ? 0 : (left_us + AP_US_PER_MS - 1) / AP_US_PER_MS;
}

/* False when the deadline passed first. */
static bool wait_for(PGconn *conn, short events, int64_t deadline_us)
{
    struct pollfd fd = {.fd = PQsocket(conn), .events = events};
    for (;;) {
        int64_t ms = left_ms(deadline_us);
        if (ms == 0)
            return false;
        int ready = poll(&fd, 1, (int)AP_MIN(ms, INT32_MAX));
        if (ready > 0 || (ready < 0 && errno != EINTR))
            return true; /* what is wrong with the socket, libpq says */
    }
}

/* ---- Connecting ---- */

static enum ap_rc connect_before(struct postgres_link *link, int64_t deadline_us, struct ap_err *err)
{
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;
    while (status != PGRES_POLLING_OK) {
        if (!wait_for(link->conn, status == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline_us))
            return fail_late(link, "while connecting", err);
        status = PQconnectPoll(link->conn);
        if (status == PGRES_POLLING_FAILED)
            return fail_with(err, AP_E_IO, PQerrorMessage(link->conn));
    }
    return AP_OK;
}

/*
 * The hosts of a connection, name for name with an address each. libpq looks names up by itself, for as long as the
 * resolver likes; where it is told addresses it does not, and takes the names for certificates and passwords. Lists
 * with commas, as it wants them: a name with several addresses is there several times.
 */
struct hosts {
    struct ap_buf names, addresses, ports;
    size_t count;
};

static void hosts_clear(struct hosts *hosts)
{
    ap_buf_clear(&hosts->names);
    ap_buf_clear(&hosts->addresses);
    ap_buf_clear(&hosts->ports);
}

static void hosts_add(struct hosts *hosts, struct ap_slice name, const char *address, struct ap_slice port)
{
    const char *comma = hosts->count++ ? "," : "";
    ap_buf_printf(&hosts->names, "%s%.*s", comma, AP_SLICE_ARG(name));
    ap_buf_printf(&hosts->addresses, "%s%s", comma, address);
    ap_buf_printf(&hosts->ports, "%s%.*s", comma, AP_SLICE_ARG(port));
}

static enum ap_rc hosts_look_up(struct hosts *hosts, struct ap_slice name, struct ap_slice port, int64_t deadline_us,
                                struct ap_err *err)
{
    if (name.bytes == 0 || name.data[0] == '/' || name.data[0] == '@') { /* a socket of this machine */
        hosts_add(hosts, name, "", port);
        return AP_OK;
    }
    AP_AUTO_FREE char *text = ap_slice_dup(name);
    struct addrinfo *found;
    enum ap_rc rc = lookup_host(text, deadline_us, &found, err);
    if (rc != AP_OK)
        return rc;
    for (const struct addrinfo *one = found; one; one = one->ai_next) {
        char address[INET6_ADDRSTRLEN + IF_NAMESIZE + 1];
        if (getnameinfo(one->ai_addr, one->ai_addrlen, address, sizeof(address), NULL, 0, NI_NUMERICHOST) == 0)
            hosts_add(hosts, name, address, port);
    }
    freeaddrinfo(found);
    return AP_OK;
}

/* What the string says, or else the environment; "" for nothing. */
static const char *option_of(const PQconninfoOption *said, const PQconninfoOption *others, const char *keyword)
{
    const PQconninfoOption *const lists[] = {said, others};
    for (size_t i = 0; i < AP_ARRAY_COUNT(lists); i++)
        for (const PQconninfoOption *option = lists[i]; option && option->keyword; option++)
            if (strcmp(option->keyword, keyword) == 0 && option->val && option->val[0])
                return option->val;
    return "";
}

/* One that has an address is enough. What libpq knows better (a service, addresses that are given) is left to it. */
static enum ap_rc hosts_of(const PQconninfoOption *said, const PQconninfoOption *others, int64_t deadline_us,
                           struct hosts *ret_hosts, struct ap_err *err)
{
    struct ap_slice names = ap_slice_cstr(option_of(said, others, "host"));
    struct ap_slice ports = ap_slice_cstr(option_of(said, others, "port"));
    bool is_one_port = !ports.data || !memchr(ports.data, ',', ports.bytes);
    if (names.bytes == 0 || option_of(said, others, "hostaddr")[0])
        return AP_OK;
    enum ap_rc rc = AP_OK;
    while (names.data) {
        struct ap_slice port = is_one_port ? ports : ap_slice_split(&ports, ',');
        enum ap_rc one = hosts_look_up(ret_hosts, ap_slice_split(&names, ','), port, deadline_us, err);
        rc = one == AP_OK ? rc : one;
    }
    return ret_hosts->count ? AP_OK : rc;
}

static enum ap_rc find_hosts(const char *conninfo, int64_t deadline_us, struct hosts *ret_hosts, struct ap_err *err)
{
    PQconninfoOption *said = PQconninfoParse(conninfo, NULL);
    PQconninfoOption *others = PQconndefaults();
    enum ap_rc rc = hosts_of(said, others, deadline_us, ret_hosts, err);
    PQconninfoFree(said);
    PQconninfoFree(others);
    return rc;
}

/* Of a socket's directory the name is as long as a path; what is in labels has no more than this. */
static void name_server(struct postgres_link *link)
{
    const char *host = PQhost(link->conn), *port = PQport(link->conn);
    free(link->server);
    link->server = ap_asprintf("%s:%s", host && *host ? host : "localhost", port && *port ? port : "5432");
}

static enum ap_rc start(const char *conninfo, const char *database, int64_t deadline_us, struct postgres_link *link,
                        struct ap_err *err)
{
    AP_CLEANUP(hosts_clear) struct hosts hosts = {.count = 0};
    enum ap_rc rc = find_hosts(conninfo, deadline_us, &hosts, err);
    if (rc != AP_OK)
        return rc;
    /* Of a keyword that is given twice the later counts: the string is behind what it may change. */
    const char *keywords[7] = {"fallback_application_name", "dbname"}, *values[7] = {"apiary", conninfo};
    size_t count = 2;
    if (database) {
        keywords[count] = "dbname";
        values[count++] = database;
    }
    if (hosts.count) {
        static const char *const lists[] = {"host", "hostaddr", "port"};
        struct ap_buf *const texts[] = {&hosts.names, &hosts.addresses, &hosts.ports};
        for (size_t i = 0; i < AP_ARRAY_COUNT(lists); i++) {
            ap_buf_add_char(texts[i], '\0');
            keywords[count] = lists[i];
            values[count++] = texts[i]->data;
        }
    }
    link->conn = PQconnectStartParams(keywords, values, 1);
    if (!link->conn)
        return ap_fail(err, AP_E_NOMEM, "no memory for a connection");
    name_server(link);
    if (PQstatus(link->conn) == CONNECTION_BAD)
        return fail_with(err, AP_E_IO, PQerrorMessage(link->conn));
    return AP_OK;
}

static void forget_notice(void *context, const PGresult *result)
{
    (void)context;
    (void)result; /* libpq would print it to standard error */
}

enum ap_rc postgres_link_open(const char *conninfo, const char *database, int64_t deadline_us,
                              struct postgres_link **ret_link, struct ap_err *err)
{
    enum ap_rc rc = postgres_link_check(conninfo, err);
    if (rc != AP_OK)
        return rc;
    AP_AUTO(postgres_link) struct postgres_link *link = ap_new0(struct postgres_link);
    rc = start(conninfo, database, deadline_us, link, err);
    if (rc == AP_OK)
        rc = connect_before(link, deadline_us, err);
    if (rc != AP_OK)
        return rc;
    name_server(link); /* of several hosts, the one that answered */
    PQsetNoticeReceiver(link->conn, forget_notice, NULL);
    PQsetnonblocking(link->conn, 1);
    *ret_link = AP_MOVE(link);
    return AP_OK;
}

void postgres_link_close(struct postgres_link *link)
{
    if (!link)
        return;
    PQfinish(link->conn);
    free(link->server);
    free(link);
}

/* ---- Asking ---- */

static enum ap_rc send_all(struct postgres_link *link, int64_t deadline_us, struct ap_err *err)
{
    for (;;) {
        int left = PQflush(link->conn);
        if (left == 0)
            return AP_OK;
        if (left < 0) {
            link->is_broken = true;
            return fail_with(err, AP_E_IO, PQerrorMessage(link->conn));
        }
        /* A server that first wants to be read is read, or both would wait. */
        if (!wait_for(link->conn, POLLIN | POLLOUT, deadline_us))
            return fail_late(link, "while asking", err);
        if (!PQconsumeInput(link->conn)) {
            link->is_broken = true;
            return fail_with(err, AP_E_IO, PQerrorMessage(link->conn));
        }
    }
}

/* *ret_result NULL: that was the last one of this statement. */
static enum ap_rc next_result(struct postgres_link *link, int64_t deadline_us, PGresult **ret_result,
                              struct ap_err *err)
{
    while (PQisBusy(link->conn)) {
        if (!wait_for(link->conn, POLLIN, deadline_us))
            return fail_late(link, "while answering", err);
        if (!PQconsumeInput(link->conn)) {
            link->is_broken = true;
            return fail_with(err, AP_E_IO, PQerrorMessage(link->conn));
        }
    }
    *ret_result = PQgetResult(link->conn);
    return AP_OK;
}

static enum ap_rc take_columns(const PGresult *result, struct postgres_rows *rows, struct ap_err *err)
{
    struct ap_slice names[COLUMNS_MAX];
    size_t count = (size_t)PQnfields(result);
    if (count > COLUMNS_MAX)
        return ap_fail(err, AP_E_LIMIT, "an answer of %zu columns; at most %d are taken", count, COLUMNS_MAX);
    for (size_t i = 0; i < count; i++)
        names[i] = ap_slice_cstr(PQfname(result, (int)i));
    return postgres_rows_set_columns(rows, names, count, err);
}

static enum ap_rc take_rows(const PGresult *result, struct postgres_rows *rows, struct ap_err *err)
{
    enum ap_rc rc = rows->names ? AP_OK : take_columns(result, rows, err);
    for (int row = 0; row < PQntuples(result) && rc == AP_OK; row++) {
        struct ap_slice cells[COLUMNS_MAX] = {{0}};
        for (int i = 0; i < (int)rows->column_count; i++) {
            if (!PQgetisnull(result, row, i))
                cells[i] = ap_slice(PQgetvalue(result, row, i), (size_t)PQgetlength(result, row, i));
        }
        rc = postgres_rows_add(rows, cells, err);
    }
    return rc;
}

/* One row after the other, so that an answer that is too large ends at the maximum and not in libpq's memory. */
static enum ap_rc take_answer(struct postgres_link *link, int64_t deadline_us, struct postgres_rows *rows,
                              struct ap_err *err)
{
    enum ap_rc answer = AP_OK;
    for (;;) {
        PGresult *result = NULL;
        enum ap_rc rc = next_result(link, deadline_us, &result, err);
        if (rc != AP_OK)
            return rc;
        if (!result)
            break;
        ExecStatusType status = PQresultStatus(result);
        if (status == PGRES_SINGLE_TUPLE || status == PGRES_TUPLES_OK)
            rc = take_rows(result, rows, err);
        else if (status != PGRES_COMMAND_OK && answer == AP_OK)
            answer = fail_with(err, AP_E_INTERNAL, PQresultErrorMessage(result));
        PQclear(result);
        if (rc != AP_OK) {
            link->is_broken = true; /* there may be much more to come */
            return rc;
        }
    }
    link->is_broken = link->is_broken || PQstatus(link->conn) != CONNECTION_OK;
    return answer;
}

static enum ap_rc ask(struct postgres_link *link, const char *sql, const char *const *params, size_t param_count,
                      int64_t deadline_us, struct postgres_rows *rows, struct ap_err *err)
{
    if (!PQsendQueryParams(link->conn, sql, (int)param_count, NULL, params, NULL, NULL, 0) ||
        !PQsetSingleRowMode(link->conn)) {
        link->is_broken = true;
        return fail_with(err, AP_E_IO, PQerrorMessage(link->conn));
    }
    enum ap_rc rc = send_all(link, deadline_us, err);
    return rc == AP_OK ? take_answer(link, deadline_us, rows, err) : rc;
}

/*
 * The server ends a statement half way to the deadline: the other half is for it to say so, however busy the machine,
 * and for the statements that follow. It is told again only when that has become a fourth shorter or longer.
 */
static enum ap_rc tell_timeout(struct postgres_link *link, int64_t deadline_us, struct ap_err *err)
{
    int64_t ms = AP_MAX(left_ms(deadline_us) / 2, 1), told = link->statement_timeout_ms;
    if (told && ms >= told - told / 4 && ms <= told + told / 4)
        return AP_OK;
    char text[24];
    snprintf(text, sizeof(text), "%" PRId64, AP_MIN(ms, INT32_MAX));
    /* A database in SQL_ASCII may hold any bytes, and refuses to say those that are no UTF-8 to whoever wants that. */
    const char *encoding = PQparameterStatus(link->conn, "server_encoding");
    bool has_encoding = encoding && strcmp(encoding, "SQL_ASCII") != 0;
    const char *const params[] = {text, has_encoding ? "UTF8" : "SQL_ASCII"};
    struct postgres_rows rows POSTGRES_AUTO_ROWS;
    postgres_rows_init(&rows, SETTINGS_BYTES_MAX);
    enum ap_rc rc = ask(link, session_sql, params, AP_ARRAY_COUNT(params), deadline_us, &rows, err);
    if (rc == AP_OK)
        link->statement_timeout_ms = ms;
    return rc;
}

enum ap_rc postgres_link_query(struct postgres_link *link, const char *sql, const char *const *params,
                               size_t param_count, int64_t deadline_us, struct postgres_rows *rows, struct ap_err *err)
{
    AP_ASSERT(!link->is_broken);
    enum ap_rc rc = tell_timeout(link, deadline_us, err);
    return rc == AP_OK ? ask(link, sql, params, param_count, deadline_us, rows, err) : rc;
}

bool postgres_link_is_broken(const struct postgres_link *link)
{
    return link->is_broken;
}

int postgres_link_version(const struct postgres_link *link)
{
    return PQserverVersion(link->conn);
}

const char *postgres_link_server(const struct postgres_link *link)
{
    return link->server;
}

const char *postgres_link_database(const struct postgres_link *link)
{
    return PQdb(link->conn);
}

const char *postgres_link_user(const struct postgres_link *link)
{
    return PQuser(link->conn);
}
