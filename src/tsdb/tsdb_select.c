/*
 * Reading: which series, from head and blocks, and all samples of one of them in order.
 *
 * A set sees what was there when it was made: it holds references on its blocks, and ranges of the head that become
 * blocks later stay in the head until it is freed (tsdb_drop_cut_ranges()).
 */
#include <inttypes.h>
#include <string.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/mem.h"
#include "tsdb/tsdb_internal.h"

/* A series of one block. */
struct place {
    uint32_t block;
    uint32_t series;
    uint32_t next; /* further blocks of the same series; UINT32_MAX: none */
};

struct set_series {
    struct ap_slice labels; /* in the set's arena */
    struct labels_hash hash;
    uint32_t ref; /* in the head, or REGISTRY_NONE */
    uint32_t first_place;
    uint32_t last_place;
};

/* What reading one series after the other needs, kept from one to the next. */
struct tsdb_scratch {
    struct head_copy copy;
    struct chunk_entry *entries;
    size_t entry_capacity;
    size_t *entry_ends; /* of each place of the series, in `entries` */
    size_t place_capacity;
    struct time_span *deleted;
    size_t deleted_capacity;
    uint8_t *ranks; /* which source a sample is from: the first one wins */
    size_t rank_capacity;
    uint8_t *histogram_ranks;
    size_t histogram_rank_capacity;
};

struct tsdb_set {
    struct tsdb *tsdb;
    uint64_t generation;
    struct tsdb_set *next; /* under view_mtx, as `previous` */
    struct tsdb_set *previous;
    int64_t min_ts_ms;
    int64_t max_ts_ms;
    uint64_t series_max;
    struct block **blocks; /* owned references */
    size_t block_count;
    struct set_series *series;
    size_t series_count;
    size_t series_capacity;
    bool is_unordered; /* while the set is being made: a source brought new series when there were some already */
    struct place *places;
    size_t place_count;
    size_t place_capacity;
    uint32_t *table; /* hash to series, while the set is being made */
    size_t table_mask;
    struct ap_arena arena;
    struct ap_buf scratch;
};

/* ---- Making a set ---- */

uint64_t tsdb_oldest_set(struct tsdb *tsdb)
{
    uint64_t oldest = UINT64_MAX;
    pthread_mutex_lock(&tsdb->view_mtx);
    for (const struct tsdb_set *set = tsdb->sets; set; set = set->next)
        oldest = AP_MIN(oldest, set->generation);
    pthread_mutex_unlock(&tsdb->view_mtx);
    return oldest;
}

static struct tsdb_set *set_new(struct tsdb *tsdb, int64_t min_ts_ms, int64_t max_ts_ms, uint64_t series_max)
{
    struct tsdb_set *set = ap_new0(struct tsdb_set);
    set->tsdb = tsdb;
    set->min_ts_ms = min_ts_ms;
    set->max_ts_ms = max_ts_ms;
    set->series_max = series_max ? series_max : UINT32_MAX - 1;
    ap_arena_init(&set->arena, 0);
    pthread_mutex_lock(&tsdb->view_mtx);
    set->generation = tsdb->generation;
    set->blocks = ap_new0_array(struct block *, tsdb->block_count + 1);
    for (size_t i = 0; i < tsdb->block_count; i++) {
        const struct block_meta *meta = block_meta_of(tsdb->blocks[i]);
        if (meta->min_ts_ms <= max_ts_ms && meta->max_ts_ms >= min_ts_ms)
            set->blocks[set->block_count++] = block_ref(tsdb->blocks[i]);
    }
    set->next = tsdb->sets;
    if (tsdb->sets)
        tsdb->sets->previous = set;
    tsdb->sets = set;
    pthread_mutex_unlock(&tsdb->view_mtx);
    return set;
}

void tsdb_set_free(struct tsdb_set *set)
{
    if (!set)
        return;
    struct tsdb *tsdb = set->tsdb;
    for (size_t i = 0; i < set->block_count; i++)
        block_unref(set->blocks[i]);
    free(set->blocks);
    free(set->series);
    free(set->places);
    free(set->table);
    ap_buf_clear(&set->scratch);
    ap_arena_clear(&set->arena);
    pthread_mutex_lock(&tsdb->view_mtx);
    if (set->previous)
        set->previous->next = set->next;
    else
        tsdb->sets = set->next;
    if (set->next)
        set->next->previous = set->previous;
    pthread_mutex_unlock(&tsdb->view_mtx);
    free(set);
}

