#include "rules/question.h"

#include <math.h>

#include "rules/sql_query.h"

static bool has_number(const struct rules_vector *vector)
{
    for (size_t i = 0; i < vector->count; i++)
        if (vector->samples[i].histogram || !isnan(vector->samples[i].value))
            return true;
    return false;
}

/* Rates over nothing and quantiles of nothing are NaN: no figure either. */
static enum ap_rc ask_promql(const struct rules_world *world, const struct rule *rule, int64_t ts_ms,
                             struct ap_arena *arena, struct rules_answer *answer, struct ap_err *err)
{
    struct rules_vector figure;
    enum ap_rc rc = rules_query(world, rule->expr, ts_ms, arena, &answer->vector, err);
    answer->has_figure = true;
    if (rc != AP_OK || rule->figure.bytes == 0 || has_number(&answer->vector))
        return rc;
    rc = rules_query(world, rule->figure, ts_ms, arena, &figure, err);
    answer->has_figure = rc == AP_OK && has_number(&figure);
    return rc;
}

enum ap_rc rule_ask(const struct rules_world *world, const struct rule *rule, int64_t ts_ms, int64_t step_ms,
                    struct ap_arena *arena, struct rules_answer *ret_answer, struct ap_err *err)
{
    struct rules_answer answer;
    enum ap_rc rc = rule->language == RULE_LANGUAGE_SQL
                        ? rules_sql_query(world, rule, ts_ms, step_ms, arena, &answer.vector, &answer.has_figure, err)
                        : ask_promql(world, rule, ts_ms, arena, &answer, err);
    if (rc == AP_OK)
        *ret_answer = answer;
    return rc;
}
