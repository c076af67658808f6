#include "pack/alerts.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "pack/pack_internal.h"
#include "promql/lexer.h"
#include "promql/parser.h"
#include "rules/rule_file.h"

enum { ALERTS_MAX = 1000, NAME_BYTES_MAX = 100, LABELS = 2, ANNOTATIONS = 4 };
static const int64_t YEAR_MS = INT64_C(365) * 86400000;
static const char PERFORMANCE[] = "performance_alerts", RULES[] = "alerting_rules", SQL_RULES[] = "sql_rules";
const char *const pack_severities[] = {"critical", "warning", "info", NULL};

/* As the file says. */
struct file_keys {
    const struct yaml_node *performance, *rules, *sql_rules;
};
struct performance_keys {
    const char *target, *warning, *critical;
    int64_t for_ms;
    struct yaml_texts notification;
};
struct rule_keys {
    const char *name, *condition;
    int severity;
    struct yaml_texts notification;
};

#define FILE_KEY(member) .offset = offsetof(struct file_keys, member)
static const struct yaml_field file_fields[] = {
    {.key = PERFORMANCE,
     .type = YAML_TYPE_NODE,
     FILE_KEY(performance),
     .doc = "Map from the short name of a metric to its bounds."},
    {.key = RULES, .type = YAML_TYPE_NODE, FILE_KEY(rules), .doc = "List of rules on metrics."},
    {.key = SQL_RULES, .type = YAML_TYPE_NODE, FILE_KEY(sql_rules), .doc = "List of rules by SQL."},
};
#define PERFORMANCE_KEY(member) .offset = offsetof(struct performance_keys, member)
static const struct yaml_field performance_fields[] = {
    {.key = "target",
     .type = YAML_TYPE_TEXT,
     PERFORMANCE_KEY(target),
     .doc = "What the figure should be. Where the catalogue says it too, both say the same."},
    {.key = "warning",
     .type = YAML_TYPE_TEXT,
     PERFORMANCE_KEY(warning),
     .doc = "Bound of a rule with the label `severity=\"warning\"`: `\">100ms\"`, `\"<45fps\"`."},
    {.key = "critical",
     .type = YAML_TYPE_TEXT,
     PERFORMANCE_KEY(critical),
     .doc = "The same of `severity=\"critical\"`; further from the target than `warning`."},
    {.key = "for",
     .type = YAML_TYPE_DURATION,
     PERFORMANCE_KEY(for_ms),
     .default_text = "5m",
     .min = 0,
     .max = INT64_C(365) * 86400000,
     .doc = "How long the bound has to be crossed before somebody is told."},
    {.key = "notification", .type = YAML_TYPE_TEXT_LIST, PERFORMANCE_KEY(notification), .doc = PACK_NOTIFICATION_DOC},
};
#define RULE_KEY(member) .offset = offsetof(struct rule_keys, member)
static const struct yaml_field rule_fields[] = {
    {.key = "name", .type = YAML_TYPE_TEXT, RULE_KEY(name), .is_required = true, .doc = "Name of the alert."},
    {.key = "condition",
     .type = YAML_TYPE_TEXT,
     RULE_KEY(condition),
     .is_required = true,
     .doc = "Short name, comparison, number with unit, and for how long: `\"error_rate > 5% for 5 minutes\"`. Without "
            "`for …` somebody is told at once."},
    {.key = "severity",
     .type = YAML_TYPE_CHOICE,
     RULE_KEY(severity),
     .is_required = true,
     .choices = pack_severities,
     .doc = "Label of the alert."},
    {.key = "notification", .type = YAML_TYPE_TEXT_LIST, RULE_KEY(notification), .doc = PACK_NOTIFICATION_DOC},
};

/* ---- Names ---- */

