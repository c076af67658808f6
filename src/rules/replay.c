#include "rules/replay.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/buf.h"
#include "promql/engine.h"
#include "promql/storage.h"
#include "tsdb/labels.h"
#include "tsdb/matcher.h"

#define REPLAYED "apiary_replayed" /* what the rule asks for in place of its expression */

/* A series, and where in it the replay is. */
struct track {
    const struct replay_series *series;
    size_t next; /* the first point that is not before now */
};

struct replay {
    struct track *tracks; /* owned; sorted by labels */
    size_t track_count;
    int64_t now_ms;
    struct ap_buf name; /* canonical labels: that of REPLAYED */
    struct ap_arena arena;
    struct replay_firing *firings; /* owned; pending ones among them until the end */
    size_t firing_count;
    size_t firing_capacity;
};

/* ---- What the expression gave, as a storage ---- */

struct step_set {
    const struct replay *replay;
    const struct track **tracks; /* owned; those with a point now */
    size_t count;
};

static bool has_point(const struct replay *replay, const struct track *track)
{
    return track->next < track->series->count && track->series->points[track->next].ts_ms == replay->now_ms;
}

static enum ap_rc step_select(void *context, const struct matchers *matchers, int64_t min_ts_ms, int64_t max_ts_ms,
                              uint64_t series_max, void **ret_set, struct ap_err *err)
{
    const struct replay *replay = context;
    struct step_set *set = ap_new0(struct step_set);
    set->replay = replay;
    set->tracks = ap_new0_array(const struct track *, replay->track_count + 1);
    bool is_asked = replay->now_ms >= min_ts_ms && replay->now_ms <= max_ts_ms &&
                    matchers_match(matchers, ap_buf_slice(&replay->name)); /* and not by a template */
    for (size_t i = 0; i < replay->track_count && is_asked; i++)
        if (has_point(replay, &replay->tracks[i]))
            set->tracks[set->count++] = &replay->tracks[i];
    *ret_set = set;
    if (series_max && set->count > series_max)
        return ap_fail(err, AP_E_LIMIT, "more than %llu series", (unsigned long long)series_max);
    return AP_OK;
}

static size_t step_count(const void *set)
{
    return ((const struct step_set *)set)->count;
}

static struct ap_slice step_labels(const void *set, size_t index)
{
    return ((const struct step_set *)set)->tracks[index]->series->labels;
}

static enum ap_rc step_read(void *context, size_t index, struct tsdb_columns *columns, struct ap_err *err)
{
    const struct step_set *set = context;
    const struct track *track = set->tracks[index];
    (void)err;
    if (columns->capacity == 0) {
        columns->capacity = 1;
        columns->ts_ms = ap_realloc(columns->ts_ms, sizeof(*columns->ts_ms));
        columns->values = ap_realloc(columns->values, sizeof(*columns->values));
    }
    columns->histogram_count = 0;
    columns->count = 1;
    columns->ts_ms[0] = track->series->points[track->next].ts_ms;
    columns->values[0] = track->series->points[track->next].value;
    return AP_OK;
}

static void step_free(void *context)
{
    struct step_set *set = context;
    if (!set)
        return;
    free(set->tracks);
    free(set);
}

static const struct promql_storage_class step_class = {
    .select = step_select, .count = step_count, .labels = step_labels, .read = step_read, .free = step_free};

static int compare_tracks(const void *a, const void *b)
{
    return labels_compare(((const struct track *)a)->series->labels, ((const struct track *)b)->series->labels);
}

static enum ap_rc keep_nothing(void *context, const struct rules_sample *samples, size_t count, struct ap_err *err)
{
    (void)context, (void)samples, (void)count, (void)err;
    return AP_OK;
}

/* ---- What came of it ---- */

static struct replay_firing *find_firing(struct replay *replay, const struct alert *alert)
{
    for (size_t i = replay->firing_count; i > 0; i--) {
        struct replay_firing *firing = &replay->firings[i - 1];
        if (firing->active_ms == alert->active_ms && ap_slice_equal(firing->labels, alert->labels))
            return firing;
    }
    if (replay->firing_count == replay->firing_capacity) {
        replay->firing_capacity = AP_MAX(16, 2 * replay->firing_capacity);
        replay->firings = ap_realloc(replay->firings, replay->firing_capacity * sizeof(*replay->firings));
    }
    char *labels = ap_arena_alloc0(&replay->arena, alert->labels.bytes + 1);
    memcpy(labels, alert->labels.data, alert->labels.bytes);
    struct replay_firing *firing = &replay->firings[replay->firing_count++];
    *firing = (struct replay_firing){.labels = ap_slice(labels, alert->labels.bytes),
                                     .active_ms = alert->active_ms,
                                     .fired_ms = RULES_TIME_NONE,
                                     .resolved_ms = RULES_TIME_NONE,
                                     .least = INFINITY,
                                     .most = -INFINITY};
    return firing;
}

