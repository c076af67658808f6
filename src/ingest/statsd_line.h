/*
 * ingest/statsd_line.h - one line of a StatsD packet
 *
 *     api.requests:3|c|@0.1|#host:a,canary        a counter, sampled; DogStatsD's tags
 *     queue.depth:-2|g                             a gauge's change; without a sign its value
 *     api.latency:12.5:17:9|ms                     three observations in one line
 *     users:alice|s                                a member of a set
 *
 * What a line points to is the packet's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/rc.h"
#include "base/slice.h"
#include "tsdb/labels.h"

enum { STATSD_TAGS_MAX = 64 };

enum statsd_kind {
    STATSD_COUNTER,
    STATSD_GAUGE,
    STATSD_OBSERVATION, /* ms, h, d */
    STATSD_SET,
    STATSD_IGNORED, /* an event or a service check: no metric */
    STATSD_KIND_COUNT = STATSD_IGNORED
};
const char *statsd_kind_name(enum statsd_kind kind); /* "counter" … */

struct statsd_line {
    enum statsd_kind kind;
    bool is_milliseconds; /* of an observation: it is kept in seconds */
    double weight;        /* 1 divided by the sample rate */
    struct ap_slice name;
    struct ap_slice values;             /* separated by colons; of a set: one text */
    struct label tags[STATSD_TAGS_MAX]; /* a tag without a value: empty */
    size_t tag_count;
};

struct statsd_value {
    double number;
    bool is_signed; /* of a gauge: it is a change */
};

/* AP_E_PARSE: the reason, without the line. */
ap_nodiscard enum ap_rc statsd_line_parse(struct ap_slice text, struct statsd_line *ret_line, struct ap_err *err);

/* Cuts the next number off *rest, which begins as line.values: `while (rest.data)`. */
ap_nodiscard enum ap_rc statsd_next_value(struct ap_slice *rest, struct statsd_value *ret_value, struct ap_err *err);
