#include "tsdb/head.h"

#include <string.h>

#include "base/assert.h"
#include "base/bits.h"
#include "base/mem.h"

/* ---- Series and shards ---- */

struct head_series *head_series_peek_locked(const struct head_shard *shard, uint32_t local)
{
    uint32_t page = local / HEAD_SERIES_PER_PAGE;
    if (page >= shard->page_count || !shard->pages[page])
        return NULL;
    struct head_series *series = &shard->pages[page][local % HEAD_SERIES_PER_PAGE];
    return series->is_live ? series : NULL;
}

struct head_series *head_series_locked(struct head_shard *shard, uint32_t local)
{
    uint32_t page = local / HEAD_SERIES_PER_PAGE;
    if (page >= shard->page_capacity) {
        uint32_t capacity = AP_MAX(AP_MAX(16u, shard->page_capacity * 2), page + 1);
        shard->pages = ap_realloc(shard->pages, capacity * sizeof(*shard->pages));
        memset(shard->pages + shard->page_capacity, 0, (capacity - shard->page_capacity) * sizeof(*shard->pages));
        shard->page_capacity = capacity;
    }
    if (page >= shard->page_count)
        shard->page_count = page + 1;
    if (!shard->pages[page])
        shard->pages[page] = ap_new0_array(struct head_series, HEAD_SERIES_PER_PAGE);
    struct head_series *series = &shard->pages[page][local % HEAD_SERIES_PER_PAGE];
    if (!series->is_live) {
        *series = (struct head_series){.last_ts_ms = INT64_MIN};
        series->is_live = true;
    }
    return series;
}

static void series_clear(struct head_series *series)
{
    tail_free(series->tail);
    free(series->chunks);
    if (series->extra) {
        tail_free(series->extra->late);
        ap_buf_clear(&series->extra->histograms.bytes);
        free(series->extra->histograms.entries);
        free(series->extra->deleted);
        free(series->extra);
    }
}

struct head *head_new(const struct head_options *options, struct registry *registry)
{
    AP_ASSERT(options->shard_count && options->shard_count <= HEAD_SHARDS_MAX &&
              (options->shard_count & (options->shard_count - 1)) == 0);
    struct head *head = ap_new0(struct head);
    head->options = *options;
    head->registry = registry;
    head->shards = ap_new0_array(struct head_shard, options->shard_count);
    head->shard_mask = options->shard_count - 1;
    head->shard_shift = (uint32_t)__builtin_ctz(options->shard_count);
    head->max_ts_ms = INT64_MIN;
    head->range_id_next = 1;
    head->epoch = 1;
    pthread_mutex_init(&head->ranges_mtx, NULL);
    for (uint32_t i = 0; i < options->shard_count; i++) {
        struct head_shard *shard = &head->shards[i];
        pthread_mutex_init(&shard->mtx, NULL);
        shard->epoch = 1;
        shard->max_ts_ms = INT64_MIN;
        shard->min_ts_ms = INT64_MAX;
        shard->touched_min_ts_ms = INT64_MAX;
    }
    return head;
}

void head_free(struct head *head)
{
    if (!head)
        return;
    for (uint32_t i = 0; i < head->options.shard_count; i++) {
        struct head_shard *shard = &head->shards[i];
        for (uint32_t page = 0; page < shard->page_count; page++) {
            for (uint32_t j = 0; shard->pages[page] && j < HEAD_SERIES_PER_PAGE; j++)
                series_clear(&shard->pages[page][j]);
            free(shard->pages[page]);
        }
        free(shard->pages);
        sample_writer_clear(&shard->writer);
        ap_buf_clear(&shard->chunk_scratch);
        ap_buf_clear(&shard->list_pending);
        changes_clear(&shard->changes);
        pthread_mutex_destroy(&shard->mtx);
    }
    for (size_t i = 0; i < head->range_count; i++)
        head_range_unref(head->ranges[i]);
    free(head->ranges);
    free(head->shards);
    pthread_mutex_destroy(&head->ranges_mtx);
    free(head);
}

void head_series_remove_locked(struct head_series *series)
{
    series_clear(series);
    *series = (struct head_series){0};
}

/* ---- Appending ---- */

struct head_limits head_limits_of(const struct head *head, int64_t now_ms)
{
    int64_t newest = atomic_load_explicit(&head->max_ts_ms, memory_order_relaxed);
    struct head_limits limits = {.min_ts_ms = INT64_MIN, .max_ts_ms = now_ms + HEAD_FUTURE_MS_MAX};
    if (newest != INT64_MIN) {
        limits.min_ts_ms = newest - head->options.window_ms;
        /* A clock that was set back must not make us refuse what goes on as before. */
        limits.max_ts_ms = AP_MAX(limits.max_ts_ms, newest + HEAD_FUTURE_MS_MAX);
    }
    return limits;
}

