/*
 * cli/alert_history.h - when an alert would have fired, by what a running server has stored
 *
 *     its query at each moment of the group, asked of the server ──► rules/replay.h ──► firings
 */
#pragma once

#include <stdint.h>

#include "base/rc.h"
#include "cli/remote.h"
#include "rules/replay.h"

struct alert_history_options {
    struct remote remote;
    int64_t now_ms;
    int64_t since_ms;    /* how far to look back */
    int64_t interval_ms; /* of groups that say none */
};

struct alert_history {
    int64_t start_ms, end_ms, step_ms; /* what is replayed */
    const char *reason;                /* why nothing at all can be; NULL: it can */
    struct replay *replay;             /* owned; NULL with a reason */
};

/* The rule is one of the group's. On failure `err` has what the server says, why it cannot be asked, or why the rule
 * could never have been evaluated. */
ap_nodiscard enum ap_rc alert_history_ask(const struct alert_history_options *options, const struct rule *rule,
                                          const struct rule_group *group, struct alert_history *ret_history,
                                          struct ap_err *err);
void alert_history_clear(struct alert_history *history);
