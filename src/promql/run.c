#include "promql/run.h"

#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "promql/helpers.h"
#include "tsdb/labels.h"

/* ---- Limits ---- */

/* How often the request's owner is asked, for whom that may be a system call. */
#define CANCEL_INTERVAL_US (20 * AP_US_PER_MS)

static bool is_cancelled(struct run *run, int64_t now_us)
{
    const struct promql_request *request = run->request;
    int64_t ask_us = atomic_load(&run->ask_us);
    if (request->is_cancelled && now_us >= ask_us &&
        atomic_compare_exchange_strong(&run->ask_us, &ask_us, now_us + CANCEL_INTERVAL_US) &&
        request->is_cancelled(request->context))
        atomic_store(&run->is_cancelled, true);
    return atomic_load(&run->is_cancelled);
}

enum ap_rc run_check(struct run *run, struct ap_err *err)
{
    int64_t now_us = ap_clock_monotonic_us(run->options->clock);
    if (is_cancelled(run, now_us))
        return ap_fail(err, AP_E_BUSY, "query was canceled in expression evaluation");
    if (now_us > run->deadline_us)
        return ap_fail(err, AP_E_TIMEOUT, "query timed out in expression evaluation");
    return AP_OK;
}

enum ap_rc run_hold(struct run *run, uint64_t samples, struct ap_err *err)
{
    uint64_t now = atomic_fetch_add(&run->samples_now, samples) + samples;
    uint64_t peak = atomic_load(&run->samples_peak);
    while (now > peak && !atomic_compare_exchange_weak(&run->samples_peak, &peak, now))
        continue;
    if (now <= run->options->samples_max)
        return AP_OK;
    atomic_fetch_sub(&run->samples_now, samples);
    return ap_fail(err, AP_E_LIMIT,
                   "query processing would load too many samples into memory in query execution (more than %" PRIu64
                   ", promql.max_samples); ask for less time, fewer series or larger steps",
                   run->options->samples_max);
}

void run_release(struct run *run, uint64_t samples)
{
    atomic_fetch_sub(&run->samples_now, samples);
}

/* ---- Workers ---- */

double *worker_take(struct worker *worker, size_t count)
{
    AP_ASSERT(worker->buffer_count < WORKER_BUFFERS_MAX);
    struct worker_buffer *buffer = &worker->buffers[worker->buffer_count++];
    if (count > buffer->capacity) {
        free(buffer->values);
        buffer->capacity = count;
        buffer->values = ap_realloc(NULL, count * sizeof(*buffer->values));
    }
    return buffer->values;
}

void worker_give(struct worker *worker)
{
    AP_ASSERT(worker->buffer_count > 0);
    worker->buffer_count--;
}

void *worker_alloc(struct worker *worker, size_t bytes)
{
    void *memory = ap_arena_try_alloc(&worker->arena, bytes);
    AP_ASSERT(memory); /* the arena has no maximum */
    return memory;
}

struct float_histogram **worker_histograms(struct worker *worker, size_t count)
{
    struct float_histogram **histograms = worker_alloc(worker, count * sizeof(struct float_histogram *));
    memset(histograms, 0, count * sizeof(struct float_histogram *));
    return histograms;
}

struct worker *run_worker(struct run *run, size_t index)
{
    if (!run->workers[index]) {
        run->workers[index] = ap_new0(struct worker);
        run->workers[index]->run = run;
        ap_arena_init(&run->workers[index]->arena, 0);
        if (run->request->is_counting)
            run->workers[index]->step_samples = ap_new0_array(uint64_t, run->steps.count);
    }
    return run->workers[index];
}

void worker_free(struct worker *worker)
{
    if (!worker)
        return;
    tsdb_columns_clear(&worker->columns);
    ap_arena_clear(&worker->arena);
    for (size_t i = 0; i < WORKER_BUFFERS_MAX; i++)
        free(worker->buffers[i].values);
    free(worker->step_samples);
    free(worker);
}

/* What all threads of one run_parallel() share. */
struct parallel {
    struct run *run;
    size_t count;
    size_t parts;
    run_part_fn part;
    void *context;
    _Atomic bool has_failed;
    pthread_mutex_t mtx;
    struct ap_err err; /* the first one's */
};

