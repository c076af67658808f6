/*
 * api/metadata.h - what metrics are: type, unit and help
 *
 *     GET /api/v1/metadata  metric, limit, limit_per_metric
 */
#pragma once

#include "api/api.h"

void metadata_handle(struct api *api, struct http_request *request, struct ap_slice rest);
