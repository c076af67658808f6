/*
 * ingest/otlp_protobuf.h - an ExportMetricsServiceRequest in Protocol Buffers, walked in place
 *
 *     Request { 1: ResourceMetrics { 1: Resource, 2: ScopeMetrics { 1: Scope, 2: Metric, 3: schema_url } } }
 *     Metric  { 1 name, 2 description, 3 unit, 5: Gauge | 7: Sum | 9: Histogram | 10: ExponentialHistogram | 11:
 * Summary }
 *
 * Fields may come in any order, and what points are in is known only when all fields around them are: each level is
 * looked over once for what is small, and walked a second time for what is in it.
 */
#pragma once

#include "base/rc.h"
#include "base/slice.h"
#include "ingest/otlp_sink.h"

/* AP_E_PARSE: malformed, `err` names the offset; AP_E_LIMIT: too much for one request. */
ap_nodiscard enum ap_rc otlp_protobuf_decode(struct otlp_sink *sink, struct ap_slice message, struct ap_err *err);
