/*
 * api/query_text.h - what is about a query's text and asks no store
 */
#pragma once

#include "api/api.h"

/* GET, POST /api/v1/format_query: the query of parameter `query`, written as Prometheus writes it. */
void query_text_handle_format(struct api *api, struct http_request *request, struct ap_slice rest);
/* GET, POST /api/v1/parse_query: its tree as JSON. */
void query_text_handle_parse(struct api *api, struct http_request *request, struct ap_slice rest);
