#include "rules/replay.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/assert.h"
#include "rules/question.h"
#include "rules/rule_run.h"
#include "tsdb/labels.h"

/* A firing, as far as it is known. */
struct note {
    struct replay_firing firing;
    int64_t seen_ms; /* the last step at which there was such an alert */
};

struct replay {
    const struct replay_input *input; /* while it runs, as the next two */
    size_t *next;                     /* owned; of each series the first point that is not before now */
    int64_t now_ms;
    struct ap_arena arena;
    struct note *notes; /* owned; while it runs, as the next two */
    size_t note_count;
    size_t note_capacity;
    struct replay_firing *firings; /* owned */
    size_t firing_count;
    struct replay_failures failures;
};

/* ---- What the query gave ---- */

static const struct replay_point *point_at(struct replay *replay, size_t index, int64_t ts_ms)
{
    const struct replay_series *series = &replay->input->series[index];
    size_t *next = &replay->next[index];
    while (*next < series->count && series->points[*next].ts_ms < ts_ms)
        ++*next;
    return *next < series->count && series->points[*next].ts_ms == ts_ms ? &series->points[*next] : NULL;
}

static enum ap_rc give(void *context, int64_t ts_ms, struct ap_arena *arena, struct rules_answer *ret_answer,
                       struct ap_err *err)
{
    struct replay *replay = context;
    const struct replay_input *input = replay->input;
    const struct replay_step *step =
        input->steps ? &input->steps[(replay->now_ms - input->start_ms) / input->step_ms] : NULL;
    if (step && step->condition == RULE_CONDITION_ERROR)
        return ap_fail(err, AP_E_CONFLICT, "%s", step->reason);
    struct rules_vector vector = {.samples =
                                      ap_arena_alloc0(arena, (input->series_count + 1) * sizeof(*vector.samples))};
    for (size_t i = 0; i < input->series_count; i++) {
        const struct replay_point *point = point_at(replay, i, ts_ms);
        if (point)
            vector.samples[vector.count++] =
                (struct rules_sample){.labels = input->series[i].labels, .ts_ms = ts_ms, .value = point->value};
    }
    *ret_answer = (struct rules_answer){vector, !step || step->condition == RULE_CONDITION_OK};
    return AP_OK;
}

static enum ap_rc keep_nothing(void *context, const struct rules_sample *samples, size_t count, struct ap_err *err)
{
    (void)context, (void)samples, (void)count, (void)err;
    return AP_OK;
}

/* ---- What came of it ---- */

static char *copy_text(struct replay *replay, struct ap_slice text)
{
    char *copy = ap_arena_alloc0(&replay->arena, text.bytes + 1);
    memcpy(copy, text.data, text.bytes);
    return copy;
}

static struct note *find_note(struct replay *replay, const struct alert *alert, const char *reason)
{
    for (size_t i = replay->note_count; i > 0; i--) {
        const struct replay_firing *firing = &replay->notes[i - 1].firing;
        if (firing->active_ms == alert->active_ms && ap_slice_equal(firing->labels, alert->labels))
            return &replay->notes[i - 1];
    }
    if (replay->note_count == replay->note_capacity) {
        replay->note_capacity = AP_MAX(16, 2 * replay->note_capacity);
        replay->notes = ap_realloc(replay->notes, replay->note_capacity * sizeof(*replay->notes));
    }
    struct note *note = &replay->notes[replay->note_count++];
    note->firing = (struct replay_firing){.labels = ap_slice(copy_text(replay, alert->labels), alert->labels.bytes),
                                          .condition = alert->condition,
                                          .active_ms = alert->active_ms,
                                          .least = NAN,
                                          .most = NAN};
    if (alert->condition == RULE_CONDITION_ERROR)
        note->firing.reason = copy_text(replay, ap_slice_cstr(reason));
    return note;
}

static void note_alerts(struct replay *replay, const struct rule_status *status)
{
    for (size_t i = 0; i < status->alert_count; i++) {
        const struct alert *alert = &status->alerts[i];
        if (alert->state == ALERT_STATE_INACTIVE && alert->resolved_ms != replay->now_ms)
            continue; /* noted when it was resolved */
        struct note *note = find_note(replay, alert, status->error);
        note->seen_ms = replay->now_ms;
        note->firing.fired_ms = alert->fired_ms;
        note->firing.resolved_ms = alert->resolved_ms;
        note->firing.least = fmin(note->firing.least, alert->value); /* which take a number before NaN */
        note->firing.most = fmax(note->firing.most, alert->value);
    }
}

static void note_failure(struct replay *replay, const char *reason)
{
    if (replay->failures.count++ > 0)
        return;
    replay->failures.first_ms = replay->now_ms;
    replay->failures.reason = copy_text(replay, ap_slice_cstr(reason));
}

static int compare_firings(const void *a, const void *b)
{
    const struct replay_firing *left = a, *right = b;
    if (left->active_ms != right->active_ms)
        return left->active_ms < right->active_ms ? -1 : 1;
    return labels_compare(left->labels, right->labels);
}

/* Those that did fire. One that was forgotten (above the group's limit) was over at the next step. */
static void take_firings(struct replay *replay)
{
    replay->firings = ap_new0_array(struct replay_firing, replay->note_count + 1);
    for (size_t i = 0; i < replay->note_count; i++) {
        struct note *note = &replay->notes[i];
        if (note->firing.fired_ms == RULES_TIME_NONE)
            continue;
        if (note->firing.resolved_ms == RULES_TIME_NONE && note->seen_ms != replay->now_ms)
            note->firing.resolved_ms = note->seen_ms + replay->input->step_ms;
        replay->firings[replay->firing_count++] = note->firing;
    }
    qsort(replay->firings, replay->firing_count, sizeof(*replay->firings), compare_firings);
}

/* ---- Running ---- */

static void step(struct replay *replay, struct rule_run *run, int64_t ts_ms)
{
    replay->now_ms = ts_ms;
    bool is_evaluated = rule_run_evaluate(run, ts_ms);
    struct rule_status status = rule_run_status(run);
    if (!is_evaluated)
        note_failure(replay, status.error);
    note_alerts(replay, &status);
}

struct replay *replay_run(const struct replay_input *input)
{
    AP_ASSERT(input->rule->is_alert && input->step_ms > 0);
    struct replay *replay = ap_new0(struct replay);
    ap_arena_init(&replay->arena, 0);
    replay->input = input;
    replay->next = ap_new0_array(size_t, input->series_count + 1);
    const struct rules_world world = {.give = give,
                                      .give_context = replay,
                                      .keep = keep_nothing,
                                      .external_url = input->external_url,
                                      .clock = &ap_clock_system};
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* nobody else looks */
    AP_AUTO(rule_run) struct rule_run *run = rule_run_new(input->rule, input->group, &world, &mutex);
    for (int64_t ts_ms = input->start_ms; ts_ms <= input->end_ms; ts_ms += input->step_ms)
        step(replay, run, ts_ms);
    take_firings(replay);
    replay->input = NULL;
    return replay;
}

void replay_free(struct replay *replay)
{
    if (!replay)
        return;
    ap_arena_clear(&replay->arena);
    free(replay->firings);
    free(replay->notes);
    free(replay->next);
    free(replay);
}

const struct replay_firing *replay_firings(const struct replay *replay, size_t *ret_count)
{
    *ret_count = replay->firing_count;
    return replay->firings;
}

struct replay_failures replay_failures(const struct replay *replay)
{
    return replay->failures;
}