static enum ap_rc too_many(const struct tsdb_set *set, struct ap_err *err)
{
    return ap_fail(err, AP_E_LIMIT, "more than %" PRIu64 " series match; name more labels", set->series_max);
}

/* Room in the table for one more; doubles it when it is half full. */
static void table_reserve(struct tsdb_set *set)
{
    if (set->table && set->series_count * 2 <= set->table_mask)
        return;
    size_t slots = set->table ? (set->table_mask + 1) * 2 : 1024;
    free(set->table);
    set->table = ap_realloc(NULL, slots * sizeof(*set->table));
    memset(set->table, 0xff, slots * sizeof(*set->table));
    set->table_mask = slots - 1;
    for (size_t i = 0; i < set->series_count; i++) {
        size_t slot = set->series[i].hash.low & set->table_mask;
        while (set->table[slot] != UINT32_MAX)
            slot = (slot + 1) & set->table_mask;
        set->table[slot] = (uint32_t)i;
    }
}

/* NULL: one too many. */
static struct set_series *append_series(struct tsdb_set *set, struct labels_hash hash)
{
    if (set->series_count >= set->series_max)
        return NULL;
    if (set->series_count == set->series_capacity) {
        set->series_capacity = set->series_capacity ? set->series_capacity * 2 : 64;
        set->series = ap_realloc(set->series, set->series_capacity * sizeof(*set->series));
    }
    struct set_series *series = &set->series[set->series_count++];
    *series =
        (struct set_series){.hash = hash, .ref = REGISTRY_NONE, .first_place = UINT32_MAX, .last_place = UINT32_MAX};
    return series;
}

/* The series with this hash, added if need be; its labels are what `scratch` holds. NULL: one too many. */
static struct set_series *set_series(struct tsdb_set *set, struct labels_hash hash, bool *ret_is_new)
{
    table_reserve(set);
    size_t slot = hash.low & set->table_mask;
    for (; set->table[slot] != UINT32_MAX; slot = (slot + 1) & set->table_mask) {
        if (labels_hash_equal(set->series[set->table[slot]].hash, hash)) {
            *ret_is_new = false;
            return &set->series[set->table[slot]];
        }
    }
    struct set_series *series = append_series(set, hash);
    if (series)
        set->table[slot] = (uint32_t)(series - set->series);
    *ret_is_new = true;
    return series;
}

static enum ap_rc keep_labels(struct tsdb_set *set, struct set_series *series, struct ap_err *err)
{
    char *labels = ap_arena_try_alloc(&set->arena, set->scratch.bytes);
    if (!labels)
        return ap_fail(err, AP_E_NOMEM, "no memory for the labels of %zu series", set->series_count);
    memcpy(labels, set->scratch.data, set->scratch.bytes);
    series->labels = ap_slice(labels, set->scratch.bytes);
    return AP_OK;
}

/* `is_alone`: no block has any, so that none is there yet, and nobody asks for its hash. */
static enum ap_rc add_head_series(struct tsdb_set *set, uint32_t ref, bool is_alone, struct ap_err *err)
{
    struct tsdb *tsdb = set->tsdb;
    bool is_new = true;
    struct set_series *series = is_alone ? append_series(set, (struct labels_hash){0})
                                         : set_series(set, registry_hash(tsdb->registry, ref), &is_new);
    if (!series)
        return too_many(set, err);
    series->ref = ref;
    if (!is_new)
        return AP_OK;
    set->is_unordered |= !is_alone;
    ap_buf_reset(&set->scratch);
    registry_labels(tsdb->registry, ref, &set->scratch);
    return keep_labels(set, series, err);
}

