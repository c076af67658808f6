#include "history/prometheus_head.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/mem.h"
#include "history/numbered_files.h"
#include "history/prometheus_chunks.h"
#include "history/prometheus_log.h"
#include "history/prometheus_record.h"
#include "history/ref_map.h"
#include "tsdb/labels.h"

/* The head is cut when it spans one and a half times a block, which is two hours: its newest sample is then more than
 * this behind the block's end. */
#define CUT_LAG_MS (INT64_C(3600) * 1000)

enum {
    SERIES_MAX = 100 * 1000 * 1000,
    ENTRY_BYTES = 8 + 8 + 1,
};

/* One label set; a log may give it several numbers, one after the other. */
struct head_series {
    size_t labels_offset; /* in head->labels */
    uint32_t labels_bytes;
    uint32_t first_chunk; /* in head->chunks, once they are in order */
    uint32_t chunk_count;
    uint64_t entry_count; /* samples in the logs */
    uint64_t raw_bytes;   /* of its histograms there */
};

struct head_chunk {
    uint32_t series;
    uint32_t position; /* among all, as they stand in the files */
    struct prometheus_head_chunk chunk;
};

struct prometheus_head {
    struct prometheus_log wal;
    struct prometheus_log wbl;
    struct mapped_file *files; /* owned; chunks_head/ */
    size_t file_count;
    struct history_trouble *trouble; /* lent */
    int64_t min_valid_ms;
    int64_t newest_ms; /* of wal/ */
    struct ap_buf labels;
    struct head_series *series; /* owned; while it is opened in order of the log, then in order of labels */
    size_t series_count;
    size_t series_capacity;
    struct ref_map numbers;
    struct ref_map marked;     /* chunks of late samples that wbl/ speaks of */
    struct head_chunk *chunks; /* owned; in order of series, those in order of time first */
    size_t chunk_count;
    size_t chunk_capacity;
    struct prometheus_tombstones stones; /* by number of the series */
    struct prometheus_head_facts facts;
};

/* ---- Going through the logs ---- */

static void visit_log(struct prometheus_head *head, const struct prometheus_log *log, bool is_telling,
                      const struct prometheus_record_visitor *visitor)
{
    struct prometheus_log_cursor cursor = {0};
    struct ap_err err;
    for (bool is_end = false; !is_end;) {
        struct ap_slice record;
        enum ap_rc rc = prometheus_log_next(log, &cursor, &record, &is_end, &err);
        if (rc == AP_OK && !is_end)
            rc = prometheus_record_visit(record, visitor, &err);
        if (rc != AP_OK && is_telling)
            history_trouble_tell(head->trouble, &err);
    }
    if (is_telling)
        head->facts.torn_bytes += cursor.torn_bytes;
    prometheus_log_cursor_clear(&cursor);
}

/* ---- Opening: who is there, and how much of each ---- */

static void add_series(void *context, uint64_t ref, struct label *labels, size_t count)
{
    struct prometheus_head *head = context;
    struct ap_err err;
    size_t offset = head->labels.bytes;
    if (ref_map_get(&head->numbers, ref) != REF_MAP_NONE)
        return; /* a checkpoint says it again */
    enum ap_rc rc = AP_OK;
    if (count > LABELS_COUNT_MAX)
        rc = ap_fail(&err, AP_E_LIMIT, "a series has more than %d labels", LABELS_COUNT_MAX);
    else if (head->series_count >= SERIES_MAX)
        rc = ap_fail(&err, AP_E_LIMIT, "there are more than %d series in the log", SERIES_MAX);
    else
        rc = labels_encode(labels, count, &head->labels, &err);
    if (rc != AP_OK) {
        if (head->facts.refused_series++ == 0)
            head->facts.refusal = err;
        return;
    }
    if (head->series_count == head->series_capacity) {
        head->series_capacity = head->series_capacity ? head->series_capacity * 2 : 1024;
        head->series = ap_realloc(head->series, head->series_capacity * sizeof(*head->series));
    }
    head->series[head->series_count] =
        (struct head_series){.labels_offset = offset, .labels_bytes = (uint32_t)(head->labels.bytes - offset)};
    ref_map_set(&head->numbers, ref, (uint32_t)head->series_count++);
}

