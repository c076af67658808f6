/*
 * What was changed since when, over the whole store (changes.h). Shards have a record each, under their lock, for what
 * is appended; there is one more, under view_mtx, for blocks that come and go.
 *
 * A deletion touches many places, one after the other. While it is under way, its span counts as changed, whatever the
 * mark: an answer from before it must not be given when somebody may have seen a part of it.
 */
#include "tsdb/tsdb_internal.h"

void tsdb_note_blocks_locked(struct tsdb *tsdb, int64_t min_ts_ms)
{
    changes_note(&tsdb->block_changes, atomic_load(&tsdb->head->change_period), min_ts_ms);
}

void tsdb_deletion_begin(struct tsdb *tsdb, int64_t min_ts_ms)
{
    pthread_mutex_lock(&tsdb->view_mtx);
    tsdb->deleting_min_ts_ms = min_ts_ms;
    pthread_mutex_unlock(&tsdb->view_mtx);
}

void tsdb_deletion_end(struct tsdb *tsdb)
{
    pthread_mutex_lock(&tsdb->view_mtx);
    tsdb_note_blocks_locked(tsdb, tsdb->deleting_min_ts_ms);
    tsdb->deleting_min_ts_ms = INT64_MAX;
    pthread_mutex_unlock(&tsdb->view_mtx);
}

uint64_t tsdb_change_mark(struct tsdb *tsdb)
{
    int64_t now_us = ap_clock_monotonic_us(tsdb->options.clock);
    int64_t began_us = atomic_load(&tsdb->change_period_us);
    /* Of several that ask at once, one begins the next period. */
    if (now_us - began_us >= CHANGES_PERIOD_MS * AP_US_PER_MS &&
        atomic_compare_exchange_strong(&tsdb->change_period_us, &began_us, now_us))
        atomic_fetch_add(&tsdb->head->change_period, 1);
    return atomic_load(&tsdb->head->change_period);
}

static int64_t since_locked(struct tsdb *tsdb, const struct changes *changes, uint64_t mark)
{
    uint64_t period = atomic_load(&tsdb->head->change_period);
    bool is_known = mark <= period && period - mark < CHANGES_PERIODS_MAX;
    return is_known ? changes_since(changes, mark, period) : INT64_MIN;
}

int64_t tsdb_changed_since(struct tsdb *tsdb, uint64_t mark)
{
    pthread_mutex_lock(&tsdb->view_mtx);
    int64_t min_ts_ms = AP_MIN(tsdb->deleting_min_ts_ms, since_locked(tsdb, &tsdb->block_changes, mark));
    pthread_mutex_unlock(&tsdb->view_mtx);
    for (uint32_t i = 0; i < tsdb->head->options.shard_count && min_ts_ms != INT64_MIN; i++) {
        struct head_shard *shard = &tsdb->head->shards[i];
        pthread_mutex_lock(&shard->mtx);
        min_ts_ms = AP_MIN(min_ts_ms, since_locked(tsdb, &shard->changes, mark));
        pthread_mutex_unlock(&shard->mtx);
    }
    return min_ts_ms;
}
