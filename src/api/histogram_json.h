/*
 * api/histogram_json.h - native histograms as Prometheus' API writes them
 *
 *     {"count":"5","sum":"12.5","buckets":[[0,"1","2","3"],…]}
 *
 * A bucket is [rule, left bound, right bound, count]; the rule says which bounds belong to it: 0 the right one, 1 the
 * left one, 2 neither, 3 both. Empty buckets are left out.
 */
#pragma once

#include "base/buf.h"
#include "base/rc.h"
#include "base/slice.h"
#include "promql/float_histogram.h"

void histogram_json_add(struct ap_buf *out, const struct float_histogram *histogram);
/* Of a sample's bytes, histogram_encode()'s. A staleness marker has a sum of NaN. */
ap_nodiscard enum ap_rc histogram_json_add_stored(struct ap_buf *out, struct ap_slice blob, struct ap_err *err);
