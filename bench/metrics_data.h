/*
 * bench/metrics_data.h - made-up samples of a fleet of servers, as Prometheus would send them
 *
 * Hosts with 100 metrics each. A series has ten labels beside its name (hostname, region, datacenter, rack, os, arch,
 * team, service, service_version, environment), and a sample every ten seconds. Of 100 metrics:
 *
 *     8   real numbers of full entropy
 *    20   constants
 *    32   counters: whole numbers, some idle most of the time, some busy, a reset now and then
 *    20   gauges with one decimal  } random walks between 0 and 100
 *    20   gauges with two decimals } that move in about one step of three
 *
 * The same seed makes the same values, however many connections they are dealt out to. Each connection has hosts of its
 * own, so that the samples of a series come in order.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

enum { METRICS_A_HOST = 100, METRICS_STEP_MS = 10000 };

struct metrics_plan {
    uint32_t series_count; /* at any one time */
    uint32_t step_count;
    uint32_t connection_count;
    uint32_t request_series_max; /* series in one request, each with one sample */
    uint32_t churn_steps;        /* after so many steps a tenth of the hosts is replaced by new ones; 0: never */
    uint64_t seed;
    int64_t first_ms; /* time of the first step */
};

/* How many series there are in all, replaced ones too. */
uint64_t metrics_plan_series(const struct metrics_plan *plan);

struct metrics_share; /* what goes over one connection */

struct metrics_share *metrics_share_new(const struct metrics_plan *plan, uint32_t connection);
void metrics_share_free(struct metrics_share *share); /* NULL is allowed */

/* Makes the next request of the share: a remote-write 1.0 WriteRequest, not compressed. False when there are no more.
 */
bool metrics_share_next(struct metrics_share *share, struct ap_buf *ret_body, uint32_t *ret_step,
                        uint32_t *ret_samples);
