#include "rules/restore.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "tsdb/labels.h"
#include "tsdb/matcher.h"

#define STALE_BITS UINT64_C(0x7ff0000000000002)

/* The last sample of a series. */
struct last {
    struct ap_slice series; /* as it is kept */
    struct ap_slice labels; /* of the alert: without the metric's name and the state */
    int64_t ts_ms;
    double value;
};

struct lasts {
    struct last *items; /* owned; sorted by labels */
    size_t count;
};

/* What is no template stands in each alert as it is written. */
static bool is_fixed(const char *text)
{
    return text[0] && !strstr(text, "{{");
}

static enum ap_rc add_matcher(struct matchers *matchers, const char *name, const char *value, struct ap_err *err)
{
    if (matchers->count == MATCHERS_MAX)
        return AP_OK; /* fewer only find more */
    enum ap_rc rc =
        matcher_new(MATCHER_EQUAL, ap_slice_cstr(name), ap_slice_cstr(value), &matchers->items[matchers->count], err);
    matchers->count += rc == AP_OK;
    return rc;
}

static enum ap_rc matchers_of(const struct rule *rule, const char *metric, const char *state, struct matchers *matchers,
                              struct ap_err *err)
{
    enum ap_rc rc = add_matcher(matchers, LABEL_METRIC_NAME, metric, err);
    if (rc == AP_OK)
        rc = add_matcher(matchers, "alertname", rule->name, err);
    if (rc == AP_OK && state)
        rc = add_matcher(matchers, "alertstate", state, err);
    for (size_t i = 0; i < rule->labels.count && rc == AP_OK; i++)
        if (is_fixed(rule->labels.items[i]))
            rc = add_matcher(matchers, rule->labels.keys[i], rule->labels.items[i], err);
    return rc;
}

static struct ap_slice copy_into(struct ap_arena *arena, struct ap_slice bytes)
{
    char *copy = ap_arena_alloc0(arena, bytes.bytes + 1);
    memcpy(copy, bytes.data, bytes.bytes);
    return ap_slice(copy, bytes.bytes);
}

static struct ap_slice alert_labels(struct ap_slice series, struct ap_arena *arena)
{
    AP_AUTO_BUF struct ap_buf bytes = {0};
    struct label label;
    while (labels_next(&series, &label))
        if (!ap_slice_equal_cstr(label.name, LABEL_METRIC_NAME) && !ap_slice_equal_cstr(label.name, "alertstate"))
            labels_add(&bytes, &label);
    return copy_into(arena, ap_buf_slice(&bytes));
}

static int compare_lasts(const void *a, const void *b)
{
    return labels_compare(((const struct last *)a)->labels, ((const struct last *)b)->labels);
}

static bool is_stale(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits == STALE_BITS;
}

static enum ap_rc read_set(const struct promql_storage_class *class, void *set, struct ap_arena *arena,
                           struct lasts *ret_lasts, struct ap_err *err)
{
    size_t count = class->count(set);
    struct lasts lasts = {.items = ap_new0_array(struct last, count + 1)};
    struct tsdb_columns columns = {0};
    enum ap_rc rc = AP_OK;
    for (size_t i = 0; i < count && rc == AP_OK; i++) {
        rc = class->read(set, i, &columns, err);
        if (rc != AP_OK || columns.count == 0 || is_stale(columns.values[columns.count - 1]))
            continue;
        struct ap_slice series = copy_into(arena, class->labels(set, i));
        lasts.items[lasts.count++] = (struct last){.series = series,
                                                   .labels = alert_labels(series, arena),
                                                   .ts_ms = columns.ts_ms[columns.count - 1],
                                                   .value = columns.values[columns.count - 1]};
    }
    tsdb_columns_clear(&columns);
    qsort(lasts.items, lasts.count, sizeof(*lasts.items), compare_lasts);
    if (rc == AP_OK)
        *ret_lasts = lasts;
    else
        free(lasts.items);
    return rc;
}

/* What the series of this name and state said last, in the span of time, unless that was their end. */
static enum ap_rc read_lasts(const struct rules_world *world, const struct matchers *matchers, int64_t min_ts_ms,
                             int64_t max_ts_ms, struct ap_arena *arena, struct lasts *ret_lasts, struct ap_err *err)
{
    const struct promql_storage_class *class = world->storage.class;
    void *set = NULL;
    enum ap_rc rc = class->select(world->storage.context, matchers, min_ts_ms, max_ts_ms, 0, &set, err);
    if (rc == AP_OK)
        rc = read_set(class, set, arena, ret_lasts, err);
    class->free(set);
    return rc;
}

static enum ap_rc find_lasts(const struct rules_world *world, const struct rule *rule, const char *metric,
                             const char *state, int64_t min_ts_ms, int64_t max_ts_ms, struct ap_arena *arena,
                             struct lasts *ret_lasts, struct ap_err *err)
{
    struct matchers matchers = {0};
    enum ap_rc rc = matchers_of(rule, metric, state, &matchers, err);
    if (rc == AP_OK)
        rc = read_lasts(world, &matchers, min_ts_ms, max_ts_ms, arena, ret_lasts, err);
    matchers_clear(&matchers);
    return rc;
}

