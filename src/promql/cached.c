/*
 * The whole of a range query, with what is kept of an earlier answer.
 *
 *     kept answer    ├──────────── still right ────────────┤╌╌ changed ╌╌┤
 *     query              ├─────────────────────────────────────────────────────┤
 *     computed                                             ├───────────────────┤   (and in front, where it begins
 * earlier) new answer     ├─────────────────────────────────────────────────────────┤
 *
 * What is computed is held, put together with what is kept by label sets, kept in its place, and read from there. Also
 * where nothing was kept; an answer that would be too large to keep is read series by series, as if there were no
 * cache.
 *
 * Annotations are of no step. But those of a span are those of its steps together. So if what is kept had any, and all
 * of them are said again by the steps that are computed, what these say is what the whole query says; therefore one
 * step at least is computed then. If one is not said again, it is unknown whether the steps that are kept say it, and
 * everything is computed.
 */
#include <string.h>

#include "promql/range_cache.h"
#include "tsdb/labels.h"

struct cached {
    struct operator op; /* input 0: the query itself, where the answer is too large to keep */
    struct range_cache *cache;
    struct reach reach;
    struct promql_storage storage;       /* the query's; the run has one in between: */
    struct promql_storage_class watched; /* notes up to when samples are asked for */
    int64_t newest_ms;                   /* that was asked for */
    struct range_answer *answer;         /* a reference; NULL: the input is read */
    size_t first;                        /* the answer's step at which the query begins */
};

/* Steps from ≤ i < to, numbered as the query's are; those before it are negative. */
struct span {
    int64_t from, to;
};

/* Steps that were computed. */
struct part {
    struct span span;
    struct operator* op;
    struct held held;
    bool is_within_reach;
};

static inline bool is_empty(struct span span)
{
    return span.from >= span.to;
}

static inline struct span both(struct span a, struct span b)
{
    return (struct span){AP_MAX(a.from, b.from), AP_MIN(a.to, b.to)};
}

/* ---- What is still right ---- */

/* How many of an answer's steps, the first ones, look only at samples before `changed_ms`. */
static size_t count_valid(const struct reach *reach, const struct steps *steps, int64_t changed_ms)
{
    if (changed_ms == INT64_MAX)
        return steps->count;
    if (reach->fixed_ms >= changed_ms)
        return 0;
    if (reach->ahead_ms == INT64_MIN)
        return steps->count;
    __int128 end_ms = (__int128)changed_ms - reach->ahead_ms - steps->start_ms; /* behind the first step */
    __int128 count = end_ms <= 0 ? 0 : (end_ms - 1) / steps->step_ms + 1;
    return (size_t)AP_MIN(count, (__int128)steps->count);
}

/* Where it lies beside the query, as far as it is right. */
static struct span kept_span(const struct cached *cached, const struct range_answer *kept, int64_t changed_ms)
{
    int64_t from = (kept->steps.start_ms - cached->op.steps.start_ms) / kept->steps.step_ms;
    return (struct span){from, from + (int64_t)count_valid(&cached->reach, &kept->steps, changed_ms)};
}

/* The new answer's steps: the query's, and what is kept beside them, as long as it does not become longer thereby. */
static struct span answer_span(struct span query, struct span kept, size_t kept_steps)
{
    int64_t count_max = AP_MAX(query.to, (int64_t)kept_steps);
    struct span all = {AP_MIN(query.from, kept.from), AP_MAX(query.to, kept.to)};
    all.from = AP_MAX(all.from, AP_MIN(query.from, all.to - count_max));
    all.to = AP_MIN(all.to, all.from + count_max);
    return all;
}

/* ---- Computing parts ---- */

static enum ap_rc watched_select(void *context, const struct matchers *matchers, int64_t min_ts_ms, int64_t max_ts_ms,
                                 uint64_t series_max, void **ret_set, struct ap_err *err)
{
    struct cached *cached = context;
    cached->newest_ms = AP_MAX(cached->newest_ms, max_ts_ms);
    return cached->storage.class->select(cached->storage.context, matchers, min_ts_ms, max_ts_ms, series_max, ret_set,
                                         err);
}

static void watch_storage(struct cached *cached)
{
    struct run *run = cached->op.run;
    cached->storage = run->storage;
    cached->watched = *run->storage.class;
    cached->watched.select = watched_select;
    run->storage = (struct promql_storage){&cached->watched, cached};
}

