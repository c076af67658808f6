#include "rules/rule_run.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "rules/alert_text.h"
#include "rules/alerting.h"
#include "rules/evaluation.h"
#include "rules/question.h"
#include "rules/restore.h"

struct rule_run {
    const struct rule *rule;
    const struct rule_group *group;
    const struct rules_world *world;
    pthread_mutex_t *mutex;         /* what readers may see: the memory, and all from `health` on */
    struct rule_question *question; /* owned */
    struct alert_texts *texts;      /* owned; of an alert */
    bool is_known;                  /* what was before this process is in memory, or was looked for */
    bool is_alike;                  /* another rule may have given what is restored */
    bool is_guessing;               /* and so it may not be this one's, until an evaluation says so */
    bool is_moved;                  /* rule_run_note_moved() */
    struct rule_memory memory;
    enum rule_health health;
    enum rule_condition condition;
    char *error; /* owned */
    int64_t evaluated_ms;
    int64_t duration_us;
};

static int64_t interval_of(const struct rule_run *run)
{
    return run->group->interval_ms ? run->group->interval_ms : run->world->interval_ms;
}

static int64_t offset_of(const struct rule_run *run)
{
    return run->group->has_query_offset ? run->group->query_offset_ms : run->world->query_offset_ms;
}

/* ---- Recording ---- */

static enum ap_rc check_series(const struct evaluation *evaluation, struct ap_err *err)
{
    for (size_t i = 1; i < evaluation->sample_count; i++)
        if (labels_compare(evaluation->samples[i - 1].labels, evaluation->samples[i].labels) == 0)
            return ap_fail(err, AP_E_CONFLICT,
                           "vector contains metrics with the same labelset after applying rule labels");
    if (evaluation->limit && evaluation->sample_count > (size_t)evaluation->limit)
        return ap_fail(err, AP_E_LIMIT, "exceeded limit of %" PRId64 " with %zu series", evaluation->limit,
                       evaluation->sample_count);
    return AP_OK;
}

static enum ap_rc record(struct evaluation *evaluation, const struct rules_vector *vector, struct ap_err *err)
{
    const struct rule *rule = evaluation->round.rule;
    for (size_t i = 0; i < vector->count; i++) {
        const struct rules_sample *sample = &vector->samples[i];
        struct label_set set;
        struct ap_slice labels;
        label_set_from(&set, sample->labels);
        label_set_put(&set, LABEL_METRIC_NAME, ap_slice_cstr(rule->name));
        for (size_t l = 0; l < rule->labels.count; l++)
            label_set_put(&set, rule->labels.keys[l], ap_slice_cstr(rule->labels.items[l]));
        enum ap_rc rc = evaluation_seal(evaluation, &set, &labels, err);
        if (rc != AP_OK)
            return rc;
        evaluation_add(evaluation, labels, sample->value, sample->histogram);
    }
    evaluation_sort(evaluation);
    return check_series(evaluation, err);
}

/* ---- Evaluating ---- */

/* Before the first evaluation of an alerting rule. */
static enum ap_rc restore(struct rule_run *run, int64_t ts_ms, struct ap_err *err)
{
    if (run->is_known || !run->rule->is_alert)
        return AP_OK;
    if (run->world->restore_ms == 0) {
        run->is_known = true;
        return AP_OK;
    }
    struct restored restored;
    enum ap_rc rc = rules_restore(run->world, run->rule, ts_ms, offset_of(run), &run->memory.arena, &restored, err);
    if (rc != AP_OK)
        return ap_err_prefix(err, "what was known of its alerts");
    pthread_mutex_lock(run->mutex);
    run->is_known = true;
    run->is_guessing = run->is_alike;
    run->memory.alerts = restored.alerts;
    run->memory.alert_count = restored.alert_count;
    run->memory.series = restored.series;
    run->memory.series_count = run->is_alike ? 0 : restored.series_count;
    pthread_mutex_unlock(run->mutex);
    return AP_OK;
}

static enum ap_rc make_of_answer(struct evaluation *evaluation, const struct rules_vector *vector, struct ap_err *err)
{
    enum ap_rc rc =
        evaluation->round.rule->is_alert ? alerting_evaluate(evaluation, vector, err) : record(evaluation, vector, err);
    if (rc == AP_OK)
        evaluation_end_series(evaluation);
    return rc;
}

