/*
 * api/server_status.h - what clients of Prometheus ask about the server itself, in its form
 *
 * GET /api/v1/status/buildinfo, runtimeinfo, config, flags, walreplay; and what there is none of, because alerts are
 * sent nowhere: alertmanagers, notifications.
 */
#pragma once

#include "api/api.h"

void server_status_handle_buildinfo(struct api *api, struct http_request *request, struct ap_slice rest);
void server_status_handle_runtimeinfo(struct api *api, struct http_request *request, struct ap_slice rest);
void server_status_handle_config(struct api *api, struct http_request *request, struct ap_slice rest);
void server_status_handle_flags(struct api *api, struct http_request *request, struct ap_slice rest);
void server_status_handle_walreplay(struct api *api, struct http_request *request, struct ap_slice rest);
void server_status_handle_nothing(struct api *api, struct http_request *request, struct ap_slice rest); /* 204 */
void server_status_handle_list(struct api *api, struct http_request *request, struct ap_slice rest);    /* [] */
void server_status_handle_alertmanagers(struct api *api, struct http_request *request, struct ap_slice rest);