/* Should an operator look further than reach_find() knows, nothing may be kept of what it gives. */
static bool keeps_within_reach(const struct cached *cached, const struct steps *steps)
{
    const struct reach *reach = &cached->reach;
    int64_t last_ms = step_time(steps, steps->count - 1);
    return cached->newest_ms <= reach->fixed_ms ||
           (reach->ahead_ms != INT64_MIN && cached->newest_ms <= last_ms + reach->ahead_ms);
}

static enum ap_rc open_part(struct cached *cached, struct part *part, struct ap_err *err)
{
    struct operator* op = & cached->op;
    if (is_empty(part->span))
        return AP_OK;
    struct steps steps = {step_time(&op->steps, (size_t)part->span.from), op->steps.step_ms,
                          (size_t)(part->span.to - part->span.from)};
    cached->newest_ms = INT64_MIN;
    part->op = plan(op->run, op->expr, &steps, err);
    enum ap_rc rc = part->op ? operator_open(part->op, err) : err->rc;
    part->is_within_reach = rc == AP_OK && keeps_within_reach(cached, &steps);
    return rc;
}

/* What series of so many steps take in an answer, without histograms. */
static size_t bytes_of(size_t series, size_t steps, size_t labels_bytes)
{
    return series * (sizeof(struct range_series) + steps * sizeof(double)) + labels_bytes;
}

/* AP_E_LIMIT: it is too much for an answer that is kept. */
static enum ap_rc hold_part(struct cached *cached, struct part *part, struct ap_err *err)
{
    size_t bytes_max = range_cache_answer_bytes_max(cached->cache), labels_bytes = 0;
    for (size_t i = 0; i < part->op->count; i++)
        labels_bytes += part->op->labels[i].bytes;
    if (bytes_of(part->op->count, part->op->steps.count, labels_bytes) > bytes_max)
        return AP_E_LIMIT;
    return held_read_within(&part->held, part->op, bytes_max, err);
}

static bool has_said(const struct annotations *annotations, size_t kind, struct ap_slice text)
{
    for (size_t i = 0; i < annotations->counts[kind]; i++)
        if (ap_slice_equal_cstr(text, annotations->texts[kind][i]))
            return true;
    return false;
}

static bool are_annotations_said(const struct run *run, const struct range_answer *kept)
{
    for (size_t kind = 0; kind < 2; kind++)
        for (size_t i = 0; i < kept->annotation_counts[kind]; i++)
            if (!has_said(&run->annotations, kind, kept->annotations[kind][i]))
                return false;
    return true;
}

static bool has_annotations(const struct range_answer *answer)
{
    return answer->annotation_counts[PROMQL_WARNING] || answer->annotation_counts[PROMQL_INFO];
}

/* ---- Putting an answer together ---- */

enum { PIECES = 3, PARTS = 2 };

struct joining {
    struct range_answer *answer;
    struct span span;
    const struct range_answer *kept; /* NULL: nothing is */
    struct span kept_span;
    struct span pieces[PIECES]; /* of it that are taken: before the query's steps, among them, behind them */
    struct part *parts;
    size_t part_count;
    struct label_table table;
};

static bool has_points(const double *values, struct float_histogram *const *histograms, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!is_absent(values[i]) || (histograms && histograms[i]))
            return true;
    return false;
}

static struct float_histogram **part_histograms(const struct part *part, size_t series)
{
    return part->held.histograms ? part->held.histograms[series] : NULL;
}

static void add_labels(struct joining *joining, struct ap_slice labels)
{
    bool is_new;
    (void)label_table_add(&joining->table, NULL, labels, &is_new);
}

static bool has_kept_points(const struct joining *joining, size_t index, struct span piece)
{
    const struct range_series *series = &joining->kept->series[index];
    size_t from = (size_t)(piece.from - joining->kept_span.from);
    return !is_empty(piece) && has_points(series->values + from, series->histograms ? series->histograms + from : NULL,
                                          (size_t)(piece.to - piece.from));
}

/* Of the series that have points. */
static void find_labels(struct joining *joining)
{
    for (size_t i = 0; joining->kept && i < joining->kept->count; i++) {
        bool has_any = false;
        for (size_t piece = 0; piece < PIECES && !has_any; piece++)
            has_any = has_kept_points(joining, i, joining->pieces[piece]);
        if (has_any)
            add_labels(joining, joining->kept->series[i].labels);
    }
    for (size_t i = 0; i < joining->part_count; i++) {
        const struct part *part = &joining->parts[i];
        for (size_t j = 0; j < part->held.count; j++)
            if (has_points(held_values(&part->held, j), part_histograms(part, j), part->held.steps))
                add_labels(joining, part->op->labels[j]);
    }
}

