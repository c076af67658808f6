#include "rules/group.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "rules/alert_text.h"
#include "rules/query.h"
#include "rules/restore.h"
#include "rules/sql_query.h"
#include "tsdb/labels.h"

#define STALE_BITS UINT64_C(0x7ff0000000000002)

/* What one evaluation of a rule leaves for the next. */
struct memory {
    struct ap_arena arena;
    struct ap_slice *series; /* owned; sorted */
    size_t series_count;
    struct alert *alerts; /* owned; sorted by labels */
    size_t alert_count;
};

struct rule_run {
    const struct rule *rule;
    struct alert_texts *texts; /* of an alert */
    struct memory memory;
    bool is_known;    /* what was before this process is in memory, or was looked for */
    bool is_alike;    /* another rule may have given what is restored */
    bool is_guessing; /* and so it may not be this one's, until an evaluation says so */
    bool is_moved;    /* group_run_note_moved() */
    enum rule_health health;
    enum rule_condition condition;
    char *error; /* owned */
    int64_t evaluated_ms;
    int64_t duration_us;
};

struct group_run {
    const struct rule_group *group;
    const struct rules_world *world;
    pthread_mutex_t mutex; /* what readers may see of `rules`, and the next two */
    int64_t evaluated_ms;
    int64_t duration_us;
    struct rule_run *rules;
};

/* One evaluation of one rule. */
struct evaluation {
    struct group_run *run;
    struct rule_run *rule;
    int64_t ts_ms;
    int64_t sample_ts_ms; /* of the query, and of what comes of it */
    enum rule_condition condition;
    const char *reason;      /* of RULE_CONDITION_ERROR */
    struct ap_arena scratch; /* what the query gave */
    struct memory next;
    struct rules_sample *samples; /* owned */
    size_t sample_count;
    size_t sample_capacity;
    struct ap_buf bytes;
};

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

static void memory_clear(struct memory *memory)
{
    ap_arena_clear(&memory->arena);
    free(memory->series);
    free(memory->alerts);
}

static struct ap_slice copy_into(struct ap_arena *arena, struct ap_slice bytes)
{
    char *copy = ap_arena_alloc0(arena, bytes.bytes + 1);
    if (bytes.bytes)
        memcpy(copy, bytes.data, bytes.bytes);
    return ap_slice(copy, bytes.bytes);
}

/* ---- Labels that rules set ---- */

struct label_set {
    struct label labels[2 * LABELS_COUNT_MAX];
    size_t count;
    bool is_full;
};

static void set_label(struct label_set *set, const char *name, struct ap_slice value)
{
    struct ap_slice key = ap_slice_cstr(name);
    size_t at = 0;
    while (at < set->count && !ap_slice_equal(set->labels[at].name, key))
        at++;
    if (at == AP_ARRAY_COUNT(set->labels)) {
        set->is_full = true;
        return;
    }
    set->count = AP_MAX(set->count, at + 1);
    set->labels[at] = (struct label){key, value};
}

static void set_from(struct label_set *set, struct ap_slice labels)
{
    set->count = 0;
    set->is_full = false;
    while (labels_next(&labels, &set->labels[set->count]))
        set->count++;
}

/* In canonical form, in the next evaluation's memory. */
static enum ap_rc seal_labels(struct evaluation *evaluation, struct label_set *set, struct ap_slice *ret_labels,
                              struct ap_err *err)
{
    if (set->is_full)
        return ap_fail(err, AP_E_LIMIT, "more than %d labels", LABELS_COUNT_MAX);
    ap_buf_reset(&evaluation->bytes);
    enum ap_rc rc = labels_encode(set->labels, set->count, &evaluation->bytes, err);
    if (rc == AP_OK)
        *ret_labels = copy_into(&evaluation->next.arena, ap_buf_slice(&evaluation->bytes));
    return rc;
}

static void add_sample(struct evaluation *evaluation, struct ap_slice labels, double value,
                       const struct float_histogram *histogram)
{
    if (evaluation->sample_count == evaluation->sample_capacity) {
        evaluation->sample_capacity = AP_MAX(64, evaluation->sample_capacity * 2);
        evaluation->samples =
            ap_realloc(evaluation->samples, evaluation->sample_capacity * sizeof(*evaluation->samples));
    }
    evaluation->samples[evaluation->sample_count++] =
        (struct rules_sample){labels, evaluation->sample_ts_ms, value, histogram};
}

