#include "rules/alert.h"

#include "tsdb/labels.h"

const char *alert_state_name(enum alert_state state)
{
    static const char *const names[ALERT_STATE_COUNT] = {"inactive", "pending", "firing"};
    return names[state];
}

const char *rule_condition_name(enum rule_condition condition)
{
    static const char *const names[RULE_CONDITION_COUNT] = {"ok", "no_data", "error"};
    return names[condition];
}

int alert_compare(const void *a, const void *b)
{
    return labels_compare(((const struct alert *)a)->labels, ((const struct alert *)b)->labels);
}

/* What the rule says of how this evaluation went: its alerts go on as they are. */
static bool is_holding(const struct alert_round *round)
{
    return round->condition == RULE_CONDITION_NO_DATA
               ? round->rule->no_data != RULE_NO_DATA_OK
               : round->condition == RULE_CONDITION_ERROR && round->rule->on_error != RULE_ON_ERROR_OK;
}

bool alert_round_is_raising(const struct alert_round *round)
{
    return round->condition == RULE_CONDITION_NO_DATA
               ? round->rule->no_data == RULE_NO_DATA_ALERT
               : round->condition == RULE_CONDITION_ERROR && round->rule->on_error == RULE_ON_ERROR_ALERT;
}

struct alert alert_begin(const struct alert_round *round, double value)
{
    return (struct alert){.state = ALERT_STATE_PENDING,
                          .condition = alert_round_is_raising(round) ? round->condition : RULE_CONDITION_OK,
                          .value = value,
                          .active_ms = round->ts_ms,
                          .fired_ms = RULES_TIME_NONE,
                          .resolved_ms = RULES_TIME_NONE,
                          .keep_firing_ms = RULES_TIME_NONE,
                          .told_ms = RULES_TIME_NONE,
                          .held_until_ms = RULES_TIME_NONE};
}

/* One about missing data waits for a second time: a sample may be late. */
void alert_give(const struct alert_round *round, struct alert *alert)
{
    int64_t active_ms = round->ts_ms - alert->active_ms;
    if (alert->state != ALERT_STATE_PENDING || active_ms < round->rule->for_ms ||
        (alert->condition != RULE_CONDITION_OK && active_ms == 0))
        return;
    alert->state = ALERT_STATE_FIRING;
    alert->fired_ms = round->ts_ms;
}

void alert_go_on(struct alert *alert, const struct alert *fresh)
{
    if (alert->state == ALERT_STATE_INACTIVE) {
        *alert = *fresh;
        return;
    }
    alert->value = fresh->value;
    alert->annotations = fresh->annotations;
    alert->keep_firing_ms = RULES_TIME_NONE;
    alert->held_until_ms = RULES_TIME_NONE;
}

static bool fade(const struct rule *rule, int64_t ts_ms, struct alert *alert)
{
    switch (alert->state) {
    case ALERT_STATE_PENDING:
        return false;
    case ALERT_STATE_FIRING:
        if (rule->keep_firing_for_ms) {
            if (alert->keep_firing_ms == RULES_TIME_NONE)
                alert->keep_firing_ms = ts_ms;
            if (ts_ms - alert->keep_firing_ms < rule->keep_firing_for_ms)
                return true;
        }
        alert->state = ALERT_STATE_INACTIVE;
        alert->resolved_ms = ts_ms;
        return true;
    default:
        return ts_ms - alert->resolved_ms <= ALERT_RESOLVED_KEPT_MS;
    }
}

/* Known to be over, and not only not to be given: nobody looks for data where the rule has no word on that. */
static bool is_over(const struct alert_round *round)
{
    bool is_looking = round->rule->language == RULE_LANGUAGE_SQL || round->rule->figure.bytes;
    return is_looking && round->condition == RULE_CONDITION_OK;
}

bool alert_stay(const struct alert_round *round, struct alert *alert)
{
    if (round->is_guessing)
        return false;
    if (alert->state == ALERT_STATE_FIRING && round->ts_ms < alert->held_until_ms && !is_over(round))
        return true;
    if (is_holding(round) && alert->condition <= round->condition && alert->state != ALERT_STATE_INACTIVE)
        return true;
    return fade(round->rule, round->ts_ms, alert);
}

bool alert_is_to_be_told(const struct alert *alert, int64_t ts_ms, int64_t resend_ms)
{
    if (alert->state == ALERT_STATE_PENDING)
        return false;
    bool has_ended_since = alert->resolved_ms != RULES_TIME_NONE && alert->resolved_ms > alert->told_ms;
    return alert->told_ms == RULES_TIME_NONE || has_ended_since || alert->told_ms + resend_ms < ts_ms;
}
