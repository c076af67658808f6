/*
 * The checkpoint: what the head knew, so that replay can begin late in the log.
 *
 *     head/<n>.series      labels of the series          grows from checkpoint to checkpoint, is made anew
 *     head/<n>.list        which chunks there are        when much of it is history
 *     head/<range>.chunks  the chunks
 *     head/checkpoint      lengths of all of these, where replay begins; replaced as a whole
 *
 * All files are synced before `checkpoint` is replaced, and what is behind the lengths that it names does not exist. So
 * a crash at any moment leaves the checkpoint before, or this one. Bytes: docs/format/tsdb.md, "Checkpoint".
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "tsdb/tsdb_internal.h"
#include "wal/crc32c.h"

static const char checkpoint_magic[8] = "APIARYCP";
enum {
    CHECKPOINT_VERSION = 1,
    CHECKPOINT_BYTES_MAX = 1 << 30,
    BATCH_HEADER_BYTES = 8, /* length, checksum */
};

/* ---- Epochs ---- */

void tsdb_epoch_begin(struct tsdb *tsdb)
{
    struct head *head = tsdb->head;
    /* Read before any record of the epoch is made: all of them are behind. */
    uint64_t lsn = wal_durable_lsn(tsdb->options.wal);
    uint64_t seq_before = atomic_load(&head->seq);
    uint32_t epoch = atomic_fetch_add(&head->epoch, 1) + 1;
    for (uint32_t i = 0; i < head->options.shard_count; i++) {
        struct head_shard *shard = &head->shards[i];
        pthread_mutex_lock(&shard->mtx);
        /* It may have had to begin a newer one by itself; a break since then is for the next record to find. */
        if (shard->epoch < epoch) {
            shard->break_count = wal_break_count(tsdb->options.wal);
            shard->epoch = epoch;
        }
        pthread_mutex_unlock(&shard->mtx);
    }
    if (tsdb->epoch_count == tsdb->epoch_capacity) {
        tsdb->epoch_capacity = tsdb->epoch_capacity ? tsdb->epoch_capacity * 2 : 16;
        tsdb->epochs = ap_realloc(tsdb->epochs, tsdb->epoch_capacity * sizeof(*tsdb->epochs));
    }
    tsdb->epochs[tsdb->epoch_count++] = (struct epoch_start){epoch, seq_before, lsn};
}

/* The newest start that is not after `epoch`; forgets the ones before. */
static struct epoch_start start_for(struct tsdb *tsdb, uint32_t epoch)
{
    size_t at = 0;
    while (at + 1 < tsdb->epoch_count && tsdb->epochs[at + 1].epoch <= epoch)
        at++;
    tsdb->epoch_count -= at;
    memmove(tsdb->epochs, tsdb->epochs + at, tsdb->epoch_count * sizeof(*tsdb->epochs));
    return tsdb->epochs[0];
}

/*
 * Tails that reach so far back that replay would take long are sealed, small as they are. How far: so that a tail of a
 * series that is scraped at the usual pace is full before.
 */
static uint32_t oldest_epoch_allowed(const struct tsdb *tsdb)
{
    uint64_t reach_bytes = AP_MAX(UINT64_C(16) << 20, UINT64_C(256) * registry_count(tsdb->registry));
    uint64_t durable_lsn = wal_durable_lsn(tsdb->options.wal);
    size_t at = 0;
    while (at + 1 < tsdb->epoch_count && durable_lsn - tsdb->epochs[at].lsn > reach_bytes)
        at++;
    return tsdb->epochs[at].epoch;
}

/* ---- Walking over the head ---- */