static int compare_samples(const void *a, const void *b)
{
    return labels_compare(((const struct rules_sample *)a)->labels, ((const struct rules_sample *)b)->labels);
}

static void sort_samples(struct evaluation *evaluation)
{
    if (evaluation->sample_count)
        qsort(evaluation->samples, evaluation->sample_count, sizeof(*evaluation->samples), compare_samples);
}

static int compare_alerts(const void *a, const void *b)
{
    return labels_compare(((const struct alert *)a)->labels, ((const struct alert *)b)->labels);
}

/* ---- Recording rules ---- */

static enum ap_rc record(struct evaluation *evaluation, const struct rules_vector *vector, struct ap_err *err)
{
    const struct rule *rule = evaluation->rule->rule;
    int64_t limit = evaluation->run->group->limit;
    for (size_t i = 0; i < vector->count; i++) {
        const struct rules_sample *sample = &vector->samples[i];
        struct label_set set;
        struct ap_slice labels;
        set_from(&set, sample->labels);
        set_label(&set, LABEL_METRIC_NAME, ap_slice_cstr(rule->name));
        for (size_t l = 0; l < rule->labels.count; l++)
            set_label(&set, rule->labels.keys[l], ap_slice_cstr(rule->labels.items[l]));
        enum ap_rc rc = seal_labels(evaluation, &set, &labels, err);
        if (rc != AP_OK)
            return rc;
        add_sample(evaluation, labels, sample->value, sample->histogram);
    }
    sort_samples(evaluation);
    for (size_t i = 1; i < evaluation->sample_count; i++)
        if (compare_samples(&evaluation->samples[i - 1], &evaluation->samples[i]) == 0)
            return ap_fail(err, AP_E_CONFLICT,
                           "vector contains metrics with the same labelset after applying rule labels");
    if (limit && evaluation->sample_count > (size_t)limit)
        return ap_fail(err, AP_E_LIMIT, "exceeded limit of %" PRId64 " with %zu series", limit,
                       evaluation->sample_count);
    return AP_OK;
}

/* ---- Alerting rules ---- */

/* An alert whose expression gives nothing any more. False: it is forgotten. */
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

/* An alert that was there before and is given again: its text and value are the new ones. */
static void go_on(struct alert *alert, const struct alert *fresh)
{
    if (alert->state == ALERT_STATE_INACTIVE) {
        *alert = *fresh;
        return;
    }
    alert->value = fresh->value;
    alert->annotations = fresh->annotations;
    alert->keep_firing_ms = RULES_TIME_NONE;
}

static enum ap_rc give_alert_series(struct evaluation *evaluation, const struct alert *alert, struct ap_err *err)
{
    struct label_set set;
    struct ap_slice labels;
    set_from(&set, alert->labels);
    set_label(&set, LABEL_METRIC_NAME, ap_slice_cstr("ALERTS"));
    set_label(&set, "alertstate", ap_slice_cstr(alert_state_name(alert->state)));
    enum ap_rc rc = seal_labels(evaluation, &set, &labels, err);
    if (rc != AP_OK)
        return rc;
    add_sample(evaluation, labels, 1, NULL);
    set_from(&set, alert->labels);
    set_label(&set, LABEL_METRIC_NAME, ap_slice_cstr("ALERTS_FOR_STATE"));
    rc = seal_labels(evaluation, &set, &labels, err);
    int64_t active_s = alert->active_ms / 1000 - (alert->active_ms % 1000 < 0); /* downwards, as Prometheus has it */
    if (rc == AP_OK)
        add_sample(evaluation, labels, (double)active_s, NULL);
    return rc;
}

