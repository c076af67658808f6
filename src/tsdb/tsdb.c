#include "tsdb/tsdb.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "os/thread.h"
#include "tsdb/tsdb_internal.h"

enum { SELECTED_REFS_MAX = 8 << 20 }; /* 32 MiB; ten thousand rules over a million series take a quarter of it */

void tsdb_options_init(struct tsdb_options *options)
{
    *options = (struct tsdb_options){
        .clock = &ap_clock_system,
        .fs = &os_fs_system,
        .series_max = 5 * 1000 * 1000,
        .out_of_order_window_ms = INT64_C(2) * 3600 * 1000,
        .retention_ms = INT64_C(15) * AP_MS_PER_DAY,
        .block_range_ms = INT64_C(2) * 3600 * 1000,
        .block_merge_max_ms = INT64_C(31) * AP_MS_PER_DAY,
        .exemplars_max = 100 * 1000,
    };
}

static uint32_t shard_count_of(const struct tsdb_options *options)
{
    long wanted = options->shard_count ? (long)options->shard_count : sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t count = 1;
    while ((long)count < wanted && count < HEAD_SHARDS_MAX)
        count *= 2;
    return count;
}

void tsdb_make_head(struct tsdb *tsdb, uint64_t seed)
{
    AP_ASSERT(!tsdb->registry);
    struct head_options options = {
        .fs = tsdb->options.fs,
        .dir_fd = tsdb->head_fd,
        .shard_count = shard_count_of(&tsdb->options),
        .range_ms = tsdb->options.block_range_ms,
        .window_ms = tsdb->options.out_of_order_window_ms,
    };
    tsdb->registry = registry_new(seed);
    tsdb->head = head_new(&options, tsdb->registry);
    tsdb->selections = selections_new(SELECTED_REFS_MAX);
    tsdb->head->change_period = ap_random_u64(&tsdb->random) >> 1; /* a mark of another store says nothing here */
}

static enum ap_rc open_dirs(struct tsdb *tsdb, struct ap_err *err)
{
    enum ap_rc rc = os_dir_open(tsdb->dir, &tsdb->dir_fd, err);
    if (rc != AP_OK)
        return rc;
    const struct {
        const char *name;
        int *fd;
    } dirs[] = {{"head", &tsdb->head_fd}, {"blocks", &tsdb->blocks_fd}};
    for (size_t i = 0; i < AP_ARRAY_COUNT(dirs) && rc == AP_OK; i++) {
        AP_AUTO_FREE char *path = ap_asprintf("%s/%s", tsdb->dir, dirs[i].name);
        rc = os_dir_open(path, dirs[i].fd, err);
    }
    return rc;
}

static enum ap_rc load(struct tsdb *tsdb, struct ap_err *err)
{
    enum ap_rc rc = tsdb_blocks_load(tsdb, err);
    if (rc != AP_OK)
        return rc;
    uint64_t lsn = 0;
    rc = tsdb_checkpoint_load(tsdb, &lsn, err);
    bool is_new = rc == AP_E_NOT_FOUND;
    if (is_new) {
        tsdb_make_head(tsdb, ap_random_u64(&tsdb->random));
        /* What is in the log is of another store, or of none: this one makes no record before its first checkpoint. */
        lsn = wal_durable_lsn(tsdb->options.wal);
    } else if (rc != AP_OK) {
        return rc;
    }
    for (size_t i = 0; i < tsdb->block_count; i++) {
        const struct block_meta *meta = block_meta_of(tsdb->blocks[i]);
        tsdb->head->max_ts_ms = AP_MAX(tsdb->head->max_ts_ms, meta->max_ts_ms);
        /* A snapshot has blocks and no head: a range that took the number of one that is a block would count as cut. */
        tsdb->head->range_id_next = AP_MAX(tsdb->head->range_id_next, meta->head_range_id + 1);
    }
    rc = wal_cursor_open(tsdb->options.wal, "tsdb", lsn, &tsdb->cursor, err);
    if (rc == AP_OK)
        rc = tsdb_replay(tsdb, err);
    if (rc != AP_OK)
        return rc;
    /* Refs that are free now may have been somebody's in the log that the next start reads, if it comes soon. */
    tsdb->is_holding_refs = true;
    tsdb->removed_generation = ++tsdb->generation;
    tsdb->removed_seq = atomic_load(&tsdb->head->seq);
    tsdb_epoch_begin(tsdb);
    if (!is_new)
        return AP_OK;
    /* The seed of the hashes has to be on disk before anything that depends on it. */
    return tsdb_checkpoint(tsdb, err);
}

