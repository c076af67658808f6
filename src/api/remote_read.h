/*
 * api/remote_read.h - POST /api/v1/read: Prometheus' remote read, answered with samples
 *
 * The request is a snappy block of a ReadRequest. Of the kinds of answers that clients offer, SAMPLES is given, which
 * each must take.
 */
#pragma once

#include "api/api.h"

void remote_read_handle(struct api *api, struct http_request *request, struct ap_slice rest);