static enum ap_rc name_alert(struct evaluation *evaluation, const struct rules_sample *sample,
                             enum rule_condition condition, const char *summary, struct alert *ret_alert,
                             struct ap_err *err)
{
    const struct rule_run *rule = evaluation->rule;
    AP_AUTO(alert_expansion)
    struct alert_expansion *expansion =
        alert_expand(rule->texts, evaluation->run->world, sample, summary, evaluation->ts_ms);
    struct label_set set;
    set_from(&set, sample->labels);
    set_label(&set, LABEL_METRIC_NAME, ap_slice_cstr(""));
    for (size_t l = 0; l < rule->rule->labels.count; l++)
        set_label(&set, rule->rule->labels.keys[l], alert_expansion_label(expansion, l));
    set_label(&set, "alertname", ap_slice_cstr(rule->rule->name));
    if (condition != RULE_CONDITION_OK)
        set_label(&set, RULE_CONDITION_LABEL, ap_slice_cstr(rule_condition_name(condition)));
    *ret_alert = (struct alert){.state = ALERT_STATE_PENDING,
                                .condition = condition,
                                .value = sample->value,
                                .active_ms = evaluation->ts_ms,
                                .fired_ms = RULES_TIME_NONE,
                                .resolved_ms = RULES_TIME_NONE,
                                .keep_firing_ms = RULES_TIME_NONE,
                                .told_ms = RULES_TIME_NONE};
    enum ap_rc rc = seal_labels(evaluation, &set, &ret_alert->labels, err);
    if (rc == AP_OK)
        ret_alert->annotations = copy_into(&evaluation->next.arena, alert_expansion_annotations(expansion));
    return rc;
}

/* An alert for each sample. */
static enum ap_rc name_alerts(struct evaluation *evaluation, const struct rules_vector *vector, struct alert *fresh,
                              struct ap_err *err)
{
    for (size_t i = 0; i < vector->count; i++) {
        enum ap_rc rc = name_alert(evaluation, &vector->samples[i], RULE_CONDITION_OK, NULL, &fresh[i], err);
        if (rc != AP_OK)
            return rc;
    }
    qsort(fresh, vector->count, sizeof(*fresh), compare_alerts);
    for (size_t i = 1; i < vector->count; i++)
        if (compare_alerts(&fresh[i - 1], &fresh[i]) == 0)
            return ap_fail(err, AP_E_CONFLICT,
                           "vector contains metrics with the same labelset after applying alert labels");
    return AP_OK;
}

/* The one about a figure that is not there. */
static enum ap_rc name_alert_without_data(struct evaluation *evaluation, struct alert *fresh, struct ap_err *err)
{
    const char *name = evaluation->rule->rule->name;
    AP_AUTO_FREE char *summary =
        evaluation->condition == RULE_CONDITION_ERROR
            ? ap_asprintf("%s cannot be evaluated, so that nobody knows whether it should fire: %s", name,
                          evaluation->reason)
            : ap_asprintf("No data for %s: its query gives nothing, so that nobody knows whether it should fire", name);
    const struct rules_sample none = {.ts_ms = evaluation->sample_ts_ms, .value = NAN};
    return name_alert(evaluation, &none, evaluation->condition, summary, fresh, err);
}

/* What the rule says of how this evaluation went: its alerts go on as they are; there is one about that. */
static bool is_holding(const struct evaluation *evaluation)
{
    const struct rule *rule = evaluation->rule->rule;
    return evaluation->condition == RULE_CONDITION_NO_DATA
               ? rule->no_data != RULE_NO_DATA_OK
               : evaluation->condition == RULE_CONDITION_ERROR && rule->on_error != RULE_ON_ERROR_OK;
}

static bool is_raising(const struct evaluation *evaluation)
{
    const struct rule *rule = evaluation->rule->rule;
    return evaluation->condition == RULE_CONDITION_NO_DATA
               ? rule->no_data == RULE_NO_DATA_ALERT
               : evaluation->condition == RULE_CONDITION_ERROR && rule->on_error == RULE_ON_ERROR_ALERT;
}

/* An alert of before that is not given this time. False: it is forgotten. */
static bool stay_or_fade(const struct evaluation *evaluation, struct alert *alert)
{
    if (evaluation->rule->is_guessing)
        return false;
    if (is_holding(evaluation) && alert->condition <= evaluation->condition && alert->state != ALERT_STATE_INACTIVE)
        return true;
    return fade(evaluation->rule->rule, evaluation->ts_ms, alert);
}

