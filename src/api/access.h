/*
 * api/access.h - who may read: a viewer key in the request, or in the cookie that signing in sets; and who may
 * administer
 */
#pragma once

#include "api/api.h"

/*
 * True when this request may read; otherwise it has been replied to: 401 without a valid key, 403 with a key that only
 * writes. `api->is_open`: everybody may read.
 */
bool access_admit_viewer(const struct api *api, struct http_request *request);

/* The same for what changes stored data: asks for a secret key. */
bool access_admit_secret(const struct api *api, struct http_request *request);

/* POST: {"key":"apk_view_…"} signs in by a cookie. DELETE: signs out. */
void access_handle_session(struct api *api, struct http_request *request);
