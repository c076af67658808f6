/*
 * ingest/cors.h - cross-origin requests of browsers (Fetch standard, "CORS protocol")
 *
 * The endpoints that take rows in may be called from any page, OpenTelemetry's from those that the configuration names:
 * they use no cookies, so `*` gives nothing away. A key can be tied to origins; then a request from another one is
 * refused. Credentials are never allowed.
 */
#pragma once

#include <stdbool.h>

#include "base/slice.h"
#include "net/http_server.h"

enum { CORS_FIELDS_MAX = 6 };

/* Is `origin` one of these, or one of these "*"? None of them, or no origin: no. */
bool cors_origin_is_listed(struct ap_slice origin, const char *const *origins, size_t count);

/* Is `origin` in `allowed` (separated by spaces; empty: all are)? No origin: no browser, or the same site. */
bool cors_origin_is_allowed(struct ap_slice origin, const char *allowed);

/* The header fields of an answer to a request that named an origin; returns how many. None for others. */
size_t cors_answer_fields(bool is_from_page, struct http_field ret_fields[CORS_FIELDS_MAX]);

/* Answers OPTIONS: which methods and fields a page may use. */
void cors_reply_preflight(struct http_request *request);