static void run_part(void *context, size_t part)
{
    struct parallel *parallel = context;
    size_t from = parallel->count * part / parallel->parts;
    size_t to = parallel->count * (part + 1) / parallel->parts;
    struct ap_err err = {0};
    if (parallel->has_failed ||
        parallel->part(parallel->run->workers[part], part, from, to, parallel->context, &err) == AP_OK)
        return;
    pthread_mutex_lock(&parallel->mtx);
    if (!parallel->has_failed)
        parallel->err = err;
    parallel->has_failed = true;
    pthread_mutex_unlock(&parallel->mtx);
}

size_t run_parts(const struct run *run, size_t count, uint64_t cost)
{
    enum { WORTH_A_THREAD = 100000 }; /* samples: some hundred microseconds */
    uint64_t parts = (uint64_t)count * (cost + 20) / WORTH_A_THREAD + 1;
    parts = AP_MIN(parts, AP_MIN((uint64_t)run->options->threads_max, (uint64_t)WORKERS_MAX));
    return (size_t)AP_MAX(AP_MIN(parts, (uint64_t)count), 1);
}

enum ap_rc run_parallel(struct run *run, size_t count, uint64_t cost, run_part_fn part, void *context,
                        struct ap_err *err)
{
    size_t parts = run_parts(run, count, cost);
    for (size_t i = 0; i < parts; i++)
        (void)run_worker(run, i);
    if (parts == 1)
        return part(run->workers[0], 0, 0, count, context, err);
    struct parallel parallel = {.run = run, .count = count, .parts = parts, .part = part, .context = context};
    pthread_mutex_init(&parallel.mtx, NULL);
    helpers_run(run->helpers, parts, run_part, &parallel);
    pthread_mutex_destroy(&parallel.mtx);
    if (!parallel.has_failed)
        return AP_OK;
    return ap_fail(err, parallel.err.rc, "%s", parallel.err.text);
}

/* ---- Operators ---- */

void *operator_new(struct run *run, size_t bytes, const struct operator_class *class, const struct promql_expr *expr,
                   const struct steps *steps)
{
    struct operator* op = ap_arena_alloc0(&run->arena, bytes);
    op->class = class;
    op->run = run;
    op->expr = expr;
    op->steps = *steps;
    op->counting = run->counting;
    op->next = run->operators;
    run->operators = op;
    return op;
}

void operator_set_inputs(struct operator* op, struct operator* const * inputs, size_t count)
{
    op->inputs = ap_arena_alloc0(&op->run->arena, (count + 1) * sizeof(struct operator*));
    memcpy(op->inputs, inputs, count * sizeof(struct operator*));
    op->input_count = count;
}

enum ap_rc operator_open_inputs(struct operator* op, struct ap_err *err)
{
    enum ap_rc rc = AP_OK;
    for (size_t i = 0; i < op->input_count && rc == AP_OK; i++)
        rc = operator_open(op->inputs[i], err);
    return rc;
}

/* Reads all once, unless that would take too much of what the query may hold: then each user reads for itself. */
static enum ap_rc share(struct operator* op, struct ap_err *err)
{
    enum { SAMPLES_MAX = 2000000 /* 16 MB */, SHARE_OF_ALL = 8 };
    uint64_t samples = (uint64_t)op->count * op->steps.count;
    if (samples > AP_MIN((uint64_t)SAMPLES_MAX, op->run->options->samples_max / SHARE_OF_ALL))
        return AP_OK;
    struct held *held = ap_arena_alloc0(&op->run->arena, sizeof(*held));
    enum ap_rc rc = held_read(held, op, err);
    op->shared = held; /* also to be freed */
    op->cost = 0;
    return rc;
}

enum ap_rc operator_open(struct operator* op, struct ap_err *err)
{
    if (op->is_open)
        return AP_OK;
    enum ap_rc rc = run_check(op->run, err);
    if (rc == AP_OK)
        rc = op->class->open(op, err);
    if (rc == AP_OK && op->counting != COUNTING_NOTHING)
        op->is_counted = ap_arena_alloc0(&op->run->arena, (op->count + 1) * sizeof(*op->is_counted));
    if (rc == AP_OK && op->uses > 1)
        rc = share(op, err);
    op->is_open = rc == AP_OK;
    return rc;
}

enum ap_rc operator_drive(struct operator* op, struct worker *worker, size_t index, struct column *ret_column,
                          struct ap_err *err)
{
    enum { OF_A_SERIES = 200 };
    enum ap_rc rc = worker_check(worker, op->cost + OF_A_SERIES, err);
    return rc == AP_OK ? operator_read(op, worker, index, ret_column, err) : rc;
}

