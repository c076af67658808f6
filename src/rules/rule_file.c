#include "rules/rule_file.h"

#include <stdio.h>
#include <string.h>

#include "promql/lexer.h"
#include "promql/parser.h"
#include "rules/figure.h"
#include "rules/sql_text.h"
#include "rules/template_variables.h"
#include "template/template.h"
#include "tsdb/labels.h"

const char *const rule_no_data_names[] = {"ok", "alert", "keep", NULL};
const char *const rule_on_error_names[] = {"keep", "alert", "ok", NULL};

/* ---- The file's form ---- */

struct group_form {
    const char *name;
    const char *interval;
    int64_t limit;
    const char *query_offset;
    struct yaml_texts labels;
    const struct yaml_node *rules;
};

#define AT(type_, member) .offset = offsetof(struct type_, member)
static const struct yaml_field group_fields[] = {
    {.key = "name", .type = YAML_TYPE_TEXT, AT(group_form, name), .is_required = true},
    {.key = "interval", .type = YAML_TYPE_TEXT, AT(group_form, interval)},
    {.key = "limit", .type = YAML_TYPE_INTEGER, AT(group_form, limit), .default_text = "0", .min = 0, .max = INT32_MAX},
    {.key = "query_offset", .type = YAML_TYPE_TEXT, AT(group_form, query_offset)},
    {.key = "labels", .type = YAML_TYPE_TEXT_MAP, AT(group_form, labels)},
    {.key = "rules", .type = YAML_TYPE_NODE, AT(group_form, rules)},
};

struct rule_form {
    const char *record;
    const char *alert;
    const struct yaml_node *expr;
    const struct yaml_node *sql;
    const char *threshold;
    const char *wait;
    const char *keep_firing_for;
    int no_data;
    int on_error;
    struct yaml_texts labels;
    struct yaml_texts annotations;
};

static const struct yaml_field rule_fields[] = {
    {.key = "record", .type = YAML_TYPE_TEXT, AT(rule_form, record)},
    {.key = "alert", .type = YAML_TYPE_TEXT, AT(rule_form, alert)},
    {.key = "expr", .type = YAML_TYPE_NODE, AT(rule_form, expr)},
    {.key = "sql", .type = YAML_TYPE_NODE, AT(rule_form, sql)},
    {.key = "threshold", .type = YAML_TYPE_TEXT, AT(rule_form, threshold)},
    {.key = "for", .type = YAML_TYPE_TEXT, AT(rule_form, wait)},
    {.key = "keep_firing_for", .type = YAML_TYPE_TEXT, AT(rule_form, keep_firing_for)},
    {.key = "no_data", .type = YAML_TYPE_CHOICE, AT(rule_form, no_data), .choices = rule_no_data_names},
    {.key = "on_error", .type = YAML_TYPE_CHOICE, AT(rule_form, on_error), .choices = rule_on_error_names},
    {.key = "labels", .type = YAML_TYPE_TEXT_MAP, AT(rule_form, labels)},
    {.key = "annotations", .type = YAML_TYPE_TEXT_MAP, AT(rule_form, annotations)},
};

struct reading {
    struct rule_file *file;
    struct ap_arena arena; /* of the arrays; becomes the file's */
    bool is_experimental;
    rule_file_report_fn report;
    void *context;
    enum ap_rc rc; /* of the first thing that was wrong, whose sentence is in *err */
    struct ap_err *err;
};

/* Notes what is wrong; reading goes on behind it. */
static void wrong(struct reading *reading, enum ap_rc rc, const struct ap_err *err)
{
    if (reading->rc == AP_OK) {
        reading->rc = rc;
        *reading->err = *err;
    }
    if (reading->report)
        reading->report(err->text, reading->context);
}

#define WRONG(reading, node, ...)                                                                                      \
    do {                                                                                                               \
        struct ap_err wrong_err;                                                                                       \
        wrong(reading, yaml_fail(&wrong_err, node, __VA_ARGS__), &wrong_err);                                          \
    } while (0)

/* ---- Values ---- */

