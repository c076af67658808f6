#include "warehouse/readers.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/buf.h"
#include "warehouse/cache.h"
#include "warehouse/duck.h"
#include "warehouse/guard.h"
#include "warehouse/result.h"

enum { READERS_MAX = 16, WATCHDOG_REPEAT_MS = 50 };

/* A query on its way; owns copies of everything. */
struct job {
    struct job *next;
    struct warehouse_query query;
    struct warehouse_param params[WAREHOUSE_PARAMS_MAX];
    char *texts; /* owned; what sql and params point into */
    warehouse_done_fn done;
    void *context;
    struct ap_buf cache_key;
    int64_t deadline_us; /* monotonic */
};

struct reader {
    struct readers *readers; /* owns this */
    pthread_t thread;
    duckdb_connection connection;
    int64_t running_until_us; /* under readers->mutex; 0: nothing runs */
};

struct readers {
    struct warehouse *warehouse;
    struct reader reader[READERS_MAX];
    size_t reader_count;
    size_t started_count;
    pthread_t watchdog;
    bool has_watchdog;
    /* Any thread, under mutex. duckdb_interrupt(), which only sets a flag, is called while it is held. */
    pthread_mutex_t mutex;
    pthread_cond_t work;     /* first is not NULL, or is_stopping */
    pthread_cond_t deadline; /* something began to run, or is_stopping */
    struct job *first;
    struct job **tail;
    uint32_t waiting_count;
    bool is_stopping;
    bool has_ended;               /* no reader runs any more: the watchdog may go */
    struct warehouse_stats stats; /* the query figures of it */
};

/* ---- Jobs ---- */

static void job_free(struct job *job)
{
    ap_buf_clear(&job->cache_key);
    free(job->texts);
    free(job);
}
AP_DEFINE_AUTO(job, struct job, job_free)

static char *copy_text(char **at, const char *text, size_t bytes)
{
    char *copy = *at;
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    *at += bytes + 1;
    return copy;
}

static struct job *job_new(const struct warehouse_query *query)
{
    struct job *job = ap_new0(struct job);
    size_t bytes = query->sql.bytes + 1;
    for (size_t i = 0; i < query->param_count; i++)
        bytes += strlen(query->params[i].name) + 1 + (query->params[i].text ? strlen(query->params[i].text) : 0) + 1;
    char *at = job->texts = ap_alloc0(bytes, 1);
    job->query = *query;
    job->query.params = job->params;
    job->query.sql.data = copy_text(&at, query->sql.data ? query->sql.data : "", query->sql.bytes);
    for (size_t i = 0; i < query->param_count; i++) {
        const struct warehouse_param *param = &query->params[i];
        job->params[i] = *param;
        job->params[i].name = copy_text(&at, param->name, strlen(param->name));
        if (param->text)
            job->params[i].text = copy_text(&at, param->text, strlen(param->text));
    }
    struct warehouse_query *mine = &job->query;
    mine->row_max = mine->row_max ? mine->row_max : WAREHOUSE_ROWS_MAX_DEFAULT;
    mine->timeout_ms = mine->timeout_ms ? mine->timeout_ms : WAREHOUSE_TIMEOUT_MS_DEFAULT;
    mine->result_bytes_max = mine->result_bytes_max ? mine->result_bytes_max : WAREHOUSE_RESULT_BYTES_MAX_DEFAULT;
    return job;
}

static void make_cache_key(struct job *job, uint64_t applied_lsn)
{
    struct ap_buf *key = &job->cache_key;
    ap_buf_add_u64(key, applied_lsn);
    ap_buf_add_u32(key, job->query.row_max);
    ap_buf_add_u64(key, job->query.result_bytes_max);
    for (size_t i = 0; i < job->query.param_count; i++) {
        const struct warehouse_param *param = &job->params[i];
        ap_buf_add(key, param->name, strlen(param->name) + 1);
        ap_buf_add_u32(key, param->kind);
        ap_buf_add_u64(key, (uint64_t)param->us);
        ap_buf_add(key, &param->number, sizeof(param->number));
        ap_buf_add_cstr(key, param->text ? param->text : "");
        ap_buf_add_char(key, '\0');
    }
    ap_buf_add_slice(key, job->query.sql);
}

