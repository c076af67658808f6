/*
 * api/catalogue.h - the packs' catalogues of metrics, and what of them has been reported, as JSON
 *
 *     GET /api/apiary/v1/catalogue               areas and metrics, as the packs define them
 *     GET /api/apiary/v1/coverage?since=24h      which of them were seen, by version: pack/coverage.h
 */
#pragma once

#include "api/api.h"
#include "base/slice.h"

void catalogue_handle(struct api *api, struct http_request *request, struct ap_slice rest);
void catalogue_handle_coverage(struct api *api, struct http_request *request, struct ap_slice rest);
