/*
 * api/export.h - GET|POST /api/v1/export: samples as they are, one line of JSON a series
 *
 *     {"metric":{"__name__":"up","job":"node"},"values":[1,0.5,null],"timestamps":[1795435200000,…]}
 *
 * The form is VictoriaMetrics'. A value that JSON has no number for is null (NaN, also a staleness marker), "Infinity"
 * or
 * "-Infinity". With raw=1 there is "bits" in place of "values": the 64 bits of each double as 16 hexadecimal digits,
 * which tells NaNs apart: 7ff0000000000002 is a staleness marker. A series' native histograms are a line of their own,
 * with "histograms" as Prometheus' API writes them.
 *
 * Parameters: match[] (one at least), start, end (default: all time), max_rows_per_line, raw. The answer is sent
 * while it is made.
 */
#pragma once

#include "api/api.h"

void export_handle(struct api *api, struct http_request *request, struct ap_slice rest);