static void note_time(struct prometheus_head *head, int64_t ts_ms)
{
    head->facts.min_ts_ms = AP_MIN(head->facts.min_ts_ms, ts_ms);
    head->facts.max_ts_ms = AP_MAX(head->facts.max_ts_ms, ts_ms);
}

static struct head_series *counted_series(struct prometheus_head *head, uint64_t ref, int64_t ts_ms)
{
    uint32_t number = ref_map_get(&head->numbers, ref);
    if (number == REF_MAP_NONE) {
        head->facts.lost_samples++;
        return NULL;
    }
    note_time(head, ts_ms);
    head->facts.sample_count++;
    head->series[number].entry_count++;
    return &head->series[number];
}

static void count_sample(void *context, uint64_t ref, int64_t ts_ms, double value)
{
    struct prometheus_head *head = context;
    (void)value;
    if (ts_ms >= head->min_valid_ms)
        (void)counted_series(head, ref, ts_ms);
}

static void count_late_sample(void *context, uint64_t ref, int64_t ts_ms, double value)
{
    (void)value;
    (void)counted_series(context, ref, ts_ms);
}

static void count_late_histogram(void *context, uint64_t ref, int64_t ts_ms, bool is_float, struct ap_slice raw)
{
    (void)is_float;
    struct head_series *series = counted_series(context, ref, ts_ms);
    if (series)
        series->raw_bytes += raw.bytes;
}

static void count_histogram(void *context, uint64_t ref, int64_t ts_ms, bool is_float, struct ap_slice raw)
{
    const struct prometheus_head *head = context;
    if (ts_ms >= head->min_valid_ms)
        count_late_histogram(context, ref, ts_ms, is_float, raw);
}

static void add_stone(void *context, const struct prometheus_stone *stone)
{
    struct prometheus_head *head = context;
    uint32_t number = ref_map_get(&head->numbers, stone->series_ref);
    if (number != REF_MAP_NONE)
        prometheus_tombstones_add(&head->stones, (struct prometheus_stone){number, stone->min_ts_ms, stone->max_ts_ms});
}

static void mark_chunk(void *context, uint64_t ref, uint64_t chunk_ref)
{
    struct prometheus_head *head = context;
    (void)ref;
    ref_map_set(&head->marked, chunk_ref, 0);
}

static void note_newest(void *context, uint64_t ref, int64_t ts_ms, double value)
{
    struct prometheus_head *head = context;
    (void)ref;
    (void)value;
    head->newest_ms = AP_MAX(head->newest_ms, ts_ms);
}

static void note_newest_histogram(void *context, uint64_t ref, int64_t ts_ms, bool is_float, struct ap_slice raw)
{
    (void)is_float;
    (void)raw;
    note_newest(context, ref, ts_ms, 0);
}

static void raise_min_valid(void *context, int64_t ts_ms)
{
    struct prometheus_head *head = context;
    head->min_valid_ms = AP_MAX(head->min_valid_ms, ts_ms);
}

static void count_unknown(void *context, uint8_t type)
{
    (void)type;
    ((struct prometheus_head *)context)->facts.unknown_records++;
}

/* ---- Chunks ---- */

static void add_chunk(struct prometheus_head *head, const struct prometheus_head_chunk *chunk, uint64_t chunk_ref)
{
    uint32_t number = ref_map_get(&head->numbers, chunk->series_ref);
    if (number == REF_MAP_NONE) /* of a series that went with the last block */
        return;
    if (chunk->is_out_of_order ? ref_map_get(&head->marked, chunk_ref) == REF_MAP_NONE
                               : chunk->max_ts_ms < head->min_valid_ms)
        return;
    if (head->chunk_count == head->chunk_capacity) {
        head->chunk_capacity = head->chunk_capacity ? head->chunk_capacity * 2 : 256;
        head->chunks = ap_realloc(head->chunks, head->chunk_capacity * sizeof(*head->chunks));
    }
    head->chunks[head->chunk_count] = (struct head_chunk){number, (uint32_t)head->chunk_count, *chunk};
    head->chunk_count++;
    note_time(head, chunk->is_out_of_order ? chunk->min_ts_ms : AP_MAX(chunk->min_ts_ms, head->min_valid_ms));
    note_time(head, chunk->max_ts_ms);
}

