/*
 * api/heartbeats.h - /api/apiary/v1/heartbeats: others' signs of life (alert/heartbeats.h)
 *
 * A beat is any of GET, HEAD and POST, so that the simplest client can send it. It changes something in any case: with
 * the cookie of a page alone it is refused (access.h).
 */
#pragma once

#include "api/api.h"

/* GET …/heartbeats: what is known of all. */
void heartbeats_handle_list(struct api *api, struct http_request *request, struct ap_slice rest);
/* …/heartbeats/NAME, …/heartbeats/NAME/fail */
void heartbeats_handle_beat(struct api *api, struct http_request *request, struct ap_slice rest);