struct head_extra *head_extra_locked(struct head_series *series)
{
    if (!series->extra) {
        series->extra = ap_new0(struct head_extra);
        series->extra->histogram_last_ts_ms = INT64_MIN;
    }
    return series->extra;
}

/* The samples of one series that one record brings. */
struct run {
    struct head *head;
    struct head_shard *shard;
    struct head_series *series;
    uint32_t ref;
    uint64_t seq;
    bool is_begun;         /* a sample of it is in a tail */
    bool is_sealed_within; /* and was sealed, or samples before it were, without all the rest of the series */
};

/*
 * Makes room: seals this tail. Before the record's first sample everything is sealed, and the series needs nothing of
 * the records up to here any more. In the middle the rest follows in end_of_run_locked().
 */
static bool make_room_locked(struct run *run, struct tail **tail)
{
    if (!run->is_begun)
        return head_seal_locked(run->head, run->shard, run->ref, run->series, run->seq - 1);
    run->is_sealed_within = true;
    return head_seal_tail_locked(run->head, run->shard, run->ref, run->series, tail);
}

enum {
    HISTOGRAM_TAIL_BYTES_MAX = CHUNK_BYTES_MAX / 2,
    /* What no disk takes may wait in memory up to here. */
    STUCK_SAMPLES_MAX = TAIL_SAMPLES_MAX - 4096,
    STUCK_TAILS = 8,
};

/* A sample that the tail does not take: of an earlier range, or before the tail's first. */
static enum head_verdict append_late_locked(struct run *run, int64_t ts_ms, double value)
{
    struct head *head = run->head;
    struct head_shard *shard = run->shard;
    struct head_extra *extra = head_extra_locked(run->series);
    if (extra->late && (head_range_start(head, extra->late->base_ts_ms) != head_range_start(head, ts_ms) ||
                        extra->late->count >= HEAD_TAIL_SAMPLES)) {
        /* While the disk is full, ranges mix in this tail; sealing sorts them out. */
        if (!make_room_locked(run, &extra->late) && extra->late->count >= STUCK_SAMPLES_MAX)
            return HEAD_REFUSED_OLD;
    }
    if (!extra->late)
        extra->late = tail_new(1, ts_ms);
    double there;
    if (tail_insert(&extra->late, ts_ms, value, &there)) {
        shard->late_count++;
        return HEAD_APPENDED;
    }
    return ap_double_same(there, value) ? HEAD_DUPLICATE : HEAD_REFUSED_DUPLICATE;
}

/* Anything but "newer than the newest, same range, and there is room". */
static enum head_verdict append_slowly_locked(struct run *run, int64_t ts_ms, double value)
{
    struct head *head = run->head;
    struct head_series *series = run->series;
    struct tail *tail = series->tail;
    bool is_newer = ts_ms > series->last_ts_ms;
    if (!is_newer && tail && ts_ms >= tail->base_ts_ms) {
        double there;
        if (!tail_insert(&series->tail, ts_ms, value, &there))
            return ap_double_same(there, value) ? HEAD_DUPLICATE : HEAD_REFUSED_DUPLICATE;
        run->shard->late_count++;
        return HEAD_APPENDED;
    }
    if (!is_newer)
        return append_late_locked(run, ts_ms, value);
    bool is_other_range = tail && head_range_start(head, tail->base_ts_ms) != head_range_start(head, ts_ms);
    if (is_other_range || (tail && tail_samples(tail) >= HEAD_TAIL_SAMPLES_MAX)) {
        if (!make_room_locked(run, &series->tail) &&
            (is_other_range || tail_samples(series->tail) >= STUCK_SAMPLES_MAX))
            return append_late_locked(run, ts_ms, value);
    }
    if (!series->tail)
        series->tail = tail_new(series->chunk_count ? TAIL_RAW_SAMPLES : 1, ts_ms);
    double there;
    bool is_added = tail_insert(&series->tail, ts_ms, value, &there);
    AP_ASSERT(is_added);
    series->last_ts_ms = ts_ms;
    return HEAD_APPENDED;
}

