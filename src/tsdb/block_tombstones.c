/* What was deleted from a block: a small file beside it, replaced as a whole. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "base/mem.h"
#include "tsdb/block_internal.h"
#include "wal/crc32c.h"

enum { TOMBSTONES_VERSION = 1, HEADER_BYTES = 24 };
#define TOMBSTONES_MAX (UINT64_C(1) << 24)

static int compare_deletions(const void *a, const void *b)
{
    const struct block_deletion *x = a;
    const struct block_deletion *y = b;
    if (x->series != y->series)
        return x->series < y->series ? -1 : 1;
    return (x->span.min_ts_ms > y->span.min_ts_ms) - (x->span.min_ts_ms < y->span.min_ts_ms);
}

/* In order, and spans of a series that touch become one. Returns how many are left. */
static size_t normalise(struct block_deletion *deletions, size_t count)
{
    if (count)
        qsort(deletions, count, sizeof(*deletions), compare_deletions);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct block_deletion *last = kept ? &deletions[kept - 1] : NULL;
        bool touches = last && last->series == deletions[i].series &&
                       (last->span.max_ts_ms == INT64_MAX || deletions[i].span.min_ts_ms <= last->span.max_ts_ms + 1);
        if (touches)
            last->span.max_ts_ms = AP_MAX(last->span.max_ts_ms, deletions[i].span.max_ts_ms);
        else
            deletions[kept++] = deletions[i];
    }
    return kept;
}

static void encode(const struct block_deletion *deletions, size_t count, struct ap_buf *out)
{
    size_t bytes = count * sizeof(*deletions);
    ap_buf_add(out, "APIARYTS", 8);
    ap_buf_add_u32(out, TOMBSTONES_VERSION);
    ap_buf_add_u32(out, wal_crc32c(wal_crc32c(0, &count, 8), deletions, bytes));
    ap_buf_add_u64(out, count);
    ap_buf_add(out, deletions, bytes);
}

enum ap_rc block_tombstones_load(struct block *block, struct ap_err *err)
{
    const struct os_fs *fs = block->fs;
    int fd = fs->open(fs->context, block->dir_fd, "tombstones", O_RDONLY, 0);
    if (fd == -ENOENT)
        return AP_OK;
    if (fd < 0)
        return ap_fail_errno(err, -fd, "open tombstones");
    uint64_t bytes = 0;
    int result = fs->size(fs->context, fd, &bytes);
    enum ap_rc rc = result < 0 ? ap_fail_errno(err, -result, "size of tombstones") : AP_OK;
    AP_AUTO_FREE char *data = NULL;
    if (rc == AP_OK && (bytes < HEADER_BYTES || bytes > HEADER_BYTES + TOMBSTONES_MAX * sizeof(struct block_deletion)))
        rc = ap_fail(err, AP_E_CORRUPT, "tombstones has %" PRIu64 " bytes", bytes);
    if (rc == AP_OK) {
        data = ap_alloc0(1, (size_t)bytes);
        rc = os_read_all(fs, fd, data, (size_t)bytes, 0, "tombstones", err);
    }
    fs->close(fs->context, fd);
    if (rc != AP_OK)
        return rc;
    uint32_t version;
    uint32_t crc;
    uint64_t count;
    memcpy(&version, data + 8, 4);
    memcpy(&crc, data + 12, 4);
    memcpy(&count, data + 16, 8);
    if (memcmp(data, "APIARYTS", 8) != 0 || version != TOMBSTONES_VERSION ||
        count != (bytes - HEADER_BYTES) / sizeof(struct block_deletion) ||
        (bytes - HEADER_BYTES) % sizeof(struct block_deletion) || crc != wal_crc32c(0, data + 16, (size_t)bytes - 16))
        return ap_fail(err, AP_E_CORRUPT, "tombstones is damaged");
    block->deletions = ap_new0_array(struct block_deletion, (size_t)count + 1);
    memcpy(block->deletions, data + HEADER_BYTES, (size_t)bytes - HEADER_BYTES);
    block->deletion_count = (size_t)count;
    return AP_OK;
}

static enum ap_rc store(const struct block *block, const struct block_deletion *deletions, size_t count,
                        struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf bytes = {0};
    encode(deletions, count, &bytes);
    enum ap_rc rc = block_write_file(block->fs, block->dir_fd, "tombstones.new", ap_buf_slice(&bytes), err);
    if (rc != AP_OK)
        return rc;
    int result = block->fs->rename(block->fs->context, block->dir_fd, "tombstones.new", "tombstones");
    if (result == 0)
        result = block->fs->sync_dir(block->fs->context, block->dir_fd);
    return result < 0 ? ap_fail_errno(err, -result, "write tombstones of block %s", block->meta.id) : AP_OK;
}

enum ap_rc block_delete(struct block *block, const struct matchers *matchers, int64_t min_ts_ms, int64_t max_ts_ms,
                        size_t *ret_series_count, struct ap_err *err)
{
    uint32_t *series = NULL;
    size_t count = 0;
    enum ap_rc rc = block_select(block, matchers, &series, &count, err);
    if (rc != AP_OK || count == 0) {
        free(series);
        *ret_series_count = 0;
        return rc;
    }
    /* One deletion at a time per block (the store's maintain lock), so the list does not change under us. */
    size_t total = block->deletion_count + count;
    struct block_deletion *deletions = ap_new0_array(struct block_deletion, total);
    if (block->deletion_count)
        memcpy(deletions, block->deletions, block->deletion_count * sizeof(*deletions));
    for (size_t i = 0; i < count; i++)
        deletions[block->deletion_count + i] = (struct block_deletion){series[i], 0, {min_ts_ms, max_ts_ms}};
    free(series);
    total = normalise(deletions, total);
    rc = store(block, deletions, total, err);
    if (rc != AP_OK) {
        free(deletions);
        return rc;
    }
    pthread_mutex_lock(&block->tombstones_mtx);
    struct block_deletion *before = block->deletions;
    block->deletions = deletions;
    __atomic_store_n(&block->deletion_count, total, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&block->tombstones_mtx);
    free(before);
    *ret_series_count = count;
    return AP_OK;
}

size_t block_tombstones(const struct block *block, uint32_t series, struct time_span *ret_spans, size_t max)
{
    pthread_mutex_t *mtx = (pthread_mutex_t *)(uintptr_t)&block->tombstones_mtx;
    size_t found = 0;
    pthread_mutex_lock(mtx);
    size_t low = 0;
    size_t high = block->deletion_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (block->deletions[middle].series < series)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < block->deletion_count && block->deletions[low].series == series; low++, found++)
        if (found < max)
            ret_spans[found] = block->deletions[low].span;
    pthread_mutex_unlock(mtx);
    return found;
}

bool block_has_tombstones(const struct block *block)
{
    return __atomic_load_n(&block->deletion_count, __ATOMIC_ACQUIRE) > 0;
}
