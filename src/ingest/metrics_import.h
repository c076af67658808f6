/*
 * ingest/metrics_import.h - metrics as text (Prometheus text format, OpenMetrics) into a batch
 *
 * Line by line: a bad line is refused and told with its place, the others stay.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "base/slice.h"
#include "codec/exposition.h"
#include "ingest/metrics_body.h"

enum { METRICS_IMPORT_ERRORS_MAX = 20, METRICS_IMPORT_EXTRA_LABELS_MAX = 32, METRICS_IMPORT_ERROR_BYTES = 200 };

struct metrics_import_options {
    enum exposition_format format;
    int64_t default_ts_ms; /* of samples that have no time of their own */
    /* Added to every series, in place of a label of the same name; lent. */
    const struct label *extra_labels;
    size_t extra_label_count;
};

struct metrics_import_error {
    size_t line;
    size_t column;
    char text[METRICS_IMPORT_ERROR_BYTES];
};

struct metrics_import_report {
    uint64_t lines_refused;
    struct metrics_import_error errors[METRICS_IMPORT_ERRORS_MAX]; /* the first of them */
    size_t error_count;
};

/*
 * Adds everything in `text` to body->batch, which lends from it. AP_E_LIMIT: too much for one request. A refused line
 * counts as a sample in body->samples_refused, whatever it was, and so does a missing end of OpenMetrics.
 */
ap_nodiscard enum ap_rc metrics_import_decode(struct metrics_body *body, const struct metrics_import_options *options,
                                              struct ap_slice text, struct metrics_import_report *ret_report,
                                              struct ap_err *err);
