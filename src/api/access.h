/*
 * api/access.h - who may do what: a key in the request, or in the cookie that signing in sets
 *
 * A browser sends the cookie along with whatever any page makes it ask for. The cookie is SameSite=Strict, which other
 * sites cannot get round, but a page on another port or subdomain is of the same site. So a change that has no other
 * key than the cookie must be one that a browser makes for another origin's page only after asking this server, which
 * does not agree: DELETE, PUT, or a Content-Type of application/json. Where the browser says who asks (Sec-Fetch-Site),
 * it must be a page of ours as well. Origin is not compared with Host: a proxy in between may have changed Host.
 */
#pragma once

#include "api/api.h"

enum access {
    ACCESS_READ,       /* viewer and operator keys */
    ACCESS_OPERATE,    /* alerts, silences, test messages: operator and secret keys */
    ACCESS_ADMINISTER, /* stored data and settings: secret keys */
};

/*
 * True when this request may; otherwise it has been replied to: 401 without a valid key, 403 with one of another kind,
 * or with a cookie and a change that a page of another origin could have made. `api->is_open`: everybody may.
 */
bool access_admit(const struct api *api, enum access access, struct http_request *request);

/*
 * GET: {"kind":"viewer"}, "operator", "open" (no keys are asked for) or "none". POST: {"key":"apk_view_…"} signs in by
 * a cookie. DELETE: signs out.
 */
void access_handle_session(struct api *api, struct http_request *request);
