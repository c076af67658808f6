#include "cli/alert_history.h"

#include <math.h>
#include <stdlib.h>

#include "cli/range_query.h"
#include "cli/range_sql.h"

/* ---- PromQL ---- */

/* At which steps there is a figure. */
static void mark_numbers(const struct range_answer *answer, bool *has_number)
{
    for (size_t i = 0; i < answer->series_count; i++)
        for (size_t p = 0; p < answer->series[i].count; p++) {
            const struct replay_point *point = &answer->series[i].points[p];
            int64_t index = (point->ts_ms - answer->start_ms) / answer->step_ms;
            if (!isnan(point->value) && point->ts_ms >= answer->start_ms && index < (int64_t)answer->step_count)
                has_number[index] = true;
        }
}

/* Steps at which the rule looks for the figure that it compares, and what becomes of that. */
static void mark_missing(struct range_answer *answer, const struct range_answer *figure)
{
    AP_AUTO_FREE bool *has_number = ap_new0_array(bool, answer->step_count);
    mark_numbers(answer, has_number);
    for (size_t i = 0; i < answer->step_count; i++)
        if (!has_number[i] && answer->steps[i].condition == RULE_CONDITION_OK && figure->steps[i].reason)
            range_answer_fail(answer, answer->start_ms + (int64_t)i * answer->step_ms, figure->steps[i].reason);
    mark_numbers(figure, has_number);
    for (size_t i = 0; i < answer->step_count; i++)
        if (!has_number[i] && answer->steps[i].condition == RULE_CONDITION_OK)
            answer->steps[i].condition = RULE_CONDITION_NO_DATA;
    answer->first = AP_MAX(answer->first, figure->first);
}

static enum ap_rc ask_promql(const struct remote *remote, const struct rule *rule, struct range_answer *answer,
                             struct ap_err *err)
{
    enum ap_rc rc = range_query_ask(remote, rule->expr, answer, err);
    if (rc != AP_OK || rule->figure.bytes == 0)
        return rc;
    struct range_answer figure;
    int64_t end_ms = answer->start_ms + (int64_t)(answer->step_count - 1) * answer->step_ms;
    range_answer_init(&figure, answer->start_ms, end_ms, answer->step_ms);
    rc = range_query_ask(remote, rule->figure, &figure, err);
    if (rc == AP_OK)
        mark_missing(answer, &figure);
    range_answer_clear(&figure);
    return rc;
}

/* ---- A rule ---- */

/* The group's own moments, as far back as was asked for and can be. */
static struct alert_history span_of(const struct alert_history_options *options, const struct rule *rule,
                                    const struct rule_group *group)
{
    struct alert_history span = {.step_ms = group->interval_ms ? group->interval_ms : options->interval_ms};
    int64_t steps = options->since_ms / span.step_ms;
    if (rule->language == RULE_LANGUAGE_SQL) {
        steps = AP_MIN(steps, (int64_t)RANGE_SQL_STEPS_MAX - 1);
        if (!range_sql_has_time(rule->expr))
            span.reason = "anything: the query has no $now, $from or $to in it, and so gives today's answer for each "
                          "moment of the past";
    }
    span.end_ms = options->now_ms - options->now_ms % span.step_ms;
    span.start_ms = span.end_ms - steps * span.step_ms;
    return span;
}

static enum ap_rc run(const struct rule *rule, const struct rule_group *group, const struct range_answer *answer,
                      struct alert_history *history, struct ap_err *err)
{
    history->start_ms += (int64_t)answer->first * history->step_ms;
    const struct replay_input input = {.rule = rule,
                                       .group = group,
                                       .series = answer->series,
                                       .series_count = answer->series_count,
                                       .steps = answer->steps + answer->first,
                                       .start_ms = history->start_ms,
                                       .end_ms = history->end_ms,
                                       .step_ms = history->step_ms,
                                       .external_url = ap_slice_cstr("")};
    AP_AUTO(replay) struct replay *replay = replay_run(&input);
    struct replay_failures failures = replay_failures(replay);
    if (failures.count == answer->step_count - answer->first)
        return ap_fail(err, AP_E_CONFLICT, "%s", failures.reason);
    history->replay = AP_MOVE(replay);
    return AP_OK;
}

enum ap_rc alert_history_ask(const struct alert_history_options *options, const struct rule *rule,
                             const struct rule_group *group, struct alert_history *ret_history, struct ap_err *err)
{
    struct alert_history history = span_of(options, rule, group);
    if (history.reason) {
        *ret_history = history;
        return AP_OK;
    }
    struct range_answer answer;
    int64_t offset_ms = group->has_query_offset ? group->query_offset_ms : 0;
    range_answer_init(&answer, history.start_ms - offset_ms, history.end_ms - offset_ms, history.step_ms);
    enum ap_rc rc = rule->language == RULE_LANGUAGE_SQL ? range_sql_ask(&options->remote, rule, &answer, err)
                                                        : ask_promql(&options->remote, rule, &answer, err);
    if (rc == AP_OK)
        rc = run(rule, group, &answer, &history, err);
    range_answer_clear(&answer);
    if (rc == AP_OK)
        *ret_history = history;
    return rc;
}

void alert_history_clear(struct alert_history *history)
{
    replay_free(history->replay);
    history->replay = NULL;
}