static void finish(struct job *take_job, struct warehouse_result *take_result, const struct warehouse_query_err *err)
{
    take_job->done(take_result, take_result ? NULL : err, take_job->context);
    job_free(take_job);
}

/* ---- Running one ---- */

static enum ap_rc fetch(duckdb_result *rows, const struct warehouse_query *query, struct warehouse_result *result,
                        struct warehouse_query_err *err)
{
    for (;;) {
        duckdb_data_chunk chunk = duckdb_fetch_chunk(*rows);
        if (!chunk) {
            const char *message = duckdb_result_error(rows);
            if (message && *message)
                return duck_fail(&err->err, duckdb_result_error_type(rows), message, &err->line, &err->column);
            return AP_OK;
        }
        bool is_full = false;
        bool fits = result_add_chunk(result, chunk, query->row_max, query->result_bytes_max, &is_full);
        duckdb_destroy_data_chunk(&chunk);
        if (!fits)
            return ap_fail(&err->err, AP_E_LIMIT, "the result is larger than %llu bytes; select fewer rows or columns",
                           (unsigned long long)query->result_bytes_max);
        if (is_full) {
            result_set_truncated(result);
            return AP_OK;
        }
    }
}

static enum ap_rc execute(duckdb_connection connection, const struct warehouse_query *query,
                          struct warehouse_result **ret_result, struct warehouse_query_err *err)
{
    duckdb_prepared_statement statement = NULL;
    enum ap_rc rc = guard_prepare(connection, query, &statement, err);
    if (rc == AP_OK) {
        duckdb_result rows;
        if (duckdb_execute_prepared_streaming(statement, &rows) == DuckDBError) {
            rc = duck_fail(&err->err, duckdb_result_error_type(&rows), duckdb_result_error(&rows), &err->line,
                           &err->column);
        } else {
            AP_AUTO(warehouse_result) struct warehouse_result *result = result_new(&rows);
            rc = fetch(&rows, query, result, err);
            if (rc == AP_OK)
                *ret_result = AP_MOVE(result);
        }
        duckdb_destroy_result(&rows);
    }
    if (statement)
        duckdb_destroy_prepare(&statement);
    return rc;
}

/* From here on the watchdog interrupts what takes too long. False: it may not begin any more. */
static bool begin_running(struct reader *reader, int64_t deadline_us)
{
    struct readers *readers = reader->readers;
    pthread_mutex_lock(&readers->mutex);
    bool may_run = !readers->is_stopping;
    if (may_run)
        reader->running_until_us = deadline_us;
    pthread_cond_signal(&readers->deadline);
    pthread_mutex_unlock(&readers->mutex);
    return may_run;
}

static void end_running(struct reader *reader)
{
    pthread_mutex_lock(&reader->readers->mutex);
    reader->running_until_us = 0;
    pthread_mutex_unlock(&reader->readers->mutex);
}

static enum ap_rc execute_read_only(struct reader *reader, const struct job *job, struct warehouse_result **ret_result,
                                    struct warehouse_query_err *err)
{
    if (!begin_running(reader, job->deadline_us))
        return AP_E_TIMEOUT;
    enum ap_rc rc = duck_run(reader->connection, &err->err, "BEGIN TRANSACTION READ ONLY");
    if (rc == AP_OK)
        rc = execute(reader->connection, &job->query, ret_result, err);
    end_running(reader); /* before ROLLBACK, which must not be interrupted: the next query could not begin */
    struct ap_err ignored;
    (void)!duck_run(reader->connection, &ignored, "ROLLBACK");
    return rc;
}

/* What DuckDB says is right, but does not say what to do. */
static void explain(struct readers *readers, const struct job *job, struct warehouse_query_err *err)
{
    if (err->err.rc == AP_E_TIMEOUT) {
        pthread_mutex_lock(&readers->mutex);
        bool is_stopping = readers->is_stopping;
        pthread_mutex_unlock(&readers->mutex);
        if (is_stopping)
            ap_fail(&err->err, AP_E_BUSY, "the server is shutting down");
        else
            ap_fail(&err->err, AP_E_TIMEOUT, "the query took longer than the %u ms it may take", job->query.timeout_ms);
    } else if (err->err.rc == AP_E_NOMEM) {
        err->err.rc = AP_E_LIMIT;
        ap_err_prefix(&err->err, "the query needs more memory than warehouse.memory_limit has left");
    }
}

