/*
 * promql/range_cache.h - answers of range queries, kept for the next one that asks nearly the same
 *
 * A dashboard asks the same every few seconds, with start and end moved on. An answer is kept with the store's mark of
 * when it was computed; the next query takes those of its steps whose samples have not changed since, and computes the
 * others (docs/decisions/0010-result-cache.md). There is no time after which something counts as good enough: what a
 * query would see without the cache, it sees with it.
 *
 * range_cache.c keeps answers, cached.c is the operator that uses them. Answers do not change once they are kept;
 * whoever reads one holds a reference. Internal to promql/.
 */
#pragma once

#include "promql/reach.h"

/* Queries that may share answers are equal in all of this. */
struct range_key {
    struct promql_storage storage;
    struct ap_slice text; /* as it was sent: annotations tell line and column */
    int64_t step_ms;
    int64_t phase_ms; /* start modulo step */
    int64_t lookback_ms;
};

struct range_series {
    struct ap_slice labels;
    double *values;                      /* one for each step, absent() where there is none */
    struct float_histogram **histograms; /* NULL: none, or one for each step */
};

struct range_answer {
    /* Constant once it is kept. */
    struct range_key key;
    struct steps steps;
    struct range_series *series; /* by their labels; none without a point */
    size_t count;
    struct ap_slice *annotations[2]; /* of its steps, and maybe of others: by enum promql_annotation_kind */
    size_t annotation_counts[2];
    struct ap_arena arena; /* all of the above */
    /* Under the cache's mutex. */
    uint64_t mark; /* the store's, from before anything was read */
    uint64_t hash;
    uint32_t reference_count;
    struct range_answer *newer, *older; /* in order of last use; NULL where the end is */
    struct range_answer *next;          /* of its bucket */
};

struct range_cache; /* private to range_cache.c */

struct range_cache *range_cache_new(size_t bytes_max);
void range_cache_free(struct range_cache *cache); /* no answer may be in use; NULL is allowed */
AP_DEFINE_AUTO(range_cache, struct range_cache, range_cache_free)

/* A larger answer is not kept: one dashboard must not be all there is room for. */
size_t range_cache_answer_bytes_max(const struct range_cache *cache);
/* A reference to the answer that is kept, and the mark it has now; NULL: none is. */
struct range_answer *range_cache_find(struct range_cache *cache, const struct range_key *key, uint64_t *ret_mark);
/* Nothing of it had changed at this mark either. */
void range_cache_renew(struct range_cache *cache, struct range_answer *answer, uint64_t mark);
/* Takes the place of what is kept under the same key. The caller's reference stays the caller's. */
void range_cache_keep(struct range_cache *cache, struct range_answer *answer);
void range_cache_unref(struct range_cache *cache, struct range_answer *answer); /* NULL is allowed */

enum range_cache_use { RANGE_CACHE_HIT, RANGE_CACHE_PARTIAL_HIT, RANGE_CACHE_MISS };
void range_cache_count(struct range_cache *cache, enum range_cache_use use);
void range_cache_stats(struct range_cache *cache, struct promql_cache_stats *ret_stats);

/* An empty answer with one reference, of which the caller fills steps, series and annotations. */
struct range_answer *range_answer_new(const struct range_key *key, uint64_t mark);
size_t range_answer_bytes(const struct range_answer *answer);

/* cached.c: in place of plan(), for the whole of a range query. */
struct operator*
    plan_cached(struct run *run, struct range_cache *cache, const struct promql_expr *expr, const struct reach *reach);