static int64_t read_duration(struct reading *reading, const struct yaml_node *map, const char *key, const char *text)
{
    int64_t ms = 0;
    if (text && !promql_parse_duration(ap_slice_cstr(text), &ms))
        WRONG(reading, yaml_get(map, key), "%s: expected a duration such as 30s, 5m or 1h30m, found \"%s\"", key, text);
    return ms;
}

static bool is_label_name(const char *name)
{
    struct ap_slice text = ap_slice_cstr(name);
    return text.bytes && ap_utf8_valid_bytes(text) == text.bytes;
}

static void check_labels(struct reading *reading, const struct yaml_texts *labels)
{
    for (size_t i = 0; i < labels->count; i++) {
        const struct yaml_node *node = labels->nodes[i];
        if (!is_label_name(labels->keys[i]))
            WRONG(reading, node->key, "invalid label name \"%s\"", labels->keys[i]);
        else if (strcmp(labels->keys[i], LABEL_METRIC_NAME) == 0)
            WRONG(reading, node->key, "a rule's labels cannot set %s: that is the name of what it records",
                  LABEL_METRIC_NAME);
        struct ap_slice value = ap_slice_cstr(labels->items[i]);
        if (ap_utf8_valid_bytes(value) != value.bytes)
            WRONG(reading, node, "label %s is not UTF-8", labels->keys[i]);
    }
}

static void check_templates(struct reading *reading, const struct yaml_texts *texts)
{
    for (size_t i = 0; i < texts->count; i++) {
        struct ap_err reason;
        AP_AUTO(template) struct template *template = NULL;
        if (template_parse(ap_slice_cstr(texts->items[i]), template_variables, AP_ARRAY_COUNT(template_variables),
                           &template, &reason) != AP_OK)
            WRONG(reading, texts->nodes[i], "%s: %s", texts->keys[i], reason.text);
    }
}

/* What tells that there is no data, for rules that have a word on it. */
static void read_figure(struct reading *reading, const struct yaml_node *node, struct promql_query *query,
                        struct rule *rule)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    struct ap_err reason;
    if (figure_print(query->expr, &text, &reason) != AP_OK) {
        WRONG(reading, yaml_get(node, "no_data"), "no_data: %s; leave it at \"ok\"", reason.text);
        return;
    }
    char *copy = ap_arena_alloc0(&reading->arena, text.bytes + 1);
    memcpy(copy, text.data, text.bytes);
    rule->figure = ap_slice(copy, text.bytes);
}

/* Where in the file the error is: the query's own line and column are told by the parser. */
static void read_promql(struct reading *reading, const struct yaml_node *node, const struct yaml_node *expr,
                        struct rule *rule)
{
    struct promql_query query;
    struct ap_err reason;
    if (promql_parse(expr->text, reading->is_experimental, &query, &reason) != AP_OK) {
        WRONG(reading, expr, "could not parse expression: %s", reason.text);
        return;
    }
    enum promql_type type = query.expr->type;
    if (type != TYPE_VECTOR && type != TYPE_SCALAR)
        WRONG(reading, expr, "a rule needs an instant vector or a scalar, this expression gives a %s",
              promql_type_name(type));
    else if (rule->is_alert && rule->no_data != RULE_NO_DATA_OK)
        read_figure(reading, node, &query, rule);
    promql_query_clear(&query);
}

static void read_sql(struct reading *reading, const struct yaml_node *node, const struct rule_form *form,
                     struct rule *rule)
{
    struct ap_err reason;
    if (sql_text_check(form->sql->text, &reason) != AP_OK)
        WRONG(reading, form->sql, "sql: %s", reason.text);
    rule->language = RULE_LANGUAGE_SQL;
    if (!yaml_get(node, "on_error") && rule->is_alert)
        rule->on_error = RULE_ON_ERROR_ALERT;
    if (!rule->is_alert)
        return;
    if (!form->threshold)
        WRONG(reading, node, "an alert by SQL needs \"threshold\": which figures make one, such as \"> 5\"");
    else if (!rule_threshold_parse(ap_slice_cstr(form->threshold), &rule->threshold))
        WRONG(reading, yaml_get(node, "threshold"),
              "threshold: expected a comparison (>, >=, <, <=, ==, !=) and a number, such as \"> 5\", found \"%.80s\"",
              form->threshold);
}

