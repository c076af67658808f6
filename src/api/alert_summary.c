#include "api/alert_summary.h"

#include <inttypes.h>

#include "alert/alerting.h"
#include "api/question.h"
#include "base/mem.h"
#include "rules/manager.h"
#include "tsdb/labels.h"

/* People use three or four. What is beyond stands under "other". */
enum { SEVERITIES_MAX = 16, SEVERITY_BYTES_MAX = 64 };

struct severity {
    char name[SEVERITY_BYTES_MAX];
    size_t bytes;
    uint64_t count;
};

struct tally {
    uint64_t active, silenced, inhibited, muted;
    struct severity severities[SEVERITIES_MAX];
    size_t severity_count;
    uint64_t other_count;
};

static void count_severity(struct tally *tally, struct ap_slice name)
{
    for (size_t i = 0; i < tally->severity_count; i++) {
        struct severity *severity = &tally->severities[i];
        if (ap_slice_equal(ap_slice(severity->name, severity->bytes), name)) {
            severity->count++;
            return;
        }
    }
    if (tally->severity_count == SEVERITIES_MAX || name.bytes > SEVERITY_BYTES_MAX) {
        tally->other_count++;
        return;
    }
    struct severity *severity = &tally->severities[tally->severity_count++];
    severity->bytes = name.bytes;
    for (size_t i = 0; i < name.bytes; i++)
        severity->name[i] = name.data[i];
    severity->count = 1;
}

/* A Watchdog fires to show that alerting works, whatever its severity. */
static struct ap_slice severity_of(struct ap_slice labels)
{
    if (ap_slice_equal_cstr(labels_get(labels, ap_slice_cstr("alertname")), "Watchdog"))
        return ap_slice_cstr("none");
    return labels_get(labels, ap_slice_cstr("severity"));
}

/* Each alert counts once: what a silence holds back is not asked whether it is inhibited as well. */
static void count_alert(const struct alert_view *view, void *context)
{
    struct tally *tally = context;
    if (view->is_resolved)
        return;
    if (view->silenced_count)
        tally->silenced++;
    else if (view->inhibited_count)
        tally->inhibited++;
    else if (view->muted_count)
        tally->muted++;
    else {
        tally->active++;
        count_severity(tally, severity_of(view->alert.labels));
    }
}

static void add_alerts(struct ap_buf *out, const struct tally *tally)
{
    ap_buf_printf(out,
                  "{\"alerts\":{\"active\":%" PRIu64 ",\"silenced\":%" PRIu64 ",\"inhibited\":%" PRIu64
                  ",\"muted\":%" PRIu64 "},\"active_by_severity\":{",
                  tally->active, tally->silenced, tally->inhibited, tally->muted);
    for (size_t i = 0; i < tally->severity_count; i++) {
        ap_buf_add_cstr(out, i ? "," : "");
        ap_buf_add_json_string(out, ap_slice(tally->severities[i].name, tally->severities[i].bytes));
        ap_buf_printf(out, ":%" PRIu64, tally->severities[i].count);
    }
    ap_buf_printf(out, "},\"other_severities\":%" PRIu64, tally->other_count);
}

/* Whether any receiver has a way to tell anybody. */
static bool is_anybody_told(struct alerting *alerting)
{
    const struct alert_config *config = alerting_lock_config(alerting);
    bool is_told = false;
    for (size_t i = 0; i < config->receiver_count; i++)
        is_told = is_told || config->receivers[i].way_count > 0;
    alerting_unlock_config(alerting);
    return is_told;
}

static void add_rules(struct ap_buf *out, struct rule_manager *manager)
{
    uint64_t rule_count = 0, failing_count = 0;
    int64_t evaluated_ms = RULES_TIME_NONE;
    size_t group_count = rule_manager_lock(manager);
    for (size_t i = 0; i < group_count; i++) {
        struct group_run *run = rule_manager_group(manager, i).run;
        group_run_lock(run);
        size_t count = group_run_group(run)->rule_count;
        for (size_t rule = 0; rule < count; rule++)
            failing_count += group_run_status(run, rule).health == RULE_HEALTH_ERR;
        rule_count += count;
        evaluated_ms = AP_MAX(evaluated_ms, group_run_evaluated_ms(run));
        group_run_unlock(run);
    }
    rule_manager_unlock(manager);
    ap_buf_printf(out,
                  ",\"rules\":{\"groups\":%zu,\"rules\":%" PRIu64 ",\"failing\":%" PRIu64 ",\"last_evaluation_ms\":",
                  group_count, rule_count, failing_count);
    if (evaluated_ms == RULES_TIME_NONE)
        ap_buf_add_cstr(out, "null}");
    else
        ap_buf_printf(out, "%" PRId64 "}", evaluated_ms);
}

static enum ap_rc answer_summary(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    struct api *api = question->api;
    struct tally tally = {0};
    (void)err;
    if (api->alerting)
        alerting_each_alert(api->alerting, count_alert, &tally);
    question_set_bare(question, out, "application/json");
    add_alerts(out, &tally);
    add_rules(out, api->rules);
    ap_buf_printf(out, ",\"is_anybody_told\":%s,\"now_ms\":%" PRId64 "}\n",
                  api->alerting && is_anybody_told(api->alerting) ? "true" : "false",
                  ap_clock_wall_us(api->clock) / AP_US_PER_MS);
    return AP_OK;
}

void alert_summary_handle(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->questions, answer_summary);
}