static void note_alerts(struct replay *replay, const struct rule_status *status)
{
    for (size_t i = 0; i < status->alert_count; i++) {
        const struct alert *alert = &status->alerts[i];
        if (alert->state == ALERT_STATE_INACTIVE && alert->resolved_ms != replay->now_ms)
            continue; /* noted when it was resolved */
        struct replay_firing *firing = find_firing(replay, alert);
        firing->fired_ms = alert->fired_ms;
        firing->resolved_ms = alert->resolved_ms;
        firing->least = fmin(firing->least, alert->value);
        firing->most = fmax(firing->most, alert->value);
    }
}

static int compare_firings(const void *a, const void *b)
{
    const struct replay_firing *left = a, *right = b;
    if (left->active_ms != right->active_ms)
        return left->active_ms < right->active_ms ? -1 : 1;
    return labels_compare(left->labels, right->labels);
}

static void drop_pending(struct replay *replay)
{
    size_t kept = 0;
    for (size_t i = 0; i < replay->firing_count; i++)
        if (replay->firings[i].fired_ms != RULES_TIME_NONE)
            replay->firings[kept++] = replay->firings[i];
    replay->firing_count = kept;
    if (kept)
        qsort(replay->firings, kept, sizeof(*replay->firings), compare_firings);
}

/* ---- Running ---- */

static enum ap_rc step(struct replay *replay, struct group_run *run, int64_t ts_ms, struct ap_err *err)
{
    replay->now_ms = ts_ms;
    for (size_t i = 0; i < replay->track_count; i++) {
        struct track *track = &replay->tracks[i];
        while (track->next < track->series->count && track->series->points[track->next].ts_ms < ts_ms)
            track->next++;
    }
    size_t failed = group_run_evaluate(run, ts_ms);
    group_run_lock(run);
    struct rule_status status = group_run_status(run, 0);
    enum ap_rc rc = failed ? ap_fail(err, AP_E_CONFLICT, "%s", status.error ? status.error : "the rule fails") : AP_OK;
    if (rc == AP_OK)
        note_alerts(replay, &status);
    group_run_unlock(run);
    return rc;
}

static struct replay *replay_new(const struct replay_input *input)
{
    struct replay *replay = ap_new0(struct replay);
    ap_arena_init(&replay->arena, 0);
    struct label name = {ap_slice_cstr(LABEL_METRIC_NAME), ap_slice_cstr(REPLAYED)};
    labels_add(&replay->name, &name);
    replay->tracks = ap_new0_array(struct track, input->series_count + 1);
    replay->track_count = input->series_count;
    for (size_t i = 0; i < input->series_count; i++)
        replay->tracks[i].series = &input->series[i];
    qsort(replay->tracks, replay->track_count, sizeof(*replay->tracks), compare_tracks);
    return replay;
}

enum ap_rc replay_run(const struct replay_input *input, struct replay **ret_replay, struct ap_err *err)
{
    AP_ASSERT(input->rule->is_alert && input->step_ms > 0);
    AP_AUTO(replay) struct replay *replay = replay_new(input);
    AP_AUTO(promql_engine) struct promql_engine *engine = NULL;
    struct promql_engine_options options;
    promql_engine_options_init(&options);
    options.threads_max = 1;
    enum ap_rc rc = promql_engine_open(&options, &engine, err);
    if (rc != AP_OK)
        return rc;
    struct rule rule = *input->rule;
    rule.language = RULE_LANGUAGE_PROMQL;
    rule.expr = ap_slice_cstr(REPLAYED);
    rule.figure = (struct ap_slice){0};
    const struct rule_group group = {.name = "replay", .file = "", .rules = &rule, .rule_count = 1};
    const struct rules_world world = {.engine = engine,
                                      .storage = {&step_class, replay},
                                      .keep = keep_nothing,
                                      .external_url = input->external_url,
                                      .clock = &ap_clock_system};
    AP_AUTO(group_run) struct group_run *run = group_run_new(&group, &world);
    for (int64_t ts_ms = input->start_ms; ts_ms <= input->end_ms && rc == AP_OK; ts_ms += input->step_ms)
        rc = step(replay, run, ts_ms, err);
    if (rc != AP_OK)
        return rc;
    drop_pending(replay);
    *ret_replay = AP_MOVE(replay);
    return AP_OK;
}

void replay_free(struct replay *replay)
{
    if (!replay)
        return;
    ap_buf_clear(&replay->name);
    ap_arena_clear(&replay->arena);
    free(replay->firings);
    free(replay->tracks);
    free(replay);
}

const struct replay_firing *replay_firings(const struct replay *replay, size_t *ret_count)
{
    *ret_count = replay->firing_count;
    return replay->firings;
}
