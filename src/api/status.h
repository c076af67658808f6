/*
 * api/status.h - how the program itself is doing
 *
 *     GET /-/healthy               200 while the process answers
 *     GET /-/ready                 200 when all that was in the log at the start is visible, and it is not draining
 *     GET /api/apiary/v1/status    figures for people and pages, as JSON
 *     GET /metrics                 the same for machines, in Prometheus' text format 0.0.4
 */
#pragma once

#include "api/api.h"
#include "base/buf.h"

void status_handle_healthy(struct api *api, struct http_request *request, struct ap_slice rest);
void status_handle_ready(struct api *api, struct http_request *request, struct ap_slice rest);
void status_handle(struct api *api, struct http_request *request, struct ap_slice rest);
void status_handle_metrics(struct api *api, struct http_request *request, struct ap_slice rest);

/* What /metrics gives, appended. Any thread. */
void status_add_metrics(const struct api *api, struct ap_buf *out);
