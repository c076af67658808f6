/*
 * ingest/influx_write.h - InfluxDB line protocol into a batch
 *
 *     cpu,host=a idle=97.5,value=3   with db=telegraf   ─►   cpu_idle{db="telegraf",host="a"} 97.5
 *                                                            cpu{db="telegraf",host="a"}      3
 *
 * Every field that is a number is a sample of the series MEASUREMENT_FIELD with the tags as labels; the field "value",
 * which says nothing, is not in the name. Texts are left out and counted. What names of Prometheus cannot hold becomes
 * an underscore. A bad line is refused and told, the others stay.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "base/slice.h"
#include "ingest/metrics_body.h"

enum { INFLUX_WRITE_ERRORS_MAX = 20, INFLUX_WRITE_LINE_BYTES = 160, INFLUX_WRITE_REASON_BYTES = 160 };

struct influx_write_options {
    struct ap_slice separator; /* between measurement and field; lent, as the next */
    struct ap_slice db;        /* label `db` of points without such a tag; empty: none */
    int64_t default_ts_ms;     /* of points without a time */
    int64_t ns_per_unit;       /* of times: 1, 1000 … */
};

struct influx_write_error {
    size_t line;
    struct ap_slice text; /* of the line, at most INFLUX_WRITE_LINE_BYTES; lent from the input */
    char reason[INFLUX_WRITE_REASON_BYTES];
};

struct influx_write_report {
    uint64_t lines_refused;
    uint64_t texts_skipped;
    struct influx_write_error errors[INFLUX_WRITE_ERRORS_MAX]; /* the first of them */
    size_t error_count;
};

/* Adds everything in `text` to body->batch. AP_E_LIMIT: too much for one request. A refused line counts as a sample in
 * body->samples_refused. */
ap_nodiscard enum ap_rc influx_write_decode(struct metrics_body *body, const struct influx_write_options *options,
                                            struct ap_slice text, struct influx_write_report *ret_report,
                                            struct ap_err *err);

/* "ns", "us", "u", "µ", "ms", "s", "m", "h", "n" and "" (nanoseconds). False: another word. */
bool influx_write_precision(struct ap_slice word, int64_t *ret_ns_per_unit);