static enum ap_rc select_head(struct tsdb_set *set, const struct matchers *matchers, struct ap_err *err)
{
    struct registry *registry = set->tsdb->registry;
    bool is_alone = set->series_count == 0;
    enum ap_rc rc = AP_OK;
    registry_read_lock(registry);
    struct selection *selection = selections_get(set->tsdb->selections, registry, matchers);
    for (size_t at = 0; at < selection->count && rc == AP_OK; at += HEAD_TOGETHER) {
        size_t count = AP_MIN(selection->count - at, (size_t)HEAD_TOGETHER);
        bool touches[HEAD_TOGETHER];
        uint32_t refs[HEAD_TOGETHER];
        size_t found = 0;
        head_touches(set->tsdb->head, selection->refs + at, count, set->min_ts_ms, set->max_ts_ms, touches);
        for (size_t i = 0; i < count; i++)
            if (touches[i])
                refs[found++] = selection->refs[at + i];
        registry_prefetch_labels(registry, refs, found);
        for (size_t i = 0; i < found && rc == AP_OK; i++)
            rc = add_head_series(set, refs[i], is_alone, err);
    }
    registry_unlock(registry);
    selection_unref(selection);
    return rc;
}

static enum ap_rc add_block_series(struct tsdb_set *set, uint32_t block_index, uint32_t number, bool is_behind_others,
                                   struct ap_err *err)
{
    const struct block *block = set->blocks[block_index];
    bool touches;
    enum ap_rc rc = block_series_touches(block, number, set->min_ts_ms, set->max_ts_ms, &touches, err);
    if (rc != AP_OK || !touches)
        return rc;
    ap_buf_reset(&set->scratch);
    block_series_labels(block, number, &set->scratch);
    bool is_new;
    struct set_series *series =
        set_series(set, labels_hash_of(registry_seed(set->tsdb->registry), ap_buf_slice(&set->scratch)), &is_new);
    if (!series)
        return too_many(set, err);
    if (set->place_count == set->place_capacity) {
        set->place_capacity = set->place_capacity ? set->place_capacity * 2 : 64;
        set->places = ap_realloc(set->places, set->place_capacity * sizeof(*set->places));
    }
    set->places[set->place_count] = (struct place){block_index, number, UINT32_MAX};
    if (series->first_place == UINT32_MAX)
        series->first_place = (uint32_t)set->place_count;
    else
        set->places[series->last_place].next = (uint32_t)set->place_count;
    series->last_place = (uint32_t)set->place_count++;
    if (!is_new)
        return AP_OK;
    set->is_unordered |= is_behind_others;
    return keep_labels(set, series, err);
}

static enum ap_rc select_block(struct tsdb_set *set, uint32_t block_index, const struct matchers *matchers,
                               struct ap_err *err)
{
    uint32_t *numbers = NULL;
    size_t count = 0;
    bool is_behind_others = set->series_count > 0;
    enum ap_rc rc = block_select(set->blocks[block_index], matchers, &numbers, &count, err);
    for (size_t i = 0; i < count && rc == AP_OK; i++)
        rc = add_block_series(set, block_index, numbers[i], is_behind_others, err);
    if (rc == AP_OK || numbers)
        free(numbers);
    return rc;
}

static int compare_series(const void *a, const void *b)
{
    return labels_compare(((const struct set_series *)a)->labels, ((const struct set_series *)b)->labels);
}

enum ap_rc tsdb_select(struct tsdb *tsdb, const struct tsdb_select_options *options, struct tsdb_set **ret_set,
                       struct ap_err *err)
{
    AP_AUTO(tsdb_set)
    struct tsdb_set *set = set_new(tsdb, options->min_ts_ms, options->max_ts_ms, options->series_max);
    enum ap_rc rc = AP_OK;
    for (size_t i = 0; i < set->block_count && rc == AP_OK; i++)
        rc = select_block(set, (uint32_t)i, options->matchers, err);
    if (rc == AP_OK)
        rc = select_head(set, options->matchers, err);
    if (rc != AP_OK)
        return rc;
    free(set->table);
    set->table = NULL;
    if (set->is_unordered)
        qsort(set->series, set->series_count, sizeof(*set->series), compare_series);
    *ret_set = AP_MOVE(set);
    return AP_OK;
}

size_t tsdb_set_count(const struct tsdb_set *set)
{
    return set->series_count;
}

struct ap_slice tsdb_set_labels(const struct tsdb_set *set, size_t index)
{
    AP_ASSERT(index < set->series_count);
    return set->series[index].labels;
}

