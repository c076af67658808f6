/*
 * api/metadata.h - what goes with series: metadata and exemplars
 *
 *     GET      /api/v1/metadata         metric, limit, limit_per_metric
 *     GET|POST /api/v1/query_exemplars  query (a series selector), start, end
 */
#pragma once

#include "api/api.h"

void metadata_handle(struct api *api, struct http_request *request, struct ap_slice rest);
void metadata_handle_exemplars(struct api *api, struct http_request *request, struct ap_slice rest);
