/* api/pages.h - the web app, from the binary */
#pragma once

#include "api/api.h"
#include "base/mem.h"

/*
 * The app's page names its files and everything it asks for from "./" on, wherever in the app it is. So that a browser
 * finds them, `prefix` is written in there: the path of external_url, or "".
 */
struct pages *pages_new(struct ap_slice prefix);
void pages_free(struct pages *pages); /* NULL is allowed */
AP_DEFINE_AUTO(pages, struct pages, pages_free)

/* The asset at this path; for any other path the app's page, which reads the address in the browser. */
void pages_handle(struct api *api, struct http_request *request, struct ap_slice path);
