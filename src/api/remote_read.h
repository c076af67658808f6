/*
 * api/remote_read.h - POST /api/v1/read: Prometheus' remote read
 *
 * The request is a snappy block of a ReadRequest. It says which types of answer the client accepts, those it likes best
 * first: samples, which is a snappy block as well, or chunks in frames (remote_read_chunks.h).
 */
#pragma once

#include "api/api.h"

void remote_read_handle(struct api *api, struct http_request *request, struct ap_slice rest);
