/*
 * api/feature_list.h - GET /api/v1/features: what of Prometheus' interface and language there is here
 *
 * Categories of names, each true or false, as in Prometheus 3.8; clients take what is not there for false.
 */
#pragma once

#include "api/api.h"

void feature_list_handle(struct api *api, struct http_request *request, struct ap_slice rest);
