/*
 * ingest/otlp_streams.h - deltas turned cumulative: what each series of a delta stream sums up to
 *
 * The store is the truth: a stream that is not known here goes on from the newest sample that the store has of its
 * series, and what is kept here changes only by what the store has taken. So neither a restart nor a stream that was
 * let go loses or doubles anything. The reasons: docs/decisions/0011-delta-streams.md.
 *
 *     otlp_streams_begin()             locks: the requests with deltas go one after the other
 *     otlp_streams_add_…()  ×n         what to write in place of each delta
 *     tsdb_append()
 *     otlp_streams_end()               keeps what was taken, forgets what was refused; unlocks
 *
 * A delta is known by its interval: the same one again is a repetition, and gives the same sample again. One that comes
 * late is added to what comes next, one millisecond behind the newest sample.
 *
 * Any thread; one lock, which is held from begin to end. While it is held, the store's locks are taken, never the
 * other way round.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rc.h"
#include "tsdb/histogram.h"
#include "tsdb/tsdb.h"

struct otlp_streams; /* private to otlp_streams.c */

typedef bool (*otlp_newest_fn)(struct tsdb *tsdb, struct labels_hash hash, struct ap_arena *arena,
                               struct tsdb_newest *ret_newest);

struct otlp_streams_options {
    uint64_t streams_max;  /* above it those are let go that were used the longest time ago */
    int64_t idle_ms;       /* and those that were not used for so long */
    struct tsdb *tsdb;     /* lent; passed to `newest` */
    otlp_newest_fn newest; /* tsdb_newest(), or what stands in for it in a test; NULL: nothing is known of any series */
    const struct ap_clock *clock; /* lent */
};

struct otlp_streams *otlp_streams_new(const struct otlp_streams_options *options);
void otlp_streams_free(struct otlp_streams *streams); /* NULL is allowed */
AP_DEFINE_AUTO(otlp_streams, struct otlp_streams, otlp_streams_free)

struct otlp_streams_stats {
    uint64_t stream_count; /* now */
    uint64_t let_go;       /* since the start, as all that follow */
    uint64_t deltas;
    uint64_t repeated;
    uint64_t late;
};
void otlp_streams_stats_get(struct otlp_streams *streams, struct otlp_streams_stats *ret_stats);

void otlp_streams_begin(struct otlp_streams *streams);
/*
 * `refused_by_series`, by the numbers that otlp_streams_add_…() were given, tells what the store refused for good;
 * NULL: it got nothing of this request. When the log failed, all that the store took counts as taken: it can be read.
 */
void otlp_streams_end(struct otlp_streams *streams, const uint32_t *refused_by_series);

struct otlp_delta {
    struct labels_hash hash; /* of the series, as the store has it */
    uint32_t series;         /* its number in the batch */
    uint64_t start_ns;       /* 0: not said */
    uint64_t ts_ns;
    bool has_start; /* a sum that only rises: it begins with a 0 where there is nothing to go on from */
};

/* What to write in place of the delta. */
struct otlp_cumulative {
    bool is_nothing; /* it was told before, and the sample is not at hand */
    int64_t ts_ms;
    bool has_zero; /* with a 0 before it */
    int64_t zero_ts_ms;
    double value;
};
void otlp_streams_add_number(struct otlp_streams *streams, const struct otlp_delta *delta, double value,
                             struct otlp_cumulative *ret_cumulative);

/* *ret_sum, and *ret_zero if there is a zero, lend from `arena`. AP_E_LIMIT: too many buckets. */
ap_nodiscard enum ap_rc otlp_streams_add_histogram(struct otlp_streams *streams, const struct otlp_delta *delta,
                                                   const struct histogram *histogram, struct ap_arena *arena,
                                                   struct otlp_cumulative *ret_cumulative, struct histogram *ret_sum,
                                                   struct histogram *ret_zero, struct ap_err *err);
/* A staleness marker at this time: the stream goes on behind it. */
void otlp_streams_note_stale(struct otlp_streams *streams, const struct otlp_delta *delta, bool is_histogram);
