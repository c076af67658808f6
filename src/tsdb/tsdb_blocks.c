/* The blocks on disk: which there are, merging them, and letting go of the old ones. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "tsdb/tsdb_internal.h"

void tsdb_block_id(struct tsdb *tsdb, char ret_id[BLOCK_ID_BYTES])
{
    uint64_t high = ap_random_u64(&tsdb->random);
    block_id_make(ap_clock_wall_us(tsdb->options.clock) / AP_US_PER_MS, high, ap_random_u64(&tsdb->random), ret_id);
}

/* ---- The list that readers see ---- */

static void sort_blocks(struct tsdb *tsdb)
{
    for (size_t i = 1; i < tsdb->block_count; i++) {
        struct block *block = tsdb->blocks[i];
        const struct block_meta *meta = block_meta_of(block);
        size_t at = i;
        for (; at > 0; at--) {
            const struct block_meta *before = block_meta_of(tsdb->blocks[at - 1]);
            if (before->min_ts_ms < meta->min_ts_ms ||
                (before->min_ts_ms == meta->min_ts_ms && strcmp(before->id, meta->id) <= 0))
                break;
            tsdb->blocks[at] = tsdb->blocks[at - 1];
        }
        tsdb->blocks[at] = block;
    }
}

static void add_block_locked(struct tsdb *tsdb, struct block *take_block)
{
    if (tsdb->block_count == tsdb->block_capacity) {
        tsdb->block_capacity = tsdb->block_capacity ? tsdb->block_capacity * 2 : 16;
        tsdb->blocks = ap_realloc(tsdb->blocks, tsdb->block_capacity * sizeof(*tsdb->blocks));
    }
    tsdb->blocks[tsdb->block_count++] = take_block;
    sort_blocks(tsdb);
}

uint64_t tsdb_blocks_replace(struct tsdb *tsdb, struct block *take_block, struct block *const *remove, size_t count)
{
    struct block **removed = ap_new0_array(struct block *, count + 1);
    size_t removed_count = 0;
    pthread_mutex_lock(&tsdb->view_mtx);
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < tsdb->block_count; j++) {
            if (tsdb->blocks[j] != remove[i])
                continue;
            removed[removed_count++] = tsdb->blocks[j];
            tsdb_note_blocks_locked(tsdb, block_meta_of(tsdb->blocks[j])->min_ts_ms);
            memmove(&tsdb->blocks[j], &tsdb->blocks[j + 1], (tsdb->block_count - j - 1) * sizeof(*tsdb->blocks));
            tsdb->block_count--;
            break;
        }
    }
    if (take_block) {
        add_block_locked(tsdb, take_block);
        tsdb_note_blocks_locked(tsdb, block_meta_of(take_block)->min_ts_ms);
    }
    uint64_t generation = ++tsdb->generation;
    pthread_mutex_unlock(&tsdb->view_mtx);
    for (size_t i = 0; i < removed_count; i++)
        block_unref(removed[i]);
    free(removed);
    return generation;
}

void tsdb_blocks_publish_cut(struct tsdb *tsdb, struct block *take_block, struct head_range *range)
{
    pthread_mutex_lock(&tsdb->view_mtx);
    if (take_block)
        add_block_locked(tsdb, take_block);
    /* Nothing is new but for times that have two values: which of them is answered depends on where they are. */
    tsdb_note_blocks_locked(tsdb, range->start_ms);
    __atomic_store_n(&range->cut_generation, ++tsdb->generation, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&tsdb->view_mtx);
}

/* ---- Directories ---- */

struct names {
    char (*items)[64];
    size_t count;
};

static bool collect_name(void *context, const char *name)
{
    struct names *names = context;
    if (strlen(name) >= sizeof(names->items[0]))
        return true;
    names->items = ap_realloc(names->items, (names->count + 1) * sizeof(names->items[0]));
    snprintf(names->items[names->count++], sizeof(names->items[0]), "%s", name);
    return true;
}

/* A directory and the files in it; what is there in part, goes too. */
enum ap_rc tsdb_remove_dir(struct tsdb *tsdb, int parent_fd, const char *name, struct ap_err *err)
{
    const struct os_fs *fs = tsdb->options.fs;
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? AP_OK : ap_fail_errno(err, errno, "open %s", name);
    struct names names = {0};
    (void)fs->list(fs->context, fd, collect_name, &names);
    for (size_t i = 0; i < names.count; i++)
        (void)fs->unlink(fs->context, fd, names.items[i]);
    free(names.items);
    close(fd);
    if (unlinkat(parent_fd, name, AT_REMOVEDIR) != 0)
        return ap_fail_errno(err, errno, "remove %s", name);
    return AP_OK;
}

/* First renamed, so that half of a block is never taken for one. */
enum ap_rc tsdb_block_remove(struct tsdb *tsdb, const char *id, struct ap_err *err)
{
    const struct os_fs *fs = tsdb->options.fs;
    char doomed[BLOCK_ID_BYTES + 8];
    snprintf(doomed, sizeof(doomed), "%s.gone", id);
    int result = fs->rename(fs->context, tsdb->blocks_fd, id, doomed);
    if (result < 0)
        return ap_fail_errno(err, -result, "remove block %s", id);
    result = fs->sync_dir(fs->context, tsdb->blocks_fd);
    if (result < 0)
        return ap_fail_errno(err, -result, "remove block %s", id);
    return tsdb_remove_dir(tsdb, tsdb->blocks_fd, doomed, err);
}

