/*
 * From head to block: a range that is over becomes a block. Its chunk file is linked, not copied; only the index is
 * new.
 *
 *     seal what is open ─► close the range ─► write the block ─► readers switch ─► checkpoint ─► drop it from the head
 *
 * A crash after the block is there and before the checkpoint: the block's meta.json names the range, so that the next
 * start leaves the range out of the head.
 */
#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "tsdb/tsdb_internal.h"

/* ---- Sealing ---- */

static bool has_tail_in(const struct head *head, const struct head_series *series, int64_t start_ms)
{
    const struct tail *tails[] = {series->tail, series->extra ? series->extra->late : NULL};
    for (size_t i = 0; i < AP_ARRAY_COUNT(tails); i++)
        if (tails[i] && tail_samples(tails[i]) && head_range_start(head, tails[i]->base_ts_ms) == start_ms)
            return true;
    return series->extra && series->extra->histograms.count && series->extra->histograms.range_start_ms == start_ms;
}

void tsdb_seal_range(struct tsdb *tsdb, int64_t start_ms)
{
    struct head *head = tsdb->head;
    for (uint32_t i = 0; i < head->options.shard_count; i++) {
        struct head_shard *shard = &head->shards[i];
        for (uint32_t page = 0;; page++) {
            pthread_mutex_lock(&shard->mtx);
            bool is_end = page >= shard->page_count;
            for (uint32_t j = 0; !is_end && shard->pages[page] && j < HEAD_SERIES_PER_PAGE; j++) {
                struct head_series *series = &shard->pages[page][j];
                uint32_t ref = (page * HEAD_SERIES_PER_PAGE + j) << head->shard_shift | i;
                if (has_tail_in(head, series, start_ms))
                    (void)head_seal_locked(head, shard, ref, series, atomic_load(&head->seq));
            }
            pthread_mutex_unlock(&shard->mtx);
            if (is_end)
                break;
        }
    }
}

/* ---- Writing a block ---- */

struct range_series {
    uint32_t ref;
    uint32_t first_entry;
    uint32_t entry_count;
    size_t labels_offset;
    uint32_t labels_bytes;
    bool has_deleted;
};

/* What a range holds, series by series. */
struct range_content {
    struct range_series *series;
    size_t series_count;
    size_t series_capacity;
    struct chunk_entry *entries;
    size_t entry_count;
    size_t entry_capacity;
    struct ap_buf labels;
};

static void content_clear(struct range_content *content)
{
    free(content->series);
    free(content->entries);
    ap_buf_clear(&content->labels);
}

static int compare_entries(const void *a, const void *b)
{
    const struct chunk_entry *x = a;
    const struct chunk_entry *y = b;
    return x->min_ts_ms != y->min_ts_ms ? (x->min_ts_ms < y->min_ts_ms ? -1 : 1)
                                        : (x->offset > y->offset) - (x->offset < y->offset);
}

static void collect_series_locked(struct range_content *content, const struct head_range *range, uint32_t ref,
                                  const struct head_series *series)
{
    size_t first = content->entry_count;
    for (uint32_t i = 0; i < series->chunk_count; i++) {
        const struct head_chunk *chunk = &series->chunks[i];
        if (chunk->range != range)
            continue;
        if (content->entry_count == content->entry_capacity) {
            content->entry_capacity = content->entry_capacity ? content->entry_capacity * 2 : 1024;
            content->entries = ap_realloc(content->entries, content->entry_capacity * sizeof(*content->entries));
        }
        content->entries[content->entry_count++] = (struct chunk_entry){
            .min_ts_ms = chunk->min_ts_ms,
            .max_ts_ms = chunk->min_ts_ms + chunk->span_ms,
            .offset = chunk->offset,
            .bytes = chunk->bytes,
            .sample_count = chunk->sample_count,
            .kind = (enum chunk_kind)chunk->kind,
        };
    }
    if (content->entry_count == first)
        return;
    qsort(content->entries + first, content->entry_count - first, sizeof(*content->entries), compare_entries);
    if (content->series_count == content->series_capacity) {
        content->series_capacity = content->series_capacity ? content->series_capacity * 2 : 1024;
        content->series = ap_realloc(content->series, content->series_capacity * sizeof(*content->series));
    }
    content->series[content->series_count++] = (struct range_series){
        .ref = ref,
        .first_entry = (uint32_t)first,
        .entry_count = (uint32_t)(content->entry_count - first),
        .has_deleted = series->extra && series->extra->deleted_count,
    };
}

