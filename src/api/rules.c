#include "api/rules.h"

#include <inttypes.h>

#include "api/prometheus.h"
#include "api/question.h"
#include "api/selection.h"
#include "base/mem.h"
#include "promql/parser.h"
#include "rules/manager.h"
#include "tsdb/labels.h"

/* ---- Writing ---- */

static void add_text(struct ap_buf *out, const char *before, const char *text)
{
    ap_buf_add_cstr(out, before);
    ap_buf_add_json_string(out, ap_slice_cstr(text));
}

/* Of what was never evaluated: the first moment of Go's calendar, as Prometheus has it. */
static void add_moment(struct ap_buf *out, const char *before, int64_t ts_ms)
{
    char text[AP_TIME_TEXT_BYTES] = "0001-01-01T00:00:00Z";
    if (ts_ms != RULES_TIME_NONE)
        ap_time_format(ts_ms * AP_US_PER_MS, text);
    add_text(out, before, text);
}

static void add_seconds(struct ap_buf *out, const char *before, double seconds)
{
    ap_buf_add_cstr(out, before);
    ap_buf_add_json_double(out, seconds);
}

static void add_map(struct ap_buf *out, const char *before, const struct yaml_texts *texts)
{
    ap_buf_printf(out, "%s{", before);
    for (size_t i = 0; i < texts->count; i++) {
        add_text(out, i ? "," : "", texts->keys[i]);
        add_text(out, ":", texts->items[i]);
    }
    ap_buf_add_char(out, '}');
}

/* The query in Prometheus' way of writing; SQL is as it stands. */
static void add_query(struct ap_buf *out, const struct rule_status *status)
{
    AP_AUTO_BUF struct ap_buf printed = {0};
    if (status->promql)
        promql_print(status->promql->expr, &printed);
    ap_buf_add_cstr(out, ",\"query\":");
    ap_buf_add_json_string(out, printed.bytes ? ap_buf_slice(&printed) : status->rule->expr);
}

static void add_alert(struct ap_buf *out, const struct alert *alert)
{
    ap_buf_add_cstr(out, "{\"labels\":");
    labels_format_json(alert->labels, out);
    ap_buf_add_cstr(out, ",\"annotations\":");
    labels_format_json(alert->annotations, out);
    add_text(out, ",\"state\":", alert_state_name(alert->state));
    add_moment(out, ",\"activeAt\":", alert->active_ms);
    if (alert->keep_firing_ms != RULES_TIME_NONE)
        add_moment(out, ",\"keepFiringSince\":", alert->keep_firing_ms);
    ap_buf_add_cstr(out, ",\"value\":\"");
    prometheus_add_exponential(out, alert->value);
    ap_buf_add_cstr(out, "\"}");
}

/* Those that are pending or firing; `is_first`: nothing stands before them. Whether that is still so. */
static bool add_active_alerts(struct ap_buf *out, const struct rule_status *status, bool is_first)
{
    for (size_t i = 0; i < status->alert_count; i++) {
        if (status->alerts[i].state == ALERT_STATE_INACTIVE)
            continue;
        ap_buf_add_cstr(out, is_first ? "" : ",");
        add_alert(out, &status->alerts[i]);
        is_first = false;
    }
    return is_first;
}

/* What Prometheus' rules do not have. */
static void add_own(struct ap_buf *out, const struct rule_status *status)
{
    const struct rule *rule = status->rule;
    add_text(out, ",\"apiary\":{\"language\":", rule->language == RULE_LANGUAGE_SQL ? "sql" : "promql");
    if (rule->is_alert) {
        add_text(out, ",\"no_data\":", rule_no_data_names[rule->no_data]);
        add_text(out, ",\"on_error\":", rule_on_error_names[rule->on_error]);
    }
    add_text(out, ",\"condition\":", rule_condition_name(status->condition));
    if (rule->threshold.op != THRESHOLD_NONE) {
        ap_buf_printf(out, ",\"threshold\":\"%s ", rule_threshold_op_name(rule->threshold.op));
        ap_buf_add_json_double(out, rule->threshold.value);
        ap_buf_add_char(out, '"');
    }
    ap_buf_add_char(out, '}');
}