/* What a restored alert says that nothing has been known of since: its own words are gone with the process before. */
static struct ap_slice words_of_restored(struct evaluation *evaluation, const struct alert *alert)
{
    AP_AUTO_FREE char *summary = ap_asprintf(
        "%s was active before the server started, and has not been evaluated since: %s", evaluation->rule->rule->name,
        evaluation->condition == RULE_CONDITION_ERROR ? evaluation->reason : "there is no data");
    const struct rules_sample sample = {.labels = alert->labels, .value = NAN};
    AP_AUTO(alert_expansion)
    struct alert_expansion *expansion =
        alert_expand(evaluation->rule->texts, evaluation->run->world, &sample, summary, evaluation->ts_ms);
    return copy_into(&evaluation->next.arena, alert_expansion_annotations(expansion));
}

/* An alert that is given, and has been for as long as `for` says. One about missing data waits for a second time. */
static void fire_when_due(const struct evaluation *evaluation, struct alert *alert)
{
    int64_t active_ms = evaluation->ts_ms - alert->active_ms;
    if (alert->state != ALERT_STATE_PENDING || active_ms < evaluation->rule->rule->for_ms ||
        (alert->condition != RULE_CONDITION_OK && active_ms == 0))
        return;
    alert->state = ALERT_STATE_FIRING;
    alert->fired_ms = evaluation->ts_ms;
}

/* The alerts of before and those that the query gave become those of now, in order of their labels. */
static void merge_alerts(struct evaluation *evaluation, const struct alert *fresh, size_t fresh_count)
{
    const struct memory *before = &evaluation->rule->memory;
    struct memory *next = &evaluation->next;
    next->alerts = ap_new0_array(struct alert, before->alert_count + fresh_count + 1);
    size_t old = 0, new = 0;
    while (old < before->alert_count || new < fresh_count) {
        int order = old == before->alert_count ? 1
                    : new == fresh_count       ? -1
                                               : compare_alerts(&before->alerts[old], &fresh[new]);
        struct alert alert = order > 0 ? fresh[new] : before->alerts[old];
        bool is_kept = true;
        if (order < 0)
            is_kept = stay_or_fade(evaluation, &alert);
        else if (order == 0)
            go_on(&alert, &fresh[new]);
        old += order <= 0;
        new += order >= 0;
        if (!is_kept)
            continue;
        if (order < 0) { /* otherwise what it says is in the next memory already */
            alert.labels = copy_into(&next->arena, alert.labels);
            alert.annotations = alert.annotations.data || alert.state == ALERT_STATE_INACTIVE
                                    ? copy_into(&next->arena, alert.annotations)
                                    : words_of_restored(evaluation, &alert);
        } else {
            alert.labels = fresh[new - 1].labels;
            fire_when_due(evaluation, &alert);
        }
        next->alerts[next->alert_count++] = alert;
    }
}

/* The series of all that is active, within the group's limit. */
static enum ap_rc give_alerts(struct evaluation *evaluation, struct ap_err *err)
{
    size_t counted = 0;
    for (size_t i = 0; i < evaluation->next.alert_count; i++) {
        const struct alert *alert = &evaluation->next.alerts[i];
        if (alert->state == ALERT_STATE_INACTIVE)
            continue;
        counted += alert->condition == RULE_CONDITION_OK;
        enum ap_rc rc = give_alert_series(evaluation, alert, err);
        if (rc != AP_OK)
            return rc;
    }
    int64_t limit = evaluation->run->group->limit;
    if (limit && counted > (size_t)limit) {
        group_run_lock(evaluation->run); /* none goes on by what is no longer looked at */
        evaluation->rule->memory.alert_count = 0;
        group_run_unlock(evaluation->run);
        return ap_fail(err, AP_E_LIMIT, "exceeded limit of %" PRId64 " with %zu alerts", limit, counted);
    }
    sort_samples(evaluation);
    return AP_OK;
}

