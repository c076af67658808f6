#include "rules/alerting.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "rules/alert_text.h"

/* ---- What the answer gives ---- */

static enum ap_rc name_alert(struct evaluation *evaluation, const struct rules_sample *sample, const char *summary,
                             struct alert *ret_alert, struct ap_err *err)
{
    const struct rule *rule = evaluation->round.rule;
    AP_AUTO(alert_expansion)
    struct alert_expansion *expansion =
        alert_expand(evaluation->texts, evaluation->world, sample, summary, evaluation->round.ts_ms);
    struct alert alert = alert_begin(&evaluation->round, sample->value);
    struct label_set set;
    label_set_from(&set, sample->labels);
    label_set_put(&set, LABEL_METRIC_NAME, ap_slice_cstr(""));
    for (size_t l = 0; l < rule->labels.count; l++)
        label_set_put(&set, rule->labels.keys[l], alert_expansion_label(expansion, l));
    label_set_put(&set, "alertname", ap_slice_cstr(rule->name));
    if (alert.condition != RULE_CONDITION_OK)
        label_set_put(&set, RULE_CONDITION_LABEL, ap_slice_cstr(rule_condition_name(alert.condition)));
    enum ap_rc rc = evaluation_seal(evaluation, &set, &alert.labels, err);
    if (rc != AP_OK)
        return rc;
    alert.annotations = evaluation_copy(evaluation, alert_expansion_annotations(expansion));
    *ret_alert = alert;
    return AP_OK;
}

/* An alert for each sample. */
static enum ap_rc name_alerts(struct evaluation *evaluation, const struct rules_vector *vector, struct alert *fresh,
                              struct ap_err *err)
{
    for (size_t i = 0; i < vector->count; i++) {
        enum ap_rc rc = name_alert(evaluation, &vector->samples[i], NULL, &fresh[i], err);
        if (rc != AP_OK)
            return rc;
    }
    qsort(fresh, vector->count, sizeof(*fresh), alert_compare);
    for (size_t i = 1; i < vector->count; i++)
        if (alert_compare(&fresh[i - 1], &fresh[i]) == 0)
            return ap_fail(err, AP_E_CONFLICT,
                           "vector contains metrics with the same labelset after applying alert labels");
    return AP_OK;
}

/* The one about a figure that is not there. */
static enum ap_rc name_alert_without_data(struct evaluation *evaluation, struct alert *fresh, struct ap_err *err)
{
    const char *name = evaluation->round.rule->name;
    AP_AUTO_FREE char *summary =
        evaluation->round.condition == RULE_CONDITION_ERROR
            ? ap_asprintf("%s cannot be evaluated, so that nobody knows whether it should fire: %s", name,
                          evaluation->reason)
            : ap_asprintf("No data for %s: its query gives nothing, so that nobody knows whether it should fire", name);
    const struct rules_sample none = {.ts_ms = evaluation->sample_ts_ms, .value = NAN};
    return name_alert(evaluation, &none, summary, fresh, err);
}

/* ---- With those of before ---- */

/* What a restored alert says that nothing has been known of since: its own words are gone with the process before. */
static struct ap_slice words_of_restored(struct evaluation *evaluation, const struct alert *alert)
{
    AP_AUTO_FREE char *summary = ap_asprintf(
        "%s was active before the server started, and has not been evaluated since: %s", evaluation->round.rule->name,
        evaluation->round.condition == RULE_CONDITION_ERROR ? evaluation->reason : "there is no data");
    const struct rules_sample sample = {.labels = alert->labels, .value = NAN};
    AP_AUTO(alert_expansion)
    struct alert_expansion *expansion =
        alert_expand(evaluation->texts, evaluation->world, &sample, summary, evaluation->round.ts_ms);
    return evaluation_copy(evaluation, alert_expansion_annotations(expansion));
}

static void add_alert(struct evaluation *evaluation, const struct alert *alert)
{
    struct rule_memory *next = &evaluation->next;
    next->alerts[next->alert_count++] = *alert;
}

