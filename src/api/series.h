/*
 * api/series.h - what there is, without samples: series, label names, label values
 *
 *     GET|POST /api/v1/series               match[] (one at least), start, end, limit
 *     GET|POST /api/v1/labels               match[], start, end, limit
 *     GET      /api/v1/label/<name>/values  match[], start, end, limit
 *
 * As Prometheus answers; `limit` cuts off with a warning.
 */
#pragma once

#include "api/api.h"

void series_handle(struct api *api, struct http_request *request, struct ap_slice rest);
void series_handle_labels(struct api *api, struct http_request *request, struct ap_slice rest);
void series_handle_label_values(struct api *api, struct http_request *request, struct ap_slice rest);
