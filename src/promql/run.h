/*
 * promql/run.h - a query being run: operators, columns, workers
 *
 *     struct operator: open() says which series there are (their labels), read() computes one of them as a column
 *
 * Opening goes from the leaves to the root, on one thread; operators that need all their input before they can give
 * anything (aggregations, sorting, matching with repeated signatures) drive their inputs' series in it, spread over the
 * workers. Reading is by index, in any order, from several workers at a time.
 *
 * Memory: a column's values are in the reader's buffer. Histograms, and whatever else a read makes, are in the arena of
 * its worker, which is reset by whoever drives the read, after it has taken what it needs. What an operator keeps is in
 * its own arena, or malloc'd and counted with run_hold().
 *
 * Internal to promql/.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bits.h"
#include "promql/annotations.h"
#include "promql/ast.h"
#include "promql/engine.h"
#include "promql/float_histogram.h"
#include "promql/storage.h"

enum { WORKERS_MAX = 16, WORKER_BUFFERS_MAX = 64 };

/* A slot without a sample holds the staleness marker, which no sample that a query sees has. */
#define ABSENT_BITS UINT64_C(0x7ff0000000000002)

static inline double absent(void)
{
    return ap_double_of_bits(ABSENT_BITS);
}

static inline bool is_absent(double value)
{
    return ap_double_to_bits(value) == ABSENT_BITS;
}

/* The times at which an expression is evaluated. */
struct steps {
    int64_t start_ms;
    int64_t step_ms; /* at least 1, also when there is one step only */
    size_t count;
};

static inline int64_t step_time(const struct steps *steps, size_t index)
{
    return steps->start_ms + (int64_t)index * steps->step_ms;
}

/* One series: a float, a histogram or nothing for each step. */
struct column {
    double *values;                      /* the reader's, steps.count of them */
    struct float_histogram **histograms; /* NULL: there are none; where one is, its value is absent() */
};

struct run;

/* A thread's tools. */
struct worker {
    struct run *run;
    struct ap_arena arena;
    struct tsdb_columns columns;
    struct worker_buffer {
        double *values;
        size_t capacity;
    } buffers[WORKER_BUFFERS_MAX];
    size_t buffer_count; /* in use, the first ones */
    uint64_t samples_read;
    uint64_t *step_samples;        /* of the query's steps; NULL when they are not to be counted */
    uint64_t samples_at_all_steps; /* for each of them, beside the above */
    uint64_t unchecked;            /* worker_check()'s */
};

/* Uninitialised, `count` doubles; given back in reverse order. */
double *worker_take(struct worker *worker, size_t count);
void worker_give(struct worker *worker);
/* As ap_arena_alloc0() from the worker's arena, but uninitialised. */
void *worker_alloc(struct worker *worker, size_t bytes);
/* All NULL, one for each step. */
struct float_histogram **worker_histograms(struct worker *worker, size_t count);

struct operator;
struct operator_class {
    /* Opens the inputs first where it has any. Fills count, labels, is_unique_without_name. */
    enum ap_rc (*open)(struct operator* op, struct ap_err *err);
    /* ret_column->values is set by the caller, the rest by this. */
    enum ap_rc (*read)(struct operator* op, struct worker *worker, size_t index, struct column *ret_column,
                       struct ap_err *err);
    /* Range vectors only, in place of read(). */
    enum ap_rc (*read_samples)(struct operator* op, struct worker *worker, size_t index,
                               struct promql_points *ret_samples, struct ap_err *err);
    void (*close)(struct operator* op); /* may be NULL */
};

enum { OPERATOR_INPUTS_MAX = 8 };

/* Which of the query's steps the samples count for that a step of an operator looks at. */
enum counting_kind {
    COUNTING_NOTHING,  /* nobody asked; or in a sub-query, whose results are counted in place of its samples */
    COUNTING_BY_STEP,  /* the operator's steps are the query's */
    COUNTING_ALL_STEPS /* the operator has one step, which stands for all */
};