static void read_chunk_file(struct prometheus_head *head, const struct mapped_file *file, const char *name,
                            uint64_t number)
{
    uint64_t offset = 0;
    struct ap_err err;
    for (bool is_end = false; !is_end;) {
        struct prometheus_head_chunk chunk;
        uint64_t chunk_ref = number << 32 | AP_MAX(offset, (uint64_t)PROMETHEUS_HEAD_CHUNKS_BEGIN);
        if (prometheus_head_chunk_next(mapped_file_slice(file), &offset, &chunk, &is_end, &err) != AP_OK) {
            (void)ap_err_prefix(&err, "chunks_head/%s, offset %" PRIu64, name, offset);
            history_trouble_tell(head->trouble, &err);
            return;
        }
        if (!is_end)
            add_chunk(head, &chunk, chunk_ref);
    }
}

static enum ap_rc read_chunks(struct prometheus_head *head, int dir_fd, const char *path, struct ap_err *err)
{
    struct numbered_files names;
    AP_AUTO_FD int fd = -1;
    AP_AUTO_FREE char *below = ap_asprintf("%s/chunks_head", path);
    enum ap_rc rc = numbered_files_list(dir_fd, "chunks_head", below, &fd, &names, err);
    if (rc != AP_OK)
        return rc;
    head->files = ap_new0_array(struct mapped_file, names.count + 1);
    for (size_t i = 0; i < names.count && rc == AP_OK; i++) {
        AP_AUTO_FREE char *file_path = ap_asprintf("%s/%s", below, names.items[i].name);
        rc = mapped_file_open(fd, names.items[i].name, file_path, &head->files[i], err);
        if (rc != AP_OK)
            break;
        head->file_count++;
        head->facts.bytes += head->files[i].bytes;
        read_chunk_file(head, &head->files[i], names.items[i].name, names.items[i].number);
    }
    numbered_files_clear(&names);
    return rc;
}

/* ---- Order ---- */

static int compare_series(const void *a, const void *b, void *context)
{
    const struct prometheus_head *head = context;
    const struct head_series *x = &head->series[*(const uint32_t *)a], *y = &head->series[*(const uint32_t *)b];
    int order = labels_compare(ap_slice(head->labels.data + x->labels_offset, x->labels_bytes),
                               ap_slice(head->labels.data + y->labels_offset, y->labels_bytes));
    return order ? order
                 : (*(const uint32_t *)a > *(const uint32_t *)b) - (*(const uint32_t *)a < *(const uint32_t *)b);
}

static int compare_chunks(const void *a, const void *b)
{
    const struct head_chunk *x = a, *y = b;
    if (x->series != y->series)
        return x->series < y->series ? -1 : 1;
    if (x->chunk.is_out_of_order != y->chunk.is_out_of_order)
        return x->chunk.is_out_of_order ? 1 : -1;
    if (!x->chunk.is_out_of_order && x->chunk.min_ts_ms != y->chunk.min_ts_ms)
        return x->chunk.min_ts_ms < y->chunk.min_ts_ms ? -1 : 1;
    return (x->position > y->position) - (x->position < y->position);
}

static bool has_same_labels(const struct prometheus_head *head, const struct head_series *a,
                            const struct head_series *b)
{
    return ap_slice_equal(ap_slice(head->labels.data + a->labels_offset, a->labels_bytes),
                          ap_slice(head->labels.data + b->labels_offset, b->labels_bytes));
}