bool pack_is_alert_name(const char *text)
{
    static const char known[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    size_t bytes = strspn(text, known);
    return bytes > 0 && text[bytes] == '\0' && bytes <= NAME_BYTES_MAX && strchr(known, text[0]) - known < 52;
}

static enum ap_rc fail_unknown_metric(const struct pack *pack, const struct yaml_node *at, struct ap_slice name,
                                      struct ap_err *err)
{
    AP_AUTO_FREE const char **known = NULL;
    AP_AUTO_BUF struct ap_buf all = {0};
    size_t count = 0;
    for (size_t a = 0; a < pack->area_count; a++) {
        for (size_t m = 0; m < pack->areas[a].metric_count; m++) {
            const char *short_name = pack->areas[a].metrics[m].short_name;
            if (!short_name)
                continue;
            known = ap_realloc(known, (count + 1) * sizeof(*known));
            known[count++] = short_name;
            ap_buf_printf(&all, "%s%s", all.bytes ? ", " : "", short_name);
        }
    }
    int shown_bytes = (int)AP_MIN(name.bytes, (size_t)NAME_BYTES_MAX);
    const struct catalogue_metric *metric = catalogue_find(pack, name);
    if (metric)
        return yaml_fail(err, at, "\"%.*s\" has no short_name in the catalogue, at %s", shown_bytes, name.data,
                         metric->where);
    const char *nearest = yaml_nearest(name, known, count);
    if (nearest)
        return yaml_fail(err, at, "\"%.*s\" is the short_name of no metric; did you mean \"%s\"?", shown_bytes,
                         name.data, nearest);
    return yaml_fail(err, at, "\"%.*s\" is the short_name of no metric; the catalogue has: %.*s", shown_bytes,
                     name.data, AP_SLICE_ARG(ap_buf_slice(&all)));
}

static enum ap_rc find_metric(const struct pack *pack, const struct yaml_node *at, struct ap_slice name,
                              const struct catalogue_metric **ret_metric, struct ap_err *err)
{
    const struct catalogue_metric *metric = catalogue_find(pack, name);
    if (!metric || !metric->short_name || !ap_slice_equal_cstr(name, metric->short_name))
        return fail_unknown_metric(pack, at, name, err);
    *ret_metric = metric;
    return AP_OK;
}

/* ---- Bounds ---- */

static bool is_upward(enum pack_target_op op)
{
    return op == PACK_TARGET_GT || op == PACK_TARGET_GE;
}

/* A bare 250 of a duration would be 250 s, and a bare 5 of a share 500%: too far from what people mean by it. */
static enum ap_rc check_has_unit(const char *key, const char *text, enum pack_unit unit, struct ap_err *err)
{
    static const char *const examples[] = {
        [PACK_UNIT_S] = "250ms", [PACK_UNIT_MS] = "250ms", [PACK_UNIT_RATIO] = "5%", [PACK_UNIT_BYTES] = "100MB"};
    struct ap_slice trimmed = ap_slice_trim(ap_slice_cstr(text));
    const char *example = (size_t)unit < AP_ARRAY_COUNT(examples) ? examples[unit] : NULL;
    if (!example || !strchr("0123456789.", trimmed.data[trimmed.bytes - 1]))
        return AP_OK;
    return ap_fail(err, AP_E_PARSE, "%s: expected a number with its unit such as %s, found \"%.80s\"", key, example,
                   text);
}

/* The sentence of an error is without place. */
static enum ap_rc read_bound(struct pack_memory *memory, const char *key, const char *text,
                             const struct catalogue_metric *metric, struct pack_target *ret_bound, struct ap_err *err)
{
    AP_AUTO_FREE char *what = ap_asprintf("%s of %s", key, metric->short_name);
    enum ap_rc rc = pack_target_parse(memory, what, text, metric->query_unit, ret_bound, err);
    return rc == AP_OK ? check_has_unit(what, text, metric->query_unit, err) : rc;
}

/* Values come of different factors: ">0.1%" and a plain 0.001. */
static bool is_about(double a, double b)
{
    return fabs(a - b) <= 1e-9 * fmax(fabs(a), fabs(b));
}

/* True: `bound` is crossed in the direction in which the figure leaves the target, and not before it has left it. */
static bool is_outside(const struct pack_target *bound, const struct pack_target *target)
{
    if (is_upward(bound->op) == is_upward(target->op))
        return false;
    if (is_about(bound->value, target->value))
        return true;
    return is_upward(bound->op) ? bound->value > target->value : bound->value < target->value;
}

/* What fires for `further` fires for `bound` as well, but not the other way round. */
static bool is_beyond(const struct pack_target *further, const struct pack_target *bound)
{
    if (is_upward(further->op) != is_upward(bound->op) || is_about(further->value, bound->value))
        return false;
    return is_upward(bound->op) ? further->value > bound->value : further->value < bound->value;
}

static enum ap_rc check_bounds(const struct yaml_node *node, const struct pack_target *target,
                               const struct pack_target *warning, const struct pack_target *critical,
                               struct ap_err *err)
{
    const struct {
        const char *key;
        const struct pack_target *bound;
    } bounds[] = {{"warning", warning}, {"critical", critical}};
    for (size_t i = 0; i < AP_ARRAY_COUNT(bounds) && target->op != PACK_TARGET_NONE; i++) {
        if (bounds[i].bound->op != PACK_TARGET_NONE && !is_outside(bounds[i].bound, target))
            return yaml_fail(err, yaml_get(node, bounds[i].key),
                             "%s: expected one that is crossed when the target of %s is missed, such as \"%s%s\"; "
                             "found \"%s\"",
                             bounds[i].key, target->text, is_upward(target->op) ? "<" : ">",
                             strchr(target->text, ' ') + 1, bounds[i].bound->text);
    }
    if (warning->op != PACK_TARGET_NONE && critical->op != PACK_TARGET_NONE && !is_beyond(critical, warning))
        return yaml_fail(err, yaml_get(node, "critical"),
                         "critical: expected one that is crossed after the warning of \"%s\", found \"%s\"",
                         warning->text, critical->text);
    return AP_OK;
}

static enum ap_rc read_target(struct pack_memory *memory, const struct yaml_node *node, const char *text,
                              const struct catalogue_metric *metric, struct pack_target *ret_target, struct ap_err *err)
{
    *ret_target = metric->target;
    if (!text)
        return AP_OK;
    if (read_bound(memory, "target", text, metric, ret_target, err) != AP_OK)
        return pack_fail_at_key(node, "target", err);
    if (metric->target.op == PACK_TARGET_NONE)
        return AP_OK;
    if (is_upward(ret_target->op) != is_upward(metric->target.op) || !is_about(ret_target->value, metric->target.value))
        return yaml_fail(err, yaml_get(node, "target"),
                         "target: \"%s\" contradicts the catalogue, where the target of %s is \"%s\" (%s)",
                         ret_target->text, metric->short_name, metric->target.text, metric->where);
    return AP_OK;
}

/* ---- Who is told ---- */

enum ap_rc pack_read_notification(struct pack_memory *memory, const struct yaml_texts *words, const char **ret_notify,
                                  struct ap_err *err)
{
    const char *notify = NULL;
    for (size_t i = 0; i < words->count; i++) {
        const char *word = words->items[i];
        if (!pack_is_alert_name(word))
            return yaml_fail(err, words->nodes[i],
                             "notification: expected words of letters, digits, _ and -, such as slack, found \"%.80s\"",
                             word);
        for (size_t j = 0; j < i; j++) {
            if (strcmp(words->items[j], word) == 0)
                return yaml_fail(err, words->nodes[i], "notification: \"%.80s\" is there twice", word);
        }
        notify = notify ? pack_printf(memory, "%s,%s", notify, word) : word;
    }
    *ret_notify = notify;
    return AP_OK;
}

/* ---- Performance alerts ---- */

enum ap_rc pack_add_alert(struct pack_alert_list *alerts, const struct pack_alert *alert, struct ap_err *err)
{
    for (size_t i = 0; i < alerts->count; i++) {
        const struct pack_alert *other = &alerts->items[i];
        if (strcmp(other->name, alert->name) == 0 && strcmp(other->severity, alert->severity) == 0)
            return ap_fail(err, AP_E_PARSE, "%s: a second alert \"%s\" of severity %s; the first is at %s",
                           alert->where, alert->name, alert->severity, other->where);
    }
    if (alerts->count == ALERTS_MAX)
        return ap_fail(err, AP_E_LIMIT, "%s: more than %d alerts", alert->where, ALERTS_MAX);
    alerts->items = ap_realloc(alerts->items, (alerts->count + 1) * sizeof(*alerts->items));
    alerts->items[alerts->count++] = *alert;
    return AP_OK;
}

void pack_set_alert_place(struct pack_memory *memory, const struct yaml_node *node, struct pack_alert *alert)
{
    alert->file = yaml_file(node->document);
    alert->line = node->line;
    alert->where = pack_printf(memory, "%s:%d:%d", alert->file, node->line, node->column);
}

static enum ap_rc read_performance(struct pack_memory *memory, const struct pack *pack, const struct yaml_node *node,
                                   struct pack_alert_list *alerts, struct ap_err *err)
{
    struct performance_keys keys = {0};
    struct pack_alert alert = {.group = PERFORMANCE};
    enum ap_rc rc = find_metric(pack, node->key, node->key->text, &alert.metric, err);
    if (rc == AP_OK)
        rc = yaml_read_struct(node, performance_fields, AP_ARRAY_COUNT(performance_fields), &keys, err);
    if (rc == AP_OK)
        rc = read_target(memory, node, keys.target, alert.metric, &alert.target, err);
    if (rc == AP_OK)
        rc = pack_read_notification(memory, &keys.notification, &alert.notify, err);
    if (rc != AP_OK)
        return rc;
    if (!keys.warning && !keys.critical)
        return yaml_fail(err, node, "%s: expected \"warning\", \"critical\" or both", alert.metric->short_name);
    struct pack_target warning = {0}, critical = {0};
    if (keys.warning && read_bound(memory, "warning", keys.warning, alert.metric, &warning, err) != AP_OK)
        return pack_fail_at_key(node, "warning", err);
    if (keys.critical && read_bound(memory, "critical", keys.critical, alert.metric, &critical, err) != AP_OK)
        return pack_fail_at_key(node, "critical", err);
    rc = check_bounds(node, &alert.target, &warning, &critical, err);
    alert.name = pack_printf(memory, "%s_%s", pack->name, alert.metric->short_name);
    alert.for_ms = keys.for_ms;
    if (rc == AP_OK && keys.warning) {
        pack_set_alert_place(memory, yaml_get(node, "warning"), &alert);
        alert.severity = "warning";
        alert.bound = warning;
        rc = pack_add_alert(alerts, &alert, err);
    }
    if (rc == AP_OK && keys.critical) {
        pack_set_alert_place(memory, yaml_get(node, "critical"), &alert);
        alert.severity = "critical";
        alert.bound = critical;
        rc = pack_add_alert(alerts, &alert, err);
    }
    return rc;
}

/* ---- Rules with a condition ---- */

/* "startup_time > 250ms for 5 minutes", cut. */
struct condition {
    struct ap_slice name;
    struct ap_slice bound; /* "> 250ms" */
    struct ap_slice wait;  /* "5 minutes"; data NULL: not said */
};

/* The place of what begins at `data`, inside of a scalar that is on one line. */
static struct yaml_node place_of(const struct yaml_node *node, const char *data)
{
    struct yaml_node at = *node;
    if (!memchr(node->text.data, '\n', node->text.bytes))
        at.column += (int)(data - node->text.data) + node->is_quoted;
    return at;
}

static enum ap_rc cut_condition(const struct yaml_node *node, struct condition *ret_condition, struct ap_err *err)
{
    static const char spaces[] = " \t\n";
    const char *text = node->text.data, *at = text + strspn(text, spaces);
    size_t name_bytes = strcspn(at, " \t\n<>=!\xe2"); /* the last begins ≤ and ≥ */
    ret_condition->name = ap_slice(at, name_bytes);
    at += name_bytes;
    at += strspn(at, spaces);
    const char *end = text + node->text.bytes, *wait = NULL;
    for (const char *found = at; (found = strstr(found, "for")) != NULL; found++) {
        if (found > at && strchr(spaces, found[-1]) && (found[3] == '\0' || strchr(spaces, found[3]))) {
            wait = found;
            break;
        }
    }
    ret_condition->bound = ap_slice_trim(ap_slice(at, (size_t)((wait ? wait : end) - at)));
    ret_condition->wait = (struct ap_slice){0};
    if (wait) {
        wait += 3 + strspn(wait + 3, spaces);
        ret_condition->wait = ap_slice_trim(ap_slice(wait, (size_t)(end - wait)));
    }
    if (name_bytes && ret_condition->bound.bytes)
        return AP_OK;
    return yaml_fail(err, node,
                     "condition: expected a short name, a comparison and for how long, such as \"error_rate > 5%% for "
                     "5 minutes\", found \"%.80s\"",
                     text);
}

/* "5 minutes", "90 seconds", "1 hour 30 minutes", "10m". */
static bool parse_wait(struct ap_slice text, int64_t *ret_ms)
{
    static const struct {
        const char *word;
        int64_t ms;
    } words[] = {{"second", 1000}, {"minute", 60000}, {"min", 60000}, {"hour", 3600000}, {"day", INT64_C(86400000)}};
    if (promql_parse_duration(text, ret_ms))
        return *ret_ms >= 0 && *ret_ms <= YEAR_MS;
    int64_t sum_ms = 0;
    const char *at = text.data, *end = text.data + text.bytes;
    while (at < end) {
        size_t digits = strspn(at, "0123456789"), spaces = strspn(at + digits, " "), letters, i = 0;
        const char *word = at + digits + spaces;
        letters = strspn(word, "abcdefghijklmnopqrstuvwxyz");
        struct ap_slice singular = ap_slice(word, letters - (letters > 1 && word[letters - 1] == 's'));
        while (i < AP_ARRAY_COUNT(words) && !ap_slice_equal_cstr(singular, words[i].word))
            i++;
        if (digits == 0 || digits > 6 || i == AP_ARRAY_COUNT(words))
            return false;
        sum_ms += strtol(at, NULL, 10) * words[i].ms;
        if (sum_ms > YEAR_MS)
            return false;
        at = word + letters + strspn(word + letters, " ");
    }
    *ret_ms = sum_ms;
    return text.bytes > 0;
}

static enum ap_rc read_condition(struct pack_memory *memory, const struct pack *pack, const struct yaml_node *node,
                                 struct pack_alert *alert, struct ap_err *err)
{
    struct condition condition;
    enum ap_rc rc = cut_condition(node, &condition, err);
    if (rc != AP_OK)
        return rc;
    struct yaml_node at = place_of(node, condition.name.data);
    rc = find_metric(pack, &at, condition.name, &alert->metric, err);
    if (rc != AP_OK)
        return rc;
    alert->target = alert->metric->target;
    const char *bound = pack_printf(memory, "%.*s", AP_SLICE_ARG(condition.bound));
    if (read_bound(memory, "condition", bound, alert->metric, &alert->bound, err) != AP_OK) {
        struct ap_err sentence = *err;
        at = place_of(node, condition.bound.data);
        return yaml_fail(err, &at, "%s", sentence.text);
    }
    if (alert->target.op != PACK_TARGET_NONE && !is_outside(&alert->bound, &alert->target)) {
        at = place_of(node, condition.bound.data);
        return yaml_fail(err, &at,
                         "condition: \"%s\" holds while the target of %s is met, which is \"%s\" (%s); expected the "
                         "other direction",
                         alert->bound.text, alert->metric->short_name, alert->target.text, alert->metric->where);
    }
    if (condition.wait.data && !parse_wait(condition.wait, &alert->for_ms)) {
        at = place_of(node, condition.wait.data);
        return yaml_fail(err, &at, "condition: expected a duration such as \"5 minutes\" or \"10m\", found \"%.*s\"",
                         (int)AP_MIN(condition.wait.bytes, 80), condition.wait.data);
    }
    return AP_OK;
}

static enum ap_rc read_rule(struct pack_memory *memory, const struct pack *pack, const struct yaml_node *node,
                            struct pack_alert_list *alerts, struct ap_err *err)
{
    struct rule_keys keys = {0};
    struct pack_alert alert = {.group = RULES};
    enum ap_rc rc = yaml_read_struct(node, rule_fields, AP_ARRAY_COUNT(rule_fields), &keys, err);
    if (rc != AP_OK)
        return rc;
    if (!pack_is_alert_name(keys.name))
        return yaml_fail(err, yaml_get(node, "name"),
                         "name: expected a letter, then letters, digits, _ and -, found \"%.80s\"", keys.name);
    alert.name = keys.name;
    alert.severity = pack_severities[keys.severity];
    pack_set_alert_place(memory, node, &alert);
    rc = read_condition(memory, pack, yaml_get(node, "condition"), &alert, err);
    if (rc == AP_OK)
        rc = pack_read_notification(memory, &keys.notification, &alert.notify, err);
    return rc == AP_OK ? pack_add_alert(alerts, &alert, err) : rc;
}

enum ap_rc pack_read_alerts(struct pack_memory *memory, const struct pack *pack, const struct yaml_node *root,
                            struct pack_alert_list *alerts, struct ap_err *err)
{
    struct file_keys keys = {0};
    enum ap_rc rc = yaml_read_struct(root, file_fields, AP_ARRAY_COUNT(file_fields), &keys, err);
    if (rc != AP_OK)
        return rc;
    if (keys.performance && keys.performance->kind != YAML_KIND_MAP)
        return yaml_fail(err, keys.performance, "%s: expected a map from short names to bounds", PERFORMANCE);
    const struct {
        const char *key;
        const struct yaml_node *list;
    } lists[] = {{RULES, keys.rules}, {SQL_RULES, keys.sql_rules}};
    for (size_t i = 0; i < AP_ARRAY_COUNT(lists); i++)
        if (lists[i].list && lists[i].list->kind != YAML_KIND_LIST)
            return yaml_fail(err, lists[i].list, "%s: expected a list of rules", lists[i].key);
    for (const struct yaml_node *node = keys.performance ? keys.performance->first : NULL; node && rc == AP_OK;
         node = node->next)
        rc = read_performance(memory, pack, node, alerts, err);
    for (const struct yaml_node *node = keys.rules ? keys.rules->first : NULL; node && rc == AP_OK; node = node->next)
        rc = read_rule(memory, pack, node, alerts, err);
    for (const struct yaml_node *node = keys.sql_rules ? keys.sql_rules->first : NULL; node && rc == AP_OK;
         node = node->next)
        rc = pack_read_sql_rule(memory, node, alerts, err);
    return rc;
}

/* ---- What they become ---- */

/* In words: "above 250 ms", "at most 5%". */
static void print_bound(const struct pack_target *bound, struct ap_buf *out)
{
    static const char *const words[] = {"", "at least", "at most", "above", "below"};
    const char *number = strchr(bound->text, ' ');
    ap_buf_printf(out, "%s%s", words[bound->op], number ? number : "");
}

/* What would begin an action of a template is printed by one. */
static void print_for_template(const char *text, struct ap_buf *out)
{
    for (; *text; text++) {
        if (text[0] == '{' && text[1] == '{') {
            ap_buf_add_cstr(out, "{{\"{{\"}}");
            text++;
        } else {
            ap_buf_add_char(out, *text);
        }
    }
}

/* What stands behind the number in the file: " fps". */
static const char *unit_text(const struct pack_alert *alert)
{
    const char *number = strpbrk(alert->bound.text, "0123456789");
    return number ? number + strspn(number, "0123456789.,e+-") : "";
}

/* The value as people read it, in a template. */
static void print_value_template(const struct pack_alert *alert, struct ap_buf *out)
{
    switch (alert->metric->query_unit) {
    case PACK_UNIT_S:
        ap_buf_add_cstr(out, "{{ $value | humanizeDuration }}");
        return;
    case PACK_UNIT_MS:
        ap_buf_add_cstr(out, "{{ printf \"%.4g\" $value }} ms");
        return;
    case PACK_UNIT_RATIO:
        ap_buf_add_cstr(out, "{{ $value | humanizePercentage }}");
        return;
    case PACK_UNIT_BYTES:
        ap_buf_add_cstr(out, "{{ $value | humanize }}B");
        return;
    default:
        ap_buf_printf(out, "{{ $value | humanize }}%s", unit_text(alert));
    }
}

static const char *print_summary(struct pack_memory *memory, const struct pack_alert *alert)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    print_for_template(alert->metric->title, &text);
    ap_buf_add_cstr(&text, " is ");
    print_value_template(alert, &text);
    ap_buf_add_cstr(&text, ", ");
    print_bound(&alert->bound, &text);
    if (alert->target.op != PACK_TARGET_NONE)
        ap_buf_printf(&text, "; the target is %s", alert->target.text);
    return pack_printf(memory, "%.*s", AP_SLICE_ARG(ap_buf_slice(&text)));
}