static void collect(struct tsdb *tsdb, const struct head_range *range, struct range_content *content)
{
    struct head *head = tsdb->head;
    for (uint32_t i = 0; i < head->options.shard_count; i++) {
        struct head_shard *shard = &head->shards[i];
        for (uint32_t page = 0;; page++) {
            pthread_mutex_lock(&shard->mtx);
            bool is_end = page >= shard->page_count;
            for (uint32_t j = 0; !is_end && shard->pages[page] && j < HEAD_SERIES_PER_PAGE; j++)
                collect_series_locked(content, range, (page * HEAD_SERIES_PER_PAGE + j) << head->shard_shift | i,
                                      &shard->pages[page][j]);
            pthread_mutex_unlock(&shard->mtx);
            if (is_end)
                break;
        }
    }
    registry_read_lock(tsdb->registry);
    for (size_t i = 0; i < content->series_count; i++) {
        struct range_series *series = &content->series[i];
        series->labels_offset = content->labels.bytes;
        registry_labels(tsdb->registry, series->ref, &content->labels);
        series->labels_bytes = (uint32_t)(content->labels.bytes - series->labels_offset);
    }
    registry_unlock(tsdb->registry);
}

static int compare_labels(const void *a, const void *b, void *context)
{
    const struct range_content *content = context;
    const struct range_series *x = a;
    const struct range_series *y = b;
    return labels_compare(ap_slice(content->labels.data + x->labels_offset, x->labels_bytes),
                          ap_slice(content->labels.data + y->labels_offset, y->labels_bytes));
}

/* What is left of a chunk, and that encoded anew. */
struct kept {
    int64_t ts_ms[CHUNK_SAMPLES_MAX];
    size_t count;
    struct ap_buf chunk; /* owned */
};

static enum ap_rc keep_floats(struct ap_slice chunk, int64_t min_ts_ms, struct head_deleted deleted, struct kept *kept,
                              struct ap_err *err)
{
    AP_AUTO_FREE struct chunk_floats *floats = ap_new0(struct chunk_floats);
    enum ap_rc rc = chunk_decode_floats(chunk, min_ts_ms, floats, err);
    for (size_t i = 0; rc == AP_OK && i < floats->count; i++) {
        if (head_is_deleted(deleted, floats->ts_ms[i]))
            continue;
        kept->ts_ms[kept->count] = floats->ts_ms[i];
        floats->values[kept->count++] = floats->values[i];
    }
    if (kept->count)
        chunk_encode_floats(kept->ts_ms, floats->values, kept->count, &kept->chunk);
    return rc;
}

static enum ap_rc keep_histograms(struct ap_slice chunk, int64_t min_ts_ms, struct head_deleted deleted,
                                  struct kept *kept, struct ap_err *err)
{
    AP_AUTO_ARENA struct ap_arena arena;
    ap_arena_init(&arena, 0);
    size_t count = 0;
    const int64_t *ts_ms = NULL;
    const struct ap_slice *blobs = NULL;
    struct ap_slice kept_blobs[CHUNK_SAMPLES_MAX];
    enum ap_rc rc = chunk_decode_histograms(chunk, min_ts_ms, &arena, &count, &ts_ms, &blobs, err);
    for (size_t i = 0; rc == AP_OK && i < count; i++) {
        if (head_is_deleted(deleted, ts_ms[i]))
            continue;
        kept->ts_ms[kept->count] = ts_ms[i];
        kept_blobs[kept->count++] = blobs[i];
    }
    if (kept->count)
        chunk_encode_histograms(kept->ts_ms, kept_blobs, kept->count, &kept->chunk);
    return rc;
}

