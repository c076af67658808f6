/*
 * ingest/statsd_table.h - what StatsD lines add up to: series with their values since the start
 *
 *     api.requests:1|c|#host:a        api_requests{host="a"}   counter, cumulative
 *     queue.depth:5|g                 queue_depth              gauge, the last value
 *     api.latency:12|ms               api_latency              native histogram, cumulative, in seconds
 *     users:alice|s                   users                    gauge: members since the last flush
 *
 * What names of Prometheus cannot hold becomes an underscore; a tag without a value is "true". One owner, no locks.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/rc.h"
#include "base/slice.h"
#include "tsdb/batch.h"

struct statsd_table; /* private to statsd_table.c */

struct statsd_table_options {
    uint64_t hash_seed; /* the store's */
    size_t series_max;
    int64_t expire_ms; /* a series that got nothing for so long ends; 0: none does */
};
struct statsd_table *statsd_table_new(const struct statsd_table_options *options);
void statsd_table_free(struct statsd_table *table); /* NULL is allowed */
AP_DEFINE_AUTO(statsd_table, struct statsd_table, statsd_table_free)

struct statsd_counts {
    uint64_t lines;
    uint64_t bad;     /* of these: malformed, of another type than before, or with labels that cannot be */
    uint64_t over;    /* of these: of new series, or members of sets, over the limit */
    uint64_t ignored; /* of these: events and service checks */
};
/* All lines of a packet. The first line that was not taken is told in `err`, whose rc is AP_OK if all were. */
void statsd_table_add(struct statsd_table *table, struct ap_slice packet, int64_t now_ms, struct statsd_counts *counts,
                      struct ap_err *err);

/*
 * Every series as it is at `ts_ms`, into `batch`, which lends from the table until the next call. Expired ones end and
 * go. A new counter begins with a 0 at `begin_ts_ms`, so that its first increase is one.
 */
void statsd_table_flush(struct statsd_table *table, int64_t begin_ts_ms, int64_t ts_ms, struct batch *batch);

size_t statsd_table_count(const struct statsd_table *table);
