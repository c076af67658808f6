/*
 * rules/replay.h - when an alerting rule would have fired
 *
 *     what its query gave at each step ──► a rule at work (rules/rule_run.h), step by step ──► times at which it fired
 *
 * The query is asked beforehand, of a store that has the past; what is replayed is everything behind it, by what does
 * it in a server: names of the alerts, `for`, `keep_firing_for`, the group's limit, what the rule does without data and
 * when it cannot be evaluated. `query` in templates finds nothing.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/slice.h"
#include "rules/alert.h"
#include "rules/rule_file.h"

struct replay_point {
    int64_t ts_ms;
    double value;
};

struct replay_series {
    struct ap_slice labels; /* canonical, or empty */
    const struct replay_point *points;
    size_t count;
};

/* What asking came to at a step: as struct rule_status. */
struct replay_step {
    enum rule_condition condition;
    const char *reason; /* of RULE_CONDITION_ERROR */
};

/* All of it is lent. */
struct replay_input {
    const struct rule *rule;
    const struct rule_group *group; /* the rule's; steps need not be its interval */
    const struct replay_series *series;
    size_t series_count;
    const struct replay_step *steps; /* one for each; NULL: there was always something to look at */
    int64_t start_ms; /* steps are start_ms + n * step_ms; times of points are those less the group's query_offset */
    int64_t end_ms;
    int64_t step_ms; /* above 0 */
    struct ap_slice external_url;
};

/* One time at which it fired. */
struct replay_firing {
    struct ap_slice labels;        /* of the alert: canonical; owned by the replay */
    enum rule_condition condition; /* other than OK: it was about that */
    const char *reason;            /* of RULE_CONDITION_ERROR: why, when it began; owned by the replay */
    int64_t active_ms;             /* since when its expression gave it */
    int64_t fired_ms;
    int64_t resolved_ms; /* RULES_TIME_NONE: it fires at the end */
    double least, most;  /* while it was active; NaN without a figure */
};

/* Steps at which it could not be evaluated: it could not be asked, labels tell alerts not apart, too many of them. */
struct replay_failures {
    size_t count;
    int64_t first_ms;
    const char *reason; /* of the first one; NULL: there is none */
};

struct replay *replay_run(const struct replay_input *input);
void replay_free(struct replay *replay); /* NULL is allowed */
AP_DEFINE_AUTO(replay, struct replay, replay_free)

/* In the order in which they became active; lent. */
const struct replay_firing *replay_firings(const struct replay *replay, size_t *ret_count);
struct replay_failures replay_failures(const struct replay *replay);
