/*
 * promql/series_text.h - series as unit tests of rules write them
 *
 *     labels: up{job="a"}        values: 1 2 _ _ stale 3+2x4 10-1x3 5x2 {{schema:1 sum:3 count:2 buckets:[1 1]}}x3
 *
 * Prometheus' notation (its documentation, "Unit testing for rules"): numbers one interval apart; `_` is a missing
 * sample; `a+bxn` is a, then n more, each b larger; `_xn`, `axn`; native histograms in double braces, alone, `x n` or
 * with an increment that is one as well.
 */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "base/slice.h"
#include "promql/float_histogram.h"

/* "name{a="b"}" as a canonical label set, appended; `{}` is the empty one. AP_E_PARSE. */
ap_nodiscard enum ap_rc series_text_labels(struct ap_slice text, struct ap_buf *out, struct ap_err *err);

/* Called for each value in order, for `_` with is_missing. */
typedef void (*series_text_fn)(bool is_missing, double value, const struct float_histogram *histogram, void *context);
/* AP_E_PARSE says at which byte; AP_E_LIMIT: more than a million values. `each` may have been called before that. */
ap_nodiscard enum ap_rc series_text_values(struct ap_slice text, series_text_fn each, void *context,
                                           struct ap_err *err);
