/*
 * collect/collector.h - figures that this process finds out by itself, scraped as if a target had told them
 *
 * A job of `scrape_configs` with `collector: NAME` is not fetched over HTTP: its targets are answered by the collector
 * of that name, as text. All else is as for any target: interval, timeout, relabelling, limits, `up` and `scrape_*`,
 * staleness, /api/v1/targets. So a probe needs no scheduler of its own, and a host no second way into the store.
 *
 * A collector is called on a thread that may wait, several at a time, each with a target of its own.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "base/slice.h"
#include "tsdb/labels.h"

struct collector_request {
    struct ap_slice target;     /* the address, `__address__`; may be empty */
    const struct label *params; /* `__param_NAME` labels and the job's `params:`, as NAME; lent */
    size_t param_count;
    int64_t deadline_monotonic_us; /* by ap_clock_monotonic_us(); an answer after it is not used */
};

struct collector {
    const char *name; /* "host" */
    /*
     * Appends the exposition, Prometheus text 0.0.4, to `out`. On failure `up` is 0 and `err` is the reason in
     * /api/v1/targets; what was appended is not used, unless the collector is one that tells of its failure.
     */
    enum ap_rc (*collect)(void *context, const struct collector_request *request, struct ap_buf *out,
                          struct ap_err *err);
    void *context; /* lent; outlives the scraper */
    /* What it appended before it failed is kept beside `up` 0: a figure that alerts wait for, such as pg_up 0. */
    bool is_telling_of_failure;
};
