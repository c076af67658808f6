/*
 * ingest/otlp_json.h - an ExportMetricsServiceRequest in OTLP's JSON
 *
 * Protocol Buffers' JSON with OTLP's changes: ids are hexadecimal, enumerators are numbers (their names are taken too).
 * 64-bit numbers may be strings or numbers; names that are not known are passed over; null is as if not there.
 */
#pragma once

#include "base/rc.h"
#include "base/slice.h"
#include "ingest/otlp_sink.h"

/* AP_E_PARSE: not JSON or not OTLP, `err` names the place; AP_E_LIMIT: too much for one request. */
ap_nodiscard enum ap_rc otlp_json_decode(struct otlp_sink *sink, struct ap_slice text, struct ap_err *err);