static void quarantine(struct tsdb *tsdb, const char *id, struct ap_err *err)
{
    AP_AUTO_FREE char *path = ap_asprintf("%s/quarantine", tsdb->dir);
    AP_AUTO_FD int fd = -1;
    struct ap_err ignored;
    if (os_dir_open(path, &fd, &ignored) != AP_OK || renameat(tsdb->blocks_fd, id, fd, id) != 0) {
        (void)ap_err_prefix(err, "block %s is damaged, is left out, and could not be moved to quarantine/", id);
    } else {
        (void)ap_err_prefix(err, "block %s is damaged and was moved to quarantine/", id);
    }
    atomic_fetch_add(&tsdb->blocks_quarantined, 1);
    (void)tsdb_failed(tsdb, err);
}

/* Blocks that another one was merged from: the machine stopped before they were removed. */
static void remove_sources(struct tsdb *tsdb)
{
    for (size_t i = 0; i < tsdb->block_count; i++) {
        const struct block_meta *meta = block_meta_of(tsdb->blocks[i]);
        for (size_t j = 0; j < meta->source_count; j++) {
            for (size_t k = 0; k < tsdb->block_count; k++) {
                if (k == i || strcmp(block_meta_of(tsdb->blocks[k])->id, meta->sources[j]) != 0)
                    continue;
                struct block *source = tsdb->blocks[k];
                memmove(&tsdb->blocks[k], &tsdb->blocks[k + 1], (tsdb->block_count - k - 1) * sizeof(*tsdb->blocks));
                tsdb->block_count--;
                struct ap_err err;
                if (tsdb_block_remove(tsdb, meta->sources[j], &err) != AP_OK)
                    (void)tsdb_failed(tsdb, &err);
                block_unref(source);
                if (k < i)
                    i--;
                break;
            }
        }
    }
}

enum ap_rc tsdb_blocks_load(struct tsdb *tsdb, struct ap_err *err)
{
    const struct os_fs *fs = tsdb->options.fs;
    struct names names = {0};
    int result = fs->list(fs->context, tsdb->blocks_fd, collect_name, &names);
    enum ap_rc rc = result < 0 ? ap_fail_errno(err, -result, "list blocks") : AP_OK;
    for (size_t i = 0; i < names.count && rc == AP_OK; i++) {
        const char *name = names.items[i];
        if (strchr(name, '.')) { /* begun and not finished, or not quite gone */
            rc = tsdb_remove_dir(tsdb, tsdb->blocks_fd, name, err);
            continue;
        }
        if (strlen(name) != BLOCK_ID_BYTES - 1)
            continue;
        struct block *block;
        struct ap_err block_err;
        enum ap_rc block_rc = block_open(fs, tsdb->blocks_fd, name, &block, &block_err);
        if (block_rc == AP_OK)
            add_block_locked(tsdb, block);
        else if (block_rc == AP_E_CORRUPT || block_rc == AP_E_NOT_FOUND)
            quarantine(tsdb, name, &block_err);
        else {
            *err = block_err;
            rc = block_rc;
        }
    }
    free(names.items);
    if (rc == AP_OK)
        remove_sources(tsdb);
    return rc;
}

/* ---- Merging ---- */

enum { MERGE_BLOCKS_MAX = 64, MERGE_FACTOR = 3 };

static bool overlap(const struct block *a, const struct block *b)
{
    const struct block_meta *x = block_meta_of(a);
    const struct block_meta *y = block_meta_of(b);
    return x->min_ts_ms <= y->max_ts_ms && y->min_ts_ms <= x->max_ts_ms;
}

/* Blocks that overlap each other, the earliest first. */
static size_t find_overlapping(const struct tsdb *tsdb, struct block **ret_blocks)
{
    for (size_t i = 0; i + 1 < tsdb->block_count; i++) {
        if (!overlap(tsdb->blocks[i], tsdb->blocks[i + 1]))
            continue;
        size_t count = 0;
        ret_blocks[count++] = tsdb->blocks[i];
        for (size_t j = i + 1; j < tsdb->block_count && count < MERGE_BLOCKS_MAX; j++) {
            bool touches = false;
            for (size_t k = 0; k < count; k++)
                touches |= overlap(ret_blocks[k], tsdb->blocks[j]);
            if (touches)
                ret_blocks[count++] = tsdb->blocks[j];
        }
        return count;
    }
    return 0;
}

static int64_t floor_to(int64_t value, int64_t unit)
{
    int64_t rest = value % unit;
    return value - (rest < 0 ? rest + unit : rest);
}

/*
 * Neighbours that lie within one aligned span of 3, 9, 27 … ranges, once that span is over (a newer block exists) and
 * as long as it is not longer than the maximum.
 */
