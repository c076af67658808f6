/*
 * ingest/statsd.h - StatsD over UDP: a thread that takes packets, adds them up, and writes every interval
 *
 * UDP promises nothing: what the kernel throws away, and what came in since the last flush when the process ends by
 * force, is gone. What was flushed is as safe as any sample.
 */
#pragma once

#include <stdint.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rc.h"
#include "ingest/metrics.h"
#include "tsdb/tsdb.h"

struct statsd; /* private to statsd.c */

struct statsd_options {
    const char *address; /* numeric; lent until statsd_open() returns */
    uint16_t port;       /* 0: any free one */
    struct tsdb *tsdb;   /* lent */
    metrics_append_fn append;
    uint64_t hash_seed;
    const struct ap_clock *clock;
    int64_t flush_interval_ms;
    int64_t expire_ms; /* a series that got nothing for so long ends; 0: none does */
    size_t series_max;
    void (*trouble)(const struct ap_err *err, void *context); /* any thread; for the log */
    void *context;
};

/* Binds the port and starts the thread. */
ap_nodiscard enum ap_rc statsd_open(const struct statsd_options *options, struct statsd **ret_statsd,
                                    struct ap_err *err);
uint16_t statsd_port(const struct statsd *statsd);
/* Takes no more packets, and writes what there is. Before the log stops. */
void statsd_stop(struct statsd *statsd);
/* Waits until the log has answered. NULL is allowed. */
void statsd_close(struct statsd *statsd);
AP_DEFINE_AUTO(statsd, struct statsd, statsd_close)

struct statsd_stats { /* counters since the start, but for the first */
    uint64_t series;
    uint64_t packets;
    uint64_t packets_dropped; /* by the kernel */
    uint64_t lines;
    uint64_t lines_bad;
    uint64_t lines_over; /* of series over the limit */
    uint64_t lines_ignored;
    uint64_t samples_written;
    uint64_t samples_refused;
    uint64_t flushes_skipped; /* the log had yet to take the last one, or refused */
};
/* Any thread. */
void statsd_stats_get(const struct statsd *statsd, struct statsd_stats *ret_stats);
