/*
 * api/cardinality.h - what is stored, in Prometheus' form
 *
 *     GET /api/v1/status/tsdb         headStats, and lists of what the series in memory have most of; `limit` entries
 *                                     each (10; at most 10,000)
 *     GET /api/v1/status/tsdb/blocks  the blocks on disk
 */
#pragma once

#include "api/api.h"

void cardinality_handle(struct api *api, struct http_request *request, struct ap_slice rest);
void cardinality_handle_blocks(struct api *api, struct http_request *request, struct ap_slice rest);