enum ap_rc operator_take_labels(struct operator* op, bool is_dropping_name, struct ap_err *err)
{
    const struct operator* input = op->inputs[0];
    op->count = input->count;
    op->cost = AP_MAX(op->cost, input->cost);
    op->is_unique_without_name = input->is_unique_without_name;
    op->is_in_order = input->is_in_order;
    op->labels = input->labels;
    (void)err;
    if (!is_dropping_name || op->count == 0)
        return AP_OK;
    op->labels = ap_arena_try_alloc(&op->run->arena, op->count * sizeof(*op->labels));
    if (!op->labels)
        return ap_fail(err, AP_E_NOMEM, "no memory for the labels of %zu series", op->count);
    for (size_t i = 0; i < op->count; i++) {
        struct ap_slice before = input->labels[i];
        op->labels[i] = labels_without_name(op->run, before);
        /* Not only the name in front was dropped, but a type or unit as well. */
        if (before.bytes && op->labels[i].data + op->labels[i].bytes != before.data + before.bytes)
            op->is_unique_without_name = false;
    }
    op->is_in_order &= op->is_unique_without_name; /* then all lost the same */
    return AP_OK;
}

enum ap_rc operator_read_scalar(struct operator* op, double *values, struct ap_err *err)
{
    struct column column = {.values = values};
    return operator_read(op, run_worker(op->run, 0), 0, &column, err);
}

enum ap_rc fail_same_labels(struct ap_err *err)
{
    return ap_fail(err, AP_E_CONFLICT, "vector cannot contain metrics with the same labelset");
}

/* ---- Held series ---- */

static enum ap_rc held_make(struct held *held, struct run *run, size_t count, size_t steps, struct ap_err *err)
{
    *held = (struct held){.steps = steps};
    enum ap_rc rc = run_hold(run, (uint64_t)count * steps, err);
    if (rc != AP_OK)
        return rc;
    held->values = malloc(AP_MAX(count * steps, 1) * sizeof(*held->values));
    if (!held->values) {
        run_release(run, (uint64_t)count * steps);
        return ap_fail(err, AP_E_NOMEM, "no memory for %zu series of %zu points", count, steps);
    }
    held->count = count;
    for (size_t i = 0; i < count * steps; i++)
        held->values[i] = absent();
    for (size_t i = 0; i < WORKERS_MAX; i++)
        ap_arena_init(&held->arenas[i], 0);
    return AP_OK;
}

void held_clear(struct held *held, struct run *run)
{
    if (held->values) {
        run_release(run, (uint64_t)held->count * held->steps);
        for (size_t i = 0; i < WORKERS_MAX; i++)
            ap_arena_clear(&held->arenas[i]);
    }
    free(held->values);
    free(held->histograms);
    *held = (struct held){0};
}

void held_column(const struct held *held, size_t index, struct worker *worker, struct column *ret_column)
{
    memcpy(ret_column->values, held_values(held, index), held->steps * sizeof(double));
    ret_column->histograms = NULL;
    if (!held->histograms || !held->histograms[index])
        return;
    ret_column->histograms = worker_histograms(worker, held->steps); /* the caller may change which there are */
    memcpy(ret_column->histograms, held->histograms[index], held->steps * sizeof(struct float_histogram *));
}

struct holding {
    struct held *held;
    struct operator* op;
};

static struct float_histogram **copy_histograms(struct float_histogram *const *from, size_t count,
                                                struct ap_arena *arena)
{
    struct float_histogram **to = ap_arena_alloc0(arena, count * sizeof(struct float_histogram *));
    for (size_t i = 0; i < count; i++)
        if (from[i])
            to[i] = i && from[i] == from[i - 1] ? to[i - 1] : float_histogram_copy(from[i], arena);
    return to;
}

static enum ap_rc hold_part(struct worker *worker, size_t part, size_t from, size_t to, void *context,
                            struct ap_err *err)
{
    const struct holding *holding = context;
    struct held *held = holding->held;
    enum ap_rc rc = AP_OK;
    for (size_t i = from; i < to && rc == AP_OK; i++) {
        struct column column = {.values = held_values(held, i)};
        rc = operator_drive(holding->op, worker, i, &column, err);
        if (rc == AP_OK && column.histograms)
            held->histograms[i] = copy_histograms(column.histograms, held->steps, &held->arenas[part]);
        if (rc == AP_OK && held->arenas[part].used_bytes > held->histogram_bytes_max)
            rc = ap_fail(err, AP_E_LIMIT, "histograms take more than %zu bytes", held->histogram_bytes_max);
        ap_arena_recycle(&worker->arena);
    }
    return rc;
}

