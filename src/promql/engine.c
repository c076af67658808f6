#include "promql/engine.h"

#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "promql/helpers.h"
#include "promql/parser.h"
#include "promql/range_cache.h"
#include "promql/run.h"
#include "tsdb/labels.h"

#define TIME_MS_MAX (INT64_C(1) << 60) /* sums of times and durations stay in 64 bits */

enum { BATCH_COST = 2000000, BATCH_MIN = 16, BATCH_MAX = 4096 };

/* In longer queries nothing is looked for that is there twice: each expression is printed for it, with all below it. */
enum { SHARING_BYTES_MAX = 8192 };

struct promql_engine {
    struct promql_engine_options options;
    struct helpers *helpers;
    struct range_cache *cache; /* NULL: answers are not kept */
    /* Any thread, atomic. */
    _Atomic uint64_t outcomes[PROMQL_OUTCOME_COUNT];
    _Atomic uint64_t durations[PROMQL_DURATION_COUNT];
    _Atomic uint64_t duration_us;
    _Atomic uint64_t samples_read;
    _Atomic uint64_t in_flight;
};

const int64_t promql_durations_us[PROMQL_DURATION_COUNT] = {1000,    5000,     25000,    100000,   500000,
                                                            2500000, 10000000, 60000000, INT64_MAX};

/* Series that were computed ahead of their being asked for, by all threads. */
struct read_ahead {
    size_t from, to;
    size_t capacity;
    double *values; /* capacity * steps */
    struct float_histogram ***histograms;
};

struct promql_execution {
    struct promql_engine *engine; /* lent */
    struct run run;
    struct promql_request request;
    struct promql_query own_query;    /* owned; empty where the request brought one */
    const struct promql_query *query; /* that one or the other */
    struct operator* root;            /* NULL: a string */
    bool is_range_vector;             /* an instant query for one */
    struct window_plan window;        /* then: where it is */
    enum promql_type type;
    uint32_t *order; /* series as the answer has them; NULL: as the root has them */
    struct read_ahead ahead;
    int64_t *ts_ms; /* what a read lends */
    double *values;
    int64_t *histogram_ts_ms;
    struct float_histogram **histograms;
    uint64_t held; /* of the answer */
    struct promql_stats stats;
    enum ap_rc outcome; /* the first failure */
};

void promql_engine_options_init(struct promql_engine_options *options)
{
    *options = (struct promql_engine_options){
        .samples_max = 50000000,
        .lookback_ms = 5 * 60 * AP_MS_PER_S,
        .timeout_ms = 2 * 60 * AP_MS_PER_S,
        .subquery_step_ms = 60 * AP_MS_PER_S,
        .clock = &ap_clock_system,
    };
}

enum ap_rc promql_engine_open(const struct promql_engine_options *options, struct promql_engine **ret_engine,
                              struct ap_err *err)
{
    struct promql_engine *engine = ap_new0(struct promql_engine);
    engine->options = *options;
    if (engine->options.threads_max == 0)
        engine->options.threads_max = (uint32_t)AP_MAX(sysconf(_SC_NPROCESSORS_ONLN), 1L);
    engine->options.threads_max = AP_MIN(engine->options.threads_max, (uint32_t)WORKERS_MAX);
    enum ap_rc rc = helpers_open(engine->options.threads_max - 1, &engine->helpers, err);
    if (rc != AP_OK) {
        free(engine);
        return rc;
    }
    if (options->cache_bytes_max)
        engine->cache = range_cache_new(options->cache_bytes_max);
    *ret_engine = engine;
    return AP_OK;
}

void promql_engine_close(struct promql_engine *engine)
{
    if (!engine)
        return;
    helpers_close(engine->helpers);
    range_cache_free(engine->cache);
    free(engine);
}

const struct promql_engine_options *promql_engine_options_of(const struct promql_engine *engine)
{
    return &engine->options;
}

void promql_engine_cache_stats(const struct promql_engine *engine, struct promql_cache_stats *ret_stats)
{
    *ret_stats = (struct promql_cache_stats){0};
    if (engine->cache)
        range_cache_stats(engine->cache, ret_stats);
}

/* ---- Execution: parse, plan, open ---- */

