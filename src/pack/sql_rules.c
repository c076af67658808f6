/* Alerts by SQL: what is asked of the tables and not of the series. */
#include <string.h>

#include "pack/pack_internal.h"
#include "rules/sql_text.h"
#include "rules/template_variables.h"
#include "template/template.h"

static const char GROUP[] = "sql_rules";

/* As the file says. */
struct sql_rule_keys {
    const char *name, *threshold, *summary, *description;
    const struct yaml_node *sql;
    int severity, no_data, on_error;
    int64_t every_ms, for_ms;
    struct yaml_texts notification;
};

#define KEY(member) .offset = offsetof(struct sql_rule_keys, member)
#define YEAR_MS     (INT64_C(365) * 86400000)
static const struct yaml_field fields[] = {
    {.key = "name", .type = YAML_TYPE_TEXT, KEY(name), .is_required = true, .doc = "Name of the alert."},
    {.key = "sql",
     .type = YAML_TYPE_NODE,
     KEY(sql),
     .is_required = true,
     .doc = "One SELECT, with `$now`, `$from`, `$to` and `$step` as rules have them. Each row is an alert: `value` its "
            "figure, texts its labels."},
    {.key = "threshold",
     .type = YAML_TYPE_TEXT,
     KEY(threshold),
     .is_required = true,
     .doc = "Which figures make one: `>`, `>=`, `<`, `<=`, `==` or `!=` and a number, such as `\"> 0.05\"`."},
    {.key = "every",
     .type = YAML_TYPE_DURATION,
     KEY(every_ms),
     .min = 1000,
     .max = YEAR_MS,
     .doc = "How often it is asked; `rules.interval` where nothing is said."},
    {.key = "for",
     .type = YAML_TYPE_DURATION,
     KEY(for_ms),
     .default_text = "0s",
     .min = 0,
     .max = YEAR_MS,
     .doc = "For how long the threshold has to be met before somebody is told."},
    {.key = "no_data",
     .type = YAML_TYPE_CHOICE,
     KEY(no_data),
     .default_text = "ok",
     .choices = rule_no_data_names,
     .doc = "When no row has a figure: what fires ends, there is an alert about that, all stays as it is."},
    {.key = "on_error",
     .type = YAML_TYPE_CHOICE,
     KEY(on_error),
     .default_text = "alert",
     .choices = rule_on_error_names,
     .doc = "The same when it cannot be evaluated."},
    {.key = "severity",
     .type = YAML_TYPE_CHOICE,
     KEY(severity),
     .is_required = true,
     .choices = pack_severities,
     .doc = "Label of the alert."},
    {.key = "notification", .type = YAML_TYPE_TEXT_LIST, KEY(notification), .doc = PACK_NOTIFICATION_DOC},
    {.key = "summary",
     .type = YAML_TYPE_TEXT,
     KEY(summary),
     .doc = "What the alert says, a template: `few users of {{ $labels.version }}: {{ $value }}`. Without "
            "it: the name, the figure and the threshold."},
    {.key = "description",
     .type = YAML_TYPE_TEXT,
     KEY(description),
     .doc = "What it means and what to do, a template as well."},
};

/* ---- Reading ---- */

static enum ap_rc read_sql(const struct yaml_node *node, struct pack_sql *ret_sql, struct ap_err *err)
{
    struct ap_err reason;
    if (node->kind != YAML_KIND_SCALAR || ap_slice_trim(node->text).bytes == 0)
        return yaml_fail(err, node, "sql: expected SQL");
    if (sql_text_check(node->text, &reason) != AP_OK)
        return yaml_fail(err, node, "sql: %s", reason.text);
    *ret_sql = (struct pack_sql){
        .text = node->text.data, .file = yaml_file(node->document), .line = node->line, .uses_range = true};
    return AP_OK;
}

static enum ap_rc check_template(const struct yaml_node *map, const char *key, struct ap_err *err)
{
    const struct yaml_node *node = yaml_get(map, key);
    struct ap_err reason;
    AP_AUTO(template) struct template *template = NULL;
    if (node && template_parse(node->text, template_variables, TEMPLATE_VARIABLE_COUNT, &template, &reason) != AP_OK)
        return yaml_fail(err, node, "%s: %s", key, reason.text);
    return AP_OK;
}