/* Seals tails of epochs before `allowed`; gives the oldest epoch that a tail has after that. */
static uint32_t seal_old_tails(struct tsdb *tsdb, uint32_t allowed)
{
    struct head *head = tsdb->head;
    uint32_t oldest = UINT32_MAX;
    for (uint32_t i = 0; i < head->options.shard_count; i++) {
        struct head_shard *shard = &head->shards[i];
        for (uint32_t page = 0;; page++) {
            /* Page by page, so that nobody waits long. A tail that begins meanwhile is of the newest epoch. */
            pthread_mutex_lock(&shard->mtx);
            bool is_end = page >= shard->page_count;
            for (uint32_t j = 0; !is_end && shard->pages[page] && j < HEAD_SERIES_PER_PAGE; j++) {
                struct head_series *series = &shard->pages[page][j];
                if (series->tail_epoch == 0)
                    continue;
                uint32_t ref = (page * HEAD_SERIES_PER_PAGE + j) << head->shard_shift | i;
                if (series->tail_epoch < allowed)
                    (void)head_seal_locked(head, shard, ref, series, atomic_load(&head->seq));
                if (series->tail_epoch)
                    oldest = AP_MIN(oldest, series->tail_epoch);
            }
            pthread_mutex_unlock(&shard->mtx);
            if (is_end)
                break;
        }
    }
    return oldest;
}

/* Takes the shard's new chunks and what its series have sealed, both as of one moment. */
static void take_shard(struct tsdb *tsdb, uint32_t shard_index, uint64_t seq_before, struct ap_buf *sealed,
                       uint64_t *sealed_count)
{
    struct head *head = tsdb->head;
    struct head_shard *shard = &head->shards[shard_index];
    pthread_mutex_lock(&shard->mtx);
    ap_buf_add_slice(&tsdb->lists, ap_buf_slice(&shard->list_pending));
    ap_buf_reset(&shard->list_pending);
    uint32_t ref_before = 0;
    for (uint32_t page = 0; page < shard->page_count; page++) {
        for (uint32_t j = 0; shard->pages[page] && j < HEAD_SERIES_PER_PAGE; j++) {
            struct head_series *series = &shard->pages[page][j];
            if (!series->is_live)
                continue;
            if (series->save_state == HEAD_UNSAVED)
                series->save_state = HEAD_SAVING;
            if (series->sealed_seq <= seq_before)
                continue;
            uint32_t ref = (page * HEAD_SERIES_PER_PAGE + j) << head->shard_shift | shard_index;
            ap_buf_add_varint(sealed, (uint32_t)(ref - ref_before));
            ap_buf_add_varint(sealed, series->sealed_seq - seq_before);
            ref_before = ref;
            (*sealed_count)++;
        }
    }
    pthread_mutex_unlock(&shard->mtx);
}

static void mark_saved(struct tsdb *tsdb)
{
    struct head *head = tsdb->head;
    for (uint32_t i = 0; i < head->options.shard_count; i++) {
        struct head_shard *shard = &head->shards[i];
        pthread_mutex_lock(&shard->mtx);
        for (uint32_t page = 0; page < shard->page_count; page++)
            for (uint32_t j = 0; shard->pages[page] && j < HEAD_SERIES_PER_PAGE; j++)
                if (shard->pages[page][j].save_state == HEAD_SAVING)
                    shard->pages[page][j].save_state = HEAD_SAVED;
        pthread_mutex_unlock(&shard->mtx);
    }
}

/* All chunks that are in the head now, in place of what the list file has. */
static void list_all(struct tsdb *tsdb)
{
    struct head *head = tsdb->head;
    ap_buf_reset(&tsdb->lists);
    for (uint32_t i = 0; i < head->options.shard_count; i++) {
        struct head_shard *shard = &head->shards[i];
        pthread_mutex_lock(&shard->mtx);
        ap_buf_reset(&shard->list_pending);
        for (uint32_t page = 0; page < shard->page_count; page++) {
            for (uint32_t j = 0; shard->pages[page] && j < HEAD_SERIES_PER_PAGE; j++) {
                const struct head_series *series = &shard->pages[page][j];
                uint32_t ref = (page * HEAD_SERIES_PER_PAGE + j) << head->shard_shift | i;
                for (uint32_t k = 0; k < series->chunk_count; k++)
                    if (series->chunks[k].range->cut_generation == 0)
                        head_list_encode(series->chunks[k].range->id, ref, &series->chunks[k], &shard->list_pending);
            }
        }
        pthread_mutex_unlock(&shard->mtx);
    }
}

