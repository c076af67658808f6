#include "alert/keeper.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "os/fs.h"
#include "wal/wal.h"

enum {
    RECORD_BYTES_MAX =
        4 << 20,               /* since the last snapshot; more when that is larger, or most of the work were copying */
    HELD_BYTES_MAX = 16 << 20, /* of the log, whoever wrote it, since then; with a small log less */
    HELD_SHARE = 8,
};

static const char cursor_name[] = "alerting";

struct keeper {
    /* Constant. */
    struct keeper_options options;
    int dir_fd;
    struct wal_cursor *cursor; /* holds the log from the snapshot on */
    uint64_t log_bytes_max;
    /* Any thread, under mutex. A leaf lock. */
    pthread_mutex_t mutex;
    pthread_cond_t answered;
    uint64_t record_bytes; /* since the snapshot */
    uint64_t snapshot_bytes;
    uint64_t saved_lsn;     /* where in the log what the snapshot lacks begins */
    uint64_t pending_count; /* records that the log has yet to answer */
    bool has_lost;          /* the log did not take a record: the next snapshot has what it said */
};

/* ---- Records ---- */

/* One record, until the log has answered. */
struct pending {
    struct wal_ticket ticket;
    struct keeper *keeper;
    struct ap_buf bytes;
    void (*done)(void *context, enum ap_rc rc); /* NULL: nobody waits */
    void *context;
};

static void tell_trouble(const struct keeper *keeper, const struct ap_err *err)
{
    if (keeper->options.trouble)
        keeper->options.trouble(err, keeper->options.context);
}

static void record_done(struct wal_ticket *ticket, enum ap_rc rc, uint64_t lsn)
{
    (void)lsn;
    struct pending *pending = ticket->context;
    struct keeper *keeper = pending->keeper;
    if (pending->done)
        pending->done(pending->context, rc);
    if (rc != AP_OK) {
        struct ap_err err;
        (void)ap_fail(&err, rc, "the log did not take a change of alerts; after a crash it may be missing");
        tell_trouble(keeper, &err);
    }
    ap_buf_clear(&pending->bytes);
    free(pending);
    pthread_mutex_lock(&keeper->mutex);
    keeper->has_lost |= rc != AP_OK;
    keeper->pending_count--;
    pthread_cond_broadcast(&keeper->answered);
    pthread_mutex_unlock(&keeper->mutex);
}

static void count_pending(struct keeper *keeper, int change, uint64_t bytes)
{
    pthread_mutex_lock(&keeper->mutex);
    keeper->pending_count += (uint64_t)change;
    keeper->record_bytes += bytes;
    pthread_mutex_unlock(&keeper->mutex);
}

enum ap_rc keeper_submit(struct keeper *keeper, struct ap_buf *take_bytes, void (*done)(void *context, enum ap_rc rc),
                         void *context, struct ap_err *err)
{
    struct pending *pending = ap_new0(struct pending);
    *pending = (struct pending){.keeper = keeper, .bytes = *take_bytes, .done = done, .context = context};
    *take_bytes = (struct ap_buf){0};
    pending->ticket = (struct wal_ticket){
        .slices = {ap_buf_slice(&pending->bytes)}, .slice_count = 1, .type = JOURNAL_RECORD_TYPE, .done = record_done};
    pending->ticket.context = pending;
    count_pending(keeper, 1, pending->bytes.bytes);
    enum ap_rc rc = wal_submit(keeper->options.wal, &pending->ticket, err);
    if (rc != AP_OK) {
        count_pending(keeper, -1, 0);
        ap_buf_clear(&pending->bytes);
        free(pending);
    }
    return rc;
}

void keeper_note(struct keeper *keeper, struct ap_buf *take_bytes)
{
    struct ap_err err;
    if (!keeper)
        ap_buf_clear(take_bytes);
    else if (keeper_submit(keeper, take_bytes, NULL, NULL, &err) != AP_OK)
        tell_trouble(keeper, &err);
}

enum ap_rc keeper_append(struct keeper *keeper, struct ap_slice bytes, struct ap_err *err)
{
    return keeper ? wal_append_sync(keeper->options.wal, JOURNAL_RECORD_TYPE, bytes, NULL, err) : AP_OK;
}

/* ---- Snapshots ---- */