/* The answer may have been found while this one waited: a page that many watch asks the same of all at once. */
static bool answer_from_cache(struct readers *readers, struct job *job)
{
    struct warehouse_result *known = NULL;
    if (!job->query.is_uncached)
        known = cache_find(readers->warehouse->cache, ap_buf_slice(&job->cache_key));
    if (!known)
        return false;
    pthread_mutex_lock(&readers->mutex);
    readers->stats.cache_hit_count++;
    pthread_mutex_unlock(&readers->mutex);
    finish(job, known, NULL);
    return true;
}

static void run_job(struct reader *reader, struct job *take_job)
{
    struct readers *readers = reader->readers;
    struct warehouse *warehouse = readers->warehouse;
    const struct ap_clock *clock = warehouse->options.clock;
    struct warehouse_query_err err = {0};
    struct warehouse_result *result = NULL;
    int64_t began_us = ap_clock_monotonic_us(clock);
    enum ap_rc rc = AP_E_TIMEOUT;
    if (began_us < take_job->deadline_us) {
        make_cache_key(take_job, __atomic_load_n(&warehouse->applied_lsn, __ATOMIC_ACQUIRE));
        if (answer_from_cache(readers, take_job))
            return;
        rc = execute_read_only(reader, take_job, &result, &err);
    }
    int64_t took_us = ap_clock_monotonic_us(clock) - began_us;
    if (rc == AP_OK) {
        result_set_took_us(result, took_us);
        cache_add(warehouse->cache, ap_buf_slice(&take_job->cache_key), result);
    } else {
        err.err.rc = rc;
        explain(readers, take_job, &err);
    }
    pthread_mutex_lock(&readers->mutex);
    readers->stats.query_count++;
    readers->stats.query_us += (uint64_t)took_us;
    readers->stats.query_failure_count += rc != AP_OK;
    pthread_mutex_unlock(&readers->mutex);
    finish(take_job, result, &err);
}

static void *reader_run(void *context)
{
    struct reader *reader = context;
    struct readers *readers = reader->readers;
    pthread_setname_np(pthread_self(), "reader");
    for (;;) {
        pthread_mutex_lock(&readers->mutex);
        while (!readers->first && !readers->is_stopping)
            pthread_cond_wait(&readers->work, &readers->mutex);
        struct job *job = readers->is_stopping ? NULL : readers->first;
        if (job) {
            readers->first = job->next;
            if (!readers->first)
                readers->tail = &readers->first;
            readers->waiting_count--;
        }
        pthread_mutex_unlock(&readers->mutex);
        if (!job)
            return NULL;
        run_job(reader, job);
    }
}

/* ---- The watchdog ---- */

/* Interrupts what is over its time; returns when to look again (0: nothing runs). */
static int64_t interrupt_late_locked(struct readers *readers, int64_t now_us)
{
    int64_t next_us = 0;
    for (size_t i = 0; i < readers->reader_count; i++) {
        int64_t until_us = readers->reader[i].running_until_us;
        if (until_us == 0)
            continue;
        if (until_us <= now_us || readers->is_stopping) {
            /* Again and again: the flag may be cleared by a statement that is just beginning. */
            duckdb_interrupt(readers->reader[i].connection);
            until_us = now_us + WATCHDOG_REPEAT_MS * AP_US_PER_MS;
        }
        next_us = next_us ? AP_MIN(next_us, until_us) : until_us;
    }
    return next_us;
}

static void *watchdog_run(void *context)
{
    struct readers *readers = context;
    const struct ap_clock *clock = readers->warehouse->options.clock;
    pthread_setname_np(pthread_self(), "query-watchdog");
    pthread_mutex_lock(&readers->mutex);
    for (;;) {
        int64_t now_us = ap_clock_monotonic_us(clock);
        int64_t next_us = interrupt_late_locked(readers, now_us);
        if (readers->has_ended)
            break;
        if (next_us == 0) {
            pthread_cond_wait(&readers->deadline, &readers->mutex);
            continue;
        }
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        int64_t wait_us = AP_MAX(INT64_C(1000), next_us - now_us);
        until.tv_nsec += wait_us % AP_US_PER_S * 1000;
        until.tv_sec += wait_us / AP_US_PER_S + until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&readers->deadline, &readers->mutex, &until);
    }
    pthread_mutex_unlock(&readers->mutex);
    return NULL;
}