/* From the order of the log to that of labels, one for each label set. */
static void put_series_in_order(struct prometheus_head *head)
{
    uint32_t *order = ap_new0_array(uint32_t, head->series_count + 1);
    uint32_t *rank = ap_new0_array(uint32_t, head->series_count + 1);
    struct head_series *sorted = ap_new0_array(struct head_series, head->series_count + 1);
    for (uint32_t i = 0; i < head->series_count; i++)
        order[i] = i;
    if (head->series_count)
        qsort_r(order, head->series_count, sizeof(*order), compare_series, head);
    size_t count = 0;
    for (size_t i = 0; i < head->series_count; i++) {
        const struct head_series *series = &head->series[order[i]];
        if (count == 0 || !has_same_labels(head, &sorted[count - 1], series)) {
            sorted[count++] = *series;
        } else {
            sorted[count - 1].entry_count += series->entry_count;
            sorted[count - 1].raw_bytes += series->raw_bytes;
        }
        rank[order[i]] = (uint32_t)count - 1;
    }
    for (size_t i = 0; head->numbers.slots && i <= head->numbers.mask; i++)
        if (head->numbers.slots[i].number != REF_MAP_NONE)
            head->numbers.slots[i].number = rank[head->numbers.slots[i].number];
    for (size_t i = 0; i < head->stones.count; i++)
        head->stones.stones[i].series_ref = rank[head->stones.stones[i].series_ref];
    for (size_t i = 0; i < head->chunk_count; i++)
        head->chunks[i].series = rank[head->chunks[i].series];
    free(head->series);
    head->series = sorted;
    head->series_count = count;
    free(order);
    free(rank);
}

static void put_in_order(struct prometheus_head *head)
{
    put_series_in_order(head);
    prometheus_tombstones_sort(&head->stones);
    if (head->chunk_count)
        qsort(head->chunks, head->chunk_count, sizeof(*head->chunks), compare_chunks);
    for (size_t i = 0; i < head->chunk_count; i++) {
        struct head_series *series = &head->series[head->chunks[i].series];
        if (series->chunk_count++ == 0)
            series->first_chunk = (uint32_t)i;
    }
    head->facts.series_count = 0;
    for (size_t i = 0; i < head->series_count; i++)
        head->facts.series_count += head->series[i].entry_count > 0 || head->series[i].chunk_count > 0;
}

/* Series and what is valid come first: samples may stand before the record that says who they are. */
static void count_all(struct prometheus_head *head, const int64_t *block_ends_ms, size_t block_end_count)
{
    const struct prometheus_record_visitor names = {
        .context = head,
        .series = add_series,
        .sample = note_newest,
        .histogram = note_newest_histogram,
        .min_valid_time = raise_min_valid,
        .unknown = count_unknown,
    };
    const struct prometheus_record_visitor samples = {
        .context = head,
        .sample = count_sample,
        .histogram = count_histogram,
        .stone = add_stone,
    };
    const struct prometheus_record_visitor late = {
        .context = head,
        .sample = count_late_sample,
        .histogram = count_late_histogram,
        .chunk_marker = mark_chunk,
        .unknown = count_unknown,
    };
    visit_log(head, &head->wal, true, &names);
    for (size_t i = 0; i < block_end_count; i++)
        if (block_ends_ms[i] < head->newest_ms - CUT_LAG_MS)
            head->min_valid_ms = AP_MAX(head->min_valid_ms, block_ends_ms[i]);
    visit_log(head, &head->wal, false, &samples);
    visit_log(head, &head->wbl, true, &late);
}

enum ap_rc prometheus_head_open(int dir_fd, const char *path, const int64_t *block_ends_ms, size_t block_end_count,
                                struct history_trouble *trouble, struct prometheus_head **ret_head, struct ap_err *err)
{
    struct prometheus_head *head = ap_new0(struct prometheus_head);
    head->trouble = trouble;
    head->min_valid_ms = head->newest_ms = INT64_MIN / 2;
    head->facts.min_ts_ms = INT64_MAX;
    head->facts.max_ts_ms = INT64_MIN;
    AP_AUTO_FREE char *wal_path = ap_asprintf("%s/wal", path);
    AP_AUTO_FREE char *wbl_path = ap_asprintf("%s/wbl", path);
    enum ap_rc rc = prometheus_log_open(dir_fd, "wal", wal_path, &head->wal, err);
    if (rc == AP_OK)
        rc = prometheus_log_open(dir_fd, "wbl", wbl_path, &head->wbl, err);
    if (rc == AP_OK) {
        head->facts.bytes = head->wal.bytes + head->wbl.bytes;
        count_all(head, block_ends_ms, block_end_count);
        rc = read_chunks(head, dir_fd, path, err);
    }
    if (rc != AP_OK) {
        prometheus_head_close(head);
        return rc;
    }
    put_in_order(head);
    *ret_head = head;
    return AP_OK;
}