struct operator
{
    const struct operator_class *class;
    struct run *run;
    const struct promql_expr *expr; /* for positions in annotations, and what it says */
    struct steps steps;             /* of its column; of a range vector: of who uses it */
    struct operator** inputs;       /* in the run's arena */
    size_t input_count;
    size_t count;                /* series */
    struct ap_slice *labels;     /* canonical; lent by a set, or in the run's arena */
    bool is_in_order;            /* one that labels alone decide, for certain */
    bool is_unique_without_name; /* no two series become the same when their names are dropped */
    bool is_open;
    enum counting_kind counting;
    _Atomic bool *is_counted; /* of each series, as some are read more than once; NULL: COUNTING_NOTHING */
    uint32_t uses;         /* by other operators; more than one only of what is written more than once in the query */
    struct held *shared;   /* its columns, where it is used more than once and they are not too many */
    uint64_t cost;         /* samples that a read looks at, about: whether it is worth waking other threads */
    struct operator* next; /* all of the run */
};

/* Opens once. */
enum ap_rc operator_open(struct operator* op, struct ap_err *err);
enum ap_rc operator_open_inputs(struct operator* op, struct ap_err *err);

struct held;
void held_column(const struct held *held, size_t index, struct worker *worker, struct column *ret_column);

static inline enum ap_rc operator_read(struct operator* op, struct worker *worker, size_t index,
                                       struct column *ret_column, struct ap_err *err)
{
    if (op->shared) {
        held_column(op->shared, index, worker, ret_column);
        return AP_OK;
    }
    ret_column->histograms = NULL;
    return op->class->read(op, worker, index, ret_column, err);
}

/* Whether the samples of this series are still to be counted, which the caller does then. */
static inline bool operator_counts(struct operator* op, size_t index)
{
    return op->is_counted && !atomic_exchange(&op->is_counted[index], true);
}

static inline void operator_count(const struct operator* op, struct worker *worker, size_t step, uint64_t samples)
{
    if (op->counting == COUNTING_BY_STEP)
        worker->step_samples[step] += samples;
    else
        worker->samples_at_all_steps += samples;
}
/* operator_read() for whoever reads one series after the other: fails when the query has to end. */
enum ap_rc operator_drive(struct operator* op, struct worker *worker, size_t index, struct column *ret_column,
                          struct ap_err *err);

struct run {
    const struct promql_engine_options *options;
    const struct promql_request *request;
    struct promql_storage storage;
    struct ap_slice text;
    struct ap_arena arena; /* of plan, labels: only while opening */
    struct steps steps;    /* the query's */
    int64_t end_ms;        /* the query's, not moved to a step: what end() says */
    int64_t lookback_ms;
    int64_t deadline_us;
    _Atomic int64_t ask_us; /* when to ask again whether it is cancelled */
    _Atomic bool is_cancelled;
    struct operator* operators; /* all, newest first */
    struct planned *planned;    /* those that equal expressions may share */
    bool is_sharing;            /* there may be such */
    struct annotations annotations;
    struct helpers *helpers;             /* the engine's */
    struct worker *workers[WORKERS_MAX]; /* made when they are needed; 0 is the caller's */
    enum counting_kind counting;         /* of operators that are planned now */
    enum counting_kind of_subquery;      /* of those in a sub-query: the query itself may be one */
    _Atomic uint64_t samples_now;
    _Atomic uint64_t samples_peak;
    uint64_t series_selected;
};

/* Made when it is first asked for, on the thread that opens. */
struct worker *run_worker(struct run *run, size_t index);
void worker_free(struct worker *worker); /* NULL is allowed */

/* AP_E_TIMEOUT or AP_E_BUSY when the query has to end. Asks for the time. */
enum ap_rc run_check(struct run *run, struct ap_err *err);

/* The same, but only after some hundred microseconds' work: `samples` were looked at since the last call, about. */
static inline enum ap_rc worker_check(struct worker *worker, uint64_t samples, struct ap_err *err)
{
    enum { UNCHECKED_MAX = 100000 };
    worker->unchecked += samples;
    if (worker->unchecked <= UNCHECKED_MAX)
        return AP_OK;
    worker->unchecked = 0;
    return run_check(worker->run, err);
}

/* Counts samples that stay in memory; AP_E_LIMIT above the engine's maximum. run_release() before freeing them. */
enum ap_rc run_hold(struct run *run, uint64_t samples, struct ap_err *err);
void run_release(struct run *run, uint64_t samples);