/* ---- Reading one series ---- */

void tsdb_columns_clear(struct tsdb_columns *columns)
{
    free(columns->ts_ms);
    free(columns->values);
    free(columns->histogram_ts_ms);
    free(columns->histograms);
    if (columns->arena)
        ap_arena_clear(columns->arena);
    free(columns->arena);
    if (columns->scratch) {
        head_copy_clear(&columns->scratch->copy);
        free(columns->scratch->entries);
        free(columns->scratch->entry_ends);
        free(columns->scratch->deleted);
        free(columns->scratch->ranks);
        free(columns->scratch->histogram_ranks);
    }
    free(columns->scratch);
    *columns = (struct tsdb_columns){0};
}

/* One series on its way into the columns. */
struct gathering {
    struct tsdb_set *set;
    struct tsdb_columns *columns;
    const struct time_span *deleted; /* of the source that is being added */
    size_t deleted_count;
    uint8_t rank;
    bool is_unordered; /* something came that is not newer than what is there */
    bool are_histograms_unordered;
};

static void reserve(struct gathering *gathering, size_t count)
{
    struct tsdb_columns *columns = gathering->columns;
    struct tsdb_scratch *scratch = columns->scratch;
    size_t needed = columns->count + count;
    if (needed > columns->capacity || !columns->ts_ms) {
        columns->capacity = AP_MAX(needed, columns->capacity * 2);
        columns->ts_ms = ap_realloc(columns->ts_ms, (columns->capacity + CHUNK_PADDING) * sizeof(*columns->ts_ms));
        columns->values = ap_realloc(columns->values, (columns->capacity + CHUNK_PADDING) * sizeof(*columns->values));
    }
    if (needed > scratch->rank_capacity) {
        scratch->rank_capacity = AP_MAX(needed, scratch->rank_capacity * 2);
        scratch->ranks = ap_realloc(scratch->ranks, scratch->rank_capacity);
    }
}

static bool is_deleted(const struct gathering *gathering, int64_t ts_ms)
{
    for (size_t i = 0; i < gathering->deleted_count; i++)
        if (ts_ms >= gathering->deleted[i].min_ts_ms && ts_ms <= gathering->deleted[i].max_ts_ms)
            return true;
    return false;
}

static size_t lower_bound(const int64_t *ts_ms, size_t count, int64_t wanted)
{
    size_t low = 0;
    while (low < count) {
        size_t middle = low + (count - low) / 2;
        if (ts_ms[middle] < wanted)
            low = middle + 1;
        else
            count = middle;
    }
    return low;
}

/*
 * Samples in order of time, of one source. They may stand where they go to, behind what is there already: chunks are
 * decoded there.
 */
static void add_floats(struct gathering *gathering, const int64_t *ts_ms, const double *values, size_t count)
{
    const struct tsdb_set *set = gathering->set;
    size_t first = ts_ms[0] >= set->min_ts_ms ? 0 : lower_bound(ts_ms, count, set->min_ts_ms);
    size_t end = ts_ms[count - 1] <= set->max_ts_ms ? count : lower_bound(ts_ms, count, set->max_ts_ms + 1);
    if (first >= end)
        return;
    struct tsdb_columns *columns = gathering->columns;
    if (columns->count && ts_ms[first] <= columns->ts_ms[columns->count - 1])
        gathering->is_unordered = true;
    size_t at = columns->count;
    if (gathering->deleted_count == 0) {
        if (ts_ms + first != columns->ts_ms + at) {
            memmove(columns->ts_ms + at, ts_ms + first, (end - first) * sizeof(*ts_ms));
            memmove(columns->values + at, values + first, (end - first) * sizeof(*values));
        }
        at += end - first;
    } else {
        for (size_t i = first; i < end; i++) {
            if (is_deleted(gathering, ts_ms[i]))
                continue;
            columns->ts_ms[at] = ts_ms[i];
            columns->values[at++] = values[i];
        }
    }
    memset(gathering->columns->scratch->ranks + columns->count, gathering->rank, at - columns->count);
    columns->count = at;
}