void prometheus_head_close(struct prometheus_head *head)
{
    if (!head)
        return;
    prometheus_log_close(&head->wal);
    prometheus_log_close(&head->wbl);
    for (size_t i = 0; i < head->file_count; i++)
        mapped_file_close(&head->files[i]);
    free(head->files);
    ap_buf_clear(&head->labels);
    free(head->series);
    ref_map_clear(&head->numbers);
    ref_map_clear(&head->marked);
    free(head->chunks);
    prometheus_tombstones_clear(&head->stones);
    free(head);
}

void prometheus_head_facts(const struct prometheus_head *head, struct prometheus_head_facts *ret_facts)
{
    *ret_facts = head->facts;
}

/* ---- Series by series ---- */

enum entry_kind { ENTRY_FLOAT = 0, ENTRY_HISTOGRAM = 1, ENTRY_FLOAT_HISTOGRAM = 2, ENTRY_LATE = 4 /* added to them */ };

struct prometheus_head_stream {
    struct prometheus_head *head; /* lent */
    int64_t min_ts_ms;
    int64_t max_ts_ms;
    size_t memory_bytes;
    size_t next; /* series */
    /* The group that is in memory: series first ≤ i < end. */
    size_t first;
    size_t end;
    uint64_t *places;     /* owned; where the entries of series first + i begin … */
    uint64_t *fills;      /* owned; … and where the next one goes */
    int64_t *entry_ts_ms; /* owned, as the two below */
    uint64_t *entry_bits; /* a float's bits, or where a histogram's bytes begin in `raws` */
    uint8_t *entry_kinds;
    struct ap_buf raws; /* each with its length before it */
    struct ap_arena arena;
};

struct prometheus_head_stream *prometheus_head_stream_new(struct prometheus_head *head, int64_t min_ts_ms,
                                                          int64_t max_ts_ms, size_t memory_bytes)
{
    struct prometheus_head_stream *stream = ap_new0(struct prometheus_head_stream);
    stream->head = head;
    stream->min_ts_ms = min_ts_ms;
    stream->max_ts_ms = max_ts_ms;
    stream->memory_bytes = memory_bytes;
    ap_arena_init(&stream->arena, 0);
    return stream;
}

static void drop_group(struct prometheus_head_stream *stream)
{
    free(stream->places);
    free(stream->fills);
    free(stream->entry_ts_ms);
    free(stream->entry_bits);
    free(stream->entry_kinds);
    stream->places = stream->fills = stream->entry_bits = NULL;
    stream->entry_ts_ms = NULL;
    stream->entry_kinds = NULL;
    ap_buf_clear(&stream->raws);
}

void prometheus_head_stream_free(struct prometheus_head_stream *stream)
{
    if (!stream)
        return;
    drop_group(stream);
    ap_arena_clear(&stream->arena);
    free(stream);
}

/* Where the next entry of this series goes; false: it is of another group, or not wanted. */
static bool place_entry(struct prometheus_head_stream *stream, uint64_t ref, int64_t ts_ms, uint64_t *ret_at)
{
    uint32_t number = ref_map_get(&stream->head->numbers, ref);
    if (number < stream->first || number >= stream->end)
        return false;
    uint64_t at = stream->fills[number - stream->first];
    if (at >= stream->places[number - stream->first + 1])
        return false; /* more than were counted: they cannot be */
    stream->fills[number - stream->first]++;
    stream->entry_ts_ms[at] = ts_ms;
    *ret_at = at;
    return true;
}