/*
 * Calls `part` for 0 … count - 1 in contiguous parts, from as many threads as it is worth: `cost` is what one of them
 * looks at. Parts are the same from run to run, and numbered from 0; there are at most run_parts(). The first failure
 * ends it.
 */
typedef enum ap_rc (*run_part_fn)(struct worker *worker, size_t part, size_t from, size_t to, void *context,
                                  struct ap_err *err);
size_t run_parts(const struct run *run, size_t count, uint64_t cost);
enum ap_rc run_parallel(struct run *run, size_t count, uint64_t cost, run_part_fn part, void *context,
                        struct ap_err *err);

/* ---- Windows: which samples a step sees ---- */

struct window_plan {
    int64_t range_ms;
    int64_t offset_ms; /* the window of step t ends at t - offset_ms, or at fixed_ms */
    bool is_fixed;
    int64_t fixed_ms;
    enum promql_extension extension;
    int64_t before_ms; /* so much in front of the window, and behind it, is looked at as well */
    int64_t after_ms;
};

static inline int64_t window_plan_end(const struct window_plan *window, int64_t ts_ms)
{
    return window->is_fixed ? window->fixed_ms : ts_ms - window->offset_ms;
}

/* From ≤ i < to. */
struct step_span {
    size_t from, to;
};
/* Outside of these no window has anything of samples between these times. */
struct step_span steps_that_see(const struct steps *steps, const struct window_plan *window, int64_t first_ms,
                                int64_t last_ms);

static inline void fill_absent(double *values, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        values[i] = absent();
}

/* The first position from `at` on whose time is behind `last_ms`. */
size_t times_pass_far(const int64_t *ts_ms, size_t at, size_t count, int64_t last_ms);
static inline size_t times_pass(const int64_t *ts_ms, size_t at, size_t count, int64_t last_ms)
{
    for (size_t near = 0; near < 8; near++, at++) /* mostly it is a few further on */
        if (at == count || ts_ms[at] > last_ms)
            return at;
    return times_pass_far(ts_ms, at, count, last_ms);
}

/* ---- Labels: canonical sets, made in the run's arena ---- */

struct ap_slice run_copy(struct run *run, struct ap_slice text);
/* Without __name__, __type__ and __unit__; mostly a part of what it is given. */
struct ap_slice labels_without_name(struct run *run, struct ap_slice labels);
bool labels_has_name(struct ap_slice labels);
/* Only these, or all but these (and the metadata labels, if so); `names` sorted. Appends to `out`. */
void labels_keep(struct ap_slice labels, const struct promql_labels *names, struct ap_buf *out);
void labels_drop(struct ap_slice labels, const struct promql_labels *names, bool is_dropping_name, struct ap_buf *out);
/* With `name` set to `value`, removed when that is empty. */
void labels_set(struct ap_slice labels, struct ap_slice name, struct ap_slice value, struct ap_buf *out);
/* Sorted, each once. */
void labels_sort_names(struct promql_labels *names);

/* Numbers label sets 0, 1, 2… in order of first appearance. */
struct label_table {
    struct label_table_entry {
        uint64_t hash;
        struct ap_slice labels;
    } * entries;
    uint32_t *slots; /* entry + 1, or 0 */
    size_t mask;
    size_t count;
    size_t capacity;
};
void label_table_clear(struct label_table *table);
/* The set's number; copies it into the run's arena when it is new (`run` NULL: it lives long enough as it is). */
size_t label_table_add(struct label_table *table, struct run *run, struct ap_slice labels, bool *ret_is_new);
/* SIZE_MAX: not there. */
size_t label_table_find(const struct label_table *table, struct ap_slice labels);

/* ---- Series that are held in memory ---- */

