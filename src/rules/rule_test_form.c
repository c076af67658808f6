#include "rules/rule_test_form.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "promql/lexer.h"
#include "promql/series_text.h"
#include "tsdb/labels.h"

enum { EVALUATION_INTERVAL_MS = 60 * 1000 };

struct reader {
    struct rule_test_form *form;
    struct ap_err *err;
};

/* Each of these returns false when something is wrong, and has said so in *err. */
#define FAIL(reader, node, ...) (yaml_fail((reader)->err, node, __VA_ARGS__), false)

static struct ap_slice keep_bytes(const struct reader *reader, const struct ap_buf *bytes)
{
    char *copy = ap_arena_alloc0(&reader->form->arena, bytes->bytes + 1);
    if (bytes->bytes)
        memcpy(copy, bytes->data, bytes->bytes);
    return ap_slice(copy, bytes->bytes);
}

static bool read_struct(const struct reader *reader, const struct yaml_node *node, const struct yaml_field *fields,
                        size_t count, void *target)
{
    return yaml_read_struct(node, fields, count, target, reader->err) == AP_OK;
}

/* The items of a list that may be missing; *ret_items has room for them. */
static bool open_list(const struct reader *reader, const struct yaml_node *node, const char *what, size_t item_bytes,
                      void *ret_items)
{
    size_t count = 0;
    if (node && !yaml_is_null(node)) {
        if (node->kind != YAML_KIND_LIST)
            return FAIL(reader, node, "%s: expected a list, found a %s", what, yaml_kind_name(node->kind));
        count = node->child_count;
    }
    void *items = ap_arena_alloc0(&reader->form->arena, (count + 1) * item_bytes);
    memcpy(ret_items, &items, sizeof(items));
    return true;
}

static const struct yaml_node *first_of(const struct yaml_node *list)
{
    return list && list->kind == YAML_KIND_LIST ? list->first : NULL;
}

static bool read_duration(const struct reader *reader, const struct yaml_node *map, const char *key, const char *text,
                          int64_t default_ms, int64_t *ret_ms)
{
    *ret_ms = default_ms;
    if (!text || promql_parse_duration(ap_slice_cstr(text), ret_ms) || strcmp(text, "0") == 0)
        return true;
    return FAIL(reader, yaml_get(map, key), "%s: expected a duration such as 30s, 5m or 1h30m, found \"%s\"", key,
                text);
}

/* A float in YAML's notation (.inf, .nan) or as PromQL has it. */
static bool read_number(const struct reader *reader, const struct yaml_node *node, const char *text, double *ret)
{
    size_t sign = *text == '+' || *text == '-';
    const char *digits = text + sign + (text[sign] == '.' && (text[sign + 1] | 0x20) >= 'a');
    char *end;
    *ret = strtod(digits, &end);
    if (*digits == '\0' || *end != '\0')
        return FAIL(reader, node, "value: expected a number, found \"%s\"", text);
    *ret = *text == '-' ? -*ret : *ret;
    return true;
}

/* ---- Labels ---- */

static bool read_series_labels(const struct reader *reader, const struct yaml_node *node, const char *text,
                               struct ap_slice *ret_labels)
{
    AP_AUTO_BUF struct ap_buf labels = {0};
    struct ap_err reason;
    if (*text && series_text_labels(ap_slice_cstr(text), &labels, &reason) != AP_OK)
        return FAIL(reader, node, "\"%s\" is no series: %s", text, reason.text);
    *ret_labels = keep_bytes(reader, &labels);
    return true;
}

/* With alertname if that is given. */
static bool read_label_map(const struct reader *reader, const struct yaml_texts *map, const char *alertname,
                           const struct yaml_node *node, struct ap_slice *ret_labels)
{
    AP_AUTO_FREE struct label *labels = ap_new0_array(struct label, map->count + 1);
    size_t count = 0;
    for (size_t i = 0; i < map->count; i++)
        if (!alertname || strcmp(map->keys[i], "alertname") != 0)
            labels[count++] = (struct label){ap_slice_cstr(map->keys[i]), ap_slice_cstr(map->items[i])};
    if (alertname)
        labels[count++] = (struct label){ap_slice_cstr("alertname"), ap_slice_cstr(alertname)};
    *ret_labels = ap_slice("", 0);
    AP_AUTO_BUF struct ap_buf bytes = {0};
    struct ap_err reason;
    if (count && labels_encode(labels, count, &bytes, &reason) != AP_OK)
        return FAIL(reader, node, "%s", reason.text);
    *ret_labels = keep_bytes(reader, &bytes);
    return true;
}