static enum ap_rc alert_all(struct evaluation *evaluation, const struct rules_vector *vector, struct ap_err *err)
{
    AP_AUTO_FREE struct alert *fresh = ap_new0_array(struct alert, vector->count + 1);
    size_t count = vector->count;
    enum ap_rc rc = is_raising(evaluation) ? name_alert_without_data(evaluation, &fresh[count++], err)
                                           : name_alerts(evaluation, vector, fresh, err);
    if (rc != AP_OK)
        return rc;
    merge_alerts(evaluation, fresh, count);
    return give_alerts(evaluation, err);
}

/* ---- A rule ---- */

/* Series that the rule gave the last time and gives no more end with a staleness marker. */
static void end_series(struct evaluation *evaluation)
{
    const struct memory *before = &evaluation->rule->memory;
    size_t given_count = evaluation->sample_count, given = 0;
    struct memory *next = &evaluation->next;
    uint64_t bits = STALE_BITS;
    double marker;
    memcpy(&marker, &bits, sizeof(marker));
    next->series = ap_new0_array(struct ap_slice, given_count + 1);
    next->series_count = given_count;
    for (size_t i = 0; i < given_count; i++)
        next->series[i] = evaluation->samples[i].labels;
    for (size_t i = 0; i < before->series_count; i++) {
        int order = -1;
        while (given < given_count && (order = labels_compare(before->series[i], next->series[given])) > 0)
            given++;
        if (given == given_count || order != 0)
            add_sample(evaluation, before->series[i], marker, NULL);
    }
}

/* Before the first evaluation of an alerting rule. */
static enum ap_rc restore(struct evaluation *evaluation, struct ap_err *err)
{
    const struct group_run *run = evaluation->run;
    struct rule_run *rule = evaluation->rule;
    if (rule->is_known || !rule->rule->is_alert)
        return AP_OK;
    if (run->world->restore_ms == 0) {
        rule->is_known = true;
        return AP_OK;
    }
    struct restored restored;
    enum ap_rc rc = rules_restore(run->world, rule->rule, evaluation->sample_ts_ms, run->world->restore_ms,
                                  &rule->memory.arena, &restored, err);
    if (rc != AP_OK)
        return ap_err_prefix(err, "what was known of its alerts");
    group_run_lock(evaluation->run);
    rule->is_known = true;
    rule->is_guessing = rule->is_alike;
    rule->memory.alerts = restored.alerts;
    rule->memory.alert_count = restored.alert_count;
    rule->memory.series = restored.series;
    rule->memory.series_count = rule->is_alike ? 0 : restored.series_count;
    group_run_unlock(evaluation->run);
    return AP_OK;
}

static bool has_number(const struct rules_vector *vector)
{
    for (size_t i = 0; i < vector->count; i++)
        if (vector->samples[i].histogram || !isnan(vector->samples[i].value))
            return true;
    return false;
}

/* Rates over nothing and quantiles of nothing are NaN: no figure either. */
static enum ap_rc ask_promql(struct evaluation *evaluation, struct rules_vector *ret_vector, bool *ret_has_figure,
                             struct ap_err *err)
{
    const struct rule *rule = evaluation->rule->rule;
    const struct rules_world *world = evaluation->run->world;
    struct rules_vector figure;
    enum ap_rc rc = rules_query(world, rule->expr, evaluation->sample_ts_ms, &evaluation->scratch, ret_vector, err);
    *ret_has_figure = true;
    if (rc != AP_OK || rule->figure.bytes == 0 || has_number(ret_vector))
        return rc;
    rc = rules_query(world, rule->figure, evaluation->sample_ts_ms, &evaluation->scratch, &figure, err);
    *ret_has_figure = rc == AP_OK && has_number(&figure);
    return rc;
}

static int64_t interval_of(const struct group_run *run)
{
    return run->group->interval_ms ? run->group->interval_ms : run->world->interval_ms;
}

static enum ap_rc ask(struct evaluation *evaluation, struct rules_vector *ret_vector, struct ap_err *err)
{
    const struct rule *rule = evaluation->rule->rule;
    bool has_figure = true;
    enum ap_rc rc =
        rule->language == RULE_LANGUAGE_SQL
            ? rules_sql_query(evaluation->run->world, rule, evaluation->sample_ts_ms, interval_of(evaluation->run),
                              &evaluation->scratch, ret_vector, &has_figure, err)
            : ask_promql(evaluation, ret_vector, &has_figure, err);
    evaluation->condition = has_figure ? RULE_CONDITION_OK : RULE_CONDITION_NO_DATA;
    return rc;
}

