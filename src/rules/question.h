/*
 * rules/question.h - what a rule asks, of whichever language, and what it is told
 *
 * PromQL is read once and asked as often as the rule is evaluated.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/rc.h"
#include "rules/query.h"
#include "rules/rule_file.h"
#include "rules/world.h"

struct rules_answer {
    struct rules_vector vector;
    bool has_figure; /* false: it gives nothing because there is nothing to look at (docs/rules.md, "No data") */
};

struct rule_question; /* private to question.c; immutable */

/* The rule must stay. Its file was checked: what cannot be read is told by rule_question_ask(). */
struct rule_question *rule_question_new(const struct rule *rule);
void rule_question_free(struct rule_question *question); /* NULL is allowed */
AP_DEFINE_AUTO(rule_question, struct rule_question, rule_question_free)

/* Its PromQL as it was read; NULL of SQL, and of what cannot be read. */
const struct promql_query *rule_question_promql(const struct rule_question *question);

/* Everything in the answer is from `arena`. `step_ms`: the group's interval. Codes as of rules_query() and
 * rules_sql_query(). */
ap_nodiscard enum ap_rc rule_question_ask(const struct rule_question *question, const struct rules_world *world,
                                          int64_t ts_ms, int64_t step_ms, struct ap_arena *arena,
                                          struct rules_answer *ret_answer, struct ap_err *err);
