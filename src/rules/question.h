/*
 * rules/question.h - what a rule asks, of whichever language, and what it is told
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/rc.h"
#include "rules/query.h"
#include "rules/rule_file.h"
#include "rules/world.h"

struct rules_answer {
    struct rules_vector vector;
    bool has_figure; /* false: it gives nothing because there is nothing to look at (docs/rules.md, "No data") */
};

/* Everything in the answer is from `arena`. `step_ms`: the group's interval. Codes as of rules_query() and
 * rules_sql_query(). */
ap_nodiscard enum ap_rc rule_ask(const struct rules_world *world, const struct rule *rule, int64_t ts_ms,
                                 int64_t step_ms, struct ap_arena *arena, struct rules_answer *ret_answer,
                                 struct ap_err *err);
