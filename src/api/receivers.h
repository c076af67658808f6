/*
 * api/receivers.h - /api/apiary/v1/receivers: who can be told, and whether that works
 *
 *     GET                    the receivers of the configuration with their ways: what came of the newest notification
 *                            and of the newest test by each, since when nothing gets through, all from the table
 *                            `notifications`; and when the schedule has the next test
 *     POST …/{name}/test     tests all ways of one receiver now, and answers what came of it
 */
#pragma once

#include "api/api.h"

void receivers_handle(struct api *api, struct http_request *request, struct ap_slice rest);