static enum ap_rc evaluate(struct evaluation *evaluation, struct ap_err *err)
{
    struct rules_vector vector;
    enum ap_rc rc = restore(evaluation, err);
    if (rc == AP_OK)
        rc = ask(evaluation, &vector, err);
    if (rc == AP_OK)
        rc = evaluation->rule->rule->is_alert ? alert_all(evaluation, &vector, err) : record(evaluation, &vector, err);
    if (rc == AP_OK)
        end_series(evaluation);
    return rc;
}

/*
 * The rule could not be evaluated: its alerts become what `on_error` says. False: they are left in memory as they were,
 * because it is no alert, or what was before this process is not known for certain yet, or all of this ends.
 */
static bool alert_of_error(struct evaluation *evaluation, const struct ap_err *reason)
{
    const struct rule_run *rule = evaluation->rule;
    const bool *is_ending = evaluation->run->world->is_ending;
    if (!rule->rule->is_alert || !rule->is_known || rule->is_guessing ||
        (is_ending && __atomic_load_n(is_ending, __ATOMIC_RELAXED)))
        return false;
    const struct rules_vector nothing = {0};
    struct ap_err err;
    memory_clear(&evaluation->next);
    evaluation->next = (struct memory){0};
    ap_arena_init(&evaluation->next.arena, 0);
    evaluation->sample_count = 0;
    evaluation->condition = RULE_CONDITION_ERROR;
    evaluation->reason = reason->text;
    if (alert_all(evaluation, &nothing, &err) != AP_OK)
        return false;
    end_series(evaluation);
    return true;
}

static bool is_to_be_told(const struct alert *alert, int64_t ts_ms)
{
    if (alert->state == ALERT_STATE_PENDING)
        return false;
    bool has_ended_since = alert->resolved_ms != RULES_TIME_NONE && alert->resolved_ms > alert->told_ms;
    return alert->told_ms == RULES_TIME_NONE || has_ended_since || alert->told_ms + ALERT_RESEND_MS < ts_ms;
}

/* What fires and what has ended: at once when that is new, and now and then again. */
static void tell(struct group_run *run, struct rule_run *rule, int64_t ts_ms)
{
    const struct rules_world *world = run->world;
    struct memory *memory = &rule->memory;
    if (!world->tell || memory->alert_count == 0)
        return;
    AP_AUTO_FREE const struct alert **due = ap_new0_array(const struct alert *, memory->alert_count);
    size_t count = 0;
    for (size_t i = 0; i < memory->alert_count; i++)
        if (is_to_be_told(&memory->alerts[i], ts_ms))
            due[count++] = &memory->alerts[i];
    int64_t ends_ms = ts_ms + 4 * AP_MAX(interval_of(run), (int64_t)ALERT_RESEND_MS);
    if (count == 0 || !world->tell(world->tell_context, rule->rule, due, count, ends_ms))
        return;
    group_run_lock(run);
    for (size_t i = 0, at = 0; i < memory->alert_count && at < count; i++)
        if (&memory->alerts[i] == due[at]) {
            memory->alerts[i].told_ms = ts_ms;
            at++;
        }
    group_run_unlock(run);
}

