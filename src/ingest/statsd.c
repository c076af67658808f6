#include "ingest/statsd.h"

#include <pthread.h>
#include <stdlib.h>

#include "ingest/batch_keep.h"
#include "ingest/statsd_table.h"
#include "net/udp.h"
#include "os/thread.h"

enum { DRAIN_ROUNDS_MAX = 1000 };

struct statsd {
    /* Constant. */
    struct statsd_options options;
    struct udp_socket *socket; /* owned, as the next */
    struct batch_keeper *keeper;
    pthread_t thread;
    bool has_thread;
    /* The thread's. */
    struct statsd_table *table; /* owned */
    struct batch batch;
    int64_t last_flush_ms;
    /* Any thread, atomic. */
    bool is_ending;
    struct statsd_stats stats;
};

static void count(uint64_t *counter, uint64_t by)
{
    __atomic_fetch_add(counter, by, __ATOMIC_RELAXED);
}

static int64_t now_ms(const struct statsd *statsd)
{
    return ap_clock_wall_us(statsd->options.clock) / AP_US_PER_MS;
}

static void take_packet(struct statsd *statsd, struct ap_slice packet)
{
    struct statsd_counts counts = {0};
    struct ap_err err;
    statsd_table_add(statsd->table, packet, now_ms(statsd), &counts, &err);
    count(&statsd->stats.packets, 1);
    count(&statsd->stats.lines, counts.lines);
    count(&statsd->stats.lines_bad, counts.bad);
    count(&statsd->stats.lines_over, counts.over);
    count(&statsd->stats.lines_ignored, counts.ignored);
    if (err.rc != AP_OK && statsd->options.trouble)
        statsd->options.trouble(&err, statsd->options.context);
}

static void flush(struct statsd *statsd)
{
    int64_t ts_ms = now_ms(statsd);
    if (ts_ms <= statsd->last_flush_ms) /* somebody set the clock back: what is written has its time already */
        ts_ms = statsd->last_flush_ms + 1;
    if (batch_keeper_is_behind(statsd->keeper)) {
        count(&statsd->stats.flushes_skipped, 1);
        return;
    }
    batch_reset(&statsd->batch);
    statsd_table_flush(statsd->table, statsd->last_flush_ms, ts_ms, &statsd->batch);
    statsd->last_flush_ms = ts_ms;
    __atomic_store_n(&statsd->stats.series, statsd_table_count(statsd->table), __ATOMIC_RELAXED);
    if (statsd->batch.series_count == 0)
        return;
    struct tsdb_outcome outcome;
    enum ap_rc rc = batch_keep(statsd->keeper, &statsd->batch, &outcome);
    count(&statsd->stats.samples_written, outcome.samples_written + outcome.histograms_written);
    count(&statsd->stats.samples_refused, outcome.samples_refused);
    count(&statsd->stats.flushes_skipped, rc != AP_OK);
}

/* What is in the socket already was sent in time; but who goes on sending does not hold up the end. */
static void drain(struct statsd *statsd)
{
    struct ap_slice packets[UDP_PACKETS_MAX];
    size_t packet_count = 1;
    for (int round = 0; round < DRAIN_ROUNDS_MAX && packet_count > 0; round++) {
        packet_count = udp_receive(statsd->socket, 0, packets);
        for (size_t i = 0; i < packet_count; i++)
            take_packet(statsd, packets[i]);
    }
}

static void *work(void *context)
{
    struct statsd *statsd = context;
    struct ap_slice packets[UDP_PACKETS_MAX];
    int64_t interval_us = statsd->options.flush_interval_ms * AP_US_PER_MS;
    int64_t next_us = ap_clock_monotonic_us(statsd->options.clock) + interval_us;
    while (!__atomic_load_n(&statsd->is_ending, __ATOMIC_RELAXED)) {
        int64_t left_us = next_us - ap_clock_monotonic_us(statsd->options.clock);
        size_t packet_count =
            udp_receive(statsd->socket, (AP_MAX(left_us, INT64_C(0)) + AP_US_PER_MS - 1) / AP_US_PER_MS, packets);
        for (size_t i = 0; i < packet_count; i++)
            take_packet(statsd, packets[i]);
        int64_t now_us = ap_clock_monotonic_us(statsd->options.clock);
        if (now_us < next_us)
            continue;
        flush(statsd);
        next_us = AP_MAX(next_us + interval_us, now_us);
    }
    drain(statsd);
    flush(statsd);
    return NULL;
}

enum ap_rc statsd_open(const struct statsd_options *options, struct statsd **ret_statsd, struct ap_err *err)
{
    AP_AUTO(statsd) struct statsd *statsd = ap_new0(struct statsd);
    statsd->options = *options;
    statsd->options.address = NULL;
    statsd->last_flush_ms = now_ms(statsd);
    statsd->keeper = batch_keeper_new(options->tsdb, options->append, options->trouble, options->context);
    statsd->table = statsd_table_new(&(struct statsd_table_options){
        .hash_seed = options->hash_seed,
        .series_max = options->series_max,
        .expire_ms = options->expire_ms,
    });
    enum ap_rc rc = udp_open(options->address, options->port, &statsd->socket, err);
    if (rc == AP_OK)
        rc = os_thread_start("statsd", work, statsd, &statsd->thread, err);
    if (rc != AP_OK)
        return rc;
    statsd->has_thread = true;
    *ret_statsd = AP_MOVE(statsd);
    return AP_OK;
}

uint16_t statsd_port(const struct statsd *statsd)
{
    return udp_port(statsd->socket);
}

void statsd_stop(struct statsd *statsd)
{
    __atomic_store_n(&statsd->is_ending, true, __ATOMIC_RELAXED);
    if (!statsd->has_thread)
        return;
    udp_wake(statsd->socket);
    pthread_join(statsd->thread, NULL);
    statsd->has_thread = false;
}

void statsd_close(struct statsd *statsd)
{
    if (!statsd)
        return;
    statsd_stop(statsd);
    batch_keeper_free(statsd->keeper);
    udp_close(statsd->socket);
    statsd_table_free(statsd->table);
    batch_clear(&statsd->batch);
    free(statsd);
}

void statsd_stats_get(const struct statsd *statsd, struct statsd_stats *ret_stats)
{
    _Static_assert(sizeof(struct statsd_stats) % sizeof(uint64_t) == 0, "all fields are counters");
    const uint64_t *from = (const uint64_t *)&statsd->stats;
    uint64_t *to = (uint64_t *)ret_stats;
    for (size_t i = 0; i < sizeof(struct statsd_stats) / sizeof(uint64_t); i++)
        to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
    ret_stats->packets_dropped = udp_dropped(statsd->socket);
}