static void add_rule(struct ap_buf *out, const struct rule_status *status, bool has_alerts)
{
    static const char *const health_names[] = {
        [RULE_HEALTH_UNKNOWN] = "unknown", [RULE_HEALTH_OK] = "ok", [RULE_HEALTH_ERR] = "err"};
    const struct rule *rule = status->rule;
    bool is_evaluated = status->evaluated_ms != RULES_TIME_NONE;
    ap_buf_add_char(out, '{');
    if (rule->is_alert) {
        add_text(out, "\"state\":", is_evaluated ? alert_state_name(status->state) : "unknown");
        ap_buf_add_char(out, ',');
    }
    add_text(out, "\"name\":", rule->name);
    add_query(out, status);
    if (rule->is_alert) {
        add_seconds(out, ",\"duration\":", (double)rule->for_ms / 1e3);
        add_seconds(out, ",\"keepFiringFor\":", (double)rule->keep_firing_for_ms / 1e3);
    }
    add_map(out, ",\"labels\":", &rule->labels);
    if (rule->is_alert) {
        add_map(out, ",\"annotations\":", &rule->annotations);
        ap_buf_add_cstr(out, ",\"alerts\":[");
        if (has_alerts)
            add_active_alerts(out, status, true);
        ap_buf_add_char(out, ']');
    }
    add_text(out, ",\"health\":", health_names[status->health]);
    if (status->error)
        add_text(out, ",\"lastError\":", status->error);
    add_seconds(out, ",\"evaluationTime\":", (double)status->duration_us / 1e6);
    add_moment(out, ",\"lastEvaluation\":", status->evaluated_ms);
    ap_buf_printf(out, ",\"type\":\"%s\"", rule->is_alert ? "alerting" : "recording");
    add_own(out, status);
    ap_buf_add_char(out, '}');
}

/* ---- Choosing ---- */

struct wish {
    const struct params *params;
    struct selection selection; /* its matchers; of labels that rules set */
    bool is_for_alerts;
    bool is_for_records;
    bool has_alerts;
    uint64_t group_max;          /* 0: all */
    struct ap_slice first_token; /* data NULL: from the first one on */
};

static enum ap_rc read_wish(const struct params *params, struct wish *ret_wish, struct ap_err *err)
{
    struct wish *wish = ret_wish;
    *wish = (struct wish){.params = params};
    struct ap_slice type = params_get(params, "type"), limit = params_get(params, "group_limit");
    bool are_alerts_excluded = false;
    enum ap_rc rc = selection_read(params, false, &wish->selection, err);
    wish->is_for_alerts = type.bytes == 0 || ap_slice_equal_cstr(type, "alert");
    wish->is_for_records = type.bytes == 0 || ap_slice_equal_cstr(type, "record");
    if (rc == AP_OK && !wish->is_for_alerts && !wish->is_for_records)
        rc = ap_fail(err, AP_E_PARSE, "invalid parameter \"type\": not supported value \"%.*s\": give alert or record",
                     AP_SLICE_ARG(type));
    if (rc == AP_OK)
        rc = params_bool(params, "exclude_alerts", false, &are_alerts_excluded, err);
    wish->has_alerts = !are_alerts_excluded;
    if (rc == AP_OK)
        rc = params_number(params, "group_limit", 0, UINT32_MAX, &wish->group_max, err);
    if (rc == AP_OK && limit.data && wish->group_max == 0)
        rc = ap_fail(err, AP_E_PARSE, "invalid parameter \"group_limit\": group_limit needs to be greater than 0");
    wish->first_token = params_get(params, "group_next_token");
    if (rc == AP_OK && wish->first_token.data && wish->group_max == 0)
        rc = ap_fail(err, AP_E_PARSE,
                     "invalid parameter \"group_next_token\": group_limit needs to be present in order to paginate "
                     "over the groups");
    return rc;
}

/* True as well where the parameter is not there at all. */
static bool is_named(const struct params *params, const char *parameter, const char *name)
{
    struct ap_slice value;
    bool is_wished = true;
    for (size_t at = 0; params_next(params, parameter, &at, &value);) {
        if (ap_slice_equal_cstr(value, name))
            return true;
        is_wished = false;
    }
    return is_wished;
}

static bool is_matching(const struct selection *selection, const struct rule *rule)
{
    struct label labels[LABELS_COUNT_MAX];
    AP_AUTO_BUF struct ap_buf bytes = {0};
    struct ap_err err;
    size_t count = AP_MIN(rule->labels.count, (size_t)LABELS_COUNT_MAX);
    for (size_t i = 0; i < count; i++)
        labels[i] = (struct label){ap_slice_cstr(rule->labels.keys[i]), ap_slice_cstr(rule->labels.items[i])};
    if (selection->count == 0)
        return true;
    if (labels_encode(labels, count, &bytes, &err) != AP_OK)
        return false;
    for (size_t i = 0; i < selection->count; i++)
        if (matchers_match(&selection->items[i], ap_buf_slice(&bytes)))
            return true;
    return false;
}

static bool is_rule_wished(const struct wish *wish, const struct rule *rule)
{
    return (rule->is_alert ? wish->is_for_alerts : wish->is_for_records) &&
           is_named(wish->params, "rule_name[]", rule->name) && is_matching(&wish->selection, rule);
}

static bool is_group_wished(const struct wish *wish, const struct rule_group *group)
{
    if (!is_named(wish->params, "file[]", group->file) || !is_named(wish->params, "rule_group[]", group->name))
        return false;
    for (size_t i = 0; i < group->rule_count; i++)
        if (is_rule_wished(wish, &group->rules[i]))
            return true;
    return false;
}

