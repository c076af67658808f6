/*
 * api/tsdb_admin.h - changing the time-series store: all of it asks for a secret key
 *
 *     POST|PUT /api/v1/admin/tsdb/delete_series     match[] (one at least), start, end: 204
 *     POST|PUT /api/v1/admin/tsdb/clean_tombstones  204
 *     POST|PUT /api/v1/admin/tsdb/snapshot          skip_head: {"status":"success","data":{"name":…}}
 *     POST     /api/apiary/v1/tsdb/settle           seal_all: figures, when the background work is done
 *
 * One at a time, on a thread of its own. The answer comes when it is done and durable.
 */
#pragma once

#include "api/api.h"

void tsdb_admin_handle_delete_series(struct api *api, struct http_request *request, struct ap_slice rest);
void tsdb_admin_handle_clean_tombstones(struct api *api, struct http_request *request, struct ap_slice rest);
void tsdb_admin_handle_snapshot(struct api *api, struct http_request *request, struct ap_slice rest);
void tsdb_admin_handle_settle(struct api *api, struct http_request *request, struct ap_slice rest);
