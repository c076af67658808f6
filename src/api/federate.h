/*
 * api/federate.h - GET /federate: the newest sample of each selected series, as text for another Prometheus to scrape
 */
#pragma once

#include "api/api.h"

void federate_handle(struct api *api, struct http_request *request, struct ap_slice rest);
