/*
 * api/exemplars.h - the exemplars of all series that a query looks at
 *
 *     GET|POST /api/v1/query_exemplars  query, start, end
 */
#pragma once

#include "api/api.h"

/* 204 for a query that looks at no series, as Prometheus answers. */
void exemplars_handle(struct api *api, struct http_request *request, struct ap_slice rest);