static void take_late_sample(void *context, uint64_t ref, int64_t ts_ms, double value)
{
    struct prometheus_head_stream *stream = context;
    uint64_t at;
    if (!place_entry(stream, ref, ts_ms, &at))
        return;
    stream->entry_bits[at] = ap_double_to_bits(value);
    stream->entry_kinds[at] = ENTRY_FLOAT | ENTRY_LATE;
}

static void take_sample(void *context, uint64_t ref, int64_t ts_ms, double value)
{
    struct prometheus_head_stream *stream = context;
    uint64_t at;
    if (ts_ms < stream->head->min_valid_ms || !place_entry(stream, ref, ts_ms, &at))
        return;
    stream->entry_bits[at] = ap_double_to_bits(value);
    stream->entry_kinds[at] = ENTRY_FLOAT;
}

static void keep_raw(struct prometheus_head_stream *stream, uint64_t at, bool is_float, struct ap_slice raw)
{
    stream->entry_kinds[at] = is_float ? ENTRY_FLOAT_HISTOGRAM : ENTRY_HISTOGRAM;
    stream->entry_bits[at] = stream->raws.bytes;
    ap_buf_add_u32(&stream->raws, (uint32_t)raw.bytes);
    ap_buf_add_slice(&stream->raws, raw);
}

static void take_late_histogram(void *context, uint64_t ref, int64_t ts_ms, bool is_float, struct ap_slice raw)
{
    struct prometheus_head_stream *stream = context;
    uint64_t at;
    if (!place_entry(stream, ref, ts_ms, &at))
        return;
    keep_raw(stream, at, is_float, raw);
    stream->entry_kinds[at] |= ENTRY_LATE;
}

static void take_histogram(void *context, uint64_t ref, int64_t ts_ms, bool is_float, struct ap_slice raw)
{
    struct prometheus_head_stream *stream = context;
    uint64_t at;
    if (ts_ms >= stream->head->min_valid_ms && place_entry(stream, ref, ts_ms, &at))
        keep_raw(stream, at, is_float, raw);
}

/* The samples of as many series as fit, at least of one. */
static enum ap_rc load_group(struct prometheus_head_stream *stream, struct ap_err *err)
{
    struct prometheus_head *head = stream->head;
    drop_group(stream);
    stream->first = stream->end = stream->next;
    uint64_t entries = 0, bytes = 0;
    while (stream->end < head->series_count) {
        const struct head_series *series = &head->series[stream->end];
        uint64_t more = series->entry_count * ENTRY_BYTES + series->raw_bytes + 16;
        if (stream->end > stream->first && bytes + more > stream->memory_bytes)
            break;
        bytes += more;
        entries += series->entry_count;
        stream->end++;
    }
    size_t count = stream->end - stream->first;
    stream->places = ap_new0_array(uint64_t, count + 1);
    stream->fills = ap_new0_array(uint64_t, count + 1);
    stream->entry_ts_ms = ap_try_alloc((size_t)entries * sizeof(*stream->entry_ts_ms) + 1, SIZE_MAX);
    stream->entry_bits = ap_try_alloc((size_t)entries * sizeof(*stream->entry_bits) + 1, SIZE_MAX);
    stream->entry_kinds = ap_try_alloc((size_t)entries + 1, SIZE_MAX);
    if (!stream->entry_ts_ms || !stream->entry_bits || !stream->entry_kinds)
        return ap_fail(err, AP_E_NOMEM, "no memory for %" PRIu64 " samples of the log", entries);
    for (size_t i = 0; i < count; i++) {
        stream->places[i + 1] = stream->places[i] + head->series[stream->first + i].entry_count;
        stream->fills[i] = stream->places[i];
    }
    const struct prometheus_record_visitor in_order = {
        .context = stream, .sample = take_sample, .histogram = take_histogram};
    const struct prometheus_record_visitor late = {
        .context = stream, .sample = take_late_sample, .histogram = take_late_histogram};
    if (entries == 0)
        return AP_OK;
    visit_log(head, &head->wal, false, &in_order);
    visit_log(head, &head->wbl, false, &late);
    return AP_OK;
}