static const char *for_template(struct pack_memory *memory, const char *text)
{
    AP_AUTO_BUF struct ap_buf escaped = {0};
    print_for_template(text, &escaped);
    return pack_printf(memory, "%.*s", AP_SLICE_ARG(ap_buf_slice(&escaped)));
}

/* "(QUERY) > 0.25", in Prometheus' way of writing. */
static const char *print_expression(struct pack_memory *memory, const struct pack_alert *alert)
{
    struct promql_query query;
    struct ap_err err;
    AP_AUTO_BUF struct ap_buf text = {0};
    enum ap_rc rc = promql_parse(ap_slice_cstr(alert->metric->query), false, &query, &err);
    AP_ASSERT(rc == AP_OK); /* it was parsed when the catalogue was read */
    bool is_scalar = query.expr->type == TYPE_SCALAR;
    bool is_whole = query.expr->kind != EXPR_BINARY && query.expr->kind != EXPR_UNARY;
    ap_buf_add_cstr(&text, is_scalar ? "vector(" : is_whole ? "" : "(");
    promql_print(query.expr, &text);
    promql_query_clear(&query);
    /* 15 digits: 3 * 0.1% is 0.003, and not what comes of the multiplication. */
    ap_buf_printf(&text, "%s %s %.15g", is_scalar || !is_whole ? ")" : "", pack_target_op_name(alert->bound.op),
                  alert->bound.value);
    return pack_printf(memory, "%.*s", AP_SLICE_ARG(ap_buf_slice(&text)));
}

