#include "ingest/statsd_table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/bits.h"
#include "base/buf.h"
#include "ingest/observations.h"
#include "ingest/statsd_line.h"
#include "tsdb/slots.h"

enum {
    MEMBERS_MAX = 1000000, /* of all sets between two flushes */
    TOLD_BYTES_MAX = 120,
};

#define NUMBER_MAX 1e100

static const uint64_t stale_bits = 0x7ff0000000000002;

struct series {
    struct labels_hash hash;
    char *labels; /* owned; canonical */
    uint32_t labels_bytes;
    enum statsd_kind kind;
    bool is_new; /* not flushed yet */
    int64_t seen_ms;
    double value;                      /* of a counter or gauge */
    struct observations *observations; /* owned; of a histogram */
    struct slots members;              /* of a set: places in `member_hashes` */
    uint64_t *member_hashes;           /* owned */
    size_t member_count;
};

struct statsd_table {
    struct statsd_table_options options;
    struct series **items; /* owned */
    size_t count;
    size_t capacity;
    struct slots by_labels; /* places in `items` */
    size_t member_count;    /* of all sets */
    struct ap_buf names;    /* working memory, as the next: of the labels of one line */
    struct ap_buf labels;
    struct ap_buf blob;
    struct ap_arena lent; /* by the last flush: histograms, and labels of series that are gone */
};

struct statsd_table *statsd_table_new(const struct statsd_table_options *options)
{
    struct statsd_table *table = ap_new0(struct statsd_table);
    table->options = *options;
    slots_init(&table->by_labels);
    ap_arena_init(&table->lent, 0);
    return table;
}

static void series_free(struct series *series)
{
    if (series->observations)
        observations_clear(series->observations);
    free(series->observations);
    slots_clear(&series->members);
    free(series->member_hashes);
    free(series->labels);
    free(series);
}

void statsd_table_free(struct statsd_table *table)
{
    if (!table)
        return;
    for (size_t i = 0; i < table->count; i++)
        series_free(table->items[i]);
    free(table->items);
    slots_clear(&table->by_labels);
    ap_buf_clear(&table->names);
    ap_buf_clear(&table->labels);
    ap_buf_clear(&table->blob);
    ap_arena_clear(&table->lent);
    free(table);
}

size_t statsd_table_count(const struct statsd_table *table)
{
    return table->count;
}

/* ---- Labels ---- */

static struct ap_slice add_name(struct ap_buf *out, struct ap_slice text, bool is_metric)
{
    size_t first = out->bytes;
    if (text.data[0] >= '0' && text.data[0] <= '9')
        ap_buf_add_char(out, '_');
    for (size_t i = 0; i < text.bytes; i++) {
        char c = text.data[i];
        bool is_fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
                       (is_metric && c == ':');
        ap_buf_add_char(out, is_fine ? c : '_');
    }
    return ap_slice(out->data + first, out->bytes - first);
}

/* The canonical labels of a line, into table->labels. */
static enum ap_rc make_labels(struct statsd_table *table, const struct statsd_line *line, struct ap_err *err)
{
    struct label labels[STATSD_TAGS_MAX + 1];
    size_t count = 0;
    size_t bytes = line->name.bytes + 1;
    for (size_t i = 0; i < line->tag_count; i++)
        bytes += line->tags[i].name.bytes + 1;
    ap_buf_reset(&table->names);
    (void)ap_buf_reserve(&table->names, bytes); /* so that nothing moves */
    labels[count++] = (struct label){ap_slice_cstr(LABEL_METRIC_NAME), add_name(&table->names, line->name, true)};
    for (size_t i = 0; i < line->tag_count; i++) {
        struct ap_slice value = line->tags[i].value;
        labels[count++] = (struct label){add_name(&table->names, line->tags[i].name, false),
                                         value.bytes ? value : ap_slice_cstr("true")};
    }
    ap_buf_reset(&table->labels);
    return labels_encode(labels, count, &table->labels, err);
}

/* ---- Series ---- */

static struct series *find(const struct statsd_table *table, struct labels_hash hash)
{
    const struct slots *slots = &table->by_labels;
    for (uint64_t i = slots_first(slots, (uint32_t)hash.low); slots->items[i].number != SLOT_EMPTY;
         i = slots_next(slots, i))
        if (labels_hash_equal(table->items[slots->items[i].number]->hash, hash))
            return table->items[slots->items[i].number];
    return NULL;
}

