/*
 * rules/replay.h - when an alerting rule would have fired
 *
 *     what its expression gave at each step ──► a group at work (rules/group.h), step by step ──► times at which it
 * fired
 *
 * The expression is asked of the store beforehand, as one range query; what is replayed is everything behind it: names
 * of the alerts, `for`, `keep_firing_for`, when they are resolved. `query` in templates finds nothing.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "base/slice.h"
#include "rules/group.h"

struct replay_point {
    int64_t ts_ms;
    double value;
};

struct replay_series {
    struct ap_slice labels; /* canonical, or empty */
    const struct replay_point *points;
    size_t count;
};

struct replay_input {
    const struct rule *rule;
    const struct replay_series *series;
    size_t series_count;
    int64_t start_ms; /* steps, and times of points, are start_ms + n * step_ms */
    int64_t end_ms;
    int64_t step_ms;
    struct ap_slice external_url;
};

/* One time at which it fired. */
struct replay_firing {
    struct ap_slice labels; /* of the alert: canonical; owned by the replay */
    int64_t active_ms;      /* since when its expression gave it */
    int64_t fired_ms;
    int64_t resolved_ms; /* RULES_TIME_NONE: it fires at the end */
    double least, most;  /* while it was active */
};

struct replay; /* private to replay.c */

/* Codes are those of an evaluation, such as AP_E_CONFLICT for alerts that nothing tells apart. */
ap_nodiscard enum ap_rc replay_run(const struct replay_input *input, struct replay **ret_replay, struct ap_err *err);
void replay_free(struct replay *replay); /* NULL is allowed */
AP_DEFINE_AUTO(replay, struct replay, replay_free)

/* In the order in which they became active. */
const struct replay_firing *replay_firings(const struct replay *replay, size_t *ret_count);
