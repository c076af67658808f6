#include "warehouse/writer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/buf.h"
#include "wal/wal.h"
#include "warehouse/appender.h"
#include "warehouse/checkpoint.h"
#include "warehouse/duck.h"
#include "warehouse/row.h"

enum {
    COMMIT_INTERVAL_MS = 250, /* under load: rows wait for each other this long */
    IDLE_WAIT_MS = 1000,      /* so that the thread looks now and then whether it should stop */
    TRANSACTION_ROWS_MAX =
        30 * 1000, /* in sight of queries within a fraction of a second, also when more keep coming */
    BACK_OFF_MS_MIN = 100,
    BACK_OFF_MS_MAX = 5000,
    FAILURES_BEFORE_ASIDE =
        3, /* of a transaction, then its records are tried alone; of a record alone, then it is set aside */
    RETENTION_INTERVAL_MS = 60 * 1000,
    CHECKPOINT_RETRY_MS = 10 * 1000, /* when there was no room for one */
    SKIPPED_RECORDS_MAX = 256,       /* of other stores in a row, before looking at anything else */
    SKIPPED_BYTES_MAX = 16 << 20,    /* of other stores' log, before the database is told that we are past them */
};

struct writer {
    struct warehouse *warehouse;
    struct wal *wal; /* lent */
    pthread_t thread;
    uint64_t start_lsn_end; /* constant */
    /* Writer's thread only. */
    duckdb_connection connection;
    struct wal_cursor *cursor;
    struct appender *appenders[TABLE_ID_MAX + 1]; /* by id; made when a table first has rows in a transaction */
    uint64_t applied_lsn;                         /* all rows below are committed */
    uint64_t stored_lsn;                          /* what the database says; behind applied_lsn where no rows follow */
    uint64_t next_lsn;                            /* taken in this transaction */
    uint64_t read_lsn;                            /* read of the log, whether it could be taken or not */
    uint64_t alone_until_lsn;                     /* below it one record a transaction, to find the one that fails */
    uint64_t tables_mask;                         /* with new rows in this transaction */
    uint64_t row_count[AP_ARRAY_COUNT(((struct warehouse_stats *)0)->rows_count)];
    uint64_t transaction_rows;
    int64_t transaction_us; /* when it began; 0: none is under way */
    int64_t committed_us;
    int64_t retained_us;    /* when old days were last looked for */
    int64_t checkpoint_us;  /* no checkpoint before this time */
    unsigned failure_count; /* in a row, at applied_lsn */
    /* Any thread, under mutex. A leaf lock. */
    pthread_mutex_t mutex;
    pthread_cond_t wake; /* is_stopping was set */
    bool is_stopping;
    struct warehouse_stats stats;
};

static int64_t now_us(const struct writer *writer)
{
    return ap_clock_monotonic_us(writer->warehouse->options.clock);
}

static bool is_alone(const struct writer *writer)
{
    return writer->applied_lsn < writer->alone_until_lsn;
}

static bool is_stopping(struct writer *writer)
{
    pthread_mutex_lock(&writer->mutex);
    bool is_set = writer->is_stopping;
    pthread_mutex_unlock(&writer->mutex);
    return is_set;
}

/* Waits, but no longer than until it is to stop. */
static void back_off(struct writer *writer)
{
    unsigned doublings = AP_MIN(writer->failure_count, 6u);
    int64_t wait_ms = AP_MIN((int64_t)BACK_OFF_MS_MIN << doublings, (int64_t)BACK_OFF_MS_MAX);
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (wait_ms % 1000) * 1000000;
    until.tv_sec += wait_ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&writer->mutex);
    while (!writer->is_stopping && pthread_cond_timedwait(&writer->wake, &writer->mutex, &until) == 0)
        ;
    pthread_mutex_unlock(&writer->mutex);
}

/* ---- One transaction ---- */

static enum ap_rc begin(struct writer *writer, struct ap_err *err)
{
    enum ap_rc rc = duck_run(writer->connection, err, "BEGIN");
    if (rc != AP_OK)
        return rc;
    writer->transaction_us = now_us(writer);
    writer->transaction_rows = 0;
    writer->tables_mask = 0;
    memset(writer->row_count, 0, sizeof(writer->row_count));
    return AP_OK;
}

static void close_appenders(struct writer *writer)
{
    for (size_t i = 0; i < AP_ARRAY_COUNT(writer->appenders); i++) {
        appender_close(writer->appenders[i]);
        writer->appenders[i] = NULL;
    }
}

