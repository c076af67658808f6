/*
 * ingest/otlp_histogram.h - OTLP's histograms as native histograms
 *
 * Exponential ones: bucket i of OTLP spans (b^i, b^(i+1)] and is bucket i + 1 here; scales above 8 are halved in
 * resolution until they fit. Explicit ones become histograms with custom buckets. Buckets that are empty are left out
 * where that saves space, as everywhere with native histograms.
 */
#pragma once

#include "base/arena.h"
#include "base/rc.h"
#include "ingest/otlp_point.h"
#include "tsdb/histogram.h"

#define OTLP_ZERO_THRESHOLD 1e-128 /* of senders that say none; Prometheus' */

/*
 * `kind` is OTLP_EXPONENTIAL or OTLP_HISTOGRAM. What *ret_histogram points to is in the arena, or the point's.
 * AP_E_PARSE: it is no sound histogram, `err` tells why; AP_E_LIMIT: too many buckets, or the arena is full.
 */
ap_nodiscard enum ap_rc otlp_histogram_make(enum otlp_kind kind, const struct otlp_point *point, struct ap_arena *arena,
                                            struct histogram *ret_histogram, struct ap_err *err);
