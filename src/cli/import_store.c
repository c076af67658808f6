#include "cli/import_store.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "history/handover.h"
#include "os/fs.h"
#include "wal/wal.h"
#include "warehouse/warehouse.h"

enum { SNAPSHOT_SEGMENT_BYTES = 1 << 20 /* nothing is written to it */ };

static enum ap_rc open_data(const struct config *config, struct import_store *store, struct ap_err *err)
{
    enum ap_rc rc = os_dir_open(config->data, &store->data_fd, err);
    if (rc != AP_OK)
        return rc;
    store->lock_fd = openat(store->data_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (store->lock_fd < 0)
        return ap_fail_errno(err, errno, "open %s/lock", config->data);
    if (flock(store->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return ap_fail(err, AP_E_CONFLICT,
                       "%s is in use, and what uses it takes no import: another import, a server that is starting (try "
                       "again), or one that is older than this program (stop it, or start it anew)",
                       config->data);
    (void)unlinkat(store->data_fd, HANDOVER_SOCKET_NAME,
                   0); /* of a server that was killed: it is not waited for again */
    return AP_OK;
}

static enum ap_rc open_log(const struct config *config, struct import_store *store, struct ap_err *err)
{
    AP_AUTO_FREE char *dir = ap_asprintf("%s/wal", config->data);
    enum ap_rc rc = os_dir_open(dir, &store->wal_fd, err);
    if (rc != AP_OK)
        return rc;
    struct wal_options options;
    wal_options_init(&options);
    options.segment_bytes = (uint64_t)config->wal.segment_size;
    options.bytes_max = (uint64_t)config->wal.max_size;
    options.record_bytes_max = (uint32_t)AP_MIN((uint64_t)options.record_bytes_max, options.segment_bytes / 2);
    uint64_t cut_bytes;
    rc = wal_open(store->wal_fd, &options, &store->wal, &cut_bytes, err);
    if (rc != AP_OK)
        return rc;
    struct wal_stats stats;
    wal_stats_get(store->wal, &stats);
    return wal_cursor_open(store->wal, WAREHOUSE_CURSOR_NAME, stats.oldest_lsn, &store->rows, err);
}

enum ap_rc import_store_open(const struct config *config, void (*trouble)(const struct ap_err *err, void *context),
                             void *context, struct import_store *ret_store, struct ap_err *err)
{
    struct import_store *store = ret_store;
    *store = (struct import_store){.data_fd = -1, .lock_fd = -1, .wal_fd = -1};
    enum ap_rc rc = open_data(config, store, err);
    if (rc == AP_OK)
        rc = open_log(config, store, err);
    if (rc != AP_OK)
        return rc;
    AP_AUTO_FREE char *dir = ap_asprintf("%s/tsdb", config->data);
    struct tsdb_options options;
    tsdb_options_init(&options);
    options.dir = dir;
    options.wal = store->wal;
    options.series_max = (uint64_t)config->tsdb.max_series;
    options.out_of_order_window_ms = config->tsdb.out_of_order_window;
    options.retention_ms = config->tsdb.retention;
    options.block_range_ms = config->tsdb.block_range;
    options.exemplars_max = (uint32_t)config->tsdb.max_exemplars;
    options.trouble = trouble;
    options.context = context;
    return tsdb_open(&options, &store->tsdb, err);
}

enum ap_rc import_store_open_snapshot(const char *dir, void (*trouble)(const struct ap_err *err, void *context),
                                      void *context, struct import_store *ret_store, struct ap_err *err)
{
    struct import_store *store = ret_store;
    *store = (struct import_store){.data_fd = -1, .lock_fd = -1, .wal_fd = -1};
    AP_AUTO_FREE char *wal_dir = ap_asprintf("%s/wal", dir);
    struct wal_options wal_options;
    uint64_t cut_bytes;
    wal_options_init(&wal_options);
    wal_options.segment_bytes = SNAPSHOT_SEGMENT_BYTES;
    wal_options.record_bytes_max = SNAPSHOT_SEGMENT_BYTES / 2;
    enum ap_rc rc = os_dir_open(wal_dir, &store->wal_fd, err);
    if (rc == AP_OK)
        rc = wal_open(store->wal_fd, &wal_options, &store->wal, &cut_bytes, err);
    if (rc != AP_OK)
        return rc;
    struct tsdb_options options;
    tsdb_options_init(&options);
    options.dir = dir;
    options.wal = store->wal;
    options.retention_ms = 0;
    options.trouble = trouble;
    options.context = context;
    return tsdb_open(&options, &store->tsdb, err);
}

void import_store_close(struct import_store *store)
{
    tsdb_close(store->tsdb);
    wal_cursor_close(store->rows);
    wal_close(store->wal);
    const int fds[] = {store->wal_fd, store->lock_fd, store->data_fd};
    for (size_t i = 0; i < AP_ARRAY_COUNT(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
}
