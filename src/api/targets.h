/*
 * api/targets.h - what is scraped, in the form of Prometheus' API
 *
 *     GET /api/v1/targets?state=&scrapePool=            targets with their health, and those that relabelling dropped
 *     GET /api/v1/scrape_pools                          names of jobs
 *     GET /api/v1/targets/metadata?match_target=&metric=&limit=
 *     GET /api/v1/targets/relabel_steps?scrapePool=&labels={"a":"b"}    what each rule of a job makes of labels
 *     POST /-/reload                                    as SIGHUP, and says what was wrong
 */
#pragma once

#include "api/api.h"

void targets_handle(struct api *api, struct http_request *request, struct ap_slice rest);
void targets_handle_pools(struct api *api, struct http_request *request, struct ap_slice rest);
void targets_handle_metadata(struct api *api, struct http_request *request, struct ap_slice rest);
void targets_handle_relabel_steps(struct api *api, struct http_request *request, struct ap_slice rest);
void targets_handle_reload(struct api *api, struct http_request *request, struct ap_slice rest);
