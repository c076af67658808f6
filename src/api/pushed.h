/*
 * api/pushed.h - GET /api/v1/metrics: the groups that were pushed, as the Pushgateway shows them
 */
#pragma once

#include "api/api.h"

void pushed_handle(struct api *api, struct http_request *request, struct ap_slice rest);