static int compare_labels_by_name(const void *a, const void *b)
{
    const struct label *left = a, *right = b;
    size_t bytes = AP_MIN(left->name.bytes, right->name.bytes);
    int order = memcmp(left->name.data, right->name.data, bytes);
    return order ? order : (left->name.bytes > right->name.bytes) - (left->name.bytes < right->name.bytes);
}

static struct ap_slice annotations_of(const struct reader *reader, const struct yaml_texts *map)
{
    AP_AUTO_FREE struct label *labels = ap_new0_array(struct label, map->count + 1);
    AP_AUTO_BUF struct ap_buf bytes = {0};
    for (size_t i = 0; i < map->count; i++)
        labels[i] = (struct label){ap_slice_cstr(map->keys[i]), ap_slice_cstr(map->items[i])};
    qsort(labels, map->count, sizeof(*labels), compare_labels_by_name);
    for (size_t i = 0; i < map->count; i++)
        labels_add(&bytes, &labels[i]);
    return keep_bytes(reader, &bytes);
}

/* ---- Series ---- */

static bool read_series(const struct reader *reader, const struct yaml_node *list, struct test_form *test)
{
    struct form {
        const char *series;
        const char *values;
    };
    static const struct yaml_field fields[] = {
        {.key = "series", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, series), .is_required = true},
        {.key = "values", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, values), .is_required = true},
    };
    if (!open_list(reader, list, "input_series", sizeof(*test->series), &test->series))
        return false;
    for (const struct yaml_node *node = first_of(list); node; node = node->next) {
        struct form form = {0};
        struct series_form *series = &test->series[test->series_count++];
        if (!read_struct(reader, node, fields, AP_ARRAY_COUNT(fields), &form) ||
            !read_series_labels(reader, yaml_get(node, "series"), form.series, &series->labels))
            return false;
        if (series->labels.bytes == 0)
            return FAIL(reader, yaml_get(node, "series"), "an input series needs at least one label");
        series->values = ap_slice_cstr(form.values);
        series->node = yaml_get(node, "values");
    }
    return true;
}

/* ---- Expected alerts ---- */

static int compare_expected_alerts(const void *a, const void *b)
{
    const struct expected_alert *left = a, *right = b;
    int order = labels_compare(left->labels, right->labels);
    return order ? order : labels_compare(left->annotations, right->annotations);
}

static bool read_expected_alerts(const struct reader *reader, const struct yaml_node *list,
                                 struct alert_test_form *test)
{
    struct form {
        struct yaml_texts labels;
        struct yaml_texts annotations;
    };
    static const struct yaml_field fields[] = {
        {.key = "exp_labels", .type = YAML_TYPE_TEXT_MAP, .offset = offsetof(struct form, labels)},
        {.key = "exp_annotations", .type = YAML_TYPE_TEXT_MAP, .offset = offsetof(struct form, annotations)},
    };
    if (!open_list(reader, list, "exp_alerts", sizeof(*test->alerts), &test->alerts))
        return false;
    for (const struct yaml_node *node = first_of(list); node; node = node->next) {
        struct form form = {0};
        struct expected_alert *alert = &test->alerts[test->alert_count++];
        if (!yaml_is_null(node) && !read_struct(reader, node, fields, AP_ARRAY_COUNT(fields), &form))
            return false;
        if (!read_label_map(reader, &form.labels, test->alertname, node, &alert->labels))
            return false;
        alert->annotations = annotations_of(reader, &form.annotations);
    }
    qsort(test->alerts, test->alert_count, sizeof(*test->alerts), compare_expected_alerts);
    return true;
}

static bool read_alert_tests(const struct reader *reader, const struct yaml_node *list, struct test_form *test)
{
    struct form {
        const char *eval_time;
        const char *alertname;
        const struct yaml_node *alerts;
    };
    static const struct yaml_field fields[] = {
        {.key = "eval_time", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, eval_time)},
        {.key = "alertname", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, alertname), .is_required = true},
        {.key = "exp_alerts", .type = YAML_TYPE_NODE, .offset = offsetof(struct form, alerts)},
    };
    if (!open_list(reader, list, "alert_rule_test", sizeof(*test->alert_tests), &test->alert_tests))
        return false;
    for (const struct yaml_node *node = first_of(list); node; node = node->next) {
        struct form form = {0};
        struct alert_test_form *alert_test = &test->alert_tests[test->alert_test_count++];
        if (!read_struct(reader, node, fields, AP_ARRAY_COUNT(fields), &form) ||
            !read_duration(reader, node, "eval_time", form.eval_time, 0, &alert_test->eval_ms))
            return false;
        alert_test->node = node;
        alert_test->alertname = form.alertname;
        if (!read_expected_alerts(reader, form.alerts, alert_test))
            return false;
    }
    return true;
}