static enum ap_rc add_histogram(struct gathering *gathering, int64_t ts_ms, struct ap_slice blob, struct ap_err *err)
{
    const struct tsdb_set *set = gathering->set;
    struct tsdb_columns *columns = gathering->columns;
    struct tsdb_scratch *scratch = columns->scratch;
    if (ts_ms < set->min_ts_ms || ts_ms > set->max_ts_ms || is_deleted(gathering, ts_ms))
        return AP_OK;
    if (columns->histogram_count == columns->histogram_capacity) {
        columns->histogram_capacity = columns->histogram_capacity ? columns->histogram_capacity * 2 : 64;
        columns->histogram_ts_ms =
            ap_realloc(columns->histogram_ts_ms, columns->histogram_capacity * sizeof(*columns->histogram_ts_ms));
        columns->histograms =
            ap_realloc(columns->histograms, columns->histogram_capacity * sizeof(*columns->histograms));
    }
    if (columns->histogram_count >= scratch->histogram_rank_capacity) {
        scratch->histogram_rank_capacity = columns->histogram_capacity;
        scratch->histogram_ranks = ap_realloc(scratch->histogram_ranks, scratch->histogram_rank_capacity);
    }
    char *copy = ap_arena_try_alloc(columns->arena, blob.bytes + 1);
    if (!copy)
        return ap_fail(err, AP_E_NOMEM, "no memory for histograms");
    memcpy(copy, blob.data, blob.bytes);
    size_t at = columns->histogram_count++;
    if (at && ts_ms <= columns->histogram_ts_ms[at - 1])
        gathering->are_histograms_unordered = true;
    columns->histogram_ts_ms[at] = ts_ms;
    columns->histograms[at] = ap_slice(copy, blob.bytes);
    scratch->histogram_ranks[at] = gathering->rank;
    return AP_OK;
}

/* A damaged chunk is left out, counted, told; the rest is served. */
static enum ap_rc note_damage(struct gathering *gathering, struct ap_err *err)
{
    struct tsdb *tsdb = gathering->set->tsdb;
    if (err->rc != AP_E_CORRUPT)
        return err->rc;
    (void)ap_err_prefix(err, "a chunk is damaged and left out");
    atomic_fetch_add(&tsdb->chunks_damaged, 1);
    (void)tsdb_failed(tsdb, err);
    return AP_OK;
}

static enum ap_rc add_chunk(struct gathering *gathering, struct ap_slice chunk, enum chunk_kind kind,
                            int64_t first_ts_ms, struct ap_err *err)
{
    struct tsdb_columns *columns = gathering->columns;
    size_t count;
    if (kind == CHUNK_FLOATS) {
        reserve(gathering, CHUNK_SAMPLES_MAX);
        int64_t *to_ts_ms = columns->ts_ms + columns->count;
        double *to_values = columns->values + columns->count;
        enum ap_rc rc = chunk_decode_columns(chunk, first_ts_ms, to_ts_ms, to_values, &count, err);
        if (rc == AP_OK)
            add_floats(gathering, to_ts_ms, to_values, count);
        return rc;
    }
    const int64_t *ts_ms;
    const struct ap_slice *blobs;
    enum ap_rc rc = chunk_decode_histograms(chunk, first_ts_ms, columns->arena, &count, &ts_ms, &blobs, err);
    for (size_t i = 0; i < count && rc == AP_OK; i++)
        rc = add_histogram(gathering, ts_ms[i], blobs[i], err);
    return rc;
}

/* So that it is on its way from memory; does nothing about what is on disk only. */
static void prefetch(struct ap_slice bytes)
{
    enum { LINE_BYTES = 64, LINES_MAX = 8 };
    for (size_t at = 0; at < AP_MIN(bytes.bytes, (size_t)LINE_BYTES * LINES_MAX); at += LINE_BYTES)
        __builtin_prefetch(bytes.data + at);
}

