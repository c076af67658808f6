/*
 * ingest/remote_histogram.h - a native histogram as remote write 1.0 and 2.0 have it (they agree)
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"
#include "base/slice.h"
#include "ingest/metrics_body.h"

/*
 * Reads `message`, undoes the deltas of an integer histogram, reduces its resolution where that is above ours, and adds
 * it to the series added last; one that cannot be right is refused. AP_E_PARSE: this is no Protocol Buffers;
 * *ret_malformed is where. AP_E_LIMIT: the arena is full.
 */
ap_nodiscard enum ap_rc remote_histogram_add(struct metrics_body *body, struct ap_slice message,
                                             const uint8_t **ret_malformed, struct ap_err *err);