static size_t find_neighbours(const struct tsdb *tsdb, struct block **ret_blocks)
{
    if (tsdb->block_count < 2)
        return 0;
    int64_t newest_ms = block_meta_of(tsdb->blocks[tsdb->block_count - 1])->min_ts_ms;
    for (int64_t span_ms = tsdb->options.block_range_ms * MERGE_FACTOR; span_ms <= tsdb->options.block_merge_max_ms;
         span_ms *= MERGE_FACTOR) {
        for (size_t i = 0; i < tsdb->block_count;) {
            int64_t start_ms = floor_to(block_meta_of(tsdb->blocks[i])->min_ts_ms, span_ms);
            size_t count = 0;
            for (; i + count < tsdb->block_count && count < MERGE_BLOCKS_MAX; count++) {
                const struct block_meta *meta = block_meta_of(tsdb->blocks[i + count]);
                if (meta->min_ts_ms < start_ms || meta->max_ts_ms >= start_ms + span_ms)
                    break;
                ret_blocks[count] = tsdb->blocks[i + count];
            }
            if (count >= 2 && start_ms + span_ms <= newest_ms)
                return count;
            i += AP_MAX(count, (size_t)1);
        }
    }
    return 0;
}

static enum ap_rc merge(struct tsdb *tsdb, struct block **blocks, size_t count, struct ap_err *err)
{
    char id[BLOCK_ID_BYTES];
    tsdb_block_id(tsdb, id);
    struct block_merge_options options = {
        .fs = tsdb->options.fs,
        .blocks_fd = tsdb->blocks_fd,
        .id = id,
        .is_rewriting = block_merge_must_rewrite(blocks, count),
    };
    struct block *merged = NULL;
    enum ap_rc rc = block_merge(&options, blocks, count, err);
    if (rc == AP_OK)
        rc = block_open(tsdb->options.fs, tsdb->blocks_fd, id, &merged, err);
    if (rc != AP_OK && rc != AP_E_NOT_FOUND)
        return rc;
    for (size_t i = 0; i < count; i++)
        (void)block_ref(blocks[i]);
    (void)tsdb_blocks_replace(tsdb, merged, blocks, count);
    rc = AP_OK;
    for (size_t i = 0; i < count; i++) {
        enum ap_rc removed = tsdb_block_remove(tsdb, block_meta_of(blocks[i])->id, err);
        if (removed != AP_OK)
            rc = removed; /* the next start removes it: the merged one names its sources */
        block_unref(blocks[i]);
    }
    atomic_fetch_add(&tsdb->merges, 1);
    return rc;
}

enum ap_rc tsdb_merge_some(struct tsdb *tsdb, bool *ret_merged, struct ap_err *err)
{
    struct block *blocks[MERGE_BLOCKS_MAX];
    size_t count = find_overlapping(tsdb, blocks);
    if (count == 0)
        count = find_neighbours(tsdb, blocks);
    *ret_merged = count > 0;
    return count ? merge(tsdb, blocks, count, err) : AP_OK;
}

enum ap_rc tsdb_clean_tombstones(struct tsdb *tsdb, struct ap_err *err)
{
    enum ap_rc rc = AP_OK;
    pthread_mutex_lock(&tsdb->maintain_mtx);
    for (size_t i = 0; i < tsdb->block_count && rc == AP_OK;) {
        struct block *block = tsdb->blocks[i];
        if (!block_has_tombstones(block)) {
            i++;
            continue;
        }
        rc = merge(tsdb, &block, 1, err);
        i = 0; /* the list is another one */
    }
    pthread_mutex_unlock(&tsdb->maintain_mtx);
    return rc;
}

/* ---- Retention ---- */

static enum ap_rc remove_block(struct tsdb *tsdb, struct block *block, struct ap_err *err)
{
    (void)block_ref(block);
    (void)tsdb_blocks_replace(tsdb, NULL, &block, 1);
    enum ap_rc rc = tsdb_block_remove(tsdb, block_meta_of(block)->id, err);
    block_unref(block);
    atomic_fetch_add(&tsdb->blocks_removed, 1);
    return rc;
}

enum ap_rc tsdb_retain(struct tsdb *tsdb, struct ap_err *err)
{
    enum ap_rc rc = AP_OK;
    int64_t newest_ms = atomic_load(&tsdb->head->max_ts_ms);
    for (size_t i = 0; i < tsdb->block_count && rc == AP_OK && tsdb->options.retention_ms && newest_ms != INT64_MIN;) {
        if (block_meta_of(tsdb->blocks[i])->max_ts_ms < newest_ms - tsdb->options.retention_ms)
            rc = remove_block(tsdb, tsdb->blocks[i], err);
        else
            i++;
    }
    for (;;) {
        uint64_t bytes = 0;
        for (size_t i = 0; i < tsdb->block_count; i++)
            bytes += block_disk_bytes(tsdb->blocks[i]);
        if (rc != AP_OK || !tsdb->options.retention_bytes || bytes <= tsdb->options.retention_bytes ||
            tsdb->block_count == 0)
            return rc;
        rc = remove_block(tsdb, tsdb->blocks[0], err);
    }
}