enum ap_rc held_read(struct held *held, struct operator* op, struct ap_err *err)
{
    return held_read_within(held, op, SIZE_MAX, err);
}

enum ap_rc held_read_within(struct held *held, struct operator* op, size_t histogram_bytes_max, struct ap_err *err)
{
    enum ap_rc rc = held_make(held, op->run, op->count, op->steps.count, err);
    if (rc != AP_OK)
        return rc;
    held->histogram_bytes_max = histogram_bytes_max;
    held->histograms = ap_new0_array(struct float_histogram **, held->count + 1);
    struct holding holding = {held, op};
    return run_parallel(op->run, op->count, op->cost, hold_part, &holding, err);
}

/* ---- Windows ---- */

/* How many steps there are before this time; `ts_ms` as the steps count it. */
static size_t steps_before(const struct steps *steps, int64_t ts_ms)
{
    if (ts_ms <= steps->start_ms)
        return 0;
    uint64_t before = ((uint64_t)ts_ms - (uint64_t)steps->start_ms - 1) / (uint64_t)steps->step_ms + 1;
    return (size_t)AP_MIN(before, (uint64_t)steps->count);
}

struct step_span steps_that_see(const struct steps *steps, const struct window_plan *window, int64_t first_ms,
                                int64_t last_ms)
{
    if (window->is_fixed)
        return (struct step_span){0, steps->count};
    return (struct step_span){steps_before(steps, first_ms + window->offset_ms - window->after_ms),
                              steps_before(steps, last_ms + window->offset_ms + window->range_ms + window->before_ms)};
}

size_t times_pass_far(const int64_t *ts_ms, size_t at, size_t count, int64_t last_ms)
{
    while (at < count) {
        size_t middle = at + (count - at) / 2;
        if (ts_ms[middle] <= last_ms)
            at = middle + 1;
        else
            count = middle;
    }
    return at;
}

/* ---- Labels ---- */

struct ap_slice run_copy(struct run *run, struct ap_slice text)
{
    char *copy = ap_arena_try_alloc(&run->arena, text.bytes + 1);
    AP_ASSERT(copy); /* the arena has no maximum */
    memcpy(copy, text.data ? text.data : "", text.bytes);
    return ap_slice(copy, text.bytes);
}

static bool is_metadata(struct ap_slice name)
{
    if (name.bytes < 8 || name.data[0] != '_')
        return false;
    return ap_slice_equal_cstr(name, LABEL_METRIC_NAME) || ap_slice_equal_cstr(name, "__type__") ||
           ap_slice_equal_cstr(name, "__unit__");
}

bool labels_has_name(struct ap_slice labels)
{
    struct label label;
    while (labels_next(&labels, &label)) {
        if (is_metadata(label.name))
            return true;
        if (label.name.bytes && label.name.data[0] > '_') /* they are in order */
            break;
    }
    return false;
}

struct ap_slice labels_without_name(struct run *run, struct ap_slice labels)
{
    struct ap_slice rest = labels;
    struct label label;
    if (labels_next(&rest, &label) && ap_slice_equal_cstr(label.name, LABEL_METRIC_NAME) && !labels_has_name(rest))
        return rest;
    if (!labels_has_name(labels))
        return labels;
    AP_AUTO_BUF struct ap_buf out = {0};
    labels_drop(labels, &(struct promql_labels){0}, true, &out);
    return run_copy(run, ap_buf_slice(&out));
}