static bool evaluate_rule(struct group_run *run, struct rule_run *rule, int64_t ts_ms)
{
    const struct rules_world *world = run->world;
    int64_t started_us = ap_clock_monotonic_us(world->clock);
    int64_t offset_ms = run->group->has_query_offset ? run->group->query_offset_ms : world->query_offset_ms;
    struct evaluation evaluation = {.run = run, .rule = rule, .ts_ms = ts_ms, .sample_ts_ms = ts_ms - offset_ms};
    struct ap_err err, keep_err;
    ap_arena_init(&evaluation.scratch, 0);
    ap_arena_init(&evaluation.next.arena, 0);
    enum ap_rc rc = evaluate(&evaluation, &err), keep_rc = AP_OK;
    enum rule_condition condition = rc == AP_OK ? evaluation.condition : RULE_CONDITION_ERROR;
    bool is_evaluated = rc == AP_OK || alert_of_error(&evaluation, &err);
    if (is_evaluated && evaluation.sample_count)
        keep_rc = world->keep(world->context, evaluation.samples, evaluation.sample_count, &keep_err);
    if (rc == AP_OK && keep_rc != AP_OK) {
        rc = keep_rc;
        err = keep_err;
    }
    group_run_lock(run);
    if (is_evaluated) {
        struct memory before = rule->memory;
        rule->memory = evaluation.next;
        rule->is_guessing = false;
        evaluation.next = before;
    }
    free(rule->error);
    rule->error = rc == AP_OK ? NULL : ap_slice_dup(ap_slice_cstr(err.text));
    rule->health = rc == AP_OK ? RULE_HEALTH_OK : RULE_HEALTH_ERR;
    rule->condition = condition;
    rule->evaluated_ms = ts_ms;
    rule->duration_us = ap_clock_monotonic_us(world->clock) - started_us;
    group_run_unlock(run);
    if (is_evaluated)
        tell(run, rule, ts_ms);
    memory_clear(&evaluation.next);
    ap_arena_clear(&evaluation.scratch);
    ap_buf_clear(&evaluation.bytes);
    free(evaluation.samples);
    return rc == AP_OK;
}

/* ---- The group ---- */

struct group_run *group_run_new(const struct rule_group *group, const struct rules_world *world)
{
    struct group_run *run = ap_new0(struct group_run);
    run->group = group;
    run->world = world;
    run->evaluated_ms = RULES_TIME_NONE;
    run->rules = ap_new0_array(struct rule_run, group->rule_count + 1);
    pthread_mutex_init(&run->mutex, NULL);
    for (size_t i = 0; i < group->rule_count; i++) {
        struct rule_run *rule = &run->rules[i];
        rule->rule = &group->rules[i];
        rule->evaluated_ms = RULES_TIME_NONE;
        ap_arena_init(&rule->memory.arena, 0);
        if (rule->rule->is_alert)
            rule->texts = alert_texts_new(rule->rule);
    }
    return run;
}

void group_run_free(struct group_run *run)
{
    if (!run)
        return;
    for (size_t i = 0; i < run->group->rule_count; i++) {
        memory_clear(&run->rules[i].memory);
        alert_texts_free(run->rules[i].texts);
        free(run->rules[i].error);
    }
    free(run->rules);
    pthread_mutex_destroy(&run->mutex);
    free(run);
}

void group_run_note_alike(struct group_run *run, size_t rule_index)
{
    run->rules[rule_index].is_alike = true;
}

size_t group_run_evaluate(struct group_run *run, int64_t ts_ms)
{
    int64_t started_us = ap_clock_monotonic_us(run->world->clock);
    size_t failed = 0;
    for (size_t i = 0; i < run->group->rule_count; i++)
        failed += !evaluate_rule(run, &run->rules[i], ts_ms);
    group_run_lock(run);
    run->evaluated_ms = ts_ms;
    run->duration_us = ap_clock_monotonic_us(run->world->clock) - started_us;
    group_run_unlock(run);
    return failed;
}

static bool is_same_texts(const struct yaml_texts *a, const struct yaml_texts *b)
{
    bool is_same = a->count == b->count;
    for (size_t i = 0; is_same && i < a->count; i++)
        is_same = strcmp(a->keys[i], b->keys[i]) == 0 && strcmp(a->items[i], b->items[i]) == 0;
    return is_same;
}

static bool is_same_rule(const struct rule *a, const struct rule *b)
{
    return a->is_alert == b->is_alert && strcmp(a->name, b->name) == 0 && is_same_texts(&a->labels, &b->labels);
}

static void inherit_rule(struct rule_run *rule, struct rule_run *before)
{
    struct memory fresh = rule->memory;
    rule->memory = before->memory;
    before->memory = fresh;
    rule->is_known = before->is_known;
    rule->is_guessing = before->is_guessing;
    if (!ap_slice_equal(rule->rule->expr, before->rule->expr))
        return;
    rule->health = before->health;
    rule->condition = before->condition;
    rule->error = before->error;
    before->error = NULL;
    rule->evaluated_ms = before->evaluated_ms;
    rule->duration_us = before->duration_us;
}