static int compare_entries(const void *a, const void *b)
{
    return labels_compare(((const struct label_table_entry *)a)->labels, ((const struct label_table_entry *)b)->labels);
}

/* The series, by their labels, without points. */
static enum ap_rc make_series(struct joining *joining, struct ap_err *err)
{
    struct range_answer *answer = joining->answer;
    struct label_table *table = &joining->table;
    size_t steps = answer->steps.count;
    answer->count = table->count;
    answer->series = ap_arena_try_alloc(&answer->arena, (table->count + 1) * sizeof(*answer->series));
    double *values = ap_arena_try_alloc(&answer->arena, (table->count * steps + 1) * sizeof(*values));
    if (!answer->series || !values)
        return ap_fail(err, AP_E_NOMEM, "no memory for %zu series of %zu points", table->count, steps);
    struct label_table_entry *entries = table->entries;
    size_t i = 1;
    while (i < table->count && compare_entries(&entries[i - 1], &entries[i]) < 0)
        i++;
    if (i < table->count) { /* their numbers are others then */
        struct label_table ordered = {0};
        qsort(entries, table->count, sizeof(*entries), compare_entries);
        for (i = 0; i < table->count; i++) {
            bool is_new;
            (void)label_table_add(&ordered, NULL, entries[i].labels, &is_new);
        }
        label_table_clear(table);
        *table = ordered;
    }
    for (i = 0; i < table->count; i++) {
        struct ap_slice labels = table->entries[i].labels;
        char *copy = ap_arena_try_alloc(&answer->arena, labels.bytes + 1);
        if (!copy)
            return ap_fail(err, AP_E_NOMEM, "no memory for the labels of %zu series", table->count);
        if (labels.bytes)
            memcpy(copy, labels.data, labels.bytes);
        answer->series[i] = (struct range_series){ap_slice(copy, labels.bytes), values + i * steps, NULL};
    }
    for (i = 0; i < table->count * steps; i++)
        values[i] = absent();
    return AP_OK;
}

/* Points of `count` steps into the answer's from `to` on. */
static void put_points(struct joining *joining, struct ap_slice labels, size_t to, const double *values,
                       struct float_histogram *const *histograms, size_t count)
{
    struct range_answer *answer = joining->answer;
    size_t index = label_table_find(&joining->table, labels);
    if (index == SIZE_MAX)
        return; /* it has no points here */
    struct range_series *series = &answer->series[index];
    memcpy(series->values + to, values, count * sizeof(*values));
    if (!histograms)
        return;
    if (!series->histograms)
        series->histograms = ap_arena_alloc0(&answer->arena, answer->steps.count * sizeof(struct float_histogram *));
    for (size_t i = 0; i < count; i++) {
        bool is_same = i && histograms[i] == histograms[i - 1];
        series->histograms[to + i] = !histograms[i] ? NULL
                                     : is_same      ? series->histograms[to + i - 1]
                                                    : float_histogram_copy(histograms[i], &answer->arena);
    }
}

static void put_kept(struct joining *joining, struct span piece)
{
    size_t from = (size_t)(piece.from - joining->kept_span.from), to = (size_t)(piece.from - joining->span.from);
    for (size_t i = 0; i < joining->kept->count && !is_empty(piece); i++) {
        const struct range_series *series = &joining->kept->series[i];
        put_points(joining, series->labels, to, series->values + from,
                   series->histograms ? series->histograms + from : NULL, (size_t)(piece.to - piece.from));
    }
}

static void put_part(struct joining *joining, const struct part *part)
{
    size_t to = (size_t)(part->span.from - joining->span.from);
    for (size_t i = 0; i < part->held.count; i++)
        put_points(joining, part->op->labels[i], to, held_values(&part->held, i), part_histograms(part, i),
                   part->held.steps);
}

