/*
 * api/cardinality.h - GET /api/v1/status/tsdb: what the series in memory are made of
 *
 * Prometheus' form: headStats, and lists of the largest by series and bytes; `limit` entries each (10; at most 10,000).
 */
#pragma once

#include "api/api.h"

void cardinality_handle(struct api *api, struct http_request *request, struct ap_slice rest);
