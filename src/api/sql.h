/*
 * api/sql.h - POST /api/sql: one SELECT in, rows out
 *
 * In: plain text, or JSON {"query", "params", "limit", "timeout_ms"}. Out: {"columns", "rows", "row_count",
 * "truncated", "took_ms"}; with Accept: text/csv the rows as RFC 4180. See docs/sql.md.
 */
#pragma once

#include "api/api.h"

void sql_handle(struct api *api, struct http_request *request, struct ap_slice rest);