static inline bool append_quickly_locked(const struct head *head, struct head_series *series, int64_t ts_ms,
                                         double value)
{
    struct tail *tail = series->tail;
    if (!tail || ts_ms <= series->last_ts_ms || tail->count == tail->capacity ||
        tail_samples(tail) >= HEAD_TAIL_SAMPLES_MAX)
        return false;
    if (head_range_start(head, ts_ms) != head_range_start(head, tail->base_ts_ms))
        return false;
    tail_offsets(tail)[tail->count] = (uint32_t)(ts_ms - tail->base_ts_ms);
    tail->values[tail->count] = value;
    tail->count++;
    series->last_ts_ms = ts_ms;
    return true;
}

static void note_time_locked(struct head *head, struct head_shard *shard, int64_t ts_ms)
{
    if (ts_ms < shard->min_ts_ms)
        shard->min_ts_ms = ts_ms;
    if (ts_ms < shard->touched_min_ts_ms)
        shard->touched_min_ts_ms = ts_ms;
    if (ts_ms <= shard->max_ts_ms)
        return;
    shard->max_ts_ms = ts_ms;
    int64_t newest = atomic_load_explicit(&head->max_ts_ms, memory_order_relaxed);
    while (ts_ms > newest && !atomic_compare_exchange_weak(&head->max_ts_ms, &newest, ts_ms))
        ;
}

static bool has_tail(const struct head_series *series)
{
    return series->tail || (series->extra && (series->extra->late || series->extra->histograms.count));
}

/* After the last sample of a run. */
static void end_of_run_locked(struct run *run)
{
    struct head_series *series = run->series;
    if (series->tail_epoch == 0 && has_tail(series))
        series->tail_epoch = run->shard->epoch;
    /*
     * A record's samples of one series are either all in chunks or all in tails; so what was sealed in the middle of
     * them pulls the rest along. A tail that could not be written is tried again every 64 samples.
     */
    uint32_t samples = series->tail ? tail_samples(series->tail) : 0;
    bool is_full = (samples >= HEAD_TAIL_SAMPLES && (samples <= HEAD_TAIL_SAMPLES_MAX || samples % 64 == 0)) ||
                   (series->extra && series->extra->histograms.count >= HEAD_TAIL_SAMPLES);
    if (run->is_sealed_within || series->sealed_seq == run->seq || is_full)
        (void)head_seal_locked(run->head, run->shard, run->ref, series, run->seq); /* failed: counted, and it stays */
    else if (samples < HEAD_TAIL_SAMPLES && series->tail && series->tail->count >= TAIL_RAW_SAMPLES)
        tail_pack(&series->tail, &run->shard->chunk_scratch);
}

void head_append_locked(struct head *head, struct head_shard *shard, uint32_t ref, struct head_series *series,
                        const struct head_limits *limits, uint64_t seq, const int64_t *ts_ms, const double *values,
                        size_t count, uint8_t *ret_verdicts)
{
    struct run run = {.head = head, .shard = shard, .series = series, .ref = ref, .seq = seq};
    for (size_t i = 0; i < count; i++) {
        enum head_verdict verdict = HEAD_APPENDED;
        if (ts_ms[i] < limits->min_ts_ms)
            verdict = HEAD_REFUSED_OLD;
        else if (ts_ms[i] > limits->max_ts_ms)
            verdict = HEAD_REFUSED_FUTURE;
        else if (!append_quickly_locked(head, series, ts_ms[i], values[i]))
            verdict = append_slowly_locked(&run, ts_ms[i], values[i]);
        if (verdict == HEAD_APPENDED) {
            run.is_begun = true;
            note_time_locked(head, shard, ts_ms[i]);
            shard->sample_count++;
        } else if (verdict == HEAD_DUPLICATE) {
            shard->duplicate_count++;
        }
        ret_verdicts[i] = (uint8_t)verdict;
    }
    end_of_run_locked(&run);
}

/* Puts it in its place; false: there is one of this time, and *ret_there is what it says. */
static bool histogram_tail_insert(struct histogram_tail *tail, int64_t ts_ms, struct ap_slice blob,
                                  struct ap_slice *ret_there)
{
    uint32_t at = tail->count;
    while (at > 0 && tail->entries[at - 1].ts_ms >= ts_ms)
        at--;
    if (at < tail->count && tail->entries[at].ts_ms == ts_ms) {
        *ret_there = ap_slice(tail->bytes.data + tail->entries[at].offset, tail->entries[at].bytes);
        return false;
    }
    if (tail->count == tail->capacity) {
        tail->capacity = tail->capacity ? tail->capacity * 2 : 8;
        tail->entries = ap_realloc(tail->entries, tail->capacity * sizeof(*tail->entries));
    }
    memmove(&tail->entries[at + 1], &tail->entries[at], (tail->count - at) * sizeof(*tail->entries));
    tail->entries[at] = (struct histogram_tail_entry){ts_ms, (uint32_t)tail->bytes.bytes, (uint32_t)blob.bytes};
    ap_buf_add_slice(&tail->bytes, blob);
    tail->count++;
    return true;
}