static bool is_text(const struct yaml_node *node)
{
    return node->kind == YAML_KIND_SCALAR && node->text.bytes > 0;
}

/* What is asked, in one of the two languages. */
static void read_query(struct reading *reading, const struct yaml_node *node, const struct rule_form *form,
                       struct rule *rule)
{
    const struct yaml_node *query = form->expr ? form->expr : form->sql;
    if (form->expr && form->sql) {
        WRONG(reading, form->sql->key, "a rule has either \"expr\" (PromQL) or \"sql\", this one has both");
        return;
    }
    if (!query || !is_text(query)) {
        WRONG(reading, query ? query : node,
              "field 'expr' must be set in rule: the PromQL to evaluate (or 'sql': a SELECT)");
        return;
    }
    rule->expr = query->text;
    rule->expr_line = query->line;
    if (form->sql) {
        read_sql(reading, node, form, rule);
        return;
    }
    if (form->threshold)
        WRONG(reading, yaml_get(node, "threshold")->key, "\"threshold\" goes with \"sql\"; PromQL compares by itself");
    read_promql(reading, node, query, rule);
}

/* ---- Rules and groups ---- */

static void merge_labels(struct reading *reading, const struct yaml_texts *group, struct yaml_texts *labels)
{
    if (group->count == 0)
        return;
    size_t max = group->count + labels->count;
    struct yaml_texts merged = {
        .keys = ap_arena_alloc0(&reading->arena, max * sizeof(*merged.keys)),
        .items = ap_arena_alloc0(&reading->arena, max * sizeof(*merged.items)),
        .nodes = ap_arena_alloc0(&reading->arena, max * sizeof(const struct yaml_node *)),
    };
    const struct yaml_texts *sources[] = {group, labels};
    for (size_t s = 0; s < AP_ARRAY_COUNT(sources); s++) {
        for (size_t i = 0; i < sources[s]->count; i++) {
            size_t at = 0; /* the rule's own go over the group's */
            while (at < merged.count && strcmp(merged.keys[at], sources[s]->keys[i]) != 0)
                at++;
            merged.count = AP_MAX(merged.count, at + 1);
            merged.keys[at] = sources[s]->keys[i];
            merged.items[at] = sources[s]->items[i];
            merged.nodes[at] = sources[s]->nodes[i];
        }
    }
    *labels = merged;
}

static void read_alert(struct reading *reading, const struct yaml_node *node, const struct rule_form *form,
                       struct rule *rule)
{
    rule->name = form->alert;
    rule->is_alert = true;
    rule->for_ms = read_duration(reading, node, "for", form->wait);
    rule->keep_firing_for_ms = read_duration(reading, node, "keep_firing_for", form->keep_firing_for);
    rule->annotations = form->annotations;
    rule->no_data = (enum rule_no_data)form->no_data;
    rule->on_error = (enum rule_on_error)form->on_error;
    for (size_t i = 0; i < form->annotations.count; i++)
        if (!is_label_name(form->annotations.keys[i]))
            WRONG(reading, form->annotations.nodes[i]->key, "invalid annotation name \"%s\"",
                  form->annotations.keys[i]);
    check_templates(reading, &rule->labels);
    check_templates(reading, &rule->annotations);
}

static void read_recording(struct reading *reading, const struct yaml_node *node, const struct rule_form *form,
                           struct rule *rule)
{
    static const char *const of_alerts[] = {"for",       "keep_firing_for", "annotations",
                                            "threshold", "no_data",         "on_error"};
    rule->name = form->record;
    for (size_t i = 0; i < AP_ARRAY_COUNT(of_alerts); i++) {
        const struct yaml_node *value = yaml_get(node, of_alerts[i]);
        if (value && !yaml_is_null(value))
            WRONG(reading, value->key, "\"%s\" is for alerting rules; this one records", of_alerts[i]);
    }
    if (!is_label_name(form->record))
        WRONG(reading, yaml_get(node, "record"), "invalid recording rule name \"%s\"", form->record);
    else if (strpbrk(form->record, "{}\""))
        WRONG(reading, yaml_get(node, "record"),
              "invalid recording rule name \"%s\": braces and quotes in it are most likely part of an expression",
              form->record);
}