/* ---- Expected samples ---- */

struct one_histogram {
    struct ap_arena *arena;
    size_t count;
    const struct float_histogram *histogram;
};

static void take_histogram(bool is_missing, double value, const struct float_histogram *histogram, void *context)
{
    struct one_histogram *one = context;
    (void)is_missing;
    (void)value;
    one->count++;
    if (histogram)
        one->histogram = float_histogram_copy(histogram, one->arena);
}

static bool read_histogram(const struct reader *reader, const struct yaml_node *node, const char *text,
                           const struct float_histogram **ret_histogram)
{
    struct one_histogram one = {.arena = &reader->form->arena};
    struct ap_err reason;
    if (series_text_values(ap_slice_cstr(text), take_histogram, &one, &reason) != AP_OK)
        return FAIL(reader, node, "histogram: %s", reason.text);
    if (one.count != 1 || !one.histogram)
        return FAIL(reader, node, "histogram: expected one, such as {{schema:0 sum:3 count:2 buckets:[1 1]}}");
    *ret_histogram = one.histogram;
    return true;
}

static int compare_expected_samples(const void *a, const void *b)
{
    return labels_compare(((const struct expected_sample *)a)->labels, ((const struct expected_sample *)b)->labels);
}

static bool read_expected_samples(const struct reader *reader, const struct yaml_node *list,
                                  struct query_test_form *test)
{
    struct form {
        const char *labels;
        const char *value;
        const char *histogram;
    };
    static const struct yaml_field fields[] = {
        {.key = "labels", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, labels), .is_required = true},
        {.key = "value", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, value)},
        {.key = "histogram", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, histogram)},
    };
    if (!open_list(reader, list, "exp_samples", sizeof(*test->samples), &test->samples))
        return false;
    for (const struct yaml_node *node = first_of(list); node; node = node->next) {
        struct form form = {0};
        struct expected_sample *sample = &test->samples[test->sample_count++];
        if (!read_struct(reader, node, fields, AP_ARRAY_COUNT(fields), &form) ||
            !read_series_labels(reader, yaml_get(node, "labels"), form.labels, &sample->labels))
            return false;
        if (form.histogram && *form.histogram
                ? !read_histogram(reader, yaml_get(node, "histogram"), form.histogram, &sample->histogram)
                : form.value && !read_number(reader, yaml_get(node, "value"), form.value, &sample->value))
            return false;
    }
    qsort(test->samples, test->sample_count, sizeof(*test->samples), compare_expected_samples);
    return true;
}

static bool read_query_tests(const struct reader *reader, const struct yaml_node *list, struct test_form *test)
{
    struct form {
        const char *eval_time;
        const char *expr;
        const struct yaml_node *samples;
    };
    static const struct yaml_field fields[] = {
        {.key = "eval_time", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, eval_time)},
        {.key = "expr", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, expr), .is_required = true},
        {.key = "exp_samples", .type = YAML_TYPE_NODE, .offset = offsetof(struct form, samples)},
    };
    if (!open_list(reader, list, "promql_expr_test", sizeof(*test->query_tests), &test->query_tests))
        return false;
    for (const struct yaml_node *node = first_of(list); node; node = node->next) {
        struct form form = {0};
        struct query_test_form *query_test = &test->query_tests[test->query_test_count++];
        if (!read_struct(reader, node, fields, AP_ARRAY_COUNT(fields), &form) ||
            !read_duration(reader, node, "eval_time", form.eval_time, 0, &query_test->eval_ms))
            return false;
        query_test->node = node;
        query_test->expr = ap_slice_cstr(form.expr);
        if (!read_expected_samples(reader, form.samples, query_test))
            return false;
    }
    return true;
}

/* ---- Tests ---- */

static bool read_start(const struct reader *reader, const struct yaml_node *node, const char *text, int64_t *ret_ms)
{
    int64_t wall_us;
    char *end;
    if (!text)
        return true;
    double seconds = strtod(text, &end);
    if (*text && *end == '\0' && fabs(seconds) < 1e11)
        *ret_ms = llround(seconds * 1e3);
    else if (ap_time_parse(ap_slice_cstr(text), &wall_us))
        *ret_ms = wall_us / AP_US_PER_MS;
    else
        return FAIL(reader, node,
                    "start_timestamp: expected a time such as 2026-11-24T12:00:00Z or seconds since 1970");
    return true;
}

