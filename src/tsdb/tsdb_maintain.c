/* The background thread: checkpoints, cuts, merges, retention. One pass does what is due and no more. */
#include <inttypes.h>

#include "base/assert.h"
#include "base/mem.h"
#include "os/thread.h"
#include "tsdb/tsdb_internal.h"

enum {
    PASS_MS = 250,
    CHECKPOINT_INTERVAL_MS = 60 * 1000,
    RETRY_MS = 5000, /* after a failure: a full disk does not get emptier by asking at once */
    UNSAVED_SERIES_MAX = 200 * 1000,
};
#define CHECKPOINT_RECORD_BYTES (UINT64_C(4) << 20)
#define CHECKPOINT_LOG_BYTES    (UINT64_C(128) << 20) /* of anybody's records: our cursor holds all of them back */

static size_t unsaved_series_count(struct tsdb *tsdb)
{
    registry_read_lock(tsdb->registry);
    size_t count = registry_unsaved_count(tsdb->registry);
    registry_unlock(tsdb->registry);
    return count;
}

static bool checkpoint_is_due(struct tsdb *tsdb)
{
    uint64_t record_bytes = atomic_load(&tsdb->record_bytes) - tsdb->checkpoint_record_bytes;
    uint64_t log_bytes = wal_durable_lsn(tsdb->options.wal) - tsdb->checkpoint_lsn;
    int64_t age_us = ap_clock_monotonic_us(tsdb->options.clock) - tsdb->checkpoint_us;
    /* A new epoch says every series' value in full once: not worth it before others have said theirs a few times. */
    uint64_t record_bytes_due = AP_MAX(CHECKPOINT_RECORD_BYTES, UINT64_C(32) * registry_count(tsdb->registry));
    return record_bytes >= record_bytes_due || tsdb->must_rewrite_list || tsdb->must_rewrite_series ||
           unsaved_series_count(tsdb) >= UNSAVED_SERIES_MAX ||
           ((record_bytes > 0 || log_bytes >= CHECKPOINT_LOG_BYTES) && age_us >= CHECKPOINT_INTERVAL_MS * AP_US_PER_MS);
}

static enum ap_rc merge_all(struct tsdb *tsdb, struct ap_err *err)
{
    bool is_merged = true;
    enum ap_rc rc = AP_OK;
    while (is_merged && rc == AP_OK)
        rc = tsdb_merge_some(tsdb, &is_merged, err);
    return rc;
}

static enum ap_rc pass(struct tsdb *tsdb, bool is_forced, bool is_sealing_all, struct ap_err *err)
{
    enum ap_rc rc = tsdb_cut(tsdb, is_sealing_all, err);
    if (rc == AP_OK && (is_forced || checkpoint_is_due(tsdb)))
        rc = tsdb_checkpoint(tsdb, err);
    if (rc != AP_OK)
        return rc;
    tsdb_drop_cut_ranges(tsdb);
    tsdb_collect_series(tsdb);
    rc = merge_all(tsdb, err);
    return rc == AP_OK ? tsdb_retain(tsdb, err) : rc;
}

void tsdb_seal_all(struct tsdb *tsdb)
{
    struct head *head = tsdb->head;
    for (uint32_t i = 0; i < head->options.shard_count; i++) {
        struct head_shard *shard = &head->shards[i];
        pthread_mutex_lock(&shard->mtx);
        for (uint32_t page = 0; page < shard->page_count; page++)
            for (uint32_t j = 0; shard->pages[page] && j < HEAD_SERIES_PER_PAGE; j++)
                if (shard->pages[page][j].tail_epoch)
                    (void)head_seal_locked(head, shard, (page * HEAD_SERIES_PER_PAGE + j) << head->shard_shift | i,
                                           &shard->pages[page][j], atomic_load(&head->seq));
        pthread_mutex_unlock(&shard->mtx);
    }
}

enum ap_rc tsdb_settle(struct tsdb *tsdb, bool is_sealing_all, struct ap_err *err)
{
    pthread_mutex_lock(&tsdb->maintain_mtx);
    if (is_sealing_all)
        tsdb_seal_all(tsdb);
    enum ap_rc rc = pass(tsdb, true, is_sealing_all, err);
    pthread_mutex_unlock(&tsdb->maintain_mtx);
    return rc;
}

/* False: the store is closing. */
static bool wait_for(struct tsdb *tsdb, int64_t timeout_ms)
{
    int64_t deadline_us = os_deadline_us(timeout_ms);
    pthread_mutex_lock(&tsdb->wake_mtx);
    while (!tsdb->is_stopping && os_cond_wait_until(&tsdb->wake_cond, &tsdb->wake_mtx, deadline_us))
        ;
    bool goes_on = !tsdb->is_stopping;
    pthread_mutex_unlock(&tsdb->wake_mtx);
    return goes_on;
}

void *tsdb_maintain_main(void *context)
{
    struct tsdb *tsdb = context;
    int64_t wait_ms = PASS_MS;
    while (wait_for(tsdb, wait_ms)) {
        struct ap_err err;
        pthread_mutex_lock(&tsdb->maintain_mtx);
        enum ap_rc rc = pass(tsdb, false, false, &err);
        pthread_mutex_unlock(&tsdb->maintain_mtx);
        wait_ms = rc == AP_OK ? PASS_MS : RETRY_MS;
        if (rc != AP_OK) {
            atomic_fetch_add(&tsdb->background_failures, 1);
            (void)tsdb_failed(tsdb, &err);
        }
    }
    return NULL;
}
