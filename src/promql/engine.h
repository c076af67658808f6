/*
 * promql/engine.h - runs queries
 *
 *     text ──parse──► tree ──plan──► operators ──open──► which series there are ──read──► one series after the other
 *
 * A query over a span of time is not run once for each step: an operator gives a series as a column with a value for
 * every step, and a series is computed when it is asked for. So `sum by (job) (rate(x[5m]))` over a million series
 * needs memory for the jobs and not for the million (docs/decisions/0008-columns-on-demand.md).
 *
 * The language is that of Prometheus 3; differences are in docs/promql-differences.md.
 *
 * Threads: an engine is used by any number of threads, an execution by one. The engine's own threads help with large
 * queries.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rc.h"
#include "base/slice.h"
#include "promql/float_histogram.h"
#include "promql/functions.h"
#include "promql/storage.h"

struct promql_engine; /* private to engine.c */
struct promql_query;

struct promql_engine_options {
    uint32_t threads_max;     /* for one query, the caller's among them; 0: one a core */
    uint64_t samples_max;     /* in memory at a time for one query; Prometheus' default, 50 million */
    uint64_t series_max;      /* that one selector may select; 0: any number */
    int64_t lookback_ms;      /* an instant selector sees samples up to so old: 5 m */
    int64_t timeout_ms;       /* 2 m */
    int64_t subquery_step_ms; /* where a sub-query says none: 1 m */
    bool is_experimental;
    size_t cache_bytes_max;       /* of kept answers of range queries, about; 0: none are kept, as it is by default */
    const struct ap_clock *clock; /* lent; for the timeout */
};
void promql_engine_options_init(struct promql_engine_options *options);

ap_nodiscard enum ap_rc promql_engine_open(const struct promql_engine_options *options,
                                           struct promql_engine **ret_engine, struct ap_err *err);
/* No execution may be under way. NULL is allowed. */
void promql_engine_close(struct promql_engine *engine);
AP_DEFINE_AUTO(promql_engine, struct promql_engine, promql_engine_close)
const struct promql_engine_options *promql_engine_options_of(const struct promql_engine *engine);

struct promql_cache_stats {
    uint64_t hits;         /* range queries answered without the store */
    uint64_t partial_hits; /* with the store for some of their steps */
    uint64_t misses;       /* computed in full; those that are not kept for what they ask are not among them */
    uint64_t evictions;    /* answers that made room for others */
    uint64_t answers;      /* kept now */
    uint64_t bytes;
};
void promql_engine_cache_stats(const struct promql_engine *engine, struct promql_cache_stats *ret_stats);

struct promql_request {
    struct ap_slice text; /* must stay as long as the execution */
    /* NULL, or the text as promql_parse() has read it, which must stay as well: whoever asks the same again and again
       reads it once. Any number of executions may use it at a time. */
    const struct promql_query *query;
    int64_t start_ms;
    int64_t end_ms;      /* for an instant query the same as start_ms */
    int64_t step_ms;     /* 0: an instant query */
    int64_t lookback_ms; /* 0: the engine's */
    int64_t timeout_ms;  /* 0, or longer than the engine's: the engine's */
    bool is_uncached;    /* compute all of it, and keep nothing */
    /* NULL, or asked every 20 ms, from any thread, one at a time: true ends the query with AP_E_BUSY. */
    bool (*is_cancelled)(void *context);
    void *context;
    /* Counts what Prometheus calls queryable samples: those that each step looks at, for promql_execution_stats() and
       promql_execution_samples_at(). Costs a little. */
    bool is_counting;
};

/*
 * Parses what is not read yet, plans and opens. AP_E_PARSE: the text or the times are wrong. AP_E_LIMIT: too many
 * samples or series. AP_E_TIMEOUT. AP_E_BUSY: cancelled. AP_E_CONFLICT: it cannot be evaluated (many-to-many matching
 * and the like).
 */
struct promql_execution;
ap_nodiscard enum ap_rc promql_execute(struct promql_engine *engine, struct promql_storage storage,
                                       const struct promql_request *request, struct promql_execution **ret_execution,
                                       struct ap_err *err);
void promql_execution_free(struct promql_execution *execution); /* NULL is allowed */
AP_DEFINE_AUTO(promql_execution, struct promql_execution, promql_execution_free)

/* TYPE_MATRIX for a range query, and for an instant one whose expression is a range vector. */
enum promql_type promql_execution_type(const struct promql_execution *execution);
struct ap_slice promql_execution_text(const struct promql_execution *execution); /* of a TYPE_STRING */

/*
 * Series in the order of the answer: of a range query by labels; of an instant query as sort(), topk() and the like
 * leave them. Some may turn out to have no points.
 */
size_t promql_execution_count(const struct promql_execution *execution);
struct ap_slice promql_execution_labels(const struct promql_execution *execution, size_t index); /* lent, canonical */

/* Of one series, each kind in order of time, without staleness markers. */
struct promql_points {
    const int64_t *ts_ms;
    const double *values;
    size_t count;
    const int64_t *histogram_ts_ms;
    struct float_histogram *const *histograms;
    size_t histogram_count;
};
/* Lent until the next read; fastest in rising order of index. */
ap_nodiscard enum ap_rc promql_execution_read(struct promql_execution *execution, size_t index,
                                              struct promql_points *ret_points, struct ap_err *err);

/* After the last read: what Prometheus calls annotations, each once, with line and column; lent. */
enum promql_annotation_kind { PROMQL_WARNING, PROMQL_INFO };
size_t promql_execution_annotations(const struct promql_execution *execution, enum promql_annotation_kind kind);
const char *promql_execution_annotation(const struct promql_execution *execution, enum promql_annotation_kind kind,
                                        size_t index);

/* The answer could not be delivered, for the engine's figures. */
void promql_execution_note_failure(struct promql_execution *execution, enum ap_rc rc);

struct promql_stats {
    uint64_t samples_read;    /* out of the store */
    uint64_t samples_queried; /* sum of those of all steps; 0 when they were not to be counted */
    uint64_t samples_peak;    /* in memory at a time */
    uint64_t series_selected;
    int64_t parse_us;
    int64_t open_us; /* selecting series, and all that has to be known before the first read */
    int64_t read_us;
};
void promql_execution_stats(const struct promql_execution *execution, struct promql_stats *ret_stats);
/* Of a query that counts: the samples that a step looked at, a histogram for as many as Prometheus takes it for. */
uint64_t promql_execution_samples_at(const struct promql_execution *execution, size_t step);
size_t promql_execution_steps(const struct promql_execution *execution);

/* ---- Figures of an engine: all its executions that have been freed ---- */

enum promql_outcome {
    PROMQL_SUCCEEDED,
    PROMQL_REFUSED, /* wrong text or times */
    PROMQL_LIMITED, /* too many samples or series */
    PROMQL_TIMED_OUT,
    PROMQL_CANCELLED,
    PROMQL_FAILED,
    PROMQL_OUTCOME_COUNT,
};
enum { PROMQL_DURATION_COUNT = 9 };

struct promql_engine_stats {
    uint64_t outcomes[PROMQL_OUTCOME_COUNT];
    uint64_t
        durations[PROMQL_DURATION_COUNT]; /* that took at most promql_durations_us[i], and more than the one before */
    uint64_t duration_us;                 /* of all */
    uint64_t samples_read;
    uint64_t in_flight;
};
extern const int64_t promql_durations_us[PROMQL_DURATION_COUNT]; /* the last one is INT64_MAX */
void promql_engine_stats(const struct promql_engine *engine, struct promql_engine_stats *ret_stats);
