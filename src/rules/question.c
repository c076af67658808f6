#include "rules/question.h"

#include <math.h>
#include <stdlib.h>

#include "rules/sql_query.h"

/* PromQL that was read; expr NULL: it could not be. */
struct reading {
    struct ap_slice text;
    struct promql_query query;
};

struct rule_question {
    const struct rule *rule;
    struct reading expr; /* of PromQL, as the next one */
    struct reading figure;
};

static void read_text(struct ap_slice text, struct reading *reading)
{
    struct ap_err err; /* told by whoever asks */
    reading->text = text;
    /* What may be experimental was settled when the file was checked. */
    if (text.bytes && promql_parse(text, true, &reading->query, &err) != AP_OK)
        reading->query = (struct promql_query){0};
}

struct rule_question *rule_question_new(const struct rule *rule)
{
    struct rule_question *question = ap_new0(struct rule_question);
    question->rule = rule;
    if (rule->language == RULE_LANGUAGE_PROMQL) {
        read_text(rule->expr, &question->expr);
        read_text(rule->figure, &question->figure);
    }
    return question;
}

void rule_question_free(struct rule_question *question)
{
    if (!question)
        return;
    promql_query_clear(&question->expr.query);
    promql_query_clear(&question->figure.query);
    free(question);
}

static const struct promql_query *query_of(const struct reading *reading)
{
    return reading->query.expr ? &reading->query : NULL;
}

const struct promql_query *rule_question_promql(const struct rule_question *question)
{
    return query_of(&question->expr);
}

static enum ap_rc ask_again(const struct reading *reading, const struct rules_world *world, int64_t ts_ms,
                            struct ap_arena *arena, struct rules_vector *ret_vector, struct ap_err *err)
{
    return rules_query(world, reading->text, query_of(reading), ts_ms, arena, ret_vector, err);
}

static bool has_number(const struct rules_vector *vector)
{
    for (size_t i = 0; i < vector->count; i++)
        if (vector->samples[i].histogram || !isnan(vector->samples[i].value))
            return true;
    return false;
}

/* Rates over nothing and quantiles of nothing are NaN: no figure either. */
static enum ap_rc ask_promql(const struct rule_question *question, const struct rules_world *world, int64_t ts_ms,
                             struct ap_arena *arena, struct rules_answer *answer, struct ap_err *err)
{
    struct rules_vector figure;
    enum ap_rc rc = ask_again(&question->expr, world, ts_ms, arena, &answer->vector, err);
    answer->has_figure = true;
    if (rc != AP_OK || question->figure.text.bytes == 0 || has_number(&answer->vector))
        return rc;
    rc = ask_again(&question->figure, world, ts_ms, arena, &figure, err);
    answer->has_figure = rc == AP_OK && has_number(&figure);
    return rc;
}

enum ap_rc rule_question_ask(const struct rule_question *question, const struct rules_world *world, int64_t ts_ms,
                             int64_t step_ms, struct ap_arena *arena, struct rules_answer *ret_answer,
                             struct ap_err *err)
{
    const struct rule *rule = question->rule;
    struct rules_answer answer;
    if (world->give)
        return world->give(world->give_context, ts_ms, arena, ret_answer, err);
    enum ap_rc rc = rule->language == RULE_LANGUAGE_SQL
                        ? rules_sql_query(world, rule, ts_ms, step_ms, arena, &answer.vector, &answer.has_figure, err)
                        : ask_promql(question, world, ts_ms, arena, &answer, err);
    if (rc == AP_OK)
        *ret_answer = answer;
    return rc;
}
