/*
 * Taking in a block that was made outside of the store.
 *
 *     staging/<id> ─► nothing else is of its time: renamed to blocks/<id>
 *                  └► otherwise: what the store lacks is written as a block of its own, then staging/<id> is removed
 *
 * Either way the staged block is there until the store has its samples, so that a crash in between costs a repetition:
 * the second time all of them are there already, and nothing is written.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/bits.h"
#include "base/mem.h"
#include "tsdb/histogram.h"
#include "tsdb/tsdb_internal.h"

/* ---- What the store lacks ---- */

struct adopting {
    struct tsdb *tsdb;
    struct block *block; /* the staged one */
    struct block_writer *writer;
    struct tsdb_set *set;     /* all that the store has in its span */
    struct tsdb_columns ours; /* of one series, as below */
    size_t set_index;
    struct chunk_entry *entries;
    size_t entry_count;
    size_t entry_capacity;
    struct ap_arena arena;
    struct ap_arena scratch;
    int64_t *ts_ms; /* owned, as the arrays below: what the block brings */
    double *values;
    size_t count;
    size_t capacity;
    int64_t *histogram_ts_ms;
    struct ap_slice *histograms;
    size_t histogram_count;
    size_t histogram_capacity;
    struct chunk_floats floats;
    struct tsdb_adoption adoption;
};

static bool says_same(struct adopting *adopting, struct ap_slice a, struct ap_slice b)
{
    struct histogram x, y;
    struct ap_err ignored;
    if (ap_slice_equal(a, b))
        return true;
    bool is_same = histogram_decode(a, &adopting->scratch, &x, &ignored) == AP_OK &&
                   histogram_decode(b, &adopting->scratch, &y, &ignored) == AP_OK && histogram_says_same(&x, &y);
    ap_arena_recycle(&adopting->scratch);
    return is_same;
}

static void count_known(struct adopting *adopting, bool is_same)
{
    if (is_same)
        adopting->adoption.samples_same++;
    else
        adopting->adoption.samples_other++;
}

/* Both arrays rise: their position in ours moves on with them. */
static void keep_float(struct adopting *adopting, int64_t ts_ms, double value, size_t *float_at, size_t *histogram_at)
{
    const struct tsdb_columns *ours = &adopting->ours;
    while (*float_at < ours->count && ours->ts_ms[*float_at] < ts_ms)
        ++*float_at;
    while (*histogram_at < ours->histogram_count && ours->histogram_ts_ms[*histogram_at] < ts_ms)
        ++*histogram_at;
    if (*float_at < ours->count && ours->ts_ms[*float_at] == ts_ms) {
        count_known(adopting, ap_double_same(ours->values[*float_at], value));
        return;
    }
    if (*histogram_at < ours->histogram_count && ours->histogram_ts_ms[*histogram_at] == ts_ms) {
        count_known(adopting, false);
        return;
    }
    if (adopting->count == adopting->capacity) {
        adopting->capacity = adopting->capacity ? adopting->capacity * 2 : 1024;
        adopting->ts_ms = ap_realloc(adopting->ts_ms, adopting->capacity * sizeof(*adopting->ts_ms));
        adopting->values = ap_realloc(adopting->values, adopting->capacity * sizeof(*adopting->values));
    }
    adopting->ts_ms[adopting->count] = ts_ms;
    adopting->values[adopting->count++] = value;
    adopting->adoption.samples_added++;
}