static enum ap_rc check_request(const struct promql_request *request, struct ap_err *err)
{
    if (request->start_ms < -TIME_MS_MAX || request->end_ms > TIME_MS_MAX)
        return ap_fail(err, AP_E_PARSE, "times must be within %lld ms of 1970", (long long)TIME_MS_MAX);
    if (request->end_ms < request->start_ms)
        return ap_fail(err, AP_E_PARSE, "end timestamp must not be before start time");
    if (request->step_ms < 0 || request->step_ms > TIME_MS_MAX || request->lookback_ms < 0)
        return ap_fail(err, AP_E_PARSE, "steps and look-back must not be negative");
    if (request->step_ms == 0 && request->start_ms != request->end_ms)
        return ap_fail(err, AP_E_PARSE, "a query over a span of time needs a step");
    return AP_OK;
}

static void begin(struct promql_execution *execution, struct promql_engine *engine, struct promql_storage storage,
                  const struct promql_request *request)
{
    execution->engine = engine;
    engine->in_flight++;
    execution->request = *request;
    const struct promql_engine_options *options = &engine->options;
    int64_t timeout_ms =
        request->timeout_ms > 0 ? AP_MIN(request->timeout_ms, options->timeout_ms) : options->timeout_ms;
    struct run *run = &execution->run;
    run->options = options;
    run->request = &execution->request;
    run->storage = storage;
    run->text = request->text;
    run->steps = (struct steps){.start_ms = request->start_ms, .step_ms = AP_MAX(request->step_ms, 1), .count = 1};
    if (request->step_ms > 0)
        run->steps.count = (size_t)((request->end_ms - request->start_ms) / request->step_ms) + 1;
    run->end_ms = request->end_ms;
    run->lookback_ms = request->lookback_ms > 0 ? request->lookback_ms : options->lookback_ms;
    run->deadline_us = ap_clock_monotonic_us(options->clock) + timeout_ms * AP_US_PER_MS;
    run->helpers = engine->helpers;
    ap_arena_init(&run->arena, 0);
    annotations_init(&run->annotations, request->text);
}

/* The whole of a range query: with what is kept of earlier answers, where that may be. */
static struct operator*
    plan_steps(struct run *run, struct range_cache *cache, const struct promql_expr *expr, struct ap_err *err)
{
    struct reach reach;
    bool is_cached = cache && run->request->step_ms > 0 && !run->request->is_uncached && run->storage.class->mark &&
                     reach_find(run, expr, &reach);
    return is_cached ? plan_cached(run, cache, expr, &reach) : plan(run, expr, &run->steps, err);
}

static enum ap_rc plan_root(struct promql_execution *execution, struct range_cache *cache, struct ap_err *err)
{
    struct run *run = &execution->run;
    const struct promql_expr *expr = without_parens(execution->query->expr);
    bool is_instant = execution->request.step_ms == 0;
    execution->type = expr->type;
    if (!is_instant && expr->type != TYPE_SCALAR && expr->type != TYPE_VECTOR)
        return ap_fail(err, AP_E_PARSE,
                       "invalid expression type \"%s\" for range query, must be Scalar or instant Vector",
                       promql_type_name(expr->type));
    if (expr->type == TYPE_STRING)
        return AP_OK;
    /* Statistics count what is written twice twice, as Prometheus does. */
    run->is_sharing =
        execution->query->matchers_count > 1 && run->text.bytes <= SHARING_BYTES_MAX && !execution->request.is_counting;
    execution->is_range_vector = expr->type == TYPE_MATRIX;
    if (execution->request.is_counting) {
        run->counting = COUNTING_BY_STEP;
        run->of_subquery = execution->is_range_vector ? COUNTING_ALL_STEPS : COUNTING_NOTHING;
    }
    execution->root = execution->is_range_vector ? plan_range(run, expr, &run->steps, &execution->window, err)
                                                 : plan_steps(run, cache, expr, err);
    if (!execution->root)
        return err->rc;
    if (!is_instant)
        execution->type = TYPE_MATRIX;
    enum ap_rc rc = operator_open(execution->root, err);
    if (rc != AP_OK)
        return rc;
    /* All of the answer, although only a batch of it is there at a time: whoever asks has to hold it. */
    execution->held = (uint64_t)execution->root->count * run->steps.count;
    rc = run_hold(run, execution->held, err);
    if (rc != AP_OK)
        execution->held = 0;
    return rc;
}

static int compare_by_labels(const void *a, const void *b, void *context)
{
    const struct ap_slice *labels = context;
    return labels_compare(labels[*(const uint32_t *)a], labels[*(const uint32_t *)b]);
}