static struct series *add_series(struct statsd_table *table, enum statsd_kind kind, struct labels_hash hash)
{
    struct series *series = ap_new0(struct series);
    series->hash = hash;
    series->labels = ap_slice_dup(ap_buf_slice(&table->labels));
    series->labels_bytes = (uint32_t)table->labels.bytes;
    series->kind = kind;
    series->is_new = true;
    if (kind == STATSD_OBSERVATION) {
        series->observations = ap_new0(struct observations);
        observations_init(series->observations);
    }
    if (table->count == table->capacity) {
        table->capacity = table->capacity ? table->capacity * 2 : 64;
        table->items = ap_realloc(table->items, table->capacity * sizeof(*table->items));
    }
    slots_add(&table->by_labels, (uint32_t)hash.low, (uint32_t)table->count);
    table->items[table->count++] = series;
    return series;
}

/* The last one takes the place of the one that goes. */
static void remove_series(struct statsd_table *table, size_t index)
{
    struct series *series = table->items[index];
    struct series *last = table->items[table->count - 1];
    slots_remove(&table->by_labels, (uint32_t)series->hash.low, (uint32_t)index);
    if (series != last) {
        slots_remove(&table->by_labels, (uint32_t)last->hash.low, (uint32_t)table->count - 1);
        slots_add(&table->by_labels, (uint32_t)last->hash.low, (uint32_t)index);
        table->items[index] = last;
    }
    table->count--;
    series_free(series);
}

/* AP_E_LIMIT: there are too many. */
static enum ap_rc find_or_add(struct statsd_table *table, const struct statsd_line *line, struct series **ret_series,
                              struct ap_err *err)
{
    enum ap_rc rc = make_labels(table, line, err);
    if (rc != AP_OK)
        return AP_E_PARSE;
    struct labels_hash hash = labels_hash_of(table->options.hash_seed, ap_buf_slice(&table->labels));
    struct series *series = find(table, hash);
    if (series && series->kind != line->kind)
        return ap_fail(err, AP_E_PARSE, "it was a %s before and is a %s now", statsd_kind_name(series->kind),
                       statsd_kind_name(line->kind));
    if (!series && table->count >= table->options.series_max)
        return ap_fail(err, AP_E_LIMIT, "there are %zu series already, as many as are allowed (statsd.max_series)",
                       table->count);
    *ret_series = series ? series : add_series(table, line->kind, hash);
    return AP_OK;
}

/* ---- Values ---- */

static enum ap_rc add_member(struct statsd_table *table, struct series *series, struct ap_slice member,
                             struct ap_err *err)
{
    uint64_t hash = labels_hash_of(table->options.hash_seed, member).low;
    if (!series->members.items)
        slots_init(&series->members);
    const struct slots *slots = &series->members;
    for (uint64_t i = slots_first(slots, (uint32_t)hash); slots->items[i].number != SLOT_EMPTY;
         i = slots_next(slots, i))
        if (series->member_hashes[slots->items[i].number] == hash)
            return AP_OK;
    if (table->member_count >= MEMBERS_MAX)
        return ap_fail(err, AP_E_LIMIT, "sets have %d members already, as many as are counted", MEMBERS_MAX);
    if ((series->member_count & (series->member_count - 1)) == 0) /* a power of two, or 0: full */
        series->member_hashes = ap_realloc(series->member_hashes, AP_MAX(2 * series->member_count, (size_t)1) *
                                                                      sizeof(*series->member_hashes));
    series->member_hashes[series->member_count] = hash;
    slots_add(&series->members, (uint32_t)hash, (uint32_t)series->member_count++);
    table->member_count++;
    return AP_OK;
}

static enum ap_rc check_value(const struct statsd_line *line, const struct statsd_value *value, struct ap_err *err)
{
    if (line->kind == STATSD_COUNTER && value->number < 0)
        return ap_fail(err, AP_E_PARSE, "a counter does not fall; send a gauge");
    /* One infinity would stay in a sum for ever. */
    if (fabs(value->number) > NUMBER_MAX)
        return ap_fail(err, AP_E_PARSE, "the value is above 1e100");
    return AP_OK;
}

static void add_value(struct series *series, const struct statsd_line *line, const struct statsd_value *value)
{
    switch (line->kind) {
    case STATSD_COUNTER:
        series->value += value->number * line->weight;
        break;
    case STATSD_GAUGE:
        series->value = value->is_signed ? series->value + value->number : value->number;
        break;
    default:
        observations_add(series->observations, line->is_milliseconds ? value->number / 1000 : value->number,
                         line->weight);
        break;
    }
}