static void keep_histogram(struct adopting *adopting, int64_t ts_ms, struct ap_slice blob, size_t *float_at,
                           size_t *histogram_at)
{
    const struct tsdb_columns *ours = &adopting->ours;
    while (*float_at < ours->count && ours->ts_ms[*float_at] < ts_ms)
        ++*float_at;
    while (*histogram_at < ours->histogram_count && ours->histogram_ts_ms[*histogram_at] < ts_ms)
        ++*histogram_at;
    if (*histogram_at < ours->histogram_count && ours->histogram_ts_ms[*histogram_at] == ts_ms) {
        count_known(adopting, says_same(adopting, ours->histograms[*histogram_at], blob));
        return;
    }
    if (*float_at < ours->count && ours->ts_ms[*float_at] == ts_ms) {
        count_known(adopting, false);
        return;
    }
    if (adopting->histogram_count == adopting->histogram_capacity) {
        size_t capacity = adopting->histogram_capacity =
            adopting->histogram_capacity ? adopting->histogram_capacity * 2 : 64;
        adopting->histogram_ts_ms =
            ap_realloc(adopting->histogram_ts_ms, capacity * sizeof(*adopting->histogram_ts_ms));
        adopting->histograms = ap_realloc(adopting->histograms, capacity * sizeof(*adopting->histograms));
    }
    adopting->histogram_ts_ms[adopting->histogram_count] = ts_ms;
    adopting->histograms[adopting->histogram_count++] = blob;
    adopting->adoption.samples_added++;
}

/* The store's samples of this series, if it has any. Both are in order of labels. */
static enum ap_rc read_ours(struct adopting *adopting, struct ap_slice labels, struct ap_err *err)
{
    adopting->ours.count = adopting->ours.histogram_count = 0;
    for (; adopting->set_index < tsdb_set_count(adopting->set); adopting->set_index++) {
        int order = labels_compare(tsdb_set_labels(adopting->set, adopting->set_index), labels);
        if (order > 0)
            return AP_OK;
        if (order == 0)
            return tsdb_set_read(adopting->set, adopting->set_index++, &adopting->ours, err);
    }
    return AP_OK;
}

static enum ap_rc read_chunk(struct adopting *adopting, const struct chunk_entry *entry, size_t at[4],
                             struct ap_err *err)
{
    struct ap_slice chunk;
    enum ap_rc rc = block_chunk(adopting->block, entry, &chunk, err);
    if (rc != AP_OK)
        return rc;
    if (entry->kind == CHUNK_FLOATS) {
        rc = chunk_decode_floats(chunk, entry->min_ts_ms, &adopting->floats, err);
        for (size_t i = 0; rc == AP_OK && i < adopting->floats.count; i++)
            keep_float(adopting, adopting->floats.ts_ms[i], adopting->floats.values[i], &at[0], &at[1]);
    } else {
        size_t count = 0;
        const int64_t *ts_ms = NULL;
        const struct ap_slice *blobs = NULL;
        rc = chunk_decode_histograms(chunk, entry->min_ts_ms, &adopting->arena, &count, &ts_ms, &blobs, err);
        for (size_t i = 0; rc == AP_OK && i < count; i++)
            keep_histogram(adopting, ts_ms[i], blobs[i], &at[2], &at[3]);
    }
    return rc == AP_OK ? rc : block_chunk_failed(adopting->block, entry, err);
}

static enum ap_rc adopt_series(struct adopting *adopting, uint32_t number, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf labels = {0};
    block_series_labels(adopting->block, number, &labels);
    adopting->count = adopting->histogram_count = adopting->entry_count = 0;
    enum ap_rc rc = read_ours(adopting, ap_buf_slice(&labels), err);
    if (rc == AP_OK)
        rc = block_series_chunks(adopting->block, number, INT64_MIN, INT64_MAX, &adopting->entries,
                                 &adopting->entry_count, &adopting->entry_capacity, err);
    size_t at[4] = {0}; /* in ours: floats and histograms, for floats and for histograms */
    for (size_t i = 0; i < adopting->entry_count && rc == AP_OK; i++)
        rc = read_chunk(adopting, &adopting->entries[i], at, err);
    const struct block_samples samples = {
        .ts_ms = adopting->ts_ms,
        .values = adopting->values,
        .count = adopting->count,
        .histogram_ts_ms = adopting->histogram_ts_ms,
        .histograms = adopting->histograms,
        .histogram_count = adopting->histogram_count,
    };
    if (rc == AP_OK)
        rc = block_writer_add_samples(adopting->writer, ap_buf_slice(&labels), &samples, err);
    ap_arena_recycle(&adopting->arena);
    return rc;
}

