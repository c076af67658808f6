/*
 * api/influx.h - what clients of InfluxDB ask before they write: is it there, and does the database exist
 *
 * Only what makes them go on: writing is in ingest/metrics_influx.c, and reading is PromQL.
 */
#pragma once

#include "api/api.h"

void influx_handle_ping(struct api *api, struct http_request *request, struct ap_slice rest);
void influx_handle_health(struct api *api, struct http_request *request, struct ap_slice rest);
void influx_handle_query(struct api *api, struct http_request *request, struct ap_slice rest);