/* A chunk without the samples that were deleted; nothing is written when none is left. */
static enum ap_rc rewrite_chunk(struct tsdb *tsdb, const struct head_range *range, uint32_t ref,
                                struct block_writer *writer, struct chunk_entry *entry, bool *ret_is_kept,
                                struct ap_err *err)
{
    struct ap_slice chunk;
    enum ap_rc rc = chunk_file_read(range->file, entry->offset, entry->bytes, &chunk, err);
    if (rc != AP_OK)
        return rc;
    struct head_copy copy = {0};
    head_copy_series(tsdb->head, ref, 0, entry->min_ts_ms, entry->max_ts_ms, &copy);
    const struct head_chunk *here = head_copy_find(&copy, range, entry->offset);
    AP_ASSERT(here);
    struct head_deleted deleted = head_copy_deleted(&copy, here);
    struct kept kept = {.count = 0};
    rc = entry->kind == CHUNK_FLOATS ? keep_floats(chunk, entry->min_ts_ms, deleted, &kept, err)
                                     : keep_histograms(chunk, entry->min_ts_ms, deleted, &kept, err);
    head_copy_clear(&copy);
    *ret_is_kept = kept.count > 0;
    if (rc == AP_OK && kept.count > 0) {
        entry->min_ts_ms = kept.ts_ms[0];
        entry->max_ts_ms = kept.ts_ms[kept.count - 1];
        entry->sample_count = (uint32_t)kept.count;
        rc = block_writer_add_chunk(writer, ap_buf_slice(&kept.chunk), entry, err);
    }
    ap_buf_clear(&kept.chunk);
    return rc;
}

static enum ap_rc write_series(struct tsdb *tsdb, const struct head_range *range, const struct range_content *content,
                               const struct range_series *series, uint32_t file_index, struct block_writer *writer,
                               struct ap_err *err)
{
    struct chunk_entry *entries = content->entries + series->first_entry;
    size_t count = 0;
    for (uint32_t i = 0; i < series->entry_count; i++) {
        struct chunk_entry entry = entries[i];
        bool is_kept = true;
        entry.file_index = file_index;
        if (series->has_deleted) {
            enum ap_rc rc = rewrite_chunk(tsdb, range, series->ref, writer, &entry, &is_kept, err);
            if (rc == AP_E_CORRUPT) { /* quarantined where it is; the block goes on without it */
                atomic_fetch_add(&tsdb->chunks_damaged, 1);
                (void)tsdb_failed(tsdb, err);
                is_kept = false;
            } else if (rc != AP_OK) {
                return rc;
            }
        }
        if (is_kept)
            entries[count++] = entry;
    }
    if (count == 0)
        return AP_OK;
    struct ap_slice labels = ap_slice(content->labels.data + series->labels_offset, series->labels_bytes);
    return block_writer_add_series(writer, labels, entries, count, err);
}

enum ap_rc tsdb_write_range(struct tsdb *tsdb, struct head_range *range, int blocks_fd, const char *id,
                            struct ap_err *err)
{
    struct range_content content = {0};
    enum ap_rc rc = chunk_file_sync(range->file, err);
    if (rc != AP_OK)
        return rc;
    collect(tsdb, range, &content);
    if (content.series_count)
        qsort_r(content.series, content.series_count, sizeof(*content.series), compare_labels, &content);
    AP_AUTO(block_writer) struct block_writer *writer = NULL;
    rc = block_writer_new(tsdb->options.fs, blocks_fd, id, &writer, err);
    char name[40];
    head_range_name(range->id, ".chunks", name);
    uint32_t file_index = 0;
    if (rc == AP_OK)
        rc = block_writer_link(writer, tsdb->head_fd, name, &file_index, err);
    for (size_t i = 0; i < content.series_count && rc == AP_OK; i++)
        rc = write_series(tsdb, range, &content, &content.series[i], file_index, writer, err);
    if (rc == AP_OK)
        rc = block_writer_finish(writer, &(struct block_meta){.level = 1, .head_range_id = range->id}, err);
    content_clear(&content);
    return rc;
}

/* ---- Cutting ---- */