/* Spans deleted from chunks, by series; ended by REGISTRY_NONE. */
static void encode_deleted(struct tsdb *tsdb, struct ap_buf *out)
{
    struct head *head = tsdb->head;
    for (uint32_t i = 0; i < head->options.shard_count; i++) {
        struct head_shard *shard = &head->shards[i];
        pthread_mutex_lock(&shard->mtx);
        for (uint32_t page = 0; page < shard->page_count; page++) {
            for (uint32_t j = 0; shard->pages[page] && j < HEAD_SERIES_PER_PAGE; j++) {
                const struct head_extra *extra = shard->pages[page][j].extra;
                for (uint32_t k = 0; extra && k < extra->deleted_count; k++) {
                    ap_buf_add_u32(out, (page * HEAD_SERIES_PER_PAGE + j) << head->shard_shift | i);
                    ap_buf_add_u64(out, (uint64_t)extra->deleted[k].min_ts_ms);
                    ap_buf_add_u64(out, (uint64_t)extra->deleted[k].max_ts_ms);
                }
            }
        }
        pthread_mutex_unlock(&shard->mtx);
    }
    ap_buf_add_u32(out, REGISTRY_NONE);
}

/* ---- Files ---- */

/* A file that is appended to: what is on disk behind `bytes` does not count. */
struct appended {
    struct tsdb *tsdb;
    char name[40];
    int fd; /* owned */
    uint64_t bytes;
};

static enum ap_rc appended_open(struct tsdb *tsdb, const char *suffix, bool is_new, uint64_t bytes,
                                struct appended *file, struct ap_err *err)
{
    const struct os_fs *fs = tsdb->options.fs;
    *file = (struct appended){.tsdb = tsdb, .bytes = is_new ? 0 : bytes};
    head_range_name(tsdb->file_number, suffix, file->name);
    file->fd = fs->open(fs->context, tsdb->head_fd, file->name, O_RDWR | O_CREAT | (is_new ? O_TRUNC : 0), 0640);
    return file->fd < 0 ? ap_fail_errno(err, -file->fd, "open head/%s", file->name) : AP_OK;
}

static enum ap_rc appended_write(struct ap_slice bytes, void *context, struct ap_err *err)
{
    struct appended *file = context;
    if (bytes.bytes == 0)
        return AP_OK;
    struct iovec part = {.iov_base = (void *)(uintptr_t)bytes.data, .iov_len = bytes.bytes};
    enum ap_rc rc = os_write_all(file->tsdb->options.fs, file->fd, &part, 1, file->bytes, file->name, err);
    file->bytes += bytes.bytes;
    return rc;
}

/* Syncs and closes; after a failure (`rc`) closes only. */
static enum ap_rc appended_close(struct appended *file, enum ap_rc rc, uint64_t *ret_bytes, struct ap_err *err)
{
    const struct os_fs *fs = file->tsdb->options.fs;
    int result = rc == AP_OK ? fs->datasync(fs->context, file->fd) : 0;
    fs->close(fs->context, file->fd);
    if (result < 0)
        rc = ap_fail_errno(err, -result, "sync head/%s", file->name);
    if (rc == AP_OK)
        *ret_bytes = file->bytes;
    return rc;
}

static enum ap_rc append_series(struct tsdb *tsdb, bool is_new, struct ap_err *err)
{
    struct appended file;
    enum ap_rc rc = appended_open(tsdb, ".series", is_new, tsdb->series_file_bytes, &file, err);
    if (rc != AP_OK)
        return rc;
    rc = registry_encode(tsdb->registry, is_new, appended_write, &file, err);
    return appended_close(&file, rc, &tsdb->series_file_bytes, err);
}

static enum ap_rc append_list(struct tsdb *tsdb, bool is_new, struct ap_slice batch, struct ap_err *err)
{
    struct appended file;
    enum ap_rc rc = appended_open(tsdb, ".list", is_new, tsdb->list_file_bytes, &file, err);
    if (rc != AP_OK)
        return rc;
    rc = appended_write(batch, &file, err);
    return appended_close(&file, rc, &tsdb->list_file_bytes, err);
}

static void frame_batch(struct ap_slice payload, struct ap_buf *out)
{
    if (payload.bytes == 0)
        return;
    ap_buf_add_u32(out, (uint32_t)payload.bytes);
    ap_buf_add_u32(out, wal_crc32c(0, payload.data, payload.bytes));
    ap_buf_add_slice(out, payload);
}