static void roll_back(struct writer *writer)
{
    struct ap_err ignored;
    close_appenders(writer);
    if (writer->transaction_us)
        (void)!duck_run(writer->connection, &ignored, "ROLLBACK");
    writer->transaction_us = 0;
}

static enum ap_rc append_rows(struct writer *writer, const struct wal_record *record, struct ap_err *err)
{
    struct row_reader reader;
    enum ap_rc rc = row_reader_open(&reader, record->payload, err);
    if (rc != AP_OK)
        return rc;
    struct appender **appender = &writer->appenders[reader.table->id];
    if (!*appender && (rc = appender_open(writer->connection, reader.table, appender, err)) != AP_OK)
        return rc;
    rc = appender_add(*appender, &reader, record->lsn, err);
    if (rc != AP_OK)
        return rc;
    writer->tables_mask |= UINT64_C(1) << reader.table->id;
    writer->row_count[reader.table - tables] += reader.row_count;
    writer->transaction_rows += reader.row_count;
    return AP_OK;
}

static enum ap_rc merge_rollups(struct writer *writer, struct ap_err *err)
{
    struct warehouse *warehouse = writer->warehouse;
    if (!writer->tables_mask || warehouse->rollup_count == 0)
        return AP_OK;
    enum ap_rc rc = rollup_show_new_rows(writer->connection, writer->tables_mask, writer->applied_lsn, -1, err);
    for (size_t i = 0; i < warehouse->rollup_count && rc == AP_OK; i++) {
        struct rollup *rollup = &warehouse->rollups[i];
        if (rollup->is_broken)
            continue;
        rc = rollup_merge(writer->connection, rollup, writer->tables_mask, err);
        /* A merge that DuckDB does not accept, again and again, must not hold up the rows: drop the roll-up, not them.
         */
        if (rc == AP_E_PARSE && is_alone(writer) && writer->failure_count + 1 >= FAILURES_BEFORE_ASIDE) {
            rollup->is_broken = true;
            rc = AP_E_CONFLICT; /* not the record's fault: once more without the roll-up */
            pthread_mutex_lock(&writer->mutex);
            writer->stats.broken_rollup_count++;
            pthread_mutex_unlock(&writer->mutex);
        }
    }
    /* It is built anew at the next start. */
    for (size_t i = 0; i < warehouse->rollup_count && rc == AP_OK; i++)
        if (warehouse->rollups[i].is_broken)
            rc = duck_run(writer->connection, err, "DELETE FROM _apiary_rollups WHERE name = '%s'",
                          warehouse->rollups[i].name);
    return rc;
}

static void note_commit(struct writer *writer)
{
    struct warehouse *warehouse = writer->warehouse;
    writer->applied_lsn = writer->stored_lsn = writer->next_lsn;
    writer->failure_count = 0;
    writer->committed_us = now_us(writer);
    __atomic_store_n(&warehouse->applied_lsn, writer->applied_lsn, __ATOMIC_RELEASE);

    pthread_mutex_lock(&writer->mutex);
    struct warehouse_stats *stats = &writer->stats;
    stats->applied_lsn = writer->applied_lsn;
    stats->is_failing = false;
    stats->is_caught_up = stats->is_caught_up || writer->applied_lsn >= writer->start_lsn_end;
    stats->commit_count++;
    stats->commit_us += (uint64_t)(writer->committed_us - writer->transaction_us);
    for (size_t i = 0; i < AP_ARRAY_COUNT(stats->rows_count); i++)
        stats->rows_count[i] += writer->row_count[i];
    pthread_mutex_unlock(&writer->mutex);
    writer->transaction_us = 0;

    wal_cursor_release(writer->cursor, writer->stored_lsn);
    if (warehouse->options.committed)
        warehouse->options.committed(writer->applied_lsn, writer->tables_mask, warehouse->options.context);
}

/*
 * Records of other stores, and no transaction is under way: a commit for each of them would cost an fsync. What is
 * remembered in memory alone is skipped once more after a crash. Answers in the cache stay good.
 */
static void note_skipped(struct writer *writer)
{
    struct warehouse *warehouse = writer->warehouse;
    writer->applied_lsn = writer->next_lsn;
    pthread_mutex_lock(&writer->mutex);
    writer->stats.applied_lsn = writer->applied_lsn;
    writer->stats.is_caught_up = writer->stats.is_caught_up || writer->applied_lsn >= writer->start_lsn_end;
    pthread_mutex_unlock(&writer->mutex);
    if (warehouse->options.committed)
        warehouse->options.committed(writer->applied_lsn, 0, warehouse->options.context);
}

