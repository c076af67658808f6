/*
 * ingest/remote_write.h - Prometheus remote write 1.0: a WriteRequest (protobuf, already decompressed) into a batch
 *
 *     WriteRequest { 1: TimeSeries*, 3: MetricMetadata* }
 *     TimeSeries   { 1: Label* {1 name, 2 value}, 2: Sample* {1 double, 2 ms}, 3: Exemplar*, 4: Histogram* }
 *
 * The way of nearly every sample: the labels lie in the message as one run of bytes, which is hashed as it is. Nobody
 * looks at single labels here; the store does, once, when it sees the hash for the first time.
 */
#pragma once

#include "base/rc.h"
#include "base/slice.h"
#include "ingest/metrics_body.h"

/*
 * Adds everything in `message` to body->batch, which lends from it. AP_E_PARSE: malformed, `err` names the offset;
 * AP_E_LIMIT: too much for one request.
 */
ap_nodiscard enum ap_rc remote_write_decode(struct metrics_body *body, struct ap_slice message, struct ap_err *err);