enum ap_rc tsdb_open(const struct tsdb_options *options, struct tsdb **ret_tsdb, struct ap_err *err)
{
    if (options->block_range_ms <= 0 || AP_MS_PER_DAY % options->block_range_ms != 0)
        return ap_fail(err, AP_E_LIMIT, "the range of a block must divide a day");
    AP_AUTO(tsdb) struct tsdb *tsdb = ap_new0(struct tsdb);
    tsdb->options = *options;
    tsdb->dir = ap_strdup(options->dir);
    tsdb->options.dir = tsdb->dir;
    tsdb->dir_fd = tsdb->head_fd = tsdb->blocks_fd = -1;
    tsdb->deleting_min_ts_ms = INT64_MAX;
    ap_random_init(&tsdb->random, ap_random_system_seed());
    tsdb->change_period_us = ap_clock_monotonic_us(options->clock);
    pthread_mutex_init(&tsdb->maintain_mtx, NULL);
    pthread_mutex_init(&tsdb->wake_mtx, NULL);
    os_cond_init(&tsdb->wake_cond);
    pthread_mutex_init(&tsdb->view_mtx, NULL);
    pthread_mutex_init(&tsdb->extras_mtx, NULL);
    extras_init(&tsdb->extras, options->exemplars_max);
    enum ap_rc rc = open_dirs(tsdb, err);
    if (rc == AP_OK)
        rc = load(tsdb, err);
    if (rc != AP_OK) {
        (void)ap_err_prefix(err, "time series in %s", tsdb->dir);
        return rc;
    }
    *ret_tsdb = AP_MOVE(tsdb);
    return AP_OK;
}

enum ap_rc tsdb_start(struct tsdb *tsdb, struct ap_err *err)
{
    enum ap_rc rc = os_thread_start("tsdb", tsdb_maintain_main, tsdb, &tsdb->thread, err);
    tsdb->has_thread = rc == AP_OK;
    return rc;
}

void tsdb_stop(struct tsdb *tsdb)
{
    if (!tsdb->has_thread)
        return;
    pthread_mutex_lock(&tsdb->wake_mtx);
    tsdb->is_stopping = true;
    pthread_cond_signal(&tsdb->wake_cond);
    pthread_mutex_unlock(&tsdb->wake_mtx);
    pthread_join(tsdb->thread, NULL);
    tsdb->has_thread = false;
}

