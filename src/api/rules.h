/*
 * api/rules.h - what the rules give, in Prometheus' form
 *
 * GET /api/v1/rules (type, rule_name[], rule_group[], file[], match[], exclude_alerts, group_limit, group_next_token)
 * and GET /api/v1/alerts.
 */
#pragma once

#include "api/api.h"

void rules_handle(struct api *api, struct http_request *request, struct ap_slice rest);
void rules_handle_alerts(struct api *api, struct http_request *request, struct ap_slice rest);