static void read_rule(struct reading *reading, const struct yaml_node *node, const struct yaml_texts *group_labels,
                      struct rule *rule)
{
    struct rule_form form = {0};
    struct ap_err err;
    enum ap_rc rc = yaml_read_struct(node, rule_fields, AP_ARRAY_COUNT(rule_fields), &form, &err);
    if (rc != AP_OK) {
        wrong(reading, rc, &err);
        return;
    }
    rule->line = node->line;
    rule->labels = form.labels;
    if (!form.record == !form.alert) {
        WRONG(reading, node,
              form.record ? "a rule has either \"record\" or \"alert\", this one has both"
                          : "a rule needs \"record\" (a recording rule) or \"alert\" (an alerting rule)");
        return;
    }
    check_labels(reading, &rule->labels);
    merge_labels(reading, group_labels, &rule->labels);
    if (form.alert)
        read_alert(reading, node, &form, rule);
    else
        read_recording(reading, node, &form, rule);
    read_query(reading, node, &form, rule);
}

static void read_group(struct reading *reading, const struct yaml_node *node, struct rule_group *group)
{
    struct group_form form = {0};
    struct ap_err err;
    enum ap_rc rc = yaml_read_struct(node, group_fields, AP_ARRAY_COUNT(group_fields), &form, &err);
    if (rc != AP_OK) {
        wrong(reading, rc, &err);
        return;
    }
    group->name = form.name;
    group->file = yaml_file(node->document);
    group->limit = form.limit;
    group->interval_ms = read_duration(reading, node, "interval", form.interval);
    group->query_offset_ms = read_duration(reading, node, "query_offset", form.query_offset);
    group->has_query_offset = form.query_offset != NULL;
    if (group->name[0] == '\0')
        WRONG(reading, node, "a group needs a name");
    check_labels(reading, &form.labels);
    if (!form.rules || yaml_is_null(form.rules))
        return;
    if (form.rules->kind != YAML_KIND_LIST) {
        WRONG(reading, form.rules, "rules: expected a list of rules");
        return;
    }
    group->rules = ap_arena_alloc0(&reading->arena, (form.rules->child_count + 1) * sizeof(*group->rules));
    for (const struct yaml_node *rule = form.rules->first; rule; rule = rule->next)
        read_rule(reading, rule, &form.labels, &group->rules[group->rule_count++]);
}

static void check_group_name(struct reading *reading, const struct yaml_node *node, size_t index)
{
    const struct rule_group *groups = reading->file->groups;
    for (size_t i = 0; i < index && groups[index].name; i++)
        if (groups[i].name && strcmp(groups[i].name, groups[index].name) == 0)
            WRONG(reading, node, "groupname: \"%s\" is repeated in the same file", groups[index].name);
}

static void read_file(struct reading *reading)
{
    struct form {
        const struct yaml_node *groups;
    } form = {0};
    static const struct yaml_field fields[] = {
        {.key = "groups", .type = YAML_TYPE_NODE, AT(form, groups)},
    };
    struct rule_file *file = reading->file;
    struct ap_err err;
    enum ap_rc rc = yaml_read_struct(yaml_root(file->document), fields, AP_ARRAY_COUNT(fields), &form, &err);
    if (rc != AP_OK) {
        wrong(reading, rc, &err);
        return;
    }
    if (!form.groups || yaml_is_null(form.groups))
        return;
    if (form.groups->kind != YAML_KIND_LIST) {
        WRONG(reading, form.groups, "groups: expected a list of rule groups");
        return;
    }
    file->groups = ap_arena_alloc0(&reading->arena, (form.groups->child_count + 1) * sizeof(*file->groups));
    for (const struct yaml_node *node = form.groups->first; node; node = node->next) {
        read_group(reading, node, &file->groups[file->group_count]);
        check_group_name(reading, node, file->group_count);
        file->rule_count += file->groups[file->group_count++].rule_count;
    }
}

