/* api/alert_summary.h - GET /api/apiary/v1/alerts/summary: how many alerts there are, and whether alerting is alive */
#pragma once

#include "api/api.h"

/*
 * What every page shows, so it has to be cheap: counts only, of alerts by state and of active ones by their label
 * `severity` (what fires only to show that alerting works has `none`), of rules, of those that fail, and when a rule
 * was evaluated last.
 *
 *     {"alerts":{"active":4,"silenced":1,"inhibited":0,"muted":0},
 *      "active_by_severity":{"critical":1,"warning":2,"none":1},"other_severities":0,
 *      "rules":{"groups":2,"rules":7,"failing":1,"last_evaluation_ms":1795435200000},
 *      "is_anybody_told":true,"now_ms":1795435201000}
 */
void alert_summary_handle(struct api *api, struct http_request *request, struct ap_slice rest);