/* ---- Life ---- */

enum ap_rc readers_open(struct warehouse *warehouse, struct readers **ret_readers, struct ap_err *err)
{
    struct readers *readers = ap_new0(struct readers);
    readers->warehouse = warehouse;
    readers->reader_count = AP_MAX(1u, AP_MIN(warehouse->options.reader_count, (uint32_t)READERS_MAX));
    readers->tail = &readers->first;
    pthread_mutex_init(&readers->mutex, NULL);
    pthread_cond_init(&readers->work, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&readers->deadline, &monotonic);
    pthread_condattr_destroy(&monotonic);

    bool is_fine = true;
    for (size_t i = 0; i < readers->reader_count && is_fine; i++) {
        struct reader *reader = &readers->reader[i];
        reader->readers = readers;
        is_fine = duckdb_connect(warehouse->database, &reader->connection) == DuckDBSuccess &&
                  pthread_create(&reader->thread, NULL, reader_run, reader) == 0;
        readers->started_count += is_fine;
    }
    readers->has_watchdog = is_fine && pthread_create(&readers->watchdog, NULL, watchdog_run, readers) == 0;
    if (!readers->has_watchdog) {
        readers_close(readers);
        return ap_fail(err, AP_E_IO, "start the threads that answer queries");
    }
    *ret_readers = readers;
    return AP_OK;
}

void readers_close(struct readers *readers)
{
    if (!readers)
        return;
    pthread_mutex_lock(&readers->mutex);
    readers->is_stopping = true;
    struct job *waiting = readers->first;
    readers->first = NULL;
    readers->tail = &readers->first;
    readers->waiting_count = 0;
    pthread_cond_broadcast(&readers->work);
    pthread_cond_broadcast(&readers->deadline);
    pthread_mutex_unlock(&readers->mutex);
    for (size_t i = 0; i < readers->started_count; i++)
        pthread_join(readers->reader[i].thread, NULL);
    if (readers->has_watchdog) {
        pthread_mutex_lock(&readers->mutex);
        readers->has_ended = true;
        pthread_cond_broadcast(&readers->deadline);
        pthread_mutex_unlock(&readers->mutex);
        pthread_join(readers->watchdog, NULL);
    }
    while (waiting) {
        struct job *job = waiting;
        waiting = job->next;
        struct warehouse_query_err err = {0};
        ap_fail(&err.err, AP_E_BUSY, "the server is shutting down");
        finish(job, NULL, &err);
    }
    for (size_t i = 0; i < readers->reader_count; i++)
        if (readers->reader[i].connection)
            duckdb_disconnect(&readers->reader[i].connection);
    pthread_cond_destroy(&readers->deadline);
    pthread_cond_destroy(&readers->work);
    pthread_mutex_destroy(&readers->mutex);
    free(readers);
}

void readers_stats_get(struct readers *readers, struct warehouse_stats *ret_stats)
{
    pthread_mutex_lock(&readers->mutex);
    ret_stats->query_count = readers->stats.query_count;
    ret_stats->query_failure_count = readers->stats.query_failure_count;
    ret_stats->query_us = readers->stats.query_us;
    ret_stats->cache_hit_count = readers->stats.cache_hit_count;
    ret_stats->query_waiting_count = readers->waiting_count;
    pthread_mutex_unlock(&readers->mutex);
}

/* ---- Asking ---- */

static enum ap_rc check_size(const struct warehouse_query *query, struct ap_err *err)
{
    if (query->sql.bytes > WAREHOUSE_SQL_BYTES_MAX)
        return ap_fail(err, AP_E_LIMIT, "the query is %zu bytes long, at most %d are allowed", query->sql.bytes,
                       WAREHOUSE_SQL_BYTES_MAX);
    if (query->param_count > WAREHOUSE_PARAMS_MAX)
        return ap_fail(err, AP_E_LIMIT, "the query has %zu parameters, at most %d are allowed", query->param_count,
                       WAREHOUSE_PARAMS_MAX);
    return AP_OK;
}