static void put_annotations(struct range_answer *answer, const struct annotations *annotations)
{
    for (size_t kind = 0; kind < 2; kind++) {
        size_t count = annotations->counts[kind];
        answer->annotation_counts[kind] = count;
        answer->annotations[kind] = ap_arena_alloc0(&answer->arena, (count + 1) * sizeof(struct ap_slice));
        for (size_t i = 0; i < count; i++) {
            size_t bytes = strlen(annotations->texts[kind][i]);
            char *copy = ap_arena_alloc0(&answer->arena, bytes + 1);
            memcpy(copy, annotations->texts[kind][i], bytes);
            answer->annotations[kind][i] = ap_slice(copy, bytes);
        }
    }
}

/* ---- Opening ---- */

static struct range_key key_of(const struct cached *cached)
{
    const struct run *run = cached->op.run;
    const struct steps *steps = &cached->op.steps;
    int64_t rest_ms = steps->start_ms % steps->step_ms;
    return (struct range_key){cached->storage, run->text, steps->step_ms,
                              rest_ms < 0 ? rest_ms + steps->step_ms : rest_ms, run->lookback_ms};
}

/* The answer is what is read from now on. */
static void use_answer(struct cached *cached, struct range_answer *take_answer, size_t first)
{
    struct operator* op = & cached->op;
    cached->answer = take_answer;
    cached->first = first;
    op->count = take_answer->count;
    op->labels = ap_arena_alloc0(&op->run->arena, (op->count + 1) * sizeof(*op->labels));
    for (size_t i = 0; i < op->count; i++)
        op->labels[i] = take_answer->series[i].labels;
    op->is_in_order = true;
}

/* AP_E_LIMIT as hold_part(). */
static enum ap_rc join(struct cached *cached, struct joining *joining, uint64_t mark, struct ap_err *err)
{
    const struct annotations *annotations = &cached->op.run->annotations;
    struct range_key key = key_of(cached);
    struct range_answer *answer = range_answer_new(&key, mark);
    answer->steps = (struct steps){cached->op.steps.start_ms + joining->span.from * cached->op.steps.step_ms,
                                   cached->op.steps.step_ms, (size_t)(joining->span.to - joining->span.from)};
    joining->answer = answer;
    find_labels(joining);
    size_t labels_bytes = 0;
    for (size_t i = 0; i < joining->table.count; i++)
        labels_bytes += joining->table.entries[i].labels.bytes;
    bool is_too_large =
        bytes_of(joining->table.count, answer->steps.count, labels_bytes) > range_cache_answer_bytes_max(cached->cache);
    enum ap_rc rc = is_too_large ? AP_E_LIMIT : make_series(joining, err);
    if (rc != AP_OK) {
        range_cache_unref(cached->cache, answer);
    } else {
        for (size_t i = 0; i < PIECES && joining->kept; i++)
            put_kept(joining, joining->pieces[i]);
        for (size_t i = 0; i < joining->part_count; i++)
            put_part(joining, &joining->parts[i]);
        put_annotations(answer, annotations);
        /* Those that were left out for being too many would be missing later. */
        if (annotations->counts[PROMQL_WARNING] < ANNOTATIONS_MAX && annotations->counts[PROMQL_INFO] < ANNOTATIONS_MAX)
            range_cache_keep(cached->cache, answer);
        use_answer(cached, answer, (size_t)-joining->span.from);
    }
    label_table_clear(&joining->table);
    return rc;
}

/* Computes what of the query is not `used`. False: not by itself, for whatever reason; then nothing has happened. */
static bool extend_kept(struct cached *cached, const struct range_answer *kept, struct span valid, struct span used,
                        uint64_t mark)
{
    struct run *run = cached->op.run;
    struct span query = {0, (int64_t)cached->op.steps.count}, all = answer_span(query, valid, kept->steps.count);
    struct part parts[PARTS] = {{.span = {query.from, used.from}}, {.span = {used.to, query.to}}};
    struct joining joining = {
        .span = all,
        .kept = kept,
        .kept_span = valid,
        .pieces = {{all.from, query.from}, used, {query.to, all.to}},
        .parts = parts,
        .part_count = PARTS,
    };
    struct ap_err ignored = {0};
    enum ap_rc rc = AP_OK;
    bool is_kept = true;
    for (size_t i = 0; i < PARTS && rc == AP_OK; i++) {
        rc = open_part(cached, &parts[i], &ignored);
        is_kept &= is_empty(parts[i].span) || parts[i].is_within_reach;
        if (rc == AP_OK && parts[i].op && is_kept)
            rc = hold_part(cached, &parts[i], &ignored);
    }
    bool is_used =
        rc == AP_OK && is_kept && are_annotations_said(run, kept) && join(cached, &joining, mark, &ignored) == AP_OK;
    for (size_t i = 0; i < PARTS; i++)
        held_clear(&parts[i].held, run);
    if (is_used)
        return true;
    annotations_clear(&run->annotations);
    annotations_init(&run->annotations, run->text);
    return false;
}