bool rules_are_equal(const struct rule *a, const struct rule *b)
{
    return is_same_rule(a, b) && ap_slice_equal(a->expr, b->expr);
}

/* Hands what is left of `before` to rules that have nothing yet and are the same by `is_same`. */
static void inherit_where(struct group_run *run, struct group_run *before, bool *has_inherited, bool *is_taken,
                          bool (*is_same)(const struct rule *, const struct rule *))
{
    size_t before_count = before->group->rule_count, next = 0; /* mostly the one behind the last that was found */
    for (size_t i = 0; i < run->group->rule_count; i++)
        for (size_t tried = 0; tried < before_count && !has_inherited[i]; tried++) {
            size_t at = (next + tried) % before_count;
            if (is_taken[at] || !is_same(run->rules[i].rule, before->rules[at].rule))
                continue;
            inherit_rule(&run->rules[i], &before->rules[at]);
            has_inherited[i] = is_taken[at] = true;
            next = at + 1;
        }
}

void group_run_inherit(struct group_run *run, struct group_run *before)
{
    AP_AUTO_FREE bool *has_inherited = ap_new0_array(bool, run->group->rule_count + 1);
    AP_AUTO_FREE bool *is_taken = ap_new0_array(bool, before->group->rule_count + 1);
    inherit_where(run, before, has_inherited, is_taken, rules_are_equal);
    inherit_where(run, before, has_inherited, is_taken, is_same_rule);
    run->evaluated_ms = before->evaluated_ms;
    run->duration_us = before->duration_us;
}

void group_run_note_moved(struct group_run *run, size_t rule_index)
{
    run->rules[rule_index].is_moved = true;
}

/* Who is told of them would otherwise wait until they are told no more. */
static void end_alerts(struct group_run *run, struct rule_run *rule, int64_t ts_ms)
{
    for (size_t i = 0; i < rule->memory.alert_count; i++) {
        struct alert *alert = &rule->memory.alerts[i];
        if (alert->state != ALERT_STATE_FIRING)
            continue;
        alert->state = ALERT_STATE_INACTIVE;
        alert->resolved_ms = ts_ms;
    }
    tell(run, rule, ts_ms);
}

void group_run_end(struct group_run *run, int64_t ts_ms)
{
    for (size_t i = 0; i < run->group->rule_count; i++) {
        struct rule_run *rule = &run->rules[i];
        struct evaluation evaluation = {.run = run, .rule = rule, .ts_ms = ts_ms, .sample_ts_ms = ts_ms};
        struct ap_err err; /* a marker that is missing costs five minutes of an old value */
        end_series(&evaluation);
        if (evaluation.sample_count &&
            run->world->keep(run->world->context, evaluation.samples, evaluation.sample_count, &err) != AP_OK)
            rule->health = RULE_HEALTH_ERR;
        free(evaluation.next.series);
        free(evaluation.samples);
        if (!rule->is_moved)
            end_alerts(run, rule, ts_ms);
    }
}

void group_run_lock(struct group_run *run)
{
    pthread_mutex_lock(&run->mutex);
}

void group_run_unlock(struct group_run *run)
{
    pthread_mutex_unlock(&run->mutex);
}

const struct rule_group *group_run_group(const struct group_run *run)
{
    return run->group;
}

struct rule_status group_run_status(const struct group_run *run, size_t rule_index)
{
    const struct rule_run *rule = &run->rules[rule_index];
    struct rule_status status = {
        .rule = rule->rule,
        .health = rule->health,
        .condition = rule->condition,
        .error = rule->error,
        .evaluated_ms = rule->evaluated_ms,
        .duration_us = rule->duration_us,
        .alerts = rule->memory.alerts,
        .alert_count = rule->memory.alert_count,
    };
    for (size_t i = 0; i < status.alert_count; i++)
        status.state = AP_MAX(status.state, status.alerts[i].state);
    return status;
}

int64_t group_run_evaluated_ms(const struct group_run *run)
{
    return run->evaluated_ms;
}

int64_t group_run_duration_us(const struct group_run *run)
{
    return run->duration_us;
}