static enum ap_rc evaluate(struct rule_run *run, struct evaluation *evaluation, struct ap_err *err)
{
    AP_AUTO_ARENA struct ap_arena scratch;
    ap_arena_init(&scratch, 0);
    enum ap_rc rc = restore(run, evaluation->round.ts_ms, err);
    if (rc != AP_OK)
        return rc;
    struct rules_answer answer;
    evaluation->round.is_guessing = run->is_guessing;
    rc = rule_question_ask(run->question, run->world, evaluation->sample_ts_ms, interval_of(run), &scratch, &answer,
                           err);
    if (rc != AP_OK)
        return rc;
    evaluation->round.condition = answer.has_figure ? RULE_CONDITION_OK : RULE_CONDITION_NO_DATA;
    return make_of_answer(evaluation, &answer.vector, err);
}

/* None goes on by what is no longer looked at. */
static void forget_over_limit(struct rule_run *run, const struct evaluation *evaluation)
{
    if (!evaluation->is_over_limit)
        return;
    pthread_mutex_lock(run->mutex);
    run->memory.alert_count = 0;
    pthread_mutex_unlock(run->mutex);
}

/*
 * The rule could not be evaluated: its alerts become what `on_error` says. False: they are left in memory as they were,
 * because it is no alert, or what was before this process is not known for certain yet, or all of this ends.
 */
static bool alert_of_error(struct rule_run *run, struct evaluation *evaluation, const struct ap_err *reason)
{
    const struct rules_vector nothing = {0};
    struct ap_err err;
    forget_over_limit(run, evaluation);
    if (!run->rule->is_alert || !run->is_known || run->is_guessing || rules_world_is_ending(run->world))
        return false;
    evaluation_begin_again(evaluation);
    evaluation->round.condition = RULE_CONDITION_ERROR;
    evaluation->reason = reason->text;
    if (make_of_answer(evaluation, &nothing, &err) == AP_OK)
        return true;
    forget_over_limit(run, evaluation);
    return false;
}

/* What fires and what has ended. */
static void tell(struct rule_run *run, int64_t ts_ms)
{
    const struct rules_world *world = run->world;
    struct rule_memory *memory = &run->memory;
    if (!world->tell || memory->alert_count == 0)
        return;
    AP_AUTO_FREE const struct alert **due = ap_new0_array(const struct alert *, memory->alert_count);
    size_t count = 0;
    int64_t resend_ms = world->resend_ms ? world->resend_ms : ALERT_RESEND_MS;
    for (size_t i = 0; i < memory->alert_count; i++)
        if (alert_is_to_be_told(&memory->alerts[i], ts_ms, resend_ms))
            due[count++] = &memory->alerts[i];
    int64_t ends_ms = ts_ms + 4 * AP_MAX(interval_of(run), resend_ms);
    if (count == 0 || !world->tell(world->tell_context, run->rule, due, count, ends_ms))
        return;
    pthread_mutex_lock(run->mutex);
    for (size_t i = 0, at = 0; i < memory->alert_count && at < count; i++)
        if (&memory->alerts[i] == due[at]) {
            memory->alerts[i].told_ms = ts_ms;
            at++;
        }
    pthread_mutex_unlock(run->mutex);
}

static enum ap_rc keep(const struct rules_world *world, const struct evaluation *evaluation, struct ap_err *err)
{
    return evaluation->sample_count ? world->keep(world->context, evaluation->samples, evaluation->sample_count, err)
                                    : AP_OK;
}

/* What was made is remembered in place of what was before, which goes into evaluation->next. */
static void remember(struct rule_run *run, struct evaluation *evaluation)
{
    struct rule_memory before = run->memory;
    run->memory = evaluation->next;
    run->is_guessing = false;
    evaluation->next = before;
}

bool rule_run_evaluate(struct rule_run *run, int64_t ts_ms)
{
    const struct rules_world *world = run->world;
    int64_t started_us = ap_clock_monotonic_us(world->clock);
    struct evaluation evaluation = {.round = {.rule = run->rule, .ts_ms = ts_ms},
                                    .sample_ts_ms = ts_ms - offset_of(run),
                                    .limit = run->group->limit,
                                    .world = world,
                                    .texts = run->texts,
                                    .before = &run->memory};
    struct ap_err err, keep_err;
    evaluation_begin(&evaluation);
    enum ap_rc rc = evaluate(run, &evaluation, &err);
    bool is_made = rc == AP_OK || alert_of_error(run, &evaluation, &err);
    enum ap_rc keep_rc = is_made ? keep(world, &evaluation, &keep_err) : AP_OK;
    enum rule_condition condition = rc == AP_OK ? evaluation.round.condition : RULE_CONDITION_ERROR;
    if (rc == AP_OK && keep_rc != AP_OK) {
        rc = keep_rc;
        err = keep_err;
    }
    pthread_mutex_lock(run->mutex);
    if (is_made)
        remember(run, &evaluation);
    free(run->error);
    run->error = rc == AP_OK ? NULL : ap_slice_dup(ap_slice_cstr(err.text));
    run->health = rc == AP_OK ? RULE_HEALTH_OK : RULE_HEALTH_ERR;
    run->condition = condition;
    run->evaluated_ms = ts_ms;
    run->duration_us = ap_clock_monotonic_us(world->clock) - started_us;
    pthread_mutex_unlock(run->mutex);
    if (is_made)
        tell(run, ts_ms);
    evaluation_clear(&evaluation);
    return rc == AP_OK;
}