/* False: it is of no use. */
static bool open_with_kept(struct cached *cached, struct range_answer *take_kept, uint64_t kept_mark, uint64_t mark)
{
    const struct promql_storage *storage = &cached->storage;
    int64_t changed_ms = storage->class->changed_since(storage->context, kept_mark);
    struct span query = {0, (int64_t)cached->op.steps.count}, valid = kept_span(cached, take_kept, changed_ms);
    struct span used = both(query, valid);
    bool is_all = used.from == query.from && used.to == query.to;
    if (is_all && !has_annotations(take_kept)) {
        if ((size_t)(valid.to - valid.from) == take_kept->steps.count)
            range_cache_renew(cached->cache, take_kept, mark);
        use_answer(cached, take_kept, (size_t)-valid.from);
        range_cache_count(cached->cache, RANGE_CACHE_HIT);
        return true;
    }
    used.to -= is_all;
    bool is_used = !is_empty(used) && extend_kept(cached, take_kept, valid, used, mark);
    range_cache_unref(cached->cache, take_kept);
    if (is_used)
        range_cache_count(cached->cache, RANGE_CACHE_PARTIAL_HIT);
    return is_used;
}

static enum ap_rc open_without_kept(struct cached *cached, uint64_t mark, struct ap_err *err)
{
    struct operator* op = & cached->op;
    struct part part = {.span = {0, (int64_t)op->steps.count}};
    struct joining joining = {.span = part.span, .parts = &part, .part_count = 1};
    range_cache_count(cached->cache, RANGE_CACHE_MISS);
    enum ap_rc rc = open_part(cached, &part, err);
    if (rc != AP_OK)
        return rc;
    rc = part.is_within_reach ? hold_part(cached, &part, err) : AP_E_LIMIT;
    if (rc == AP_OK)
        rc = join(cached, &joining, mark, err);
    held_clear(&part.held, op->run);
    if (rc != AP_E_LIMIT)
        return rc;
    /* Series by series; should something be over its limit there, too, that is the answer. */
    operator_set_inputs(op, &part.op, 1);
    return operator_take_labels(op, false, err);
}

static enum ap_rc cached_open(struct operator* op, struct ap_err *err)
{
    struct cached *cached = (struct cached *)op;
    watch_storage(cached);
    uint64_t kept_mark = 0, mark = cached->storage.class->mark(cached->storage.context); /* before anything is read */
    struct range_key key = key_of(cached);
    struct range_answer *kept = range_cache_find(cached->cache, &key, &kept_mark);
    if (kept && open_with_kept(cached, kept, kept_mark, mark))
        return AP_OK;
    return open_without_kept(cached, mark, err);
}

/* ---- Reading ---- */

static enum ap_rc cached_read(struct operator* op, struct worker *worker, size_t index, struct column *ret_column,
                              struct ap_err *err)
{
    const struct cached *cached = (const struct cached *)op;
    if (!cached->answer)
        return operator_read(op->inputs[0], worker, index, ret_column, err);
    const struct range_series *series = &cached->answer->series[index];
    memcpy(ret_column->values, series->values + cached->first, op->steps.count * sizeof(double));
    if (series->histograms) {
        ret_column->histograms = worker_histograms(worker, op->steps.count);
        memcpy(ret_column->histograms, series->histograms + cached->first,
               op->steps.count * sizeof(struct float_histogram *));
    }
    return AP_OK;
}

static void cached_close(struct operator* op)
{
    struct cached *cached = (struct cached *)op;
    range_cache_unref(cached->cache, cached->answer);
}

struct operator*
    plan_cached(struct run *run, struct range_cache *cache, const struct promql_expr *expr, const struct reach *reach)
{
    static const struct operator_class cached_class = {.open = cached_open, .read = cached_read, .close = cached_close};
    struct cached *cached = operator_new(run, sizeof(*cached), &cached_class, expr, &run->steps);
    cached->cache = cache;
    cached->reach = *reach;
    return &cached->op;
}