enum ap_rc warehouse_query_submit(struct warehouse *warehouse, const struct warehouse_query *query,
                                  warehouse_done_fn done, void *context, struct ap_err *err)
{
    struct readers *readers = warehouse->readers;
    enum ap_rc rc = check_size(query, err);
    if (rc != AP_OK)
        return rc;
    AP_AUTO(job) struct job *job = job_new(query);
    job->done = done;
    job->context = context;
    job->deadline_us = ap_clock_monotonic_us(warehouse->options.clock) + job->query.timeout_ms * AP_US_PER_MS;
    if (!query->is_uncached) {
        make_cache_key(job, __atomic_load_n(&warehouse->applied_lsn, __ATOMIC_ACQUIRE));
        if (answer_from_cache(readers, job)) {
            job = NULL; /* was freed */
            return AP_OK;
        }
        ap_buf_reset(&job->cache_key); /* made anew when its turn comes */
    }
    pthread_mutex_lock(&readers->mutex);
    if (readers->is_stopping || readers->waiting_count >= warehouse->options.query_queue_max) {
        rc = ap_fail(err, AP_E_BUSY, "%s",
                     readers->is_stopping ? "the server is shutting down"
                                          : "too many queries are waiting; try again shortly");
    } else {
        *readers->tail = job;
        readers->tail = &job->next;
        readers->waiting_count++;
        job = NULL; /* the queue's */
        pthread_cond_signal(&readers->work);
    }
    pthread_mutex_unlock(&readers->mutex);
    return rc;
}

struct waiter {
    pthread_mutex_t mutex;
    pthread_cond_t done;
    bool is_done;
    struct warehouse_result *result;
    struct warehouse_query_err err;
};

static void wake_waiter(struct warehouse_result *take_result, const struct warehouse_query_err *err, void *context)
{
    struct waiter *waiter = context;
    pthread_mutex_lock(&waiter->mutex);
    waiter->result = take_result;
    if (err)
        waiter->err = *err;
    waiter->is_done = true;
    pthread_cond_signal(&waiter->done);
    pthread_mutex_unlock(&waiter->mutex);
}

enum ap_rc warehouse_query_run(struct warehouse *warehouse, const struct warehouse_query *query,
                               struct warehouse_result **ret_result, struct warehouse_query_err *err)
{
    struct waiter waiter = {.mutex = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};
    *err = (struct warehouse_query_err){0};
    enum ap_rc rc = warehouse_query_submit(warehouse, query, wake_waiter, &waiter, &err->err);
    if (rc != AP_OK)
        return rc;
    pthread_mutex_lock(&waiter.mutex);
    while (!waiter.is_done)
        pthread_cond_wait(&waiter.done, &waiter.mutex);
    pthread_mutex_unlock(&waiter.mutex);
    if (!waiter.result) {
        *err = waiter.err;
        return waiter.err.err.rc;
    }
    *ret_result = waiter.result;
    return AP_OK;
}

enum ap_rc warehouse_query_check(struct warehouse *warehouse, const struct warehouse_query *query,
                                 struct warehouse_query_err *err)
{
    return warehouse_query_describe(warehouse, query, NULL, NULL, err);
}

static void tell_columns(duckdb_prepared_statement statement, warehouse_column_fn each, void *context)
{
    idx_t count = duckdb_prepared_statement_column_count(statement);
    if (count == 1 && duckdb_prepared_statement_column_type(statement, 0) == DUCKDB_TYPE_INVALID)
        return;
    for (idx_t i = 0; i < count; i++) {
        const char *name = duckdb_prepared_statement_column_name(statement, i);
        each(name ? name : "", result_kind_of(duckdb_prepared_statement_column_type(statement, i)), context);
        duckdb_free((void *)(uintptr_t)name);
    }
}

enum ap_rc warehouse_query_describe(struct warehouse *warehouse, const struct warehouse_query *query,
                                    warehouse_column_fn each, void *context, struct warehouse_query_err *err)
{
    *err = (struct warehouse_query_err){0};
    enum ap_rc rc = check_size(query, &err->err);
    if (rc != AP_OK)
        return rc;
    duckdb_connection connection;
    if (duckdb_connect(warehouse->database, &connection) == DuckDBError)
        return ap_fail(&err->err, AP_E_INTERNAL, "connect to the warehouse");
    duckdb_prepared_statement statement = NULL;
    rc = guard_prepare(connection, query, &statement, err);
    if (rc == AP_OK && each)
        tell_columns(statement, each, context);
    if (statement)
        duckdb_destroy_prepare(&statement);
    duckdb_disconnect(&connection);
    return rc;
}