/* Which chunks of the blocks there are. They lie far from each other, so all are sent for before the first is read. */
static enum ap_rc find_chunks(struct gathering *gathering, const struct set_series *series, struct ap_err *err)
{
    const struct tsdb_set *set = gathering->set;
    struct tsdb_scratch *scratch = gathering->columns->scratch;
    size_t count = 0, place_count = 0;
    for (uint32_t at = series->first_place; at != UINT32_MAX; at = set->places[at].next) {
        const struct place *place = &set->places[at];
        const struct block *block = set->blocks[place->block];
        size_t first = count;
        enum ap_rc rc = block_series_chunks(block, place->series, set->min_ts_ms, set->max_ts_ms, &scratch->entries,
                                            &count, &scratch->entry_capacity, err);
        if (rc != AP_OK)
            return rc;
        if (place_count == scratch->place_capacity) {
            scratch->place_capacity = scratch->place_capacity ? scratch->place_capacity * 2 : 16;
            scratch->entry_ends =
                ap_realloc(scratch->entry_ends, scratch->place_capacity * sizeof(*scratch->entry_ends));
        }
        scratch->entry_ends[place_count++] = count;
        struct ap_slice chunk;
        struct ap_err ignored;
        for (size_t i = first; i < count; i++)
            if (block_chunk(block, &scratch->entries[i], &chunk, &ignored) == AP_OK)
                prefetch(chunk);
    }
    return AP_OK;
}

/* The chunks first ≤ i < end of those that were found. */
static enum ap_rc add_place(struct gathering *gathering, const struct place *place, size_t first, size_t end,
                            struct ap_err *err)
{
    struct tsdb_scratch *scratch = gathering->columns->scratch;
    const struct block *block = gathering->set->blocks[place->block];
    gathering->deleted_count = 0;
    if (block_has_tombstones(block)) {
        size_t count = block_tombstones(block, place->series, scratch->deleted, scratch->deleted_capacity);
        if (count > scratch->deleted_capacity) {
            scratch->deleted_capacity = count + 8; /* others may be deleting at this moment */
            scratch->deleted = ap_realloc(scratch->deleted, scratch->deleted_capacity * sizeof(*scratch->deleted));
            count = AP_MIN(block_tombstones(block, place->series, scratch->deleted, scratch->deleted_capacity),
                           scratch->deleted_capacity);
        }
        gathering->deleted = scratch->deleted;
        gathering->deleted_count = count;
    }
    enum ap_rc rc = AP_OK;
    for (size_t i = first; i < end && rc == AP_OK; i++) {
        struct ap_slice chunk;
        rc = block_chunk(block, &scratch->entries[i], &chunk, err);
        if (rc == AP_OK &&
            add_chunk(gathering, chunk, scratch->entries[i].kind, scratch->entries[i].min_ts_ms, err) != AP_OK)
            rc = block_chunk_failed(block, &scratch->entries[i], err);
        if (rc != AP_OK)
            rc = note_damage(gathering, err);
    }
    return rc;
}

static enum ap_rc add_head(struct gathering *gathering, uint32_t ref, struct ap_err *err)
{
    _Static_assert(sizeof(struct deleted_span) == sizeof(struct time_span), "the same thing on two floors");
    const struct tsdb_set *set = gathering->set;
    struct tsdb_scratch *scratch = gathering->columns->scratch;
    struct head_copy *copy = &scratch->copy;
    head_copy_series(set->tsdb->head, ref, set->generation, set->min_ts_ms, set->max_ts_ms, copy);
    enum ap_rc rc = AP_OK;
    for (size_t i = 0; i < copy->chunk_count && rc == AP_OK; i++) {
        const struct head_chunk *chunk = &copy->chunks[i];
        struct head_deleted deleted = head_copy_deleted(copy, chunk);
        gathering->deleted = (const struct time_span *)(const void *)deleted.spans;
        gathering->deleted_count = deleted.count;
        struct ap_slice bytes;
        rc = chunk_file_read(chunk->range->file, chunk->offset, chunk->bytes, &bytes, err);
        if (rc == AP_OK)
            rc = add_chunk(gathering, bytes, (enum chunk_kind)chunk->kind, chunk->min_ts_ms, err);
        if (rc != AP_OK)
            rc = note_damage(gathering, err);
    }
    gathering->deleted_count = 0; /* from tails they were really taken */
    gathering->rank++;
    reserve(gathering, copy->tail_count + copy->late_count);
    if (copy->tail_count)
        add_floats(gathering, copy->ts_ms, copy->values, copy->tail_count);
    gathering->rank++;
    if (copy->late_count)
        add_floats(gathering, copy->ts_ms + copy->tail_count, copy->values + copy->tail_count, copy->late_count);
    for (size_t i = 0; i < copy->histogram_count && rc == AP_OK; i++)
        rc = add_histogram(gathering, copy->histograms[i].ts_ms,
                           ap_slice(copy->histogram_bytes.data + copy->histograms[i].offset, copy->histograms[i].bytes),
                           err);
    return rc;
}