/* The next range that is over: no series writes to it but such as are late. Lent; NULL: none. */
static struct head_range *find_ripe(struct tsdb *tsdb, bool is_all)
{
    struct head *head = tsdb->head;
    int64_t newest = atomic_load(&head->max_ts_ms);
    int64_t grace_ms = head->options.range_ms / 2;
    struct head_range *ripe = NULL;
    pthread_mutex_lock(&head->ranges_mtx);
    for (size_t i = 0; i < head->range_count && !ripe; i++) {
        struct head_range *range = head->ranges[i];
        bool is_over = newest != INT64_MIN && range->start_ms + head->options.range_ms <= newest - grace_ms;
        if (range->cut_generation == 0 && (is_over || is_all || range->is_closed))
            ripe = range;
    }
    pthread_mutex_unlock(&head->ranges_mtx);
    return ripe;
}

static enum ap_rc cut_range(struct tsdb *tsdb, struct head_range *range, struct ap_err *err)
{
    tsdb_seal_range(tsdb, range->start_ms);
    head_range_close(tsdb->head, range);
    char id[BLOCK_ID_BYTES];
    tsdb_block_id(tsdb, id);
    enum ap_rc rc = tsdb_write_range(tsdb, range, tsdb->blocks_fd, id, err);
    struct block *block = NULL;
    if (rc == AP_OK)
        rc = block_open(tsdb->options.fs, tsdb->blocks_fd, id, &block, err);
    if (rc != AP_OK && rc != AP_E_NOT_FOUND) /* which is: all of it was deleted */
        return rc;
    tsdb_blocks_publish_cut(tsdb, block, range);
    tsdb->must_rewrite_list = true;
    return AP_OK;
}

enum ap_rc tsdb_cut(struct tsdb *tsdb, bool is_all, struct ap_err *err)
{
    bool is_cut = false;
    struct head_range *range;
    while ((range = find_ripe(tsdb, is_all)) != NULL) {
        enum ap_rc rc = cut_range(tsdb, range, err);
        if (rc != AP_OK)
            return rc;
        is_cut = true;
    }
    return is_cut ? tsdb_checkpoint(tsdb, err) : AP_OK;
}

/* ---- Forgetting ---- */

static void drop_range_locked(struct head_shard *shard, struct head_series *series, const struct head_range *range)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < series->chunk_count; i++)
        if (series->chunks[i].range != range)
            series->chunks[kept++] = series->chunks[i];
    shard->chunk_count -= series->chunk_count - kept;
    series->chunk_count = kept;
    if (kept)
        return;
    free(series->chunks);
    series->chunks = NULL;
    series->chunk_capacity = 0;
    if (series->extra) {
        free(series->extra->deleted);
        series->extra->deleted = NULL;
        series->extra->deleted_count = 0;
    }
}

static void drop_range(struct tsdb *tsdb, struct head_range *range)
{
    struct head *head = tsdb->head;
    for (uint32_t i = 0; i < head->options.shard_count; i++) {
        struct head_shard *shard = &head->shards[i];
        for (uint32_t page = 0;; page++) {
            pthread_mutex_lock(&shard->mtx);
            bool is_end = page >= shard->page_count;
            for (uint32_t j = 0; !is_end && shard->pages[page] && j < HEAD_SERIES_PER_PAGE; j++)
                if (shard->pages[page][j].chunk_count)
                    drop_range_locked(shard, &shard->pages[page][j], range);
            pthread_mutex_unlock(&shard->mtx);
            if (is_end)
                break;
        }
    }
    char name[40];
    head_range_name(range->id, ".chunks", name);
    pthread_mutex_lock(&head->ranges_mtx);
    for (size_t i = 0; i < head->range_count; i++) {
        if (head->ranges[i] != range)
            continue;
        memmove(&head->ranges[i], &head->ranges[i + 1], (head->range_count - i - 1) * sizeof(*head->ranges));
        head->range_count--;
        break;
    }
    pthread_mutex_unlock(&head->ranges_mtx);
    (void)tsdb->options.fs->unlink(tsdb->options.fs->context, tsdb->head_fd, name); /* else at the next start */
    head_range_unref(range);
    tsdb->must_collect = true;
}

