/* api/pages.h - the web app, from the binary */
#pragma once

#include "api/api.h"

/* The asset at this path; for any other path the app itself, which reads the address in the browser. */
void pages_handle(struct api *api, struct http_request *request, struct ap_slice path);