static void add_text(struct yaml_texts *texts, const char *key, const char *text)
{
    texts->keys[texts->count] = key;
    texts->items[texts->count++] = text;
}

static struct yaml_texts new_texts(struct pack_memory *memory, size_t max)
{
    return (struct yaml_texts){.keys = ap_arena_alloc0(&memory->arena, max * sizeof(char *)),
                               .items = ap_arena_alloc0(&memory->arena, max * sizeof(char *))};
}

static void make_metric_rule(struct pack_memory *memory, const struct pack_alert *alert, struct rule *rule)
{
    rule->expr = ap_slice_cstr(print_expression(memory, alert));
    add_text(&rule->annotations, "summary", print_summary(memory, alert));
    add_text(&rule->annotations, "description", for_template(memory, alert->metric->meaning));
    add_text(&rule->annotations, "owner", for_template(memory, alert->metric->owner));
    add_text(&rule->annotations, "dashboard",
             pack_printf(memory, "{{ $externalURL }}/catalogue?q=%s", alert->metric->short_name));
}

static void make_sql_rule(const struct pack_sql_rule *sql, struct rule *rule)
{
    rule->language = RULE_LANGUAGE_SQL;
    rule->expr = ap_slice_cstr(sql->sql.text);
    rule->expr_line = sql->sql.line;
    rule->threshold = sql->threshold;
    rule->no_data = sql->no_data;
    rule->on_error = sql->on_error;
    add_text(&rule->annotations, "summary", sql->summary);
    if (sql->description)
        add_text(&rule->annotations, "description", sql->description);
}