/* ---- Its life ---- */

struct rule_run *rule_run_new(const struct rule *rule, const struct rule_group *group, const struct rules_world *world,
                              pthread_mutex_t *mutex)
{
    struct rule_run *run = ap_new0(struct rule_run);
    *run = (struct rule_run){
        .rule = rule, .group = group, .world = world, .mutex = mutex, .evaluated_ms = RULES_TIME_NONE};
    rule_memory_init(&run->memory);
    run->question = rule_question_new(rule);
    if (rule->is_alert)
        run->texts = alert_texts_new(rule);
    return run;
}

void rule_run_free(struct rule_run *run)
{
    if (!run)
        return;
    rule_memory_clear(&run->memory);
    rule_question_free(run->question);
    alert_texts_free(run->texts);
    free(run->error);
    free(run);
}

void rule_run_note_alike(struct rule_run *run)
{
    run->is_alike = true;
}

static bool is_same_texts(const struct yaml_texts *a, const struct yaml_texts *b)
{
    bool is_same = a->count == b->count;
    for (size_t i = 0; is_same && i < a->count; i++)
        is_same = strcmp(a->keys[i], b->keys[i]) == 0 && strcmp(a->items[i], b->items[i]) == 0;
    return is_same;
}

bool rule_run_is_same(const struct rule_run *run, const struct rule_run *other)
{
    const struct rule *a = run->rule, *b = other->rule;
    return a->is_alert == b->is_alert && strcmp(a->name, b->name) == 0 && is_same_texts(&a->labels, &b->labels);
}

bool rule_run_is_equal(const struct rule_run *run, const struct rule_run *other)
{
    return rule_run_is_same(run, other) && ap_slice_equal(run->rule->expr, other->rule->expr);
}

void rule_run_inherit(struct rule_run *run, struct rule_run *before)
{
    struct rule_memory fresh = run->memory;
    run->memory = before->memory;
    before->memory = fresh;
    run->is_known = before->is_known;
    run->is_guessing = before->is_guessing;
    if (!ap_slice_equal(run->rule->expr, before->rule->expr))
        return;
    run->health = before->health;
    run->condition = before->condition;
    run->error = before->error;
    before->error = NULL;
    run->evaluated_ms = before->evaluated_ms;
    run->duration_us = before->duration_us;
}

void rule_run_note_moved(struct rule_run *run)
{
    run->is_moved = true;
}

/* Who is told of them would otherwise wait until they are told no more. */
static void end_alerts(struct rule_run *run, int64_t ts_ms)
{
    for (size_t i = 0; i < run->memory.alert_count; i++) {
        struct alert *alert = &run->memory.alerts[i];
        if (alert->state != ALERT_STATE_FIRING)
            continue;
        alert->state = ALERT_STATE_INACTIVE;
        alert->resolved_ms = ts_ms;
    }
    tell(run, ts_ms);
}

void rule_run_end(struct rule_run *run, int64_t ts_ms)
{
    struct evaluation evaluation = {.sample_ts_ms = ts_ms - offset_of(run), .before = &run->memory};
    struct ap_err err; /* a marker that is missing costs five minutes of an old value */
    evaluation_begin(&evaluation);
    evaluation_end_series(&evaluation);
    if (keep(run->world, &evaluation, &err) != AP_OK)
        run->health = RULE_HEALTH_ERR;
    evaluation_clear(&evaluation);
    if (!run->is_moved)
        end_alerts(run, ts_ms);
}

struct rule_status rule_run_status(const struct rule_run *run)
{
    struct rule_status status = {
        .rule = run->rule,
        .promql = rule_question_promql(run->question),
        .health = run->health,
        .condition = run->condition,
        .error = run->error,
        .evaluated_ms = run->evaluated_ms,
        .duration_us = run->duration_us,
        .alerts = run->memory.alerts,
        .alert_count = run->memory.alert_count,
    };
    for (size_t i = 0; i < status.alert_count; i++)
        status.state = AP_MAX(status.state, status.alerts[i].state);
    return status;
}