void tsdb_drop_cut_ranges(struct tsdb *tsdb)
{
    struct head *head = tsdb->head;
    if (tsdb->must_rewrite_list)
        return; /* the list on disk still names them */
    uint64_t oldest = tsdb_oldest_set(tsdb);
    for (size_t i = 0;;) {
        pthread_mutex_lock(&head->ranges_mtx);
        struct head_range *range = i < head->range_count ? head->ranges[i] : NULL;
        pthread_mutex_unlock(&head->ranges_mtx); /* only we take ranges away */
        if (!range)
            return;
        if (range->cut_generation && range->cut_generation <= oldest)
            drop_range(tsdb, range);
        else
            i++;
    }
}

/* ---- Series without samples ---- */

static bool is_over(const struct head_series *series, int64_t before_ms)
{
    if (!series->is_live || series->tail || series->chunk_count)
        return false;
    if (series->extra && (series->extra->late || series->extra->histograms.count))
        return false;
    int64_t last_ts_ms = series->last_ts_ms;
    if (series->extra)
        last_ts_ms = AP_MAX(last_ts_ms, series->extra->histogram_last_ts_ms);
    return last_ts_ms < before_ms;
}

static void find_over(struct tsdb *tsdb, int64_t before_ms, roaring_bitmap_t *over)
{
    struct head *head = tsdb->head;
    for (uint32_t i = 0; i < head->options.shard_count; i++) {
        struct head_shard *shard = &head->shards[i];
        pthread_mutex_lock(&shard->mtx);
        for (uint32_t page = 0; page < shard->page_count; page++)
            for (uint32_t j = 0; shard->pages[page] && j < HEAD_SERIES_PER_PAGE; j++)
                if (is_over(&shard->pages[page][j], before_ms))
                    roaring_bitmap_add(over, (page * HEAD_SERIES_PER_PAGE + j) << head->shard_shift | i);
        pthread_mutex_unlock(&shard->mtx);
    }
}

/*
 * Takes series out of the registry that have nothing in the head any more. Nobody appends meanwhile: appends hold the
 * registry's lock from look-up to end.
 */
void tsdb_collect_series(struct tsdb *tsdb)
{
    struct head *head = tsdb->head;
    if (tsdb->removed_generation && tsdb_oldest_set(tsdb) >= tsdb->removed_generation && tsdb->epoch_count &&
        tsdb->epochs[0].seq_before >= tsdb->removed_seq && !tsdb->must_rewrite_series) {
        registry_write_lock(tsdb->registry);
        registry_reuse_removed_locked(tsdb->registry);
        tsdb->is_holding_refs = false;
        registry_unlock(tsdb->registry);
        tsdb->removed_generation = 0;
    }
    int64_t newest = atomic_load(&head->max_ts_ms);
    if (!tsdb->must_collect || newest == INT64_MIN || tsdb->removed_generation)
        return; /* one bunch at a time */
    tsdb->must_collect = false;
    roaring_bitmap_t *over = roaring_bitmap_create();
    registry_write_lock(tsdb->registry);
    find_over(tsdb, newest - head->options.range_ms, over);
    if (roaring_bitmap_get_cardinality(over) > 0) {
        registry_remove_locked(tsdb->registry, over);
        roaring_uint32_iterator_t iterator;
        roaring_init_iterator(over, &iterator);
        for (; iterator.has_value; roaring_advance_uint32_iterator(&iterator)) {
            struct head_shard *shard = head_shard_of(head, iterator.current_value);
            pthread_mutex_lock(&shard->mtx);
            head_series_remove_locked(head_series_locked(shard, head_local(head, iterator.current_value)));
            pthread_mutex_unlock(&shard->mtx);
        }
        pthread_mutex_lock(&tsdb->extras_mtx);
        extras_forget_series(&tsdb->extras, over);
        pthread_mutex_unlock(&tsdb->extras_mtx);
        pthread_mutex_lock(&tsdb->view_mtx);
        tsdb->removed_generation = ++tsdb->generation;
        pthread_mutex_unlock(&tsdb->view_mtx);
        tsdb->removed_seq = atomic_load(&head->seq);
        tsdb->must_rewrite_series = true;
    }
    registry_unlock(tsdb->registry);
    roaring_bitmap_free(over);
}
