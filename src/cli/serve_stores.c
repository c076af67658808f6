#include "cli/serve_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/file.h>

#include "api/live.h"
#include "api/pool.h"
#include "base/log.h"
#include "base/mem.h"
#include "ingest/ingest.h"
#include "os/fs.h"
#include "os/thread.h"
#include "pack/pack.h"
#include "promql/engine.h"
#include "tsdb/tsdb.h"
#include "wal/wal.h"
#include "warehouse/warehouse.h"

enum { LOG_INTERVAL_MS = 1000, QUESTIONS_WAITING_MAX = 256, CHORES_WAITING_MAX = 16 };

/* ---- Data directory ---- */

enum ap_rc serve_open_data(struct apiary *apiary, struct ap_err *err)
{
    enum ap_rc rc = os_dir_open(apiary->config->data, &apiary->data_fd, err);
    if (rc != AP_OK)
        return rc;
    apiary->lock_fd = openat(apiary->data_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (apiary->lock_fd < 0)
        return ap_fail_errno(err, errno, "open %s/lock", apiary->config->data);
    if (flock(apiary->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return ap_fail(err, AP_E_CONFLICT, "%s is in use by another apiary; give each its own --data",
                       apiary->config->data);
    return AP_OK;
}

enum ap_rc serve_open_wal(struct apiary *apiary, struct ap_err *err)
{
    AP_AUTO_FREE char *dir = ap_asprintf("%s/wal", apiary->config->data);
    enum ap_rc rc = os_dir_open(dir, &apiary->wal_fd, err);
    if (rc != AP_OK)
        return rc;
    struct wal_options options;
    wal_options_init(&options);
    options.segment_bytes = (uint64_t)apiary->config->wal.segment_size;
    options.bytes_max = (uint64_t)apiary->config->wal.max_size;
    options.record_bytes_max = (uint32_t)AP_MIN((uint64_t)options.record_bytes_max, options.segment_bytes / 2);
    uint64_t cut_bytes;
    rc = wal_open(apiary->wal_fd, &options, &apiary->wal, &cut_bytes, err);
    if (rc == AP_OK && cut_bytes)
        ap_log(AP_LOG_WARN, "wal",
               "cut %" PRIu64 " bytes off the end of the log: a write that was under way when the "
               "machine or the process stopped, and that nobody was told had succeeded",
               cut_bytes);
    return rc;
}

/* ---- Stores ---- */

static void tsdb_trouble(const struct ap_err *err, void *context)
{
    (void)context;
    static struct ap_log_limit limit = {.interval_ms = LOG_INTERVAL_MS};
    ap_log_limited(&limit, AP_LOG_WARN, "tsdb", "%s", err->text);
}

static enum ap_rc open_engine(struct apiary *apiary, struct ap_err *err)
{
    const struct config *config = apiary->config;
    struct promql_engine_options options;
    promql_engine_options_init(&options);
    options.threads_max = (uint32_t)config->promql.threads;
    options.samples_max = (uint64_t)config->promql.max_samples;
    options.lookback_ms = config->promql.lookback_delta;
    options.timeout_ms = config->promql.timeout;
    options.subquery_step_ms = config->promql.subquery_step;
    options.is_experimental = config->promql.experimental;
    options.cache_bytes_max = (size_t)config->promql.cache_size;
    return promql_engine_open(&options, &apiary->engine, err);
}

static enum ap_rc open_tsdb(struct apiary *apiary, struct ap_err *err)
{
    const struct config *config = apiary->config;
    AP_AUTO_FREE char *dir = ap_asprintf("%s/tsdb", config->data);
    struct tsdb_options options;
    tsdb_options_init(&options);
    options.dir = dir;
    options.wal = apiary->wal;
    options.series_max = (uint64_t)config->tsdb.max_series;
    options.out_of_order_window_ms = config->tsdb.out_of_order_window;
    options.retention_ms = config->tsdb.retention;
    options.retention_bytes = (uint64_t)config->tsdb.retention_size;
    /* Retention removes whole blocks, so that they may not become much of what is kept. */
    if (options.retention_ms)
        options.block_merge_max_ms = AP_MIN(options.block_merge_max_ms, options.retention_ms / 10);
    options.block_range_ms = config->tsdb.block_range;
    options.exemplars_max = (uint32_t)config->tsdb.max_exemplars;
    options.is_injecting_created_zeros = config->tsdb.created_timestamp_zero_ingestion;
    options.trouble = tsdb_trouble;
    options.context = apiary;
    enum ap_rc rc = tsdb_open(&options, &apiary->tsdb, err);
    if (rc != AP_OK)
        return rc;
    struct tsdb_stats stats;
    tsdb_stats_get(apiary->tsdb, &stats);
    ap_log(AP_LOG_INFO, "tsdb",
           "%" PRIu64 " series in memory, %" PRIu64 " blocks; %" PRIu64 " samples read back from the log in %" PRId64
           " ms",
           stats.head_series, stats.block_count, stats.replayed_samples, stats.replay_ms);
    rc = open_engine(apiary, err);
    if (rc == AP_OK)
        rc = pool_open("tsdb-question", (size_t)config->promql.max_concurrency, QUESTIONS_WAITING_MAX,
                       &apiary->questions, err);
    if (rc == AP_OK)
        rc = pool_open("tsdb-chore", 1, CHORES_WAITING_MAX, &apiary->chores, err);
    return rc;
}

/* ---- Rows ---- */

/*
 * The stores open one after the other, and the first could already let go of what the second has yet to read: a cursor
 * of the second's name holds the log until that opens its own (wal_cursor_close()).
 */
enum ap_rc serve_hold_log(struct apiary *apiary, struct ap_err *err)
{
    struct wal_stats stats;
    wal_stats_get(apiary->wal, &stats);
    AP_AUTO(wal_cursor) struct wal_cursor *cursor = NULL;
    return wal_cursor_open(apiary->wal, WAREHOUSE_CURSOR_NAME, stats.oldest_lsn, &cursor, err);
}

static void warehouse_committed(uint64_t lsn, uint64_t tables_mask, void *context)
{
    const struct apiary *apiary = context;
    ingest_note_visible(apiary->ingest, lsn);
    if (tables_mask) /* otherwise it only went past what other stores have in the log */
        live_publish(apiary->live, lsn, tables_mask);
}

static void warehouse_trouble(const struct ap_err *err, void *context)
{
    const struct apiary *apiary = context;
    ingest_note_store_trouble(apiary->ingest);
    static struct ap_log_limit limit = {.interval_ms = LOG_INTERVAL_MS};
    ap_log_limited(&limit, AP_LOG_WARN, "warehouse", "%s; the log keeps the rows, trying again", err->text);
}

static enum ap_rc open_warehouse(struct apiary *apiary, struct ap_err *err)
{
    const struct config *config = apiary->config;
    AP_AUTO_FREE char *dir = ap_asprintf("%s/warehouse", config->data);
    AP_AUTO_FD int dir_fd = -1;
    enum ap_rc rc = os_dir_open(dir, &dir_fd, err);
    if (rc != AP_OK)
        return rc;
    struct warehouse_options options;
    warehouse_options_init(&options);
    options.dir = dir;
    options.memory_bytes_max = (uint64_t)config->warehouse.memory_limit;
    options.threads = (uint32_t)config->warehouse.threads;
    options.reader_count = (uint32_t)config->warehouse.readers;
    options.cache_bytes_max = (uint64_t)config->warehouse.cache_size;
    options.retention_days = (uint32_t)config->warehouse.retention_days;
    options.committed = warehouse_committed;
    options.trouble = warehouse_trouble;
    options.context = apiary;
    return warehouse_open(&options, &apiary->warehouse, err);
}

/* ---- Packs ---- */

static void rebuild_progress(const char *name, unsigned day, unsigned day_count, void *context)
{
    (void)context;
    static struct ap_log_limit limit = {.interval_ms = LOG_INTERVAL_MS};
    ap_log_limited(&limit, AP_LOG_INFO, "pack", "building roll-up %s: day %u of %u", name, day, day_count);
}

static enum ap_rc load_packs(struct apiary *apiary, struct ap_err *err)
{
    const struct yaml_texts *dirs = &apiary->config->packs;
    apiary->packs = ap_new0_array(struct pack *, dirs->count);
    for (size_t i = 0; i < dirs->count; i++) {
        enum ap_rc rc = pack_load(dirs->items[i], &apiary->packs[i], err);
        if (rc != AP_OK)
            return rc;
        apiary->pack_count++;
    }
    const struct pack *const *packs = (const struct pack *const *)apiary->packs;
    enum ap_rc rc = pack_check_together(packs, apiary->pack_count, err);
    if (rc == AP_OK)
        rc = pack_apply(packs, apiary->pack_count, apiary->warehouse, rebuild_progress, NULL, err);
    for (size_t i = 0; i < apiary->pack_count && rc == AP_OK; i++)
        rc = pack_check_dashboards(packs[i], apiary->warehouse, err);
    return rc;
}

/* Rows, on a thread of their own. */
struct opening {
    struct apiary *apiary;
    enum ap_rc rc;
    struct ap_err err;
};

static void *open_rows(void *context)
{
    struct opening *opening = context;
    opening->rc = open_warehouse(opening->apiary, &opening->err);
    if (opening->rc == AP_OK)
        opening->rc = load_packs(opening->apiary, &opening->err);
    return NULL;
}

/* Both stores at the same time: each needs a fraction of a second of a core before the server can answer. */
enum ap_rc serve_open_stores(struct apiary *apiary, struct ap_err *err)
{
    struct opening opening = {.apiary = apiary};
    pthread_t thread;
    enum ap_rc rc = os_thread_start("open-rows", open_rows, &opening, &thread, err);
    if (rc != AP_OK)
        return rc;
    rc = open_tsdb(apiary, err);
    pthread_join(thread, NULL);
    if (rc == AP_OK && opening.rc != AP_OK)
        *err = opening.err;
    return rc == AP_OK ? opening.rc : rc;
}