static enum rule_condition condition_of(struct ap_slice labels)
{
    struct ap_slice value = labels_get(labels, ap_slice_cstr(RULE_CONDITION_LABEL));
    for (size_t i = RULE_CONDITION_OK + 1; i < RULE_CONDITION_COUNT; i++)
        if (ap_slice_equal_cstr(value, rule_condition_name((enum rule_condition)i)))
            return (enum rule_condition)i;
    return RULE_CONDITION_OK;
}

/* An evaluation that has to know what was before. */
struct moment {
    const struct rule *rule;
    int64_t ts_ms;
    int64_t sample_ts_ms;
    int64_t lookback_ms;
};

static struct alert restore_alert(const struct moment *moment, const struct last *since, const struct last *state,
                                  bool is_firing)
{
    int64_t active_ms = (int64_t)since->value * 1000, away_ms = moment->sample_ts_ms - state->ts_ms;
    bool is_held = away_ms > moment->lookback_ms && condition_of(since->labels) == RULE_CONDITION_OK;
    struct alert alert = {
        .state = is_firing ? ALERT_STATE_FIRING : ALERT_STATE_PENDING,
        .condition = condition_of(since->labels),
        .labels = since->labels,
        .value = NAN,
        .active_ms = is_firing ? active_ms : active_ms + away_ms,
        .fired_ms = is_firing ? AP_MIN(active_ms + moment->rule->for_ms, state->ts_ms) : RULES_TIME_NONE,
        .resolved_ms = RULES_TIME_NONE,
        .keep_firing_ms = RULES_TIME_NONE,
        .told_ms = RULES_TIME_NONE,
        .held_until_ms = is_held ? moment->ts_ms + moment->lookback_ms : RULES_TIME_NONE,
    };
    return alert;
}

static int compare_slices(const void *a, const void *b)
{
    return labels_compare(*(const struct ap_slice *)a, *(const struct ap_slice *)b);
}

/* Both series of an alert are written together: one that lacks its other half is none of this rule's evaluations. */
static void join(const struct moment *moment, const struct lasts *since, const struct lasts *states, bool are_firing,
                 struct restored *restored)
{
    size_t at = 0;
    for (size_t i = 0; i < since->count; i++) {
        const struct last *alert = &since->items[i];
        while (at < states->count && compare_lasts(&states->items[at], alert) < 0)
            at++;
        if (at == states->count || compare_lasts(&states->items[at], alert) != 0 ||
            states->items[at].ts_ms != alert->ts_ms || !isfinite(alert->value) || fabs(alert->value) > 1e12)
            continue;
        restored->alerts[restored->alert_count++] = restore_alert(moment, alert, &states->items[at], are_firing);
        restored->series[restored->series_count++] = states->items[at].series;
        restored->series[restored->series_count++] = alert->series;
    }
}

static int compare_alerts(const void *a, const void *b)
{
    return labels_compare(((const struct alert *)a)->labels, ((const struct alert *)b)->labels);
}

enum ap_rc rules_restore(const struct rules_world *world, const struct rule *rule, int64_t ts_ms, int64_t offset_ms,
                         struct ap_arena *arena, struct restored *ret_restored, struct ap_err *err)
{
    struct lasts since = {0}, firing = {0}, pending = {0};
    const struct moment moment = {.rule = rule,
                                  .ts_ms = ts_ms,
                                  .sample_ts_ms = ts_ms - offset_ms,
                                  .lookback_ms = promql_engine_options_of(world->engine)->lookback_ms};
    int64_t max_ts_ms = moment.sample_ts_ms - 1, min_ts_ms = moment.sample_ts_ms - world->restore_ms;
    enum ap_rc rc = find_lasts(world, rule, "ALERTS_FOR_STATE", NULL, min_ts_ms, max_ts_ms, arena, &since, err);
    if (rc == AP_OK && since.count)
        rc = find_lasts(world, rule, "ALERTS", "firing", min_ts_ms, max_ts_ms, arena, &firing, err);
    if (rc == AP_OK && since.count)
        rc = find_lasts(world, rule, "ALERTS", "pending", min_ts_ms, max_ts_ms, arena, &pending, err);
    if (rc == AP_OK) {
        struct restored restored = {.alerts = ap_new0_array(struct alert, 2 * since.count + 1),
                                    .series = ap_new0_array(struct ap_slice, 4 * since.count + 1)};
        join(&moment, &since, &firing, true, &restored);
        join(&moment, &since, &pending, false, &restored);
        qsort(restored.alerts, restored.alert_count, sizeof(*restored.alerts), compare_alerts);
        qsort(restored.series, restored.series_count, sizeof(*restored.series), compare_slices);
        *ret_restored = restored;
    }
    free(since.items);
    free(firing.items);
    free(pending.items);
    return rc;
}

bool rules_are_alike(const struct rule *a, const struct rule *b)
{
    if (!a->is_alert || !b->is_alert || strcmp(a->name, b->name) != 0)
        return false;
    for (size_t i = 0; i < a->labels.count; i++)
        for (size_t j = 0; j < b->labels.count; j++)
            if (strcmp(a->labels.keys[i], b->labels.keys[j]) == 0 && is_fixed(a->labels.items[i]) &&
                is_fixed(b->labels.items[j]) && strcmp(a->labels.items[i], b->labels.items[j]) != 0)
                return false;
    return true;
}