static bool make_histogram_room_locked(struct run *run)
{
    if (!run->is_begun)
        return head_seal_locked(run->head, run->shard, run->ref, run->series, run->seq - 1);
    run->is_sealed_within = true;
    return head_seal_histograms_locked(run->head, run->shard, run->ref, run->series);
}

enum head_verdict head_append_histogram_locked(struct head *head, struct head_shard *shard, uint32_t ref,
                                               struct head_series *series, const struct head_limits *limits,
                                               uint64_t seq, int64_t ts_ms, struct ap_slice blob)
{
    if (ts_ms < limits->min_ts_ms)
        return HEAD_REFUSED_OLD;
    if (ts_ms > limits->max_ts_ms)
        return HEAD_REFUSED_FUTURE;
    struct head_extra *extra = head_extra_locked(series);
    struct histogram_tail *tail = &extra->histograms;
    struct run run = {.head = head, .shard = shard, .series = series, .ref = ref, .seq = seq};
    run.is_begun = extra->histogram_seq == seq;
    int64_t range_start_ms = head_range_start(head, ts_ms);
    bool is_other_range = tail->count && tail->range_start_ms != range_start_ms;
    if ((is_other_range || tail->bytes.bytes + blob.bytes > HISTOGRAM_TAIL_BYTES_MAX) && tail->count &&
        !make_histogram_room_locked(&run) &&
        (is_other_range || tail->bytes.bytes > (size_t)STUCK_TAILS * HISTOGRAM_TAIL_BYTES_MAX))
        return HEAD_REFUSED_OLD; /* no disk takes what is there */
    struct ap_slice there;
    if (!histogram_tail_insert(tail, ts_ms, blob, &there)) {
        bool is_same = ap_slice_equal(there, blob);
        shard->duplicate_count += is_same;
        return is_same ? HEAD_DUPLICATE : HEAD_REFUSED_DUPLICATE;
    }
    tail->range_start_ms = range_start_ms;
    if (ts_ms < extra->histogram_last_ts_ms)
        shard->late_count++;
    extra->histogram_last_ts_ms = AP_MAX(extra->histogram_last_ts_ms, ts_ms);
    extra->histogram_seq = seq;
    shard->histogram_count++;
    note_time_locked(head, shard, ts_ms);
    end_of_run_locked(&run);
    return HEAD_APPENDED;
}

/* ---- Deleting ---- */

static bool chunks_touch(const struct head_series *series, int64_t min_ts_ms, int64_t max_ts_ms)
{
    for (uint32_t i = 0; i < series->chunk_count; i++)
        if (series->chunks[i].min_ts_ms <= max_ts_ms &&
            series->chunks[i].min_ts_ms + series->chunks[i].span_ms >= min_ts_ms)
            return true;
    return false;
}

void head_delete_locked(struct head_series *series, int64_t min_ts_ms, int64_t max_ts_ms)
{
    if (series->tail) {
        tail_unpack(&series->tail);
        tail_delete(series->tail, min_ts_ms, max_ts_ms);
        if (series->tail->count == 0) {
            tail_free(series->tail);
            series->tail = NULL;
        }
    }
    if (series->extra && series->extra->late) {
        tail_delete(series->extra->late, min_ts_ms, max_ts_ms);
        if (series->extra->late->count == 0) {
            tail_free(series->extra->late);
            series->extra->late = NULL;
        }
    }
    if (series->extra && series->extra->histograms.count) {
        struct histogram_tail *tail = &series->extra->histograms;
        uint32_t kept = 0;
        for (uint32_t i = 0; i < tail->count; i++)
            if (tail->entries[i].ts_ms < min_ts_ms || tail->entries[i].ts_ms > max_ts_ms)
                tail->entries[kept++] = tail->entries[i];
        tail->count = kept;
        if (kept == 0)
            ap_buf_reset(&tail->bytes);
    }
    if (!chunks_touch(series, min_ts_ms, max_ts_ms))
        return;
    struct head_extra *extra = head_extra_locked(series);
    extra->deleted = ap_realloc(extra->deleted, (extra->deleted_count + 1) * sizeof(*extra->deleted));
    extra->deleted[extra->deleted_count++] = (struct deleted_span){min_ts_ms, max_ts_ms};
}