static void make_rule(struct pack_memory *memory, const struct pack_alert *alert, struct rule *rule)
{
    *rule = (struct rule){.name = alert->name,
                          .is_alert = true,
                          .for_ms = alert->for_ms,
                          .labels = new_texts(memory, LABELS),
                          .annotations = new_texts(memory, ANNOTATIONS),
                          .line = alert->line};
    add_text(&rule->labels, "severity", alert->severity);
    if (alert->notify)
        add_text(&rule->labels, "notify", alert->notify);
    if (alert->sql)
        make_sql_rule(alert->sql, rule);
    else
        make_metric_rule(memory, alert, rule);
}

static bool is_same_group(const struct pack_alert *a, const struct pack_alert *b)
{
    return a->file == b->file && strcmp(a->group, b->group) == 0;
}

/* A group for each of the kinds that a file has. */
void pack_take_alerts(struct pack *pack, const struct pack_alert_list *list)
{
    struct pack_memory *memory = pack->memory;
    struct pack_alert *alerts = ap_arena_alloc0(&memory->arena, (list->count + 1) * sizeof(*alerts));
    struct rule *rules = ap_arena_alloc0(&memory->arena, (list->count + 1) * sizeof(*rules));
    struct rule_group *groups = ap_arena_alloc0(&memory->arena, (list->count + 1) * sizeof(*groups));
    for (size_t i = 0; i < list->count; i++) {
        alerts[i] = list->items[i];
        alerts[i].rule = &rules[i];
        make_rule(memory, &alerts[i], &rules[i]);
        if (i == 0 || !is_same_group(&alerts[i - 1], &alerts[i]))
            groups[pack->rule_group_count++] =
                (struct rule_group){.name = alerts[i].group,
                                    .file = alerts[i].file,
                                    .interval_ms = alerts[i].sql ? alerts[i].sql->every_ms : 0,
                                    .rules = &rules[i]};
        groups[pack->rule_group_count - 1].rule_count++;
    }
    pack->alerts = alerts;
    pack->alert_count = list->count;
    pack->rule_groups = groups;
}