/* The log is held for what the snapshot lacks, and most of what it holds is others'. */
bool keeper_is_due(struct keeper *keeper, struct keeper_snapshot *ret_snapshot)
{
    if (!keeper)
        return false;
    uint64_t lsn = wal_durable_lsn(keeper->options.wal);
    pthread_mutex_lock(&keeper->mutex);
    uint64_t held_max = AP_MAX((uint64_t)HELD_BYTES_MAX, 2 * keeper->snapshot_bytes);
    held_max = AP_MIN(held_max, keeper->log_bytes_max / HELD_SHARE);
    bool is_due = keeper->record_bytes > AP_MAX((uint64_t)RECORD_BYTES_MAX, keeper->snapshot_bytes) ||
                  lsn - keeper->saved_lsn > held_max || keeper->has_lost;
    keeper->has_lost = false;
    *ret_snapshot = (struct keeper_snapshot){.lsn = lsn, .record_bytes = keeper->record_bytes};
    pthread_mutex_unlock(&keeper->mutex);
    return is_due;
}

void keeper_save(struct keeper *keeper, const struct keeper_snapshot *snapshot, struct ap_slice bytes)
{
    struct ap_err err;
    if (journal_save(keeper->dir_fd, bytes, snapshot->lsn, &err) != AP_OK) {
        tell_trouble(keeper, &err);
        count_pending(keeper, 0, RECORD_BYTES_MAX); /* soon again */
        return;
    }
    wal_cursor_release(keeper->cursor, snapshot->lsn);
    pthread_mutex_lock(&keeper->mutex);
    keeper->record_bytes -= snapshot->record_bytes;
    keeper->snapshot_bytes = bytes.bytes;
    keeper->saved_lsn = snapshot->lsn;
    pthread_mutex_unlock(&keeper->mutex);
}

/* ---- Life ---- */

static enum ap_rc replay(struct keeper *keeper, const struct journal_state *state, struct ap_err *err)
{
    for (;;) {
        struct wal_record record;
        enum ap_rc rc = wal_cursor_next(keeper->cursor, 0, &record, err);
        if (rc == AP_E_TIMEOUT || rc == AP_E_BUSY)
            return AP_OK;
        if (rc == AP_OK && record.type == JOURNAL_RECORD_TYPE) {
            rc = journal_read(record.payload, state, err);
            if (rc != AP_OK)
                (void)ap_err_prefix(err, "log record at LSN %" PRIu64, record.lsn);
        }
        if (rc != AP_OK)
            return rc;
    }
}

static enum ap_rc load(struct keeper *keeper, const char *dir, const struct journal_state *state, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf bytes = {0};
    struct wal_stats log;
    enum ap_rc rc = os_dir_open(dir, &keeper->dir_fd, err);
    if (rc != AP_OK)
        return rc;
    wal_stats_get(keeper->options.wal, &log);
    rc = journal_load(keeper->dir_fd, &bytes, &keeper->saved_lsn, err);
    if (rc == AP_OK) {
        rc = journal_read(ap_buf_slice(&bytes), state, err);
    } else if (rc == AP_E_NOT_FOUND) { /* the first start: what is in the log is all */
        keeper->saved_lsn = log.oldest_lsn;
        rc = AP_OK;
    }
    keeper->snapshot_bytes = bytes.bytes;
    keeper->log_bytes_max = log.bytes_max;
    if (rc == AP_OK)
        rc = wal_cursor_open(keeper->options.wal, cursor_name, keeper->saved_lsn, &keeper->cursor, err);
    return rc == AP_OK ? replay(keeper, state, err) : rc;
}

enum ap_rc keeper_open(const struct keeper_options *options, const struct journal_state *state,
                       struct keeper **ret_keeper, struct ap_err *err)
{
    AP_AUTO(keeper) struct keeper *keeper = ap_new0(struct keeper);
    keeper->options = *options;
    keeper->options.dir = NULL;
    keeper->dir_fd = -1;
    pthread_mutex_init(&keeper->mutex, NULL);
    pthread_cond_init(&keeper->answered, NULL);
    enum ap_rc rc = load(keeper, options->dir, state, err);
    if (rc == AP_OK)
        *ret_keeper = AP_MOVE(keeper);
    return rc;
}

void keeper_close(struct keeper *keeper)
{
    if (!keeper)
        return;
    pthread_mutex_lock(&keeper->mutex);
    while (keeper->pending_count)
        pthread_cond_wait(&keeper->answered, &keeper->mutex);
    pthread_mutex_unlock(&keeper->mutex);
    wal_cursor_close(keeper->cursor);
    if (keeper->dir_fd >= 0)
        close(keeper->dir_fd);
    pthread_cond_destroy(&keeper->answered);
    pthread_mutex_destroy(&keeper->mutex);
    free(keeper);
}