/* By which a client asks for the groups from this one on. */
static void add_token(struct ap_buf *out, const struct rule_group *group)
{
    AP_AUTO_FREE char *key = ap_asprintf("%s;%s", group->file, group->name);
    ap_buf_printf(out, "%016" PRIx64, labels_hash_of(0, ap_slice_cstr(key)).low);
}

static bool has_token(const struct rule_group *group, struct ap_slice token)
{
    AP_AUTO_BUF struct ap_buf own = {0};
    add_token(&own, group);
    return ap_slice_equal(ap_buf_slice(&own), token);
}

/* ---- /api/v1/rules ---- */

static void add_group(struct ap_buf *out, const struct rule_manager_group *entry, const struct wish *wish)
{
    const struct rule_group *group = group_run_group(entry->run);
    bool is_first = true;
    group_run_lock(entry->run);
    add_text(out, "{\"name\":", group->name);
    add_text(out, ",\"file\":", group->file);
    ap_buf_add_cstr(out, ",\"rules\":[");
    for (size_t i = 0; i < group->rule_count; i++) {
        if (!is_rule_wished(wish, &group->rules[i]))
            continue;
        struct rule_status status = group_run_status(entry->run, i);
        ap_buf_add_cstr(out, is_first ? "" : ",");
        add_rule(out, &status, wish->has_alerts);
        is_first = false;
    }
    add_seconds(out, "],\"interval\":", (double)entry->interval_ms / 1e3);
    ap_buf_printf(out, ",\"limit\":%" PRId64, group->limit);
    add_seconds(out, ",\"evaluationTime\":", (double)group_run_duration_us(entry->run) / 1e6);
    add_moment(out, ",\"lastEvaluation\":", group_run_evaluated_ms(entry->run));
    ap_buf_add_char(out, '}');
    group_run_unlock(entry->run);
}

/* With the manager locked. */
static enum ap_rc add_groups(struct rule_manager *manager, size_t group_count, const struct wish *wish,
                             struct ap_buf *out, struct ap_err *err)
{
    bool is_begun = !wish->first_token.data;
    uint64_t shown_count = 0;
    AP_AUTO_BUF struct ap_buf next_token = {0};
    ap_buf_add_cstr(out, "{\"groups\":[");
    for (size_t i = 0; i < group_count; i++) {
        struct rule_manager_group entry = rule_manager_group(manager, i);
        const struct rule_group *group = group_run_group(entry.run);
        is_begun = is_begun || has_token(group, wish->first_token);
        if (!is_begun || !is_group_wished(wish, group))
            continue;
        if (wish->group_max && shown_count == wish->group_max) {
            add_token(&next_token, group);
            break;
        }
        ap_buf_add_cstr(out, shown_count++ ? "," : "");
        add_group(out, &entry, wish);
    }
    if (!is_begun)
        return ap_fail(err, AP_E_PARSE,
                       "invalid parameter \"group_next_token\": there is no group of the token \"%.*s\"; were rule "
                       "groups changed?",
                       AP_SLICE_ARG(wish->first_token));
    ap_buf_add_char(out, ']');
    if (next_token.bytes) {
        ap_buf_add_cstr(out, ",\"groupNextToken\":");
        ap_buf_add_json_string(out, ap_buf_slice(&next_token));
    }
    ap_buf_add_char(out, '}');
    return AP_OK;
}

static enum ap_rc answer_rules(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    struct wish wish;
    enum ap_rc rc = read_wish(&question->params, &wish, err);
    if (rc == AP_OK) {
        size_t group_count = rule_manager_lock(question->api->rules);
        rc = add_groups(question->api->rules, group_count, &wish, out, err);
        rule_manager_unlock(question->api->rules);
    }
    selection_clear(&wish.selection);
    return rc;
}

void rules_handle(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->questions, answer_rules);
}

/* ---- /api/v1/alerts ---- */

static bool add_group_alerts(struct ap_buf *out, struct group_run *run, bool is_first)
{
    group_run_lock(run);
    for (size_t i = 0; i < group_run_group(run)->rule_count; i++) {
        struct rule_status status = group_run_status(run, i);
        is_first = add_active_alerts(out, &status, is_first);
    }
    group_run_unlock(run);
    return is_first;
}

static enum ap_rc answer_alerts(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    struct rule_manager *manager = question->api->rules;
    bool is_first = true;
    (void)err;
    ap_buf_add_cstr(out, "{\"alerts\":[");
    size_t group_count = rule_manager_lock(manager);
    for (size_t i = 0; i < group_count; i++)
        is_first = add_group_alerts(out, rule_manager_group(manager, i).run, is_first);
    rule_manager_unlock(manager);
    ap_buf_add_cstr(out, "]}");
    return AP_OK;
}

void rules_handle_alerts(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->questions, answer_alerts);
}