enum ap_rc prometheus_head_stream_next(struct prometheus_head_stream *stream, struct ap_slice *ret_labels,
                                       bool *ret_is_end, struct ap_err *err)
{
    const struct prometheus_head *head = stream->head;
    for (; stream->next < head->series_count; stream->next++) {
        const struct head_series *series = &head->series[stream->next];
        if (series->entry_count || series->chunk_count)
            break;
    }
    *ret_is_end = stream->next >= head->series_count;
    if (*ret_is_end)
        return AP_OK;
    if (stream->next >= stream->end) {
        enum ap_rc rc = load_group(stream, err);
        if (rc != AP_OK)
            return rc;
    }
    const struct head_series *series = &head->series[stream->next++];
    *ret_labels = ap_slice(head->labels.data + series->labels_offset, series->labels_bytes);
    return AP_OK;
}

struct reading {
    struct prometheus_head_stream *stream;
    const struct head_series *series;
    struct prometheus_clip clip;      /* of what came late */
    struct prometheus_clip main_clip; /* and of what came in order */
    struct history_samples *samples;
    struct prometheus_refusals *refusals;
};

static void add_chunks(struct reading *reading, bool is_out_of_order)
{
    const struct prometheus_head *head = reading->stream->head;
    const struct prometheus_clip *clip = is_out_of_order ? &reading->clip : &reading->main_clip;
    for (uint32_t i = 0; i < reading->series->chunk_count; i++) {
        const struct prometheus_head_chunk *chunk = &head->chunks[reading->series->first_chunk + i].chunk;
        struct ap_err err;
        if (chunk->is_out_of_order != is_out_of_order || chunk->max_ts_ms < clip->min_ts_ms ||
            chunk->min_ts_ms > clip->max_ts_ms)
            continue;
        if (prometheus_decode_chunk(chunk->encoding, chunk->data, clip, &reading->stream->arena, reading->samples,
                                    reading->refusals, &err) != AP_OK) {
            (void)ap_err_prefix(&err, "chunks_head");
            history_trouble_tell(head->trouble, &err);
        }
    }
}

/* Whether a chunk in order of time has it: chunks have all that came in order in their span. */
static bool is_in_a_chunk(const struct reading *reading, int64_t ts_ms, uint32_t *chunk_index)
{
    const struct head_chunk *chunks = reading->stream->head->chunks + reading->series->first_chunk;
    while (*chunk_index < reading->series->chunk_count && !chunks[*chunk_index].chunk.is_out_of_order &&
           chunks[*chunk_index].chunk.max_ts_ms < ts_ms)
        ++*chunk_index;
    return *chunk_index < reading->series->chunk_count && !chunks[*chunk_index].chunk.is_out_of_order &&
           chunks[*chunk_index].chunk.min_ts_ms <= ts_ms;
}

static enum ap_rc add_entry(struct reading *reading, uint64_t at, const struct prometheus_clip *clip,
                            struct ap_err *err)
{
    struct prometheus_head_stream *stream = reading->stream;
    int64_t ts_ms = stream->entry_ts_ms[at];
    if (!prometheus_clip_wants(clip, ts_ms))
        return AP_OK;
    unsigned kind = stream->entry_kinds[at] & ~(unsigned)ENTRY_LATE;
    if (kind == ENTRY_FLOAT) {
        history_samples_add(reading->samples, ts_ms, ap_double_of_bits(stream->entry_bits[at]));
        return AP_OK;
    }
    uint32_t bytes;
    memcpy(&bytes, stream->raws.data + stream->entry_bits[at], sizeof(bytes));
    struct ap_slice raw = ap_slice(stream->raws.data + stream->entry_bits[at] + sizeof(bytes), bytes);
    return prometheus_histogram_add(raw, kind == ENTRY_FLOAT_HISTOGRAM, ts_ms, &stream->arena, reading->samples,
                                    reading->refusals, err);
}