struct whole_file {
    struct rule_file file; /* the first member: what callers have */
    struct ap_arena arena;
};

static enum ap_rc read_document(struct yaml_document *take_document, bool is_experimental, rule_file_report_fn report,
                                void *context, struct rule_file **ret_file, struct ap_err *err)
{
    struct whole_file *whole = ap_new0(struct whole_file);
    whole->file.document = take_document;
    AP_AUTO(rule_file) struct rule_file *file = &whole->file;
    struct reading reading = {
        .file = file, .is_experimental = is_experimental, .report = report, .context = context, .err = err};
    ap_arena_init(&reading.arena, 0);
    read_file(&reading);
    whole->arena = reading.arena;
    if (reading.rc == AP_OK)
        *ret_file = AP_MOVE(file);
    return reading.rc;
}

enum ap_rc rule_file_load(const char *path, bool is_experimental, rule_file_report_fn report, void *context,
                          struct rule_file **ret_file, struct ap_err *err)
{
    struct yaml_document *document;
    enum ap_rc rc = yaml_load(path, &document, err);
    if (rc == AP_OK)
        return read_document(document, is_experimental, report, context, ret_file, err);
    if (report)
        report(err->text, context);
    return rc;
}

enum ap_rc rule_file_parse(struct ap_slice text, const char *name, bool is_experimental, rule_file_report_fn report,
                           void *context, struct rule_file **ret_file, struct ap_err *err)
{
    struct yaml_document *document;
    enum ap_rc rc = yaml_parse(text, name, &document, err);
    if (rc == AP_OK)
        return read_document(document, is_experimental, report, context, ret_file, err);
    if (report)
        report(err->text, context);
    return rc;
}

void rule_file_free(struct rule_file *file)
{
    if (!file)
        return;
    struct whole_file *whole = AP_CONTAINER_OF(file, struct whole_file, file);
    yaml_free(file->document);
    ap_arena_clear(&whole->arena);
    free(whole);
}

/* ---- Duplicates ---- */

static bool has_label(const struct yaml_texts *labels, const char *name, const char *value)
{
    for (size_t i = 0; i < labels->count; i++)
        if (strcmp(labels->keys[i], name) == 0)
            return strcmp(labels->items[i], value) == 0;
    return false;
}

static bool is_same(const struct rule *a, const struct rule *b)
{
    if (a->is_alert != b->is_alert || strcmp(a->name, b->name) != 0 || a->labels.count != b->labels.count)
        return false;
    for (size_t i = 0; i < a->labels.count; i++)
        if (!has_label(&b->labels, a->labels.keys[i], a->labels.items[i]))
            return false;
    return true;
}

struct place {
    const struct rule *rule;
    const struct rule_group *group;
    size_t order;
};

static int compare_places(const void *a, const void *b)
{
    const struct place *left = a, *right = b;
    int order = strcmp(left->rule->name, right->rule->name);
    return order ? order : (left->order > right->order) - (left->order < right->order);
}

size_t rule_file_duplicates(const struct rule_file *file,
                            void (*each)(const struct rule_group *group, const struct rule *rule, void *context),
                            void *context)
{
    AP_AUTO_FREE struct place *places = ap_new0_array(struct place, file->rule_count + 1);
    size_t count = 0, duplicates = 0;
    for (size_t g = 0; g < file->group_count; g++)
        for (size_t r = 0; r < file->groups[g].rule_count; r++, count++)
            places[count] = (struct place){&file->groups[g].rules[r], &file->groups[g], count};
    qsort(places, count, sizeof(*places), compare_places);
    for (size_t i = 1; i < count; i++) {
        for (size_t j = i; j-- > 0 && strcmp(places[j].rule->name, places[i].rule->name) == 0;) {
            if (is_same(places[i].rule, places[j].rule)) {
                each(places[i].group, places[i].rule, context);
                duplicates++;
                break;
            }
        }
    }
    return duplicates;
}