static enum ap_rc read_keys(struct pack_memory *memory, const struct yaml_node *node, const struct sql_rule_keys *keys,
                            struct pack_sql_rule *sql, struct ap_err *err)
{
    if (!pack_is_alert_name(keys->name))
        return yaml_fail(err, yaml_get(node, "name"),
                         "name: expected a letter, then letters, digits, _ and -, found \"%.80s\"", keys->name);
    if (!rule_threshold_parse(ap_slice_cstr(keys->threshold), &sql->threshold))
        return yaml_fail(err, yaml_get(node, "threshold"),
                         "threshold: expected a comparison (>, >=, <, <=, ==, !=) and a number, such as \"> 5\", found "
                         "\"%.80s\"",
                         keys->threshold);
    enum ap_rc rc = read_sql(keys->sql, &sql->sql, err);
    if (rc == AP_OK)
        rc = check_template(node, "summary", err);
    if (rc == AP_OK)
        rc = check_template(node, "description", err);
    sql->no_data = (enum rule_no_data)keys->no_data;
    sql->on_error = (enum rule_on_error)keys->on_error;
    sql->every_ms = keys->every_ms;
    sql->description = keys->description;
    sql->summary = keys->summary
                       ? keys->summary
                       : pack_printf(memory, "%s: {{ $value | humanize }}, threshold %s", keys->name, keys->threshold);
    return rc;
}

static const char *group_name(struct pack_memory *memory, int64_t every_ms)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    if (every_ms == 0)
        return GROUP;
    pack_alert_print_duration(every_ms, &text);
    return pack_printf(memory, "%s every %.*s", GROUP, AP_SLICE_ARG(ap_buf_slice(&text)));
}

/* A group is asked as one: rules that are asked as often stand side by side. */
static void move_to_group(struct pack_alert_list *alerts)
{
    for (size_t i = alerts->count - 1; i > 0; i--) {
        struct pack_alert *before = &alerts->items[i - 1], moved = alerts->items[i];
        if (!before->sql || before->file != moved.file || before->sql->every_ms <= moved.sql->every_ms)
            return;
        alerts->items[i] = *before;
        *before = moved;
    }
}

enum ap_rc pack_read_sql_rule(struct pack_memory *memory, const struct yaml_node *node, struct pack_alert_list *alerts,
                              struct ap_err *err)
{
    struct sql_rule_keys keys = {0};
    struct pack_sql_rule *sql = ap_arena_alloc0(&memory->arena, sizeof(*sql));
    struct pack_alert alert = {.sql = sql};
    enum ap_rc rc = yaml_read_struct(node, fields, AP_ARRAY_COUNT(fields), &keys, err);
    if (rc == AP_OK)
        rc = read_keys(memory, node, &keys, sql, err);
    if (rc == AP_OK)
        rc = pack_read_notification(memory, &keys.notification, &alert.notify, err);
    if (rc != AP_OK)
        return rc;
    alert.name = keys.name;
    alert.group = group_name(memory, keys.every_ms);
    alert.severity = pack_severities[keys.severity];
    alert.for_ms = keys.for_ms;
    pack_set_alert_place(memory, node, &alert);
    rc = pack_add_alert(alerts, &alert, err);
    if (rc == AP_OK)
        move_to_group(alerts);
    return rc;
}

/* ---- Words ---- */

static void print_wait(const char *before, int64_t ms, struct ap_buf *out)
{
    if (!ms)
        return;
    ap_buf_add_cstr(out, before);
    pack_alert_print_duration(ms, out);
}

void pack_alert_explain_absence(const struct rule *rule, struct ap_buf *out)
{
    static const char *const no_data[] = {[RULE_NO_DATA_OK] = "what fires ends",
                                          [RULE_NO_DATA_ALERT] = "there is an alert about that",
                                          [RULE_NO_DATA_KEEP] = "all stays as it is"};
    static const char *const on_error[] = {[RULE_ON_ERROR_OK] = "what fires ends",
                                           [RULE_ON_ERROR_ALERT] = "there is an alert about that",
                                           [RULE_ON_ERROR_KEEP] = "all stays as it is"};
    bool is_usual = rule->no_data == RULE_NO_DATA_OK && rule->on_error == RULE_ON_ERROR_KEEP;
    if (rule->language == RULE_LANGUAGE_SQL || !is_usual)
        ap_buf_printf(out, "; when there is no data, %s, and when it cannot be evaluated, %s", no_data[rule->no_data],
                      on_error[rule->on_error]);
}

void pack_alert_explain_sql(const struct rule *rule, int64_t interval_ms, struct ap_buf *out)
{
    static const char *const comparisons[THRESHOLD_OP_COUNT] = {"there",   "above", "at least", "below",
                                                                "at most", "",      "not"};
    const char *comparison = comparisons[rule->threshold.op];
    ap_buf_printf(out, "Fires for each row whose figure is %s%s%.15g", comparison, *comparison ? " " : "",
                  rule->threshold.value);
    print_wait(" for ", rule->for_ms, out);
    print_wait(", asked every ", interval_ms, out);
    print_wait(", and on for ", rule->keep_firing_for_ms, out);
    ap_buf_add_cstr(out, rule->keep_firing_for_ms ? " when that has ended" : "");
    pack_alert_explain_absence(rule, out);
}

void pack_describe_sql_rule(struct ap_buf *out)
{
    ap_buf_add_cstr(out, "\n### A rule by SQL\n\n");
    yaml_describe_struct(fields, AP_ARRAY_COUNT(fields), out);
}