static bool read_test(const struct reader *reader, const struct yaml_node *node, struct test_form *test)
{
    struct form {
        const char *name, *interval, *external_url, *start;
        struct yaml_texts external_labels;
        const struct yaml_node *series, *alerts, *queries;
    } form = {0};
    static const struct yaml_field fields[] = {
        {.key = "name", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, name)},
        {.key = "interval", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, interval)},
        {.key = "external_url", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, external_url)},
        {.key = "start_timestamp", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, start)},
        {.key = "external_labels", .type = YAML_TYPE_TEXT_MAP, .offset = offsetof(struct form, external_labels)},
        {.key = "input_series", .type = YAML_TYPE_NODE, .offset = offsetof(struct form, series)},
        {.key = "alert_rule_test", .type = YAML_TYPE_NODE, .offset = offsetof(struct form, alerts)},
        {.key = "promql_expr_test", .type = YAML_TYPE_NODE, .offset = offsetof(struct form, queries)},
    };
    if (!read_struct(reader, node, fields, AP_ARRAY_COUNT(fields), &form))
        return false;
    test->name = form.name;
    test->external_url = ap_slice_cstr(form.external_url ? form.external_url : "");
    return read_duration(reader, node, "interval", form.interval, reader->form->interval_ms, &test->interval_ms) &&
           read_start(reader, yaml_get(node, "start_timestamp"), form.start, &test->start_ms) &&
           read_label_map(reader, &form.external_labels, NULL, yaml_get(node, "external_labels"),
                          &test->external_labels) &&
           read_series(reader, form.series, test) && read_alert_tests(reader, form.alerts, test) &&
           read_query_tests(reader, form.queries, test);
}

static bool check_order(const struct reader *reader)
{
    const struct yaml_texts *order = &reader->form->group_order;
    for (size_t i = 0; i < order->count; i++)
        for (size_t j = 0; j < i; j++)
            if (strcmp(order->items[i], order->items[j]) == 0)
                return FAIL(reader, order->nodes[i], "group name repeated in evaluation order: %s", order->items[i]);
    return true;
}

static bool read_all(const struct reader *reader)
{
    struct form {
        struct yaml_texts rule_files, order;
        const char *interval;
        bool is_fuzzy;
        const struct yaml_node *tests;
    } form = {0};
    static const struct yaml_field fields[] = {
        {.key = "rule_files", .type = YAML_TYPE_TEXT_LIST, .offset = offsetof(struct form, rule_files)},
        {.key = "evaluation_interval", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, interval)},
        {.key = "group_eval_order", .type = YAML_TYPE_TEXT_LIST, .offset = offsetof(struct form, order)},
        {.key = "fuzzy_compare", .type = YAML_TYPE_BOOLEAN, .offset = offsetof(struct form, is_fuzzy)},
        {.key = "tests", .type = YAML_TYPE_NODE, .offset = offsetof(struct form, tests)},
    };
    struct rule_test_form *all = reader->form;
    const struct yaml_node *root = yaml_root(all->document);
    if (!read_struct(reader, root, fields, AP_ARRAY_COUNT(fields), &form) ||
        !read_duration(reader, root, "evaluation_interval", form.interval, EVALUATION_INTERVAL_MS, &all->interval_ms))
        return false;
    if (all->interval_ms <= 0)
        all->interval_ms = EVALUATION_INTERVAL_MS;
    all->rule_files = form.rule_files;
    all->group_order = form.order;
    all->is_fuzzy = form.is_fuzzy;
    if (!check_order(reader) || !open_list(reader, form.tests, "tests", sizeof(*all->tests), &all->tests))
        return false;
    for (const struct yaml_node *node = first_of(form.tests); node; node = node->next)
        if (!read_test(reader, node, &all->tests[all->test_count++]))
            return false;
    return true;
}

enum ap_rc rule_test_form_read(const char *path, struct rule_test_form *ret_form, struct ap_err *err)
{
    struct yaml_document *document;
    enum ap_rc rc = yaml_load(path, &document, err);
    if (rc != AP_OK)
        return rc;
    struct rule_test_form form = {.document = document};
    ap_arena_init(&form.arena, 0);
    const struct reader reader = {&form, err};
    if (!read_all(&reader)) {
        rule_test_form_clear(&form);
        return AP_E_PARSE;
    }
    *ret_form = form;
    return AP_OK;
}

void rule_test_form_clear(struct rule_test_form *form)
{
    yaml_free(form->document);
    ap_arena_clear(&form->arena);
}