static enum ap_rc next_value(const struct statsd_line *line, struct ap_slice *rest, struct statsd_value *ret_value,
                             struct ap_err *err)
{
    enum ap_rc rc = statsd_next_value(rest, ret_value, err);
    return rc == AP_OK ? check_value(line, ret_value, err) : rc;
}

/* A line whose first value is good has it, also if a later one is not. */
static enum ap_rc add_line(struct statsd_table *table, const struct statsd_line *line, int64_t now_ms,
                           struct ap_err *err)
{
    struct series *series = NULL;
    struct statsd_value value = {0};
    struct ap_slice rest = line->values;
    enum ap_rc rc = AP_OK;
    if (line->kind != STATSD_SET) /* before a series is made of it */
        rc = next_value(line, &rest, &value, err);
    if (rc == AP_OK)
        rc = find_or_add(table, line, &series, err);
    if (rc != AP_OK)
        return rc;
    series->seen_ms = now_ms;
    if (line->kind == STATSD_SET)
        return add_member(table, series, line->values, err);
    add_value(series, line, &value);
    while (rest.data && (rc = next_value(line, &rest, &value, err)) == AP_OK)
        add_value(series, line, &value);
    return rc;
}

void statsd_table_add(struct statsd_table *table, struct ap_slice packet, int64_t now_ms, struct statsd_counts *counts,
                      struct ap_err *err)
{
    struct ap_slice rest = packet;
    err->rc = AP_OK;
    while (rest.data) {
        struct ap_slice text = ap_slice_trim(ap_slice_split(&rest, '\n'));
        struct statsd_line line;
        struct ap_err reason;
        if (text.bytes == 0)
            continue;
        counts->lines++;
        enum ap_rc rc = statsd_line_parse(text, &line, &reason);
        if (rc == AP_OK && line.kind == STATSD_IGNORED)
            counts->ignored++;
        else if (rc == AP_OK)
            rc = add_line(table, &line, now_ms, &reason);
        counts->bad += rc == AP_E_PARSE;
        counts->over += rc == AP_E_LIMIT;
        if (rc != AP_OK && err->rc == AP_OK)
            (void)ap_fail(err, rc, "\"%.*s\": %s",
                          AP_SLICE_ARG(ap_slice(text.data, AP_MIN(text.bytes, (size_t)TOLD_BYTES_MAX))), reason.text);
    }
}

/* ---- Flushing ---- */

static struct ap_slice lend(struct statsd_table *table, struct ap_slice bytes)
{
    char *copy = ap_arena_try_alloc(&table->lent, bytes.bytes);
    AP_ASSERT(copy); /* the arena has no maximum: the series that fill it have one */
    return ap_slice(memcpy(copy, bytes.data, bytes.bytes), bytes.bytes);
}

static void flush_series(struct statsd_table *table, const struct series *series, bool is_ending, int64_t begin_ts_ms,
                         int64_t ts_ms, struct batch *batch)
{
    struct ap_slice labels = ap_slice(series->labels, series->labels_bytes);
    struct batch_series *entry = batch_add_series(batch, is_ending ? lend(table, labels) : labels, series->hash);
    double value = series->kind == STATSD_SET ? (double)series->member_count : series->value;
    if (series->kind == STATSD_OBSERVATION) {
        ap_buf_reset(&table->blob);
        observations_encode(series->observations, is_ending, &table->blob);
        batch_add_histogram(batch, ts_ms, lend(table, ap_buf_slice(&table->blob)));
        return;
    }
    if (series->kind == STATSD_COUNTER && series->is_new && begin_ts_ms < ts_ms) {
        entry->has_start_zero = true;
        batch_add_sample(batch, begin_ts_ms, 0);
    }
    batch_add_sample(batch, ts_ms, is_ending ? ap_double_of_bits(stale_bits) : value);
}

static void empty_set(struct statsd_table *table, struct series *series)
{
    table->member_count -= series->member_count;
    series->member_count = 0;
    free(series->member_hashes);
    series->member_hashes = NULL;
    slots_clear(&series->members);
}

void statsd_table_flush(struct statsd_table *table, int64_t begin_ts_ms, int64_t ts_ms, struct batch *batch)
{
    int64_t expire_ms = table->options.expire_ms;
    ap_arena_clear(&table->lent);
    for (size_t i = table->count; i-- > 0;) { /* from the end: what goes is replaced by one that was flushed already */
        struct series *series = table->items[i];
        bool is_ending = expire_ms && ts_ms - series->seen_ms > expire_ms;
        flush_series(table, series, is_ending, begin_ts_ms, ts_ms, batch);
        empty_set(table, series);
        series->is_new = false;
        if (is_ending)
            remove_series(table, i);
    }
}