static enum ap_rc write_lacking(struct adopting *adopting, const char *id, struct ap_err *err)
{
    struct tsdb *tsdb = adopting->tsdb;
    const struct block_meta *meta = block_meta_of(adopting->block);
    const struct matchers all = {.count = 0};
    const struct tsdb_select_options options = {
        .matchers = &all, .min_ts_ms = meta->min_ts_ms, .max_ts_ms = meta->max_ts_ms};
    ap_arena_init(&adopting->arena, 0);
    ap_arena_init(&adopting->scratch, 0);
    enum ap_rc rc = tsdb_select(tsdb, &options, &adopting->set, err);
    if (rc == AP_OK)
        rc = block_writer_new(tsdb->options.fs, tsdb->blocks_fd, id, &adopting->writer, err);
    for (uint32_t i = 0; i < block_series_count(adopting->block) && rc == AP_OK; i++)
        rc = adopt_series(adopting, i, err);
    if (rc == AP_OK)
        rc = block_writer_finish(adopting->writer, &(struct block_meta){.level = meta->level}, err);
    block_writer_free(adopting->writer);
    tsdb_set_free(adopting->set);
    tsdb_columns_clear(&adopting->ours);
    free(adopting->entries);
    free(adopting->ts_ms);
    free(adopting->values);
    free(adopting->histogram_ts_ms);
    free(adopting->histograms);
    ap_arena_clear(&adopting->arena);
    ap_arena_clear(&adopting->scratch);
    return rc;
}

/* ---- Taking it in ---- */

static bool is_alone(struct tsdb *tsdb, const struct block_meta *meta)
{
    for (size_t i = 0; i < tsdb->block_count; i++) {
        const struct block_meta *other = block_meta_of(tsdb->blocks[i]);
        if (other->min_ts_ms <= meta->max_ts_ms && other->max_ts_ms >= meta->min_ts_ms)
            return false;
    }
    struct tsdb_stats stats;
    tsdb_stats_get(tsdb, &stats);
    return stats.head_min_ts_ms > meta->max_ts_ms;
}

static enum ap_rc check_span(const struct tsdb *tsdb, const struct block_meta *meta, struct ap_err *err)
{
    int64_t now_ms = ap_clock_wall_us(tsdb->options.clock) / AP_US_PER_MS;
    int64_t newest_ms = AP_MAX(tsdb_newest_ms(tsdb), meta->max_ts_ms);
    if (meta->max_ts_ms > now_ms + HEAD_FUTURE_MS_MAX)
        return ap_fail(err, AP_E_LIMIT, "block %s has samples more than an hour ahead of the clock", meta->id);
    if (tsdb->options.retention_ms && meta->max_ts_ms < newest_ms - tsdb->options.retention_ms)
        return ap_fail(err, AP_E_LIMIT, "block %s is older than tsdb.retention and would be removed at once", meta->id);
    return AP_OK;
}

static enum ap_rc move_in(struct tsdb *tsdb, int staging_fd, const char *id, struct ap_err *err)
{
    const struct os_fs *fs = tsdb->options.fs;
    char from[BLOCK_ID_BYTES + 16], to[BLOCK_ID_BYTES + 16];
    snprintf(from, sizeof(from), "staging/%s", id);
    snprintf(to, sizeof(to), "blocks/%s", id);
    int result = fs->rename(fs->context, tsdb->dir_fd, from, to);
    if (result == 0)
        result = fs->sync_dir(fs->context, tsdb->blocks_fd);
    if (result == 0)
        result = fs->sync_dir(fs->context, staging_fd);
    return result < 0 ? ap_fail_errno(err, -result, "take in block %s", id) : AP_OK;
}

/* First renamed, so that half of it is never taken for a block. */
static enum ap_rc remove_staged(struct tsdb *tsdb, int staging_fd, const char *id, struct ap_err *err)
{
    const struct os_fs *fs = tsdb->options.fs;
    char doomed[BLOCK_ID_BYTES + 8];
    snprintf(doomed, sizeof(doomed), "%s.gone", id);
    int result = fs->rename(fs->context, staging_fd, id, doomed);
    if (result == 0)
        result = fs->sync_dir(fs->context, staging_fd);
    return result < 0 ? ap_fail_errno(err, -result, "remove staging/%s", id)
                      : tsdb_remove_dir(tsdb, staging_fd, doomed, err);
}