void tsdb_close(struct tsdb *tsdb)
{
    if (!tsdb)
        return;
    tsdb_stop(tsdb);
    if (tsdb->cursor) {
        /* A restart reads less of the log then; that it fails costs no more than time. */
        struct ap_err err;
        if (tsdb_checkpoint(tsdb, &err) != AP_OK)
            (void)tsdb_failed(tsdb, &err);
        wal_cursor_close(tsdb->cursor);
    }
    AP_ASSERT(!tsdb->sets);
    for (size_t i = 0; i < tsdb->block_count; i++)
        block_unref(tsdb->blocks[i]);
    free(tsdb->blocks);
    selections_free(tsdb->selections);
    head_free(tsdb->head);
    registry_free(tsdb->registry);
    extras_clear(&tsdb->extras);
    changes_clear(&tsdb->block_changes);
    ap_buf_clear(&tsdb->lists);
    free(tsdb->epochs);
    int fds[] = {tsdb->blocks_fd, tsdb->head_fd, tsdb->dir_fd};
    for (size_t i = 0; i < AP_ARRAY_COUNT(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    pthread_mutex_destroy(&tsdb->maintain_mtx);
    pthread_mutex_destroy(&tsdb->wake_mtx);
    pthread_cond_destroy(&tsdb->wake_cond);
    pthread_mutex_destroy(&tsdb->view_mtx);
    pthread_mutex_destroy(&tsdb->extras_mtx);
    free(tsdb->dir);
    free(tsdb);
}

uint64_t tsdb_hash_seed(const struct tsdb *tsdb)
{
    return registry_seed(tsdb->registry);
}

/* ---- Statistics ---- */

static void add_shard_stats(struct head_shard *shard, struct tsdb_stats *stats)
{
    pthread_mutex_lock(&shard->mtx);
    stats->samples_appended += shard->sample_count;
    stats->histograms_appended += shard->histogram_count;
    stats->samples_out_of_order += shard->late_count;
    stats->samples_duplicate += shard->duplicate_count;
    stats->head_chunks += shard->chunk_count;
    stats->chunk_bytes += shard->chunk_bytes;
    stats->chunk_samples += shard->chunk_samples;
    stats->seal_failures += shard->seal_failures;
    stats->head_min_ts_ms = AP_MIN(stats->head_min_ts_ms, shard->min_ts_ms);
    stats->head_max_ts_ms = AP_MAX(stats->head_max_ts_ms, shard->max_ts_ms);
    pthread_mutex_unlock(&shard->mtx);
}

static void add_block_stats(struct tsdb *tsdb, struct tsdb_stats *stats)
{
    pthread_mutex_lock(&tsdb->view_mtx);
    stats->block_count = tsdb->block_count;
    for (size_t i = 0; i < tsdb->block_count; i++) {
        stats->block_bytes += block_disk_bytes(tsdb->blocks[i]);
        stats->block_samples += block_meta_of(tsdb->blocks[i])->sample_count;
    }
    pthread_mutex_unlock(&tsdb->view_mtx);
}

void tsdb_each_block(struct tsdb *tsdb, tsdb_block_fn each, void *context)
{
    pthread_mutex_lock(&tsdb->view_mtx);
    for (size_t i = 0; i < tsdb->block_count; i++)
        each(block_meta_of(tsdb->blocks[i]), context);
    pthread_mutex_unlock(&tsdb->view_mtx);
}

void tsdb_stats_get(struct tsdb *tsdb, struct tsdb_stats *ret_stats)
{
    struct tsdb_stats stats = {
        .series_max = tsdb->options.series_max,
        .head_min_ts_ms = INT64_MAX,
        .head_max_ts_ms = INT64_MIN,
        .exemplars_appended = tsdb->exemplars_appended,
        .refused_labels = tsdb->refused_labels,
        .refused_series = tsdb->refused_series,
        .refused_old = tsdb->refused_old,
        .refused_duplicate = tsdb->refused_duplicate,
        .refused_future = tsdb->refused_future,
        .record_bytes = tsdb->record_bytes,
        .checkpoints = tsdb->checkpoints,
        .checkpoint_lsn = __atomic_load_n(&tsdb->checkpoint_lsn, __ATOMIC_RELAXED),
        .merges = tsdb->merges,
        .blocks_removed = tsdb->blocks_removed,
        .blocks_quarantined = tsdb->blocks_quarantined,
        .chunks_damaged = tsdb->chunks_damaged,
        .replayed_samples = tsdb->replayed_samples,
        .replay_ms = tsdb->replay_ms,
        .background_failures = tsdb->background_failures,
    };
    struct registry_stats registry;
    registry_read_lock(tsdb->registry);
    registry_stats_get(tsdb->registry, &registry);
    registry_unlock(tsdb->registry);
    stats.head_series = registry.series_count;
    stats.series_created = registry.created_count;
    stats.series_removed = registry.removed_count;
    for (uint32_t i = 0; i < tsdb->head->options.shard_count; i++)
        add_shard_stats(&tsdb->head->shards[i], &stats);
    add_block_stats(tsdb, &stats);
    *ret_stats = stats;
}

size_t tsdb_top(struct tsdb *tsdb, enum tsdb_top_kind kind, struct tsdb_top_entry *ret_entries, size_t max)
{
    static const enum registry_top_kind kinds[] = {
        [TSDB_TOP_METRICS] = REGISTRY_TOP_METRICS,
        [TSDB_TOP_LABEL_NAMES] = REGISTRY_TOP_LABEL_NAMES,
        [TSDB_TOP_LABEL_BYTES] = REGISTRY_TOP_LABEL_BYTES,
        [TSDB_TOP_PAIRS] = REGISTRY_TOP_PAIRS,
    };
    struct registry_top *top = ap_new0_array(struct registry_top, max + 1);
    registry_read_lock(tsdb->registry);
    size_t count = registry_top(tsdb->registry, kinds[kind], top, max);
    for (size_t i = 0; i < count; i++) {
        ret_entries[i].count = top[i].count;
        ret_entries[i].text = kind == TSDB_TOP_PAIRS
                                  ? ap_asprintf("%.*s=%.*s", AP_SLICE_ARG(top[i].name), AP_SLICE_ARG(top[i].value))
                                  : ap_slice_dup(top[i].name);
    }
    registry_unlock(tsdb->registry);
    free(top);
    return count;
}