static enum ap_rc sync_chunk_files(struct tsdb *tsdb, struct ap_buf *out, uint64_t *ret_count, struct ap_err *err)
{
    struct head *head = tsdb->head;
    *ret_count = 0;
    for (size_t i = 0;; i++) {
        pthread_mutex_lock(&head->ranges_mtx);
        struct head_range *range = i < head->range_count ? head->ranges[i] : NULL;
        pthread_mutex_unlock(&head->ranges_mtx); /* only we take ranges away */
        if (!range)
            return AP_OK;
        if (range->cut_generation)
            continue;
        enum ap_rc rc = chunk_file_sync(range->file, err);
        if (rc != AP_OK)
            return rc;
        ap_buf_add_varint(out, range->id);
        ap_buf_add_u64(out, (uint64_t)range->start_ms);
        ap_buf_add_varint(out, chunk_file_bytes(range->file));
        ap_buf_add_varint(out, range->is_closed);
        (*ret_count)++;
    }
}

static enum ap_rc replace_checkpoint(struct tsdb *tsdb, struct ap_slice body, struct ap_err *err)
{
    const struct os_fs *fs = tsdb->options.fs;
    AP_AUTO_BUF struct ap_buf bytes = {0};
    ap_buf_add(&bytes, checkpoint_magic, sizeof(checkpoint_magic));
    ap_buf_add_u32(&bytes, CHECKPOINT_VERSION);
    ap_buf_add_u32(&bytes, wal_crc32c(0, body.data, body.bytes));
    ap_buf_add_u64(&bytes, body.bytes);
    ap_buf_add_slice(&bytes, body);
    int fd = fs->open(fs->context, tsdb->head_fd, "checkpoint.new", O_RDWR | O_CREAT | O_TRUNC, 0640);
    if (fd < 0)
        return ap_fail_errno(err, -fd, "open head/checkpoint.new");
    struct iovec part = {.iov_base = bytes.data, .iov_len = bytes.bytes};
    enum ap_rc rc = os_write_all(fs, fd, &part, 1, 0, "head/checkpoint.new", err);
    int result = rc == AP_OK ? fs->datasync(fs->context, fd) : 0;
    fs->close(fs->context, fd);
    if (rc == AP_OK && result == 0)
        result = fs->rename(fs->context, tsdb->head_fd, "checkpoint.new", "checkpoint");
    if (rc == AP_OK && result == 0)
        result = fs->sync_dir(fs->context, tsdb->head_fd);
    return rc != AP_OK ? rc : result < 0 ? ap_fail_errno(err, -result, "write head/checkpoint") : AP_OK;
}

/* Series and list files of other numbers, and chunk files of ranges that nobody knows. */
static bool remove_if_stale(void *context, const char *name)
{
    struct tsdb *tsdb = context;
    const struct os_fs *fs = tsdb->options.fs;
    const char *suffix = strchr(name, '.');
    if (!suffix)
        return true;
    uint64_t number = strtoull(name, NULL, 16);
    bool is_stale = strcmp(suffix, ".chunks") == 0 ? head_range_find(tsdb->head, number) == NULL
                                                   : (strcmp(suffix, ".series") == 0 || strcmp(suffix, ".list") == 0) &&
                                                         number != tsdb->file_number;
    if (is_stale)
        (void)fs->unlink(fs->context, tsdb->head_fd, name); /* tried again at the next start */
    return true;
}

/* ---- All of it ---- */

/* What each shard has sealed since `seq_before`; their new chunks go to tsdb->lists. */
static void take_shards(struct tsdb *tsdb, uint64_t seq_before, struct ap_buf *out)
{
    AP_AUTO_BUF struct ap_buf sealed = {0};
    for (uint32_t i = 0; i < tsdb->head->options.shard_count; i++) {
        uint64_t count = 0;
        ap_buf_reset(&sealed);
        take_shard(tsdb, i, seq_before, &sealed, &count);
        ap_buf_add_varint(out, count);
        ap_buf_add_slice(out, ap_buf_slice(&sealed));
    }
}

static enum ap_rc append_files(struct tsdb *tsdb, bool is_new, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf list = {0};
    frame_batch(ap_buf_slice(&tsdb->lists), &list);
    tsdb->file_number += is_new;
    enum ap_rc rc = append_series(tsdb, is_new, err);
    return rc == AP_OK ? append_list(tsdb, is_new, ap_buf_slice(&list), err) : rc;
}