/* ---- Putting in order what overlaps: seldom, so simply ---- */

struct ranked {
    int64_t ts_ms;
    uint8_t rank;
    uint32_t position;
};

static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *x = a;
    const struct ranked *y = b;
    if (x->ts_ms != y->ts_ms)
        return x->ts_ms < y->ts_ms ? -1 : 1;
    if (x->rank != y->rank)
        return x->rank < y->rank ? -1 : 1;
    return x->position < y->position ? -1 : x->position > y->position;
}

/* The order of these times, each once; *ret_count of them. free() it. */
static struct ranked *order_of(const int64_t *ts_ms, const uint8_t *ranks, size_t count, size_t *ret_count)
{
    struct ranked *order = ap_realloc(NULL, (count + 1) * sizeof(*order));
    for (size_t i = 0; i < count; i++)
        order[i] = (struct ranked){ts_ms[i], ranks[i], (uint32_t)i};
    qsort(order, count, sizeof(*order), compare_ranked);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || order[i].ts_ms != order[kept - 1].ts_ms)
            order[kept++] = order[i];
    *ret_count = kept;
    return order;
}

static void put_floats_in_order(struct tsdb_columns *columns)
{
    size_t count;
    AP_AUTO_FREE struct ranked *order = order_of(columns->ts_ms, columns->scratch->ranks, columns->count, &count);
    double *values = ap_realloc(NULL, (columns->capacity + CHUNK_PADDING) * sizeof(*values));
    for (size_t i = 0; i < count; i++) {
        columns->ts_ms[i] = order[i].ts_ms;
        values[i] = columns->values[order[i].position];
    }
    free(columns->values);
    columns->values = values;
    columns->count = count;
}

static void put_histograms_in_order(struct tsdb_columns *columns)
{
    size_t count;
    AP_AUTO_FREE struct ranked *order =
        order_of(columns->histogram_ts_ms, columns->scratch->histogram_ranks, columns->histogram_count, &count);
    struct ap_slice *blobs = ap_realloc(NULL, columns->histogram_capacity * sizeof(*blobs));
    for (size_t i = 0; i < count; i++) {
        columns->histogram_ts_ms[i] = order[i].ts_ms;
        blobs[i] = columns->histograms[order[i].position];
    }
    free(columns->histograms);
    columns->histograms = blobs;
    columns->histogram_count = count;
}

enum ap_rc tsdb_set_read(struct tsdb_set *set, size_t index, struct tsdb_columns *columns, struct ap_err *err)
{
    AP_ASSERT(index < set->series_count);
    const struct set_series *series = &set->series[index];
    if (!columns->arena) {
        columns->arena = ap_new0(struct ap_arena);
        ap_arena_init(columns->arena, 0);
        columns->scratch = ap_new0(struct tsdb_scratch);
    }
    ap_arena_recycle(columns->arena);
    columns->count = columns->histogram_count = 0;
    struct gathering gathering = {.set = set, .columns = columns};
    reserve(&gathering, CHUNK_SAMPLES_MAX);
    enum ap_rc rc = find_chunks(&gathering, series, err);
    size_t first = 0, place_index = 0;
    for (uint32_t place = series->first_place; place != UINT32_MAX && rc == AP_OK; place = set->places[place].next) {
        size_t end = columns->scratch->entry_ends[place_index++];
        rc = add_place(&gathering, &set->places[place], first, end, err);
        first = end;
        gathering.rank += gathering.rank < 200;
    }
    if (rc == AP_OK && series->ref != REGISTRY_NONE)
        rc = add_head(&gathering, series->ref, err);
    if (rc != AP_OK)
        return rc;
    if (gathering.is_unordered)
        put_floats_in_order(columns);
    if (gathering.are_histograms_unordered)
        put_histograms_in_order(columns);
    return AP_OK;
}
