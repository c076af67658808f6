/*
 * api/prometheus.h - how Prometheus' HTTP API writes things down: its envelope, label sets, values, times
 */
#pragma once

#include <stdint.h>

#include "api/api.h"
#include "base/buf.h"

/* "/api/v1/…": answers and refusals there come in Prometheus' envelope. */
bool prometheus_is_path(const struct http_request *request);

/* Replies {"status":"error","errorType":…,"error":…}, the type chosen by the status. */
void prometheus_reply_error(struct http_request *request, unsigned status, const char *text);
/* The same, with the status that Prometheus gives for such a failure: 400, 404, 422, 500 or 503. */
void prometheus_reply_err(struct http_request *request, const struct ap_err *err);

/* A sample's value as text without quotes: the fewest digits that read back as the same double, with an exponent below
 * 1e-06 and from 1e+21 on; NaN, +Inf, -Inf. */
void prometheus_add_value(struct ap_buf *out, double value);
/* Always with an exponent, 1.5e+00: how Prometheus writes the value of an alert. */
void prometheus_add_exponential(struct ap_buf *out, double value);
/* Never with an exponent: how Prometheus writes the result of a scalar query. */
void prometheus_add_scalar(struct ap_buf *out, double value);

/* Seconds, with three decimals where they are not whole, as a JSON number: 1795435200, 1795435200.250. */
void prometheus_add_time(struct ap_buf *out, int64_t ts_ms);

/*
 * A label's name as it stands in a path: "U__http_2e_status" is "http.status" (Prometheus' escaping scheme "values").
 * Appends the name. False: it is not a name.
 */
bool prometheus_unescape_name(struct ap_slice text, struct ap_buf *out);