static enum ap_rc commit(struct writer *writer, struct ap_err *err)
{
    enum ap_rc rc = AP_OK;
    for (size_t i = 0; i < AP_ARRAY_COUNT(writer->appenders) && rc == AP_OK; i++)
        if (writer->appenders[i])
            rc = appender_flush(writer->appenders[i], err);
    if (rc == AP_OK)
        rc = merge_rollups(writer, err);
    if (rc == AP_OK)
        rc = duck_run(writer->connection, err, "UPDATE _apiary_cursor SET lsn = %" PRIu64, writer->next_lsn);
    if (rc == AP_OK)
        rc = duck_run(writer->connection, err, "COMMIT");
    if (rc == AP_OK)
        note_commit(writer);
    return rc;
}

/* ---- When something fails: the log keeps everything, so go back to what is committed and try again ---- */

static void note_failure(struct writer *writer, const struct ap_err *err)
{
    pthread_mutex_lock(&writer->mutex);
    writer->stats.failure_count++;
    writer->stats.is_failing = true;
    snprintf(writer->stats.last_error, sizeof(writer->stats.last_error), "%.255s", err->text);
    pthread_mutex_unlock(&writer->mutex);
    if (writer->warehouse->options.trouble)
        writer->warehouse->options.trouble(err, writer->warehouse->options.context);
}

/* The log keeps what a closed cursor still held until one of the same name is open again. */
static enum ap_rc reopen_cursor(struct writer *writer, struct ap_err *err)
{
    wal_cursor_close(writer->cursor);
    writer->cursor = NULL;
    writer->next_lsn = writer->applied_lsn;
    return wal_cursor_open(writer->wal, WAREHOUSE_CURSOR_NAME, writer->applied_lsn, &writer->cursor, err);
}

/* Keeps a record that cannot be taken, with the reason, and goes on behind it. */
static enum ap_rc set_aside(struct writer *writer, const struct wal_record *record, const struct ap_err *why,
                            struct ap_err *err)
{
    duckdb_prepared_statement statement;
    enum ap_rc rc = begin(writer, err);
    if (rc != AP_OK)
        return rc;
    if (duckdb_prepare(writer->connection, "INSERT INTO _apiary_quarantine VALUES (?, ?, ?, ?)", &statement) ==
        DuckDBError) {
        rc = ap_fail(err, AP_E_INTERNAL, "set a record aside: %s", duckdb_prepare_error(statement));
    } else {
        duckdb_timestamp at = {ap_clock_wall_us(writer->warehouse->options.clock)};
        duckdb_bind_uint64(statement, 1, record->lsn);
        duckdb_bind_timestamp(statement, 2, at);
        duckdb_bind_varchar(statement, 3, why->text);
        duckdb_bind_blob(statement, 4, record->payload.data, record->payload.bytes);
        duckdb_result result;
        if (duckdb_execute_prepared(statement, &result) == DuckDBError)
            rc = ap_fail(err, AP_E_INTERNAL, "set a record aside: %s", duckdb_result_error(&result));
        duckdb_destroy_result(&result);
    }
    duckdb_destroy_prepare(&statement);
    if (rc != AP_OK)
        return rc;
    writer->next_lsn = record->next_lsn;
    rc = commit(writer, err);
    if (rc == AP_OK) {
        pthread_mutex_lock(&writer->mutex);
        writer->stats.quarantine_count++;
        pthread_mutex_unlock(&writer->mutex);
    }
    return rc;
}

/* ---- The loop ---- */

/*
 * Whether to commit now. Alone rows should be seen at once; under load commits are this far apart, because each costs
 * an fsync and some bookkeeping whatever its size.
 */
static int64_t commit_wait_ms(const struct writer *writer)
{
    if (is_alone(writer) || writer->transaction_rows >= TRANSACTION_ROWS_MAX)
        return 0;
    int64_t since_us =
        now_us(writer) - AP_MAX(writer->committed_us, writer->transaction_us - COMMIT_INTERVAL_MS * AP_US_PER_MS);
    return AP_MAX(INT64_C(0), COMMIT_INTERVAL_MS - since_us / AP_US_PER_MS);
}

/*
 * Takes records until the transaction is full or its time has come. Without a transaction when there were only records
 * of other stores. AP_E_BUSY: the log has ended.
 */
