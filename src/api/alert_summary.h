/* api/alert_summary.h - GET /api/apiary/v1/alerts/summary: how many alerts there are, and whether alerting is alive */
#pragma once

#include "api/api.h"

/*
 * What every page shows, so it has to be cheap: counts only, of alerts by state and of active ones by their label
 * `severity`, of rules, of those that fail, and when a rule was evaluated last.
 */
void alert_summary_handle(struct api *api, struct http_request *request, struct ap_slice rest);
