/*
 * ingest/remote_write2.h - Prometheus remote write 2.0: an io.prometheus.write.v2.Request into a batch
 *
 *     Request    { 4: symbol*, 5: TimeSeries* }                 symbol 0 is ""
 *     TimeSeries { 1: label refs (name, value, name, …), 2: Sample*, 3: Histogram*, 4: Exemplar*, 5: Metadata,
 *                  6: created timestamp (up to rc.3) }
 *     Sample     { 1: double, 2: ms, 3: start timestamp }
 *
 * Texts are in a table and series refer to it, so each series' labels are put together here in the form that 1.0 has on
 * the wire, which is also the store's.
 */
#pragma once

#include "base/rc.h"
#include "base/slice.h"
#include "ingest/metrics_body.h"

enum { REMOTE_WRITE2_SYMBOLS_MAX = 4 << 20 };

/* As remote_write_decode(). A series that refers to a symbol that is not there is refused; the others stay. */
ap_nodiscard enum ap_rc remote_write2_decode(struct metrics_body *body, struct ap_slice message, struct ap_err *err);