static void take_given(struct evaluation *evaluation, const struct alert *before, const struct alert *fresh)
{
    struct alert alert = before ? *before : *fresh;
    if (before)
        alert_go_on(&alert, fresh);
    alert.labels = fresh->labels; /* what it says is in the next memory already */
    alert_give(&evaluation->round, &alert);
    add_alert(evaluation, &alert);
}

static void take_not_given(struct evaluation *evaluation, const struct alert *before)
{
    struct alert alert = *before;
    if (!alert_stay(&evaluation->round, &alert))
        return;
    alert.labels = evaluation_copy(evaluation, alert.labels);
    alert.annotations = alert.annotations.data || alert.state == ALERT_STATE_INACTIVE
                            ? evaluation_copy(evaluation, alert.annotations)
                            : words_of_restored(evaluation, &alert);
    add_alert(evaluation, &alert);
}

/* The alerts of before and those that the query gave become those of now, in order of their labels. */
static void merge_alerts(struct evaluation *evaluation, const struct alert *fresh, size_t fresh_count)
{
    const struct rule_memory *before = evaluation->before;
    size_t old = 0, new = 0;
    evaluation->next.alerts = ap_new0_array(struct alert, before->alert_count + fresh_count + 1);
    while (old < before->alert_count || new < fresh_count) {
        int order = old == before->alert_count ? 1
                    : new == fresh_count       ? -1
                                               : alert_compare(&before->alerts[old], &fresh[new]);
        if (order < 0)
            take_not_given(evaluation, &before->alerts[old]);
        else
            take_given(evaluation, order == 0 ? &before->alerts[old] : NULL, &fresh[new]);
        old += order <= 0;
        new += order >= 0;
    }
}

/* ---- Their series ---- */

static enum ap_rc give_alert_series(struct evaluation *evaluation, const struct alert *alert, struct ap_err *err)
{
    struct label_set set;
    struct ap_slice labels;
    label_set_from(&set, alert->labels);
    label_set_put(&set, LABEL_METRIC_NAME, ap_slice_cstr("ALERTS"));
    label_set_put(&set, "alertstate", ap_slice_cstr(alert_state_name(alert->state)));
    enum ap_rc rc = evaluation_seal(evaluation, &set, &labels, err);
    if (rc != AP_OK)
        return rc;
    evaluation_add(evaluation, labels, 1, NULL);
    label_set_from(&set, alert->labels);
    label_set_put(&set, LABEL_METRIC_NAME, ap_slice_cstr("ALERTS_FOR_STATE"));
    rc = evaluation_seal(evaluation, &set, &labels, err);
    int64_t active_s = alert->active_ms / 1000 - (alert->active_ms % 1000 < 0); /* downwards, as Prometheus has it */
    if (rc == AP_OK)
        evaluation_add(evaluation, labels, (double)active_s, NULL);
    return rc;
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
    if (evaluation->limit && counted > (size_t)evaluation->limit) {
        evaluation->is_over_limit = true;
        return ap_fail(err, AP_E_LIMIT, "exceeded limit of %" PRId64 " with %zu alerts", evaluation->limit, counted);
    }
    evaluation_sort(evaluation);
    return AP_OK;
}

enum ap_rc alerting_evaluate(struct evaluation *evaluation, const struct rules_vector *vector, struct ap_err *err)
{
    AP_AUTO_FREE struct alert *fresh = ap_new0_array(struct alert, vector->count + 1);
    bool is_raising = alert_round_is_raising(&evaluation->round);
    enum ap_rc rc =
        is_raising ? name_alert_without_data(evaluation, fresh, err) : name_alerts(evaluation, vector, fresh, err);
    if (rc != AP_OK)
        return rc;
    merge_alerts(evaluation, fresh, is_raising ? 1 : vector->count);
    return give_alerts(evaluation, err);
}