static enum ap_rc fill_transaction(struct writer *writer, struct wal_record *ret_last, struct ap_err *err)
{
    enum ap_rc rc = writer->cursor ? AP_OK : reopen_cursor(writer, err);
    unsigned skipped_count = 0;
    while (rc == AP_OK && skipped_count < SKIPPED_RECORDS_MAX) {
        int64_t wait_ms = skipped_count ? 0 : IDLE_WAIT_MS;
        if (writer->transaction_us && (wait_ms = commit_wait_ms(writer)) == 0)
            return AP_OK;
        rc = wal_cursor_next(writer->cursor, wait_ms, ret_last, err);
        if (rc == AP_E_TIMEOUT)
            return AP_OK;
        if (rc != AP_OK)
            return rc;
        writer->read_lsn = ret_last->next_lsn;
        if (ret_last->type != ROW_RECORD_TYPE) {
            writer->next_lsn = ret_last->next_lsn;
            skipped_count += writer->transaction_us == 0;
            continue;
        }
        if (!writer->transaction_us && (rc = begin(writer, err)) != AP_OK)
            return rc;
        if ((rc = append_rows(writer, ret_last, err)) != AP_OK)
            return rc;
        writer->next_lsn = ret_last->next_lsn;
    }
    return rc;
}

/*
 * Whether a COMMIT that failed took effect after all is for the database to say: taking the same records again would
 * count them twice. The log may not let go of them yet.
 */
static void find_position(struct writer *writer)
{
    uint64_t lsn;
    struct ap_err ignored;
    if (duck_number(writer->connection, &lsn, &ignored, "SELECT lsn FROM _apiary_cursor") != AP_OK ||
        lsn <= writer->applied_lsn)
        return;
    writer->applied_lsn = writer->stored_lsn = lsn;
    __atomic_store_n(&writer->warehouse->applied_lsn, lsn, __ATOMIC_RELEASE);
    pthread_mutex_lock(&writer->mutex);
    writer->stats.applied_lsn = lsn;
    pthread_mutex_unlock(&writer->mutex);
}

/* `last` is the record that was read last; its payload is still lent when it was alone. */
static void recover(struct writer *writer, enum ap_rc rc, const struct wal_record *last, struct ap_err *err)
{
    roll_back(writer);
    note_failure(writer, err);
    writer->failure_count++;
    struct ap_err next_err;
    uint64_t before_lsn = writer->applied_lsn;
    find_position(writer);
    bool is_hopeless = rc == AP_E_CORRUPT || (rc == AP_E_PARSE && writer->failure_count >= FAILURES_BEFORE_ASIDE);
    if (writer->applied_lsn != before_lsn)
        is_hopeless = false;
    if (is_alone(writer) && last->payload.data && is_hopeless) {
        if (set_aside(writer, last, err, &next_err) == AP_OK)
            return;
        roll_back(writer);
        note_failure(writer, &next_err);
    } else if (!is_alone(writer) && is_hopeless) {
        writer->alone_until_lsn = writer->read_lsn;
        writer->failure_count = 0;
    }
    back_off(writer);
    if (reopen_cursor(writer, &next_err) != AP_OK)
        note_failure(writer, &next_err);
}

static void drop_old_days(struct writer *writer)
{
    const struct warehouse_options *options = &writer->warehouse->options;
    if (options->retention_days == 0 || now_us(writer) - writer->retained_us < RETENTION_INTERVAL_MS * AP_US_PER_MS)
        return;
    writer->retained_us = now_us(writer);
    int64_t first_kept = ap_days_of_us(ap_clock_wall_us(options->clock)) - (int64_t)options->retention_days;
    for (size_t i = 0; i < tables_count; i++) {
        /* One day of one table each time: small transactions, and the queue of rows never waits long. */
        struct ap_err err;
        if (duck_run(writer->connection, &err,
                     "DELETE FROM %s WHERE date = (SELECT min(date) FROM %s) AND date < DATE '1970-01-01' + %" PRId64,
                     tables[i].name, tables[i].name, first_kept) != AP_OK)
            note_failure(writer, &err);
    }
}

static void make_checkpoint(struct writer *writer)
{
    struct ap_err err;
    if (now_us(writer) < writer->checkpoint_us)
        return;
    if (checkpoint_if_due(writer->warehouse, writer->connection, &err) == AP_OK)
        return;
    writer->checkpoint_us = now_us(writer) + CHECKPOINT_RETRY_MS * AP_US_PER_MS;
    if (writer->warehouse->options.trouble) /* not note_failure(): rows still become visible */
        writer->warehouse->options.trouble(&err, writer->warehouse->options.context);
}

