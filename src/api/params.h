/*
 * api/params.h - the parameters of a request: those of the query string and, for a POST, those of a form body
 *
 * As Prometheus' API has them: GET and POST mean the same, names may be there several times ("match[]"), and times are
 * seconds since 1970 with a fraction, or RFC 3339. No locks; lives in the request's arena.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "base/slice.h"
#include "net/http_server.h"

enum { PARAMS_MAX = 4096 };

/* What "no limit" of time is: the first and the last moment of the store. */
#define PARAMS_TS_MIN_MS INT64_MIN
#define PARAMS_TS_MAX_MS INT64_MAX

struct param {
    struct ap_slice name; /* decoded, as the value; in the request's arena or its header */
    struct ap_slice value;
};

struct params {
    struct param *items; /* in the request's arena */
    size_t count;
};

/* AP_E_LIMIT: more than PARAMS_MAX, or no memory for them; AP_E_PARSE: a broken percent escape in the body. */
ap_nodiscard enum ap_rc params_read(struct http_request *request, struct params *ret_params, struct ap_err *err);

/* The first of this name; data NULL when there is none. */
struct ap_slice params_get(const struct params *params, const char *name);

/* The next of this name from *index on, and moves it: `size_t at = 0; while (params_next(p, "match[]", &at, &value))`.
 */
bool params_next(const struct params *params, const char *name, size_t *index, struct ap_slice *ret_value);

/* A parameter's text for a sentence: whole, or its beginning. */
#define PARAMS_TEXT(text) (int)AP_MIN((text).bytes, (size_t)64), (text).data ? (text).data : ""

/* Milliseconds since 1970; `missing_ms` where it is not given. AP_E_PARSE names the parameter. */
ap_nodiscard enum ap_rc params_time(const struct params *params, const char *name, int64_t missing_ms,
                                    int64_t *ret_ts_ms, struct ap_err *err);

/* The same of one that must be given. */
ap_nodiscard enum ap_rc params_needed_time(const struct params *params, const char *name, int64_t *ret_ts_ms,
                                           struct ap_err *err);

/* A whole number from 0 to `max`; AP_E_PARSE otherwise. */
ap_nodiscard enum ap_rc params_number(const struct params *params, const char *name, uint64_t missing, uint64_t max,
                                      uint64_t *ret_number, struct ap_err *err);

/* A limit as Prometheus' older addresses take it: without, or below 0, there is none (UINT64_MAX). */
ap_nodiscard enum ap_rc params_any_limit(const struct params *params, const char *name, uint64_t *ret_limit,
                                         struct ap_err *err);

/* "true", "1", "" (the name alone): true. "false", "0": false. */
ap_nodiscard enum ap_rc params_bool(const struct params *params, const char *name, bool missing, bool *ret_value,
                                    struct ap_err *err);

/* Reads one time as above. False: it is none. */
bool params_parse_time(struct ap_slice text, int64_t *ret_ts_ms);

/*
 * Undoes `application/x-www-form-urlencoded` in place: '+' is a space, %41 is 'A'. Returns the new length, or -1 where
 * an escape is broken.
 */
long params_decode(char *text, size_t bytes);
