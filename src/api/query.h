/*
 * api/query.h - /api/v1/query and /api/v1/query_range
 */
#pragma once

#include "api/api.h"

/* GET, POST: `query`, `time`, `timeout`, `limit`, `lookback_delta`, `stats`. */
void query_handle(struct api *api, struct http_request *request, struct ap_slice rest);
/* GET, POST: `start`, `end`, `step` in place of `time`. */
void query_handle_range(struct api *api, struct http_request *request, struct ap_slice rest);