/* Makes what fill_transaction() took visible. *ret_has_committed is false when there were no rows. */
static enum ap_rc take_effect(struct writer *writer, bool is_end, bool *ret_has_committed, struct ap_err *err)
{
    *ret_has_committed = false;
    enum ap_rc rc = AP_OK;
    if (!writer->transaction_us && writer->next_lsn > writer->applied_lsn)
        note_skipped(writer);
    uint64_t unstored_bytes = writer->applied_lsn - writer->stored_lsn;
    if (!writer->transaction_us && unstored_bytes >= (is_end ? 1 : SKIPPED_BYTES_MAX))
        rc = begin(writer, err);
    if (rc == AP_OK && writer->transaction_us) {
        rc = commit(writer, err);
        *ret_has_committed = true;
    }
    return rc;
}

static void *writer_run(void *context)
{
    struct writer *writer = context;
    pthread_setname_np(pthread_self(), "warehouse");
    for (;;) {
        struct ap_err err = {0};
        struct wal_record last = {0};
        enum ap_rc rc = fill_transaction(writer, &last, &err);
        bool is_end = rc == AP_E_BUSY && !writer->transaction_us;
        bool has_committed = false;
        if (rc == AP_OK || rc == AP_E_BUSY) {
            struct ap_err commit_err;
            enum ap_rc commit_rc = take_effect(writer, is_end, &has_committed, &commit_err);
            if (commit_rc != AP_OK) {
                rc = commit_rc;
                err = commit_err;
            }
        }
        if (rc != AP_OK && rc != AP_E_BUSY)
            recover(writer, rc, &last, &err);
        else if (rc == AP_OK)
            drop_old_days(writer);
        if (!writer->transaction_us && (has_committed || writer->applied_lsn == writer->stored_lsn))
            make_checkpoint(writer);
        if (is_end || is_stopping(writer))
            break;
    }
    roll_back(writer);
    return NULL;
}

/* ---- Life ---- */

static void writer_free(struct writer *writer)
{
    if (!writer)
        return;
    close_appenders(writer);
    wal_cursor_close(writer->cursor);
    if (writer->connection)
        duckdb_disconnect(&writer->connection);
    pthread_cond_destroy(&writer->wake);
    pthread_mutex_destroy(&writer->mutex);
    free(writer);
}
AP_DEFINE_AUTO(writer, struct writer, writer_free)

enum ap_rc writer_start(struct warehouse *warehouse, struct wal *wal, struct writer **ret_writer, struct ap_err *err)
{
    AP_AUTO(writer) struct writer *writer = ap_new0(struct writer);
    writer->warehouse = warehouse;
    writer->wal = wal;
    pthread_mutex_init(&writer->mutex, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&writer->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (duckdb_connect(warehouse->database, &writer->connection) == DuckDBError)
        return ap_fail(err, AP_E_INTERNAL, "connect the writer to the warehouse");
    enum ap_rc rc = duck_number(writer->connection, &writer->applied_lsn, err, "SELECT lsn FROM _apiary_cursor");
    if (rc == AP_OK)
        rc = wal_cursor_open(wal, WAREHOUSE_CURSOR_NAME, writer->applied_lsn, &writer->cursor, err);
    if (rc != AP_OK)
        return ap_err_prefix(err, "start the writer of the warehouse at position %" PRIu64 " of the log",
                             writer->applied_lsn);
    struct wal_stats wal_stats;
    wal_stats_get(wal, &wal_stats);
    writer->start_lsn_end = wal_stats.durable_lsn;
    writer->next_lsn = writer->stored_lsn = writer->applied_lsn;
    writer->committed_us = now_us(writer) - COMMIT_INTERVAL_MS * AP_US_PER_MS;
    writer->stats.applied_lsn = writer->applied_lsn;
    writer->stats.start_lsn_end = writer->start_lsn_end;
    writer->stats.is_caught_up = writer->applied_lsn >= writer->start_lsn_end;
    __atomic_store_n(&warehouse->applied_lsn, writer->applied_lsn, __ATOMIC_RELEASE);
    if (pthread_create(&writer->thread, NULL, writer_run, writer) != 0)
        return ap_fail(err, AP_E_IO, "start the writer's thread");
    *ret_writer = AP_MOVE(writer);
    return AP_OK;
}

void writer_stop(struct writer *writer)
{
    if (!writer)
        return;
    pthread_mutex_lock(&writer->mutex);
    writer->is_stopping = true;
    pthread_cond_signal(&writer->wake);
    pthread_mutex_unlock(&writer->mutex);
    pthread_join(writer->thread, NULL);
    writer_free(writer);
}

void writer_stats_get(struct writer *writer, struct warehouse_stats *ret_stats)
{
    pthread_mutex_lock(&writer->mutex);
    *ret_stats = writer->stats;
    pthread_mutex_unlock(&writer->mutex);
}