/* Over a span of time, series come by their labels. */
static void order_series(struct promql_execution *execution)
{
    const struct operator* root = execution->root;
    size_t i = 1;
    while (i < root->count && labels_compare(root->labels[i - 1], root->labels[i]) <= 0)
        i++;
    if (i >= root->count)
        return;
    execution->order = ap_new0_array(uint32_t, root->count);
    for (size_t at = 0; at < root->count; at++)
        execution->order[at] = (uint32_t)at;
    qsort_r(execution->order, root->count, sizeof(*execution->order), compare_by_labels, root->labels);
}

static enum ap_rc read_query(struct promql_execution *execution, struct ap_err *err)
{
    const struct promql_request *request = &execution->request;
    execution->query = request->query ? request->query : &execution->own_query;
    return request->query
               ? AP_OK
               : promql_parse(request->text, execution->engine->options.is_experimental, &execution->own_query, err);
}

static enum ap_rc execute(struct promql_engine *engine, struct promql_storage storage,
                          const struct promql_request *request, struct promql_execution **ret_execution,
                          struct ap_err *err)
{
    AP_AUTO(promql_execution) struct promql_execution *execution = ap_new0(struct promql_execution);
    begin(execution, engine, storage, request);
    const struct ap_clock *clock = engine->options.clock;
    int64_t started_us = ap_clock_monotonic_us(clock);
    enum ap_rc rc = read_query(execution, err);
    int64_t parsed_us = ap_clock_monotonic_us(clock);
    if (rc == AP_OK)
        rc = plan_root(execution, engine->cache, err);
    if (rc == AP_OK && execution->type == TYPE_MATRIX && execution->root)
        order_series(execution);
    execution->stats.parse_us = parsed_us - started_us;
    execution->stats.open_us = ap_clock_monotonic_us(clock) - parsed_us;
    promql_execution_note_failure(execution, rc);
    if (rc != AP_OK)
        return rc;
    *ret_execution = execution;
    execution = NULL;
    return AP_OK;
}

enum ap_rc promql_execute(struct promql_engine *engine, struct promql_storage storage,
                          const struct promql_request *request, struct promql_execution **ret_execution,
                          struct ap_err *err)
{
    enum ap_rc rc = check_request(request, err);
    if (rc == AP_OK)
        return execute(engine, storage, request, ret_execution, err);
    engine->outcomes[PROMQL_REFUSED]++;
    return rc;
}

void promql_execution_note_failure(struct promql_execution *execution, enum ap_rc rc)
{
    if (execution->outcome == AP_OK)
        execution->outcome = rc;
}

static enum promql_outcome outcome_of(enum ap_rc rc)
{
    switch (rc) {
    case AP_OK:
        return PROMQL_SUCCEEDED;
    case AP_E_PARSE:
        return PROMQL_REFUSED;
    case AP_E_LIMIT:
        return PROMQL_LIMITED;
    case AP_E_TIMEOUT:
        return PROMQL_TIMED_OUT;
    case AP_E_BUSY:
        return PROMQL_CANCELLED;
    default:
        return PROMQL_FAILED;
    }
}

static void add_to_figures(const struct promql_execution *execution)
{
    struct promql_engine *engine = execution->engine;
    struct promql_stats stats;
    promql_execution_stats(execution, &stats);
    int64_t duration_us = stats.parse_us + stats.open_us + stats.read_us;
    size_t bucket = 0;
    while (duration_us > promql_durations_us[bucket])
        bucket++;
    engine->durations[bucket]++;
    engine->duration_us += (uint64_t)duration_us;
    engine->samples_read += stats.samples_read;
    engine->outcomes[outcome_of(execution->outcome)]++;
    engine->in_flight--;
}

void promql_engine_stats(const struct promql_engine *engine, struct promql_engine_stats *ret_stats)
{
    *ret_stats = (struct promql_engine_stats){
        .duration_us = engine->duration_us, .samples_read = engine->samples_read, .in_flight = engine->in_flight};
    for (size_t i = 0; i < PROMQL_OUTCOME_COUNT; i++)
        ret_stats->outcomes[i] = engine->outcomes[i];
    for (size_t i = 0; i < PROMQL_DURATION_COUNT; i++)
        ret_stats->durations[i] = engine->durations[i];
}

