/*
 * api/alertmanager.h - Alertmanager's API v2: /api/v2/…
 *
 * Answers are Alertmanager's, field by field. An error is a JSON string and nothing else, with 400, 404 or 500.
 */
#pragma once

#include <stdbool.h>

#include "api/api.h"
#include "api/params.h"
#include "base/buf.h"
#include "tsdb/matcher.h"

void alertmanager_handle_status(struct api *api, struct http_request *request, struct ap_slice rest);
void alertmanager_handle_receivers(struct api *api, struct http_request *request, struct ap_slice rest);
void alertmanager_handle_alerts(struct api *api, struct http_request *request, struct ap_slice rest);
void alertmanager_handle_groups(struct api *api, struct http_request *request, struct ap_slice rest);
void alertmanager_handle_silences(struct api *api, struct http_request *request, struct ap_slice rest);
void alertmanager_handle_silence(struct api *api, struct http_request *request, struct ap_slice rest);

/* Whether errors of this request look as Alertmanager's do. */
bool alertmanager_is_path(const struct http_request *request);
void alertmanager_reply_error(struct http_request *request, unsigned status, const char *text);
void alertmanager_reply_err(struct http_request *request, const struct ap_err *err);

/* ---- For its handlers ---- */

void alertmanager_add_time(struct ap_buf *out, int64_t ts_ms); /* with quotes */
/*
 * RFC 3339, and what else Alertmanager takes; the first moment of Go's calendar, which stands for none, gives 0.
 * AP_E_PARSE names `what`.
 */
ap_nodiscard enum ap_rc alertmanager_parse_time(struct ap_slice text, const char *what, int64_t *ret_ts_ms,
                                                struct ap_err *err);

/* true, 1, yes … and their opposites, in any case; a parameter that is missing is true. */
ap_nodiscard enum ap_rc alertmanager_read_switch(const struct params *params, const char *name, bool *ret_value,
                                                 struct ap_err *err);

/* `filter=`, any number of matchers each. Clear it in every case. */
ap_nodiscard enum ap_rc alertmanager_read_filter(const struct params *params, struct matchers *ret_filter,
                                                 struct ap_err *err);
/* Whether a label of this value passes; value.data NULL: there is no such label. A filter for "" asks whether it is
 * there at all. */
bool alertmanager_filter_passes(const struct matcher *matcher, struct ap_slice value);
