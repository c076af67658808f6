/*
 * api/probe.h - GET /probe?target=&module=&hostname=&debug=: one probe, as blackbox_exporter answers it
 *
 * Whoever may ask this makes the server connect to any address of its choice, so it takes a secret key.
 */
#pragma once

#include "api/api.h"

void probe_handle(struct api *api, struct http_request *request, struct ap_slice rest);