static void publish(struct tsdb *tsdb, struct block *take_block)
{
    int64_t max_ts_ms = block_meta_of(take_block)->max_ts_ms;
    int64_t newest_ms = atomic_load(&tsdb->head->max_ts_ms);
    while (newest_ms < max_ts_ms && !atomic_compare_exchange_weak(&tsdb->head->max_ts_ms, &newest_ms, max_ts_ms))
        ;
    (void)tsdb_blocks_replace(tsdb, take_block, NULL, 0);
}

static enum ap_rc adopt(struct tsdb *tsdb, int staging_fd, const char *id, struct tsdb_adoption *ret_adoption,
                        struct ap_err *err)
{
    const struct os_fs *fs = tsdb->options.fs;
    AP_AUTO(block) struct block *staged = NULL;
    /* This block is not to be among those in which a replay does them again. */
    enum ap_rc rc = tsdb->has_deletions_in_log ? tsdb_checkpoint(tsdb, err) : AP_OK;
    if (rc == AP_OK)
        rc = block_open(fs, staging_fd, id, &staged, err);
    if (rc == AP_OK)
        rc = check_span(tsdb, block_meta_of(staged), err);
    if (rc != AP_OK)
        return rc;
    struct block *block;
    if (is_alone(tsdb, block_meta_of(staged))) {
        rc = move_in(tsdb, staging_fd, id, err);
        if (rc == AP_OK)
            rc = block_open(fs, tsdb->blocks_fd, id, &block, err);
        if (rc != AP_OK)
            return rc;
        *ret_adoption = (struct tsdb_adoption){.samples_added = block_meta_of(block)->sample_count};
        publish(tsdb, block);
        return AP_OK;
    }
    AP_AUTO_FREE struct adopting *adopting = ap_new0(struct adopting);
    char other[BLOCK_ID_BYTES];
    tsdb_block_id(tsdb, other);
    adopting->tsdb = tsdb;
    adopting->block = staged;
    rc = write_lacking(adopting, other, err);
    if (rc == AP_OK)
        rc = block_open(fs, tsdb->blocks_fd, other, &block, err);
    if (rc == AP_OK)
        publish(tsdb, block);
    else if (rc != AP_E_NOT_FOUND) /* which is: the store has all of it */
        return rc;
    *ret_adoption = adopting->adoption;
    return remove_staged(tsdb, staging_fd, id, err);
}

enum ap_rc tsdb_adopt(struct tsdb *tsdb, const char *id, struct tsdb_adoption *ret_adoption, struct ap_err *err)
{
    AP_AUTO_FREE char *path = ap_asprintf("%s/staging", tsdb->dir);
    AP_AUTO_FD int staging_fd = -1;
    if (strlen(id) != BLOCK_ID_BYTES - 1 || strspn(id, "0123456789ABCDEFGHJKMNPQRSTVWXYZ") != strlen(id))
        return ap_fail(err, AP_E_PARSE, "'%s' is not the name of a block", id);
    enum ap_rc rc = os_dir_open(path, &staging_fd, err);
    if (rc == AP_OK && faccessat(staging_fd, id, F_OK, 0) != 0)
        return ap_fail_errno(err, errno, "open staging/%s", id);
    if (rc != AP_OK)
        return rc;
    pthread_mutex_lock(&tsdb->maintain_mtx);
    rc = adopt(tsdb, staging_fd, id, ret_adoption, err);
    pthread_mutex_unlock(&tsdb->maintain_mtx);
    if (rc == AP_E_NOT_FOUND) /* a file of it: that is no block that is not there */
        rc = err->rc = AP_E_CORRUPT;
    return rc;
}

int64_t tsdb_newest_ms(const struct tsdb *tsdb)
{
    return atomic_load(&tsdb->head->max_ts_ms);
}