static int compare_names(struct ap_slice a, struct ap_slice b)
{
    size_t bytes = AP_MIN(a.bytes, b.bytes);
    int order = bytes ? memcmp(a.data, b.data, bytes) : 0;
    return order ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

/* Moves *at to the first of the sorted names that is not below `name`; whether it is `name`. */
static bool is_among(const struct promql_labels *names, size_t *at, struct ap_slice name)
{
    int order = -1;
    while (*at < names->count && (order = compare_names(names->items[*at], name)) < 0)
        (*at)++;
    return *at < names->count && order == 0;
}

/* Copies labels as they are written: runs that are kept are one copy. */
static void filter(struct ap_slice labels, const struct promql_labels *names, bool is_keeping, bool is_dropping_name,
                   struct ap_buf *out)
{
    size_t at = 0;
    struct label label;
    while (labels.bytes) {
        const char *start = labels.data;
        if (!labels_next(&labels, &label))
            return;
        bool is_kept = is_among(names, &at, label.name) == is_keeping && !(is_dropping_name && is_metadata(label.name));
        if (is_kept)
            ap_buf_add(out, start,
                       (size_t)(labels.bytes ? labels.data - start : label.value.data + label.value.bytes - start));
    }
}

void labels_keep(struct ap_slice labels, const struct promql_labels *names, struct ap_buf *out)
{
    filter(labels, names, true, false, out);
}

void labels_drop(struct ap_slice labels, const struct promql_labels *names, bool is_dropping_name, struct ap_buf *out)
{
    filter(labels, names, false, is_dropping_name, out);
}

void labels_set(struct ap_slice labels, struct ap_slice name, struct ap_slice value, struct ap_buf *out)
{
    struct label added = {name, value};
    bool is_done = value.bytes == 0;
    struct label label;
    while (labels_next(&labels, &label)) {
        int order = compare_names(label.name, name);
        if (!is_done && order >= 0) {
            labels_add(out, &added);
            is_done = true;
        }
        if (order != 0)
            labels_add(out, &label);
    }
    if (!is_done)
        labels_add(out, &added);
}

static int compare_slices(const void *a, const void *b)
{
    return compare_names(*(const struct ap_slice *)a, *(const struct ap_slice *)b);
}

void labels_sort_names(struct promql_labels *names)
{
    if (names->count > 1)
        qsort(names->items, names->count, sizeof(*names->items), compare_slices);
    size_t kept = 0;
    for (size_t i = 0; i < names->count; i++)
        if (kept == 0 || !ap_slice_equal(names->items[i], names->items[kept - 1]))
            names->items[kept++] = names->items[i];
    names->count = kept;
}

/* ---- Label table ---- */

void label_table_clear(struct label_table *table)
{
    free(table->entries);
    free(table->slots);
    *table = (struct label_table){0};
}

static uint64_t hash_of(struct ap_slice labels)
{
    return labels_hash_of(0, labels).low;
}

static void grow(struct label_table *table)
{
    size_t slots = table->slots ? (table->mask + 1) * 2 : 64;
    free(table->slots);
    table->slots = ap_new0_array(uint32_t, slots);
    table->mask = slots - 1;
    for (size_t i = 0; i < table->count; i++) {
        size_t at = table->entries[i].hash & table->mask;
        while (table->slots[at])
            at = (at + 1) & table->mask;
        table->slots[at] = (uint32_t)i + 1;
    }
}

static size_t find(const struct label_table *table, uint64_t hash, struct ap_slice labels, size_t *ret_slot)
{
    size_t at = hash & table->mask;
    for (; table->slots[at]; at = (at + 1) & table->mask) {
        const struct label_table_entry *entry = &table->entries[table->slots[at] - 1];
        if (entry->hash == hash && ap_slice_equal(entry->labels, labels))
            return table->slots[at] - 1;
    }
    *ret_slot = at;
    return SIZE_MAX;
}

size_t label_table_find(const struct label_table *table, struct ap_slice labels)
{
    size_t slot;
    return table->slots ? find(table, hash_of(labels), labels, &slot) : SIZE_MAX;
}

size_t label_table_add(struct label_table *table, struct run *run, struct ap_slice labels, bool *ret_is_new)
{
    if (!table->slots || table->count * 2 > table->mask)
        grow(table);
    uint64_t hash = hash_of(labels);
    size_t slot = 0;
    size_t found = find(table, hash, labels, &slot);
    *ret_is_new = found == SIZE_MAX;
    if (found != SIZE_MAX)
        return found;
    if (table->count == table->capacity) {
        table->capacity = table->capacity ? table->capacity * 2 : 32;
        table->entries = ap_realloc(table->entries, table->capacity * sizeof(*table->entries));
    }
    table->entries[table->count] = (struct label_table_entry){hash, run ? run_copy(run, labels) : labels};
    table->slots[slot] = (uint32_t)++table->count;
    return table->count - 1;
}