static enum ap_rc add_entries(struct reading *reading, size_t number, bool is_late, struct ap_err *err)
{
    const struct prometheus_head_stream *stream = reading->stream;
    const struct prometheus_clip *clip = is_late ? &reading->clip : &reading->main_clip;
    int64_t last_ms = INT64_MIN;
    uint32_t chunk_index = 0;
    enum ap_rc rc = AP_OK;
    for (uint64_t at = stream->places[number]; at < stream->fills[number] && rc == AP_OK; at++) {
        int64_t ts_ms = stream->entry_ts_ms[at];
        if (((stream->entry_kinds[at] & ENTRY_LATE) != 0) != is_late)
            continue;
        if (!is_late && last_ms != INT64_MIN && ts_ms <= last_ms)
            continue; /* late, or a repetition: wbl/ tells whether it was taken */
        last_ms = ts_ms;
        if (is_late || !is_in_a_chunk(reading, ts_ms, &chunk_index))
            rc = add_entry(reading, at, clip, err);
    }
    return rc;
}

enum ap_rc prometheus_head_stream_read(struct prometheus_head_stream *stream, struct history_samples *samples,
                                       struct prometheus_refusals *refusals, struct ap_err *err)
{
    struct prometheus_head *head = stream->head;
    size_t index = stream->next - 1;
    struct reading reading = {
        .stream = stream,
        .series = &head->series[index],
        .clip = {.min_ts_ms = stream->min_ts_ms, .max_ts_ms = stream->max_ts_ms},
        .samples = samples,
        .refusals = refusals,
    };
    reading.clip.stones = prometheus_tombstones_of(&head->stones, index, &reading.clip.stone_count);
    reading.main_clip = reading.clip;
    reading.main_clip.min_ts_ms = AP_MAX(stream->min_ts_ms, head->min_valid_ms);
    add_chunks(&reading, false);
    enum ap_rc rc = add_entries(&reading, index - stream->first, false, err);
    add_chunks(&reading, true);
    return rc == AP_OK ? add_entries(&reading, index - stream->first, true, err) : rc;
}

/* ---- What is about series ---- */

struct telling {
    struct prometheus_head *head;
    prometheus_head_exemplar_fn exemplar;
    prometheus_head_metadata_fn metadata;
    void *context;
    struct ap_buf labels;
};

static struct ap_slice labels_of(const struct prometheus_head *head, uint64_t ref)
{
    uint32_t number = ref_map_get(&head->numbers, ref);
    if (number == REF_MAP_NONE)
        return ap_slice(NULL, 0);
    return ap_slice(head->labels.data + head->series[number].labels_offset, head->series[number].labels_bytes);
}

static void tell_exemplar(void *context, const struct prometheus_exemplar *exemplar)
{
    struct telling *telling = context;
    struct ap_slice series = labels_of(telling->head, exemplar->ref);
    struct ap_err ignored;
    ap_buf_reset(&telling->labels);
    if (!series.data || exemplar->label_count > LABELS_COUNT_MAX ||
        (exemplar->label_count &&
         labels_encode(exemplar->labels, exemplar->label_count, &telling->labels, &ignored) != AP_OK))
        return;
    telling->exemplar(series, exemplar->ts_ms, exemplar->value, ap_buf_slice(&telling->labels), telling->context);
}

static void tell_metadata(void *context, const struct prometheus_metadata *metadata)
{
    struct telling *telling = context;
    struct ap_slice series = labels_of(telling->head, metadata->ref);
    if (series.data)
        telling->metadata(series, metadata->type, metadata->unit, metadata->help, telling->context);
}

void prometheus_head_exemplars(struct prometheus_head *head, prometheus_head_exemplar_fn each, void *context)
{
    struct telling telling = {.head = head, .exemplar = each, .context = context};
    visit_log(head, &head->wal, false,
              &(struct prometheus_record_visitor){.context = &telling, .exemplar = tell_exemplar});
    ap_buf_clear(&telling.labels);
}

void prometheus_head_metadata(struct prometheus_head *head, prometheus_head_metadata_fn each, void *context)
{
    struct telling telling = {.head = head, .metadata = each, .context = context};
    visit_log(head, &head->wal, false,
              &(struct prometheus_record_visitor){.context = &telling, .metadata = tell_metadata});
}