void promql_execution_free(struct promql_execution *execution)
{
    if (!execution)
        return;
    add_to_figures(execution);
    struct run *run = &execution->run;
    for (struct operator* op = run->operators; op; op = op->next) {
        if (op->shared)
            held_clear(op->shared, run);
        if (op->class->close)
            op->class->close(op);
    }
    run_release(run, execution->held);
    for (size_t i = 0; i < WORKERS_MAX; i++)
        worker_free(run->workers[i]);
    annotations_clear(&run->annotations);
    ap_arena_clear(&run->arena);
    promql_query_clear(&execution->own_query);
    free(execution->order);
    free(execution->ahead.values);
    free(execution->ahead.histograms);
    free(execution->ts_ms);
    free(execution->values);
    free(execution->histogram_ts_ms);
    free(execution->histograms);
    free(execution);
}

enum promql_type promql_execution_type(const struct promql_execution *execution)
{
    return execution->type;
}

struct ap_slice promql_execution_text(const struct promql_execution *execution)
{
    AP_ASSERT(execution->type == TYPE_STRING);
    return without_parens(execution->query->expr)->text;
}

size_t promql_execution_count(const struct promql_execution *execution)
{
    return execution->root ? execution->root->count : 0;
}

static size_t series_at(const struct promql_execution *execution, size_t index)
{
    return execution->order ? execution->order[index] : index;
}

struct ap_slice promql_execution_labels(const struct promql_execution *execution, size_t index)
{
    return execution->root->labels[series_at(execution, index)];
}

/* ---- Reading ---- */

static enum ap_rc read_batch_part(struct worker *worker, size_t part, size_t from, size_t to, void *context,
                                  struct ap_err *err)
{
    struct promql_execution *execution = context;
    struct read_ahead *ahead = &execution->ahead;
    enum ap_rc rc = AP_OK;
    (void)part;
    ap_arena_recycle(&worker->arena); /* what is made now has to stay as long as the batch */
    for (size_t i = from; i < to && rc == AP_OK; i++) {
        struct column column = {.values = ahead->values + i * execution->run.steps.count};
        rc = operator_drive(execution->root, worker, series_at(execution, ahead->from + i), &column, err);
        ahead->histograms[i] = column.histograms;
    }
    return rc;
}

static enum ap_rc read_batch(struct promql_execution *execution, size_t from, struct ap_err *err)
{
    struct read_ahead *ahead = &execution->ahead;
    const struct operator* root = execution->root;
    size_t steps = execution->run.steps.count;
    if (!ahead->values) {
        uint64_t fitting = BATCH_COST / (root->cost + steps + 20);
        ahead->capacity =
            (size_t)AP_MIN(AP_MAX(AP_MIN(fitting, (uint64_t)BATCH_MAX), (uint64_t)BATCH_MIN), root->count);
        ahead->values = ap_new0_array(double, ahead->capacity *steps);
        ahead->histograms = ap_new0_array(struct float_histogram **, ahead->capacity);
    }
    ahead->from = from;
    ahead->to = AP_MIN(from + ahead->capacity, root->count);
    const struct ap_clock *clock = execution->run.options->clock;
    int64_t started_us = ap_clock_monotonic_us(clock);
    enum ap_rc rc = run_parallel(&execution->run, ahead->to - from, root->cost, read_batch_part, execution, err);
    execution->stats.read_us += ap_clock_monotonic_us(clock) - started_us;
    if (rc != AP_OK)
        ahead->to = from;
    return rc;
}

static void make_room(struct promql_execution *execution)
{
    size_t steps = execution->run.steps.count;
    if (execution->ts_ms)
        return;
    execution->ts_ms = ap_new0_array(int64_t, steps);
    execution->values = ap_new0_array(double, steps);
    execution->histogram_ts_ms = ap_new0_array(int64_t, steps);
    execution->histograms = ap_new0_array(struct float_histogram *, steps);
}

static enum ap_rc read_column(struct promql_execution *execution, size_t index, struct promql_points *ret_points,
                              struct ap_err *err)
{
    struct read_ahead *ahead = &execution->ahead;
    if (index < ahead->from || index >= ahead->to) {
        enum ap_rc rc = read_batch(execution, index, err);
        if (rc != AP_OK)
            return rc;
    }
    make_room(execution);
    const struct steps *steps = &execution->run.steps;
    const double *values = ahead->values + (index - ahead->from) * steps->count;
    struct float_histogram **histograms = ahead->histograms[index - ahead->from];
    size_t count = 0, histogram_count = 0;
    for (size_t i = 0; i < steps->count; i++) {
        if (!is_absent(values[i])) {
            execution->ts_ms[count] = step_time(steps, i);
            execution->values[count++] = values[i];
        } else if (histograms && histograms[i]) {
            execution->histogram_ts_ms[histogram_count] = step_time(steps, i);
            execution->histograms[histogram_count++] = histograms[i];
        }
    }
    *ret_points = (struct promql_points){execution->ts_ms,           execution->values,     count,
                                         execution->histogram_ts_ms, execution->histograms, histogram_count};
    return AP_OK;
}