/* Syncs what the checkpoint speaks of, and then replaces it. `sealed` is take_shards()'s. */
static enum ap_rc write_checkpoint(struct tsdb *tsdb, const struct epoch_start *start, struct ap_slice sealed,
                                   struct ap_err *err)
{
    struct head *head = tsdb->head;
    AP_AUTO_BUF struct ap_buf ranges = {0};
    AP_AUTO_BUF struct ap_buf body = {0};
    uint64_t range_count = 0;
    enum ap_rc rc = sync_chunk_files(tsdb, &ranges, &range_count, err);
    if (rc != AP_OK)
        return rc;
    ap_buf_add_u64(&body, registry_seed(tsdb->registry));
    ap_buf_add_u64(&body, start->lsn);
    ap_buf_add_u64(&body, start->seq_before);
    ap_buf_add_u64(&body, atomic_load(&head->seq));
    ap_buf_add_u32(&body, start->epoch);
    ap_buf_add_u32(&body, atomic_load(&head->epoch));
    ap_buf_add_u64(&body, (uint64_t)atomic_load(&head->max_ts_ms));
    ap_buf_add_u64(&body, tsdb->file_number);
    ap_buf_add_u64(&body, tsdb->series_file_bytes);
    ap_buf_add_u64(&body, tsdb->list_file_bytes);
    ap_buf_add_u64(&body, head->range_id_next);
    ap_buf_add_varint(&body, range_count);
    ap_buf_add_slice(&body, ap_buf_slice(&ranges));
    ap_buf_add_varint(&body, head->options.shard_count);
    ap_buf_add_slice(&body, sealed);
    encode_deleted(tsdb, &body);
    pthread_mutex_lock(&tsdb->extras_mtx);
    extras_encode(&tsdb->extras, &body);
    pthread_mutex_unlock(&tsdb->extras_mtx);
    return replace_checkpoint(tsdb, ap_buf_slice(&body), err);
}

/* The checkpoint is on disk: what it has need not be kept for the next one, nor the log before `lsn`. */
static void conclude(struct tsdb *tsdb, uint64_t lsn, uint64_t record_bytes)
{
    registry_write_lock(tsdb->registry);
    registry_encoded_locked(tsdb->registry);
    registry_unlock(tsdb->registry);
    mark_saved(tsdb);
    ap_buf_clear(&tsdb->lists);
    tsdb->must_rewrite_list = tsdb->must_rewrite_series = tsdb->has_deletions_in_log = false;
    tsdb->checkpoint_lsn = lsn;
    tsdb->checkpoint_us = ap_clock_monotonic_us(tsdb->options.clock);
    tsdb->checkpoint_record_bytes = record_bytes;
    atomic_fetch_add(&tsdb->checkpoints, 1);
    wal_cursor_release(tsdb->cursor, lsn);
}

enum ap_rc tsdb_checkpoint(struct tsdb *tsdb, struct ap_err *err)
{
    bool is_new_files = tsdb->must_rewrite_list || tsdb->must_rewrite_series || tsdb->file_number == 0;
    uint64_t record_bytes = atomic_load(&tsdb->record_bytes);
    tsdb_epoch_begin(tsdb);
    uint32_t oldest = seal_old_tails(tsdb, oldest_epoch_allowed(tsdb));
    struct epoch_start start = start_for(tsdb, oldest);

    AP_AUTO_BUF struct ap_buf sealed = {0};
    if (is_new_files)
        list_all(tsdb); /* and what comes until take_shards() is appended to it */
    take_shards(tsdb, start.seq_before, &sealed);

    enum ap_rc rc = append_files(tsdb, is_new_files, err);
    if (rc == AP_OK)
        rc = write_checkpoint(tsdb, &start, ap_buf_slice(&sealed), err);
    if (rc != AP_OK) {
        tsdb->must_rewrite_list = true; /* what is on disk behind the old lengths is not to be relied on */
        return rc;
    }
    conclude(tsdb, start.lsn, record_bytes);
    if (is_new_files)
        (void)tsdb->options.fs->list(tsdb->options.fs->context, tsdb->head_fd, remove_if_stale, tsdb);
    return AP_OK;
}