struct held {
    double *values;                       /* count * steps */
    struct float_histogram ***histograms; /* for each series NULL or one for each step; NULL: none has any */
    struct ap_arena arenas[WORKERS_MAX];  /* of the histograms, one for each part */
    size_t count;
    size_t steps;
    size_t histogram_bytes_max; /* of each part */
};
/* Reads all series of `op`; those without points keep their place. */
enum ap_rc held_read(struct held *held, struct operator* op, struct ap_err *err);
/* AP_E_LIMIT also when a thread's histograms take more than that. */
enum ap_rc held_read_within(struct held *held, struct operator* op, size_t histogram_bytes_max, struct ap_err *err);
void held_clear(struct held *held, struct run *run);
static inline double *held_values(const struct held *held, size_t index)
{
    return held->values + index * held->steps;
}
/* The histogram at a step, or NULL. */
static inline struct float_histogram *held_histogram(const struct held *held, size_t index, size_t step)
{
    return held->histograms && held->histograms[index] ? held->histograms[index][step] : NULL;
}

/* ---- Planning: what plan.c and the operators' own files offer each other ---- */

/* The operator for an expression at these steps; NULL with `err` where it cannot be planned. */
struct operator* plan(struct run *run, const struct promql_expr *expr, const struct steps *steps, struct ap_err *err);
/* A range vector's samples; `ret_window` says where a step's window is. */
struct operator* plan_range(struct run *run, const struct promql_expr *expr, const struct steps *steps,
                            struct window_plan *ret_window, struct ap_err *err);
/* AP_E_PARSE: out of range, or not positive where it has to be. */
enum ap_rc plan_duration(struct run *run, const struct promql_duration *duration, bool is_positive, int64_t *ret_ms,
                         struct ap_err *err);

/* window_extended.c: the samples of an anchored or smoothed range as an answer, with one at each end. */
enum ap_rc window_extend_samples(const struct window_plan *plan, int64_t end_ms, struct worker *worker,
                                 struct promql_points *points, struct ap_err *err);
/* A smoothed selector: what would be there between the samples around a step. */
void window_smooth(struct operator* op, const struct window_plan *plan, struct ap_slice metric, struct worker *worker,
                   const struct promql_points *points, struct column *ret_column);

/* A new operator of `bytes` bytes that begin with struct operator. */
void *operator_new(struct run *run, size_t bytes, const struct operator_class *class, const struct promql_expr *expr,
                   const struct steps *steps);
void operator_set_inputs(struct operator* op, struct operator* const * inputs, size_t count);
/* The same labels as input 0, without the name; where that makes two equal, they are merged when opened. */
enum ap_rc operator_take_labels(struct operator* op, bool is_dropping_name, struct ap_err *err);
/* The value of a scalar operator at every step; values[steps.count]. */
enum ap_rc operator_read_scalar(struct operator* op, double *values, struct ap_err *err);

static inline const struct promql_expr *without_parens(const struct promql_expr *expr)
{
    while (expr->kind == EXPR_PAREN)
        expr = expr->paren;
    return expr;
}

struct operator* plan_selector(struct run *run, const struct promql_expr *expr, const struct steps *steps,
                               bool is_timestamp, struct ap_err *err);
struct operator* plan_number(struct run *run, const struct promql_expr *expr, double value, const struct steps *steps);
struct operator*
    plan_call(struct run *run, const struct promql_expr *expr, const struct steps *steps, struct ap_err *err);
struct operator*
    plan_window_call(struct run *run, const struct promql_expr *expr, const struct steps *steps, struct ap_err *err);
struct operator*
    plan_histogram_call(struct run *run, const struct promql_expr *expr, const struct steps *steps, struct ap_err *err);
struct operator*
    plan_label_call(struct run *run, const struct promql_expr *expr, const struct steps *steps, struct ap_err *err);
struct operator*
    plan_info(struct run *run, const struct promql_expr *expr, const struct steps *steps, struct ap_err *err);
struct operator*
    plan_aggregate(struct run *run, const struct promql_expr *expr, const struct steps *steps, struct ap_err *err);
struct operator*
    plan_binary(struct run *run, const struct promql_expr *expr, const struct steps *steps, struct ap_err *err);
struct operator* plan_time(struct run *run, const struct promql_expr *expr, const struct steps *steps);
/* What an operator gives for two floats; comparisons give 1 or 0. */
double scalar_operate(enum promql_operator operator, double left, double right);
/* Series that have the same labels become one; two points at the same step fail the query. */
struct operator* plan_merge(struct operator* input);

enum ap_rc fail_same_labels(struct ap_err *err);