/* ---- Words ---- */

void pack_alert_print_duration(int64_t ms, struct ap_buf *out)
{
    static const struct {
        const char *word;
        int64_t ms;
    } units[] = {{"day", INT64_C(86400000)}, {"hour", 3600000}, {"minute", 60000}, {"second", 1000}};
    size_t before = out->bytes;
    for (size_t i = 0; i < AP_ARRAY_COUNT(units); i++) {
        int64_t count = ms / units[i].ms;
        ms %= units[i].ms;
        if (count)
            ap_buf_printf(out, "%s%" PRId64 " %s%s", out->bytes > before ? " " : "", count, units[i].word,
                          count == 1 ? "" : "s");
    }
    if (ms || out->bytes == before)
        ap_buf_printf(out, "%s%" PRId64 " ms", out->bytes > before ? " " : "", ms);
}

static void print_bytes(double bytes, struct ap_buf *out)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    size_t unit = 0;
    for (; fabs(bytes) >= 1000 && unit + 1 < AP_ARRAY_COUNT(units); unit++)
        bytes /= 1000;
    ap_buf_printf(out, "%.4g %s", bytes, units[unit]);
}

static void print_milliseconds(double ms, struct ap_buf *out)
{
    if (fabs(ms) < 1000)
        ap_buf_printf(out, "%.4g ms", ms);
    else if (fabs(ms) < 60000)
        ap_buf_printf(out, "%.4g s", ms / 1000);
    else
        ap_buf_printf(out, "%.4g min", ms / 60000);
}

