/*
 * api/alert_body.h - the bodies of Alertmanager's API: alerts and silences that somebody posts
 *
 * Bytes from outside. Texts that come out are in the body or in the arena.
 */
#pragma once

#include "alert/alerting.h"
#include "base/arena.h"
#include "base/buf.h"
#include "tsdb/matcher.h"

struct alert_body {
    struct alert_in *alerts; /* owned; those that are sound */
    size_t count;
    struct ap_buf bytes;    /* owned: their labels and annotations */
    struct ap_buf problems; /* owned: what is wrong with others, "; " between them */
};
/* AP_E_PARSE, AP_E_LIMIT: it is not a list of alerts. Clear it in every case. */
ap_nodiscard enum ap_rc alert_body_read(struct ap_slice text, struct ap_arena *arena, struct alert_body *ret_body,
                                        struct ap_err *err);
void alert_body_clear(struct alert_body *body);

struct silence_body {
    struct silence silence;
    struct matchers matchers; /* what silence.matchers points to; clear them in every case */
    /* As they came. */
    struct ap_slice id, starts, ends;
    bool has_matchers;
};
/* AP_E_PARSE; AP_E_LIMIT; AP_E_NOT_FOUND: no silence has an id like this. */
ap_nodiscard enum ap_rc silence_body_read(struct ap_slice text, struct ap_arena *arena, int64_t now_ms,
                                          struct silence_body *ret_body, struct ap_err *err);
