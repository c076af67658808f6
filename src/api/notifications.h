/*
 * api/notifications.h - GET /api/apiary/v1/notifications: who was told what, when, by which way, with what answer
 *
 *     ?since=24h | start=, end=     when; times as in Prometheus' API
 *     receiver=, alert=             of this receiver; that tell of an alert of this name
 *     outcome=, kind=               done, retry or refused; alert, test or watchdog
 *     q=                            that have this text somewhere, whatever its case
 *     limit=100, before=            newest first; `before` is `next_before` of the answer before
 *
 * It is a query over the table `notifications` (notify/notification_log.h), which POST /api/sql answers as well.
 */
#pragma once

#include "api/api.h"

void notifications_handle(struct api *api, struct http_request *request, struct ap_slice rest);