void pack_alert_print_value(const struct pack_alert *alert, double value, struct ap_buf *out)
{
    switch (alert->metric->query_unit) {
    case PACK_UNIT_S:
        print_milliseconds(value * 1000, out);
        return;
    case PACK_UNIT_MS:
        print_milliseconds(value, out);
        return;
    case PACK_UNIT_RATIO:
        ap_buf_printf(out, "%.4g%%", value * 100);
        return;
    case PACK_UNIT_BYTES:
        print_bytes(value, out);
        return;
    default:
        ap_buf_printf(out, "%.4g%s", value, unit_text(alert));
    }
}

static void explain_metric(const struct pack_alert *alert, struct ap_buf *out)
{
    ap_buf_printf(out, "Fires when %s (%s) is ", alert->metric->title, alert->metric->short_name);
    print_bound(&alert->bound, out);
    if (alert->for_ms) {
        ap_buf_add_cstr(out, " for ");
        pack_alert_print_duration(alert->for_ms, out);
    }
    if (alert->target.op != PACK_TARGET_NONE)
        ap_buf_printf(out, "; the target is %s", alert->target.text);
}

void pack_alert_explain(const struct pack_alert *alert, struct ap_buf *out)
{
    if (alert->sql)
        pack_alert_explain_sql(alert->rule, alert->sql->every_ms, out);
    else
        explain_metric(alert, out);
    ap_buf_add_cstr(out, alert->notify ? "; told to " : "; told to whom the routes say");
    for (const char *at = alert->notify; at && *at; at++)
        if (*at == ',')
            ap_buf_add_cstr(out, ", ");
        else
            ap_buf_add_char(out, *at);
    ap_buf_add_char(out, '.');
}

void pack_alerts_describe(struct ap_buf *out)
{
    ap_buf_add_cstr(out, "### A file of alerts\n\n");
    yaml_describe_struct(file_fields, AP_ARRAY_COUNT(file_fields), out);
    ap_buf_add_cstr(out, "\n### A performance alert\n\n");
    yaml_describe_struct(performance_fields, AP_ARRAY_COUNT(performance_fields), out);
    ap_buf_add_cstr(out, "\n### An alerting rule\n\n");
    yaml_describe_struct(rule_fields, AP_ARRAY_COUNT(rule_fields), out);
    pack_describe_sql_rule(out);
}