static enum ap_rc read_samples(struct promql_execution *execution, size_t index, struct promql_points *points,
                               struct ap_err *err)
{
    struct worker *worker = run_worker(&execution->run, 0);
    ap_arena_recycle(&worker->arena);
    struct operator* root = execution->root;
    const struct ap_clock *clock = execution->run.options->clock;
    int64_t started_us = ap_clock_monotonic_us(clock);
    enum ap_rc rc = root->class->read_samples(root, worker, series_at(execution, index), points, err);
    execution->stats.read_us += ap_clock_monotonic_us(clock) - started_us;
    if (rc != AP_OK)
        return rc;
    const struct window_plan *window = &execution->window;
    int64_t end_ms = window->is_fixed ? window->fixed_ms : execution->run.steps.start_ms - window->offset_ms;
    int64_t start_ms = end_ms - window->range_ms - window->before_ms;
    int64_t until_ms = end_ms + window->after_ms;
    while (points->count && points->ts_ms[points->count - 1] > until_ms)
        points->count--;
    for (; points->count && points->ts_ms[0] <= start_ms; points->count--, points->values++)
        points->ts_ms++;
    while (points->histogram_count && points->histogram_ts_ms[points->histogram_count - 1] > until_ms)
        points->histogram_count--;
    for (; points->histogram_count && points->histogram_ts_ms[0] <= start_ms; points->histogram_count--) {
        points->histogram_ts_ms++;
        points->histograms++;
    }
    /* A sub-query has counted what it is made of. */
    if (operator_counts(root, series_at(execution, index)) && root->input_count == 0) {
        operator_count(root, worker, 0, points->count);
        for (size_t i = 0; i < points->histogram_count; i++)
            operator_count(root, worker, 0, float_histogram_samples(points->histograms[i]));
    }
    return window->extension == EXTENSION_NONE ? AP_OK : window_extend_samples(window, end_ms, worker, points, err);
}

enum ap_rc promql_execution_read(struct promql_execution *execution, size_t index, struct promql_points *ret_points,
                                 struct ap_err *err)
{
    AP_ASSERT(index < promql_execution_count(execution));
    enum ap_rc rc = execution->is_range_vector ? read_samples(execution, index, ret_points, err)
                                               : read_column(execution, index, ret_points, err);
    promql_execution_note_failure(execution, rc);
    return rc;
}

/* ---- Beside the answer ---- */

size_t promql_execution_annotations(const struct promql_execution *execution, enum promql_annotation_kind kind)
{
    return execution->run.annotations.counts[kind];
}

const char *promql_execution_annotation(const struct promql_execution *execution, enum promql_annotation_kind kind,
                                        size_t index)
{
    return execution->run.annotations.texts[kind][index];
}

void promql_execution_stats(const struct promql_execution *execution, struct promql_stats *ret_stats)
{
    const struct run *run = &execution->run;
    *ret_stats = execution->stats;
    for (size_t i = 0; i < WORKERS_MAX; i++)
        if (run->workers[i])
            ret_stats->samples_read += run->workers[i]->samples_read;
    for (size_t i = 0; run->request->is_counting && i < run->steps.count; i++)
        ret_stats->samples_queried += promql_execution_samples_at(execution, i);
    ret_stats->samples_peak = run->samples_peak;
    ret_stats->series_selected = run->series_selected;
}

size_t promql_execution_steps(const struct promql_execution *execution)
{
    return execution->run.steps.count;
}

uint64_t promql_execution_samples_at(const struct promql_execution *execution, size_t step)
{
    const struct run *run = &execution->run;
    uint64_t samples = 0;
    for (size_t i = 0; i < WORKERS_MAX; i++)
        if (run->workers[i] && run->workers[i]->step_samples)
            samples += run->workers[i]->step_samples[step] + run->workers[i]->samples_at_all_steps;
    return samples;
}
