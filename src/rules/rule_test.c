#include "rules/rule_test.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "promql/float_text.h"
#include "promql/memory_storage.h"
#include "promql/parser.h"
#include "promql/series_text.h"
#include "rules/group.h"
#include "rules/query.h"
#include "rules/rule_files.h"
#include "rules/rule_test_form.h"
#include "tsdb/labels.h"
#include "tsdb/matcher.h"

/* ---- All tests of a file ---- */

struct suite {
    const struct rule_test_options *options;
    struct rule_test_form form;
    struct rule_files files;
    struct promql_engine *engine;
    struct rule_test_counts counts;
};

struct input_sample {
    int64_t ts_ms;
    size_t order;           /* in which they were written */
    struct ap_slice labels; /* lent by the form */
    double value;
    const struct float_histogram *histogram;
};

/* One of them. */
struct test {
    struct suite *suite;
    const struct test_form *form;
    const char *name;
    size_t failed;
    struct ap_arena arena; /* groups without SQL, histograms of the input */
    struct input_sample *input;
    size_t input_count;
    size_t input_capacity;
    struct memory_storage *storage;
    struct rules_world world;
    struct group_run **groups; /* in the order of evaluation */
    size_t group_count;
};

static void say(struct test *test, const char *format, ...) ap_printf(2, 3);
static void say(struct test *test, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    AP_AUTO_FREE char *text = NULL;
    int bytes = vasprintf(&text, format, arguments);
    va_end(arguments);
    test->failed++;
    if (bytes >= 0)
        test->suite->options->report(test->name, text, test->suite->options->context);
}

/* ---- Input ---- */

/* Room for one more; the newest place is that of the next value. */
static void add_place(struct test *test, struct input_sample place)
{
    if (test->input_count == test->input_capacity) {
        test->input_capacity = AP_MAX(256, test->input_capacity * 2);
        test->input = ap_realloc(test->input, test->input_capacity * sizeof(*test->input));
    }
    place.order = test->input_count;
    test->input[test->input_count++] = place;
}

static void add_input(bool is_missing, double value, const struct float_histogram *histogram, void *context)
{
    struct test *test = context;
    struct input_sample *place = &test->input[test->input_count - 1];
    struct input_sample next = {.ts_ms = place->ts_ms + test->form->interval_ms, .labels = place->labels};
    if (is_missing) {
        place->ts_ms = next.ts_ms;
        return;
    }
    place->value = value;
    place->histogram = histogram ? float_histogram_copy(histogram, &test->arena) : NULL;
    add_place(test, next);
}

static int compare_input(const void *a, const void *b)
{
    const struct input_sample *left = a, *right = b;
    if (left->ts_ms != right->ts_ms)
        return left->ts_ms < right->ts_ms ? -1 : 1;
    return (left->order > right->order) - (left->order < right->order);
}

static bool read_input(struct test *test)
{
    const struct test_form *form = test->form;
    for (size_t i = 0; i < form->series_count; i++) {
        add_place(test, (struct input_sample){.ts_ms = form->start_ms, .labels = form->series[i].labels});
        struct ap_err reason, err;
        if (series_text_values(form->series[i].values, add_input, test, &reason) != AP_OK) {
            yaml_fail(&err, form->series[i].node, "values: %s", reason.text);
            say(test, "%s", err.text);
            return false;
        }
        test->input_count--; /* the place of a value that did not come */
    }
    qsort(test->input, test->input_count, sizeof(*test->input), compare_input);
    return true;
}

/* ---- Comparing ---- */

static void print_duration(int64_t ms, struct ap_buf *out)
{
    promql_print_duration(ms, out);
    ap_buf_add_char(out, '\0');
}

struct fired {
    const struct alert **alerts; /* owned */
    size_t count;
};

static int compare_fired(const void *a, const void *b)
{
    const struct alert *left = *(const struct alert *const *)a, *right = *(const struct alert *const *)b;
    int order = labels_compare(left->labels, right->labels);
    return order ? order : labels_compare(left->annotations, right->annotations);
}

/* The same name may be in several groups. */
static struct fired collect_fired(const struct test *test, const char *alertname)
{
    struct fired fired = {0};
    for (int pass = 0; pass < 2; pass++) {
        if (pass)
            fired.alerts = ap_new0_array(const struct alert *, fired.count + 1);
        fired.count = 0;
        for (size_t g = 0; g < test->group_count; g++) {
            const struct rule_group *group = group_run_group(test->groups[g]);
            for (size_t r = 0; r < group->rule_count; r++) {
                if (!group->rules[r].is_alert || strcmp(group->rules[r].name, alertname) != 0)
                    continue;
                struct rule_status status = group_run_status(test->groups[g], r);
                for (size_t i = 0; i < status.alert_count; i++) {
                    if (status.alerts[i].state != ALERT_STATE_FIRING)
                        continue;
                    if (pass)
                        fired.alerts[fired.count] = &status.alerts[i];
                    fired.count++;
                }
            }
        }
    }
    qsort(fired.alerts, fired.count, sizeof(struct alert *), compare_fired);
    return fired;
}

static void print_alert(struct ap_slice labels, struct ap_slice annotations, struct ap_buf *out)
{
    ap_buf_add_cstr(out, "\n            Labels:");
    labels_format(labels, out);
    ap_buf_add_cstr(out, "\n            Annotations:");
    labels_format(annotations, out);
}

static bool is_by_sql(const struct suite *suite, const char *alertname)
{
    bool is_found = false;
    for (size_t f = 0; f < suite->files.count; f++)
        for (size_t g = 0; g < suite->files.items[f]->group_count; g++) {
            const struct rule_group *group = &suite->files.items[f]->groups[g];
            for (size_t r = 0; r < group->rule_count; r++)
                is_found = is_found || (group->rules[r].language == RULE_LANGUAGE_SQL && group->rules[r].is_alert &&
                                        strcmp(group->rules[r].name, alertname) == 0);
        }
    return is_found;
}

static void compare_alerts_at(struct test *test, const struct alert_test_form *form)
{
    if (is_by_sql(test->suite, form->alertname)) {
        say(test, "%s:%d: alertname: %s is a rule by SQL, which cannot be tested: a test has series and no tables",
            yaml_file(form->node->document), form->node->line, form->alertname);
        return;
    }
    struct fired fired = collect_fired(test, form->alertname);
    bool is_same = fired.count == form->alert_count;
    for (size_t i = 0; is_same && i < fired.count; i++)
        is_same = ap_slice_equal(fired.alerts[i]->labels, form->alerts[i].labels) &&
                  ap_slice_equal(fired.alerts[i]->annotations, form->alerts[i].annotations);
    test->suite->counts.compared++;
    if (!is_same) {
        AP_AUTO_BUF struct ap_buf time = {0}, expected = {0}, got = {0};
        for (size_t i = 0; i < form->alert_count; i++)
            print_alert(form->alerts[i].labels, form->alerts[i].annotations, &expected);
        for (size_t i = 0; i < fired.count; i++)
            print_alert(fired.alerts[i]->labels, fired.alerts[i]->annotations, &got);
        print_duration(form->eval_ms, &time);
        say(test, "%s:%d: alertname: %s, time: %s,\n        exp:%.*s\n        got:%.*s",
            yaml_file(form->node->document), form->node->line, form->alertname, time.data,
            AP_SLICE_ARG(form->alert_count ? ap_buf_slice(&expected) : ap_slice_cstr(" none")),
            AP_SLICE_ARG(fired.count ? ap_buf_slice(&got) : ap_slice_cstr(" none")));
    }
    free(fired.alerts);
}

static bool is_same_sample(const struct expected_sample *expected, const struct rules_sample *got, bool is_fuzzy)
{
    if (!ap_slice_equal(expected->labels, got->labels) || !expected->histogram != !got->histogram)
        return false;
    if (expected->histogram) {
        AP_AUTO_ARENA struct ap_arena arena;
        ap_arena_init(&arena, 0);
        struct float_histogram *left = float_histogram_copy(expected->histogram, &arena);
        struct float_histogram *right = float_histogram_copy(got->histogram, &arena);
        float_histogram_compact(left);
        float_histogram_compact(right);
        return float_histogram_equal(left, right);
    }
    double a = expected->value, b = got->value;
    if (a == b || (isnan(a) && isnan(b)))
        return true;
    return is_fuzzy && (nextafter(a, -INFINITY) == b || nextafter(a, INFINITY) == b);
}

static void print_sample(struct ap_slice labels, double value, const struct float_histogram *histogram,
                         struct ap_buf *out)
{
    ap_buf_add_cstr(out, "\n            ");
    labels_format(labels, out);
    ap_buf_add_char(out, ' ');
    if (histogram)
        float_histogram_print(histogram, out);
    else
        ap_buf_add_cstr(out, go_float(value).text);
}

static int compare_got(const void *a, const void *b)
{
    return labels_compare(((const struct rules_sample *)a)->labels, ((const struct rules_sample *)b)->labels);
}

static void compare_query(struct test *test, const struct query_test_form *form)
{
    AP_AUTO_ARENA struct ap_arena arena;
    AP_AUTO_BUF struct ap_buf time = {0}, expected = {0}, got = {0};
    const char *file = yaml_file(form->node->document);
    struct rules_vector vector;
    struct ap_err err;
    ap_arena_init(&arena, 0);
    print_duration(form->eval_ms, &time);
    test->suite->counts.compared++;
    if (rules_query(&test->world, form->expr, NULL, test->form->start_ms + form->eval_ms, &arena, &vector, &err) !=
        AP_OK) {
        say(test, "%s:%d: expr: %.*s, time: %s, err: %s", file, form->node->line, AP_SLICE_ARG(form->expr), time.data,
            err.text);
        return;
    }
    qsort(vector.samples, vector.count, sizeof(*vector.samples), compare_got);
    bool is_same = vector.count == form->sample_count;
    for (size_t i = 0; is_same && i < vector.count; i++)
        is_same = is_same_sample(&form->samples[i], &vector.samples[i], test->suite->form.is_fuzzy);
    if (is_same)
        return;
    for (size_t i = 0; i < form->sample_count; i++)
        print_sample(form->samples[i].labels, form->samples[i].value, form->samples[i].histogram, &expected);
    for (size_t i = 0; i < vector.count; i++)
        print_sample(vector.samples[i].labels, vector.samples[i].value, vector.samples[i].histogram, &got);
    say(test, "%s:%d: expr: %.*s, time: %s,\n        exp:%.*s\n        got:%.*s", file, form->node->line,
        AP_SLICE_ARG(form->expr), time.data,
        AP_SLICE_ARG(expected.bytes ? ap_buf_slice(&expected) : ap_slice_cstr(" none")),
        AP_SLICE_ARG(got.bytes ? ap_buf_slice(&got) : ap_slice_cstr(" none")));
}

/* ---- A test ---- */

static enum ap_rc keep_in_memory(void *context, const struct rules_sample *samples, size_t count, struct ap_err *err)
{
    struct memory_storage *storage = context;
    (void)err;
    for (size_t i = 0; i < count; i++)
        memory_storage_add(storage, samples[i].labels, samples[i].ts_ms, samples[i].value, samples[i].histogram);
    return AP_OK;
}

static size_t order_of(const struct suite *suite, const char *group)
{
    const struct yaml_texts *order = &suite->form.group_order;
    for (size_t i = 0; i < order->count; i++)
        if (strcmp(order->items[i], group) == 0)
            return i;
    return 0; /* as in Prometheus: a group that is not named goes with the first */
}

/* A test has no tables: rules by SQL are left out, and the others are as they would be without them. */
static const struct rule_group *without_sql(struct test *test, const struct rule_group *group)
{
    struct rule_group *copy = ap_arena_alloc0(&test->arena, sizeof(*copy));
    *copy = *group;
    copy->rules = ap_arena_alloc0(&test->arena, (group->rule_count + 1) * sizeof(*copy->rules));
    copy->rule_count = 0;
    for (size_t i = 0; i < group->rule_count; i++)
        if (group->rules[i].language != RULE_LANGUAGE_SQL)
            copy->rules[copy->rule_count++] = group->rules[i];
    return copy;
}

static void open_groups(struct test *test)
{
    const struct suite *suite = test->suite;
    size_t order_count = AP_MAX(1, suite->form.group_order.count), max = 0;
    for (size_t f = 0; f < suite->files.count; f++)
        max += suite->files.items[f]->group_count;
    test->groups = ap_new0_array(struct group_run *, max + 1);
    for (size_t order = 0; order < order_count; order++)
        for (size_t f = 0; f < suite->files.count; f++)
            for (size_t g = 0; g < suite->files.items[f]->group_count; g++)
                if (order_of(suite, suite->files.items[f]->groups[g].name) == order)
                    test->groups[test->group_count++] =
                        group_run_new(without_sql(test, &suite->files.items[f]->groups[g]), &test->world);
}

/* False: a rule cannot be evaluated, so that what comes after means nothing. */
static bool evaluate_groups(struct test *test, int64_t ts_ms)
{
    bool is_good = true;
    for (size_t g = 0; g < test->group_count; g++) {
        if (group_run_evaluate(test->groups[g], ts_ms) == 0)
            continue;
        const struct rule_group *group = group_run_group(test->groups[g]);
        for (size_t r = 0; r < group->rule_count; r++) {
            struct rule_status status = group_run_status(test->groups[g], r);
            AP_AUTO_BUF struct ap_buf time = {0};
            print_duration(ts_ms - test->form->start_ms, &time);
            if (status.error)
                say(test, "%s:%d: rule: %s, time: %s, err: %s", group->file, group->rules[r].line, group->rules[r].name,
                    time.data, status.error);
        }
        is_good = false;
    }
    return is_good;
}

static int64_t last_eval_ms(const struct test_form *form)
{
    int64_t max_ms = 0;
    for (size_t i = 0; i < form->alert_test_count; i++)
        max_ms = AP_MAX(max_ms, form->alert_tests[i].eval_ms);
    for (size_t i = 0; i < form->query_test_count; i++)
        max_ms = AP_MAX(max_ms, form->query_tests[i].eval_ms);
    return max_ms;
}

static void run_steps(struct test *test)
{
    const struct test_form *form = test->form;
    int64_t interval_ms = test->suite->form.interval_ms, last_ms = last_eval_ms(form);
    size_t input = 0;
    for (int64_t at_ms = 0; at_ms <= last_ms; at_ms += interval_ms) {
        int64_t ts_ms = form->start_ms + at_ms;
        for (; input < test->input_count && test->input[input].ts_ms <= ts_ms; input++)
            memory_storage_add(test->storage, test->input[input].labels, test->input[input].ts_ms,
                               test->input[input].value, test->input[input].histogram);
        if (!evaluate_groups(test, ts_ms))
            return;
        for (size_t i = 0; i < form->alert_test_count; i++)
            if (form->alert_tests[i].eval_ms >= at_ms && form->alert_tests[i].eval_ms < at_ms + interval_ms)
                compare_alerts_at(test, &form->alert_tests[i]);
    }
    for (size_t i = 0; i < form->query_test_count; i++)
        compare_query(test, &form->query_tests[i]);
}

static void run_test(struct suite *suite, const struct test_form *form, const char *name)
{
    struct test test = {.suite = suite, .form = form, .name = name, .storage = memory_storage_new()};
    ap_arena_init(&test.arena, 0);
    test.world = (struct rules_world){.engine = suite->engine,
                                      .storage = promql_storage_memory(test.storage),
                                      .keep = keep_in_memory,
                                      .context = test.storage,
                                      .external_labels = form->external_labels,
                                      .external_url = form->external_url,
                                      .clock = &ap_clock_system};
    suite->counts.tests++;
    open_groups(&test);
    if (read_input(&test))
        run_steps(&test);
    suite->counts.failed += test.failed > 0;
    for (size_t i = 0; i < test.group_count; i++)
        group_run_free(test.groups[i]);
    free(test.groups);
    free(test.input);
    memory_storage_free(test.storage);
    ap_arena_clear(&test.arena);
}

/* ---- The file ---- */

static enum ap_rc report_of(const struct suite *suite, enum ap_rc rc, const struct ap_err *err)
{
    suite->options->report(NULL, err->text, suite->options->context);
    return rc;
}

static void report_rule(const char *sentence, void *context)
{
    const struct suite *suite = context;
    suite->options->report(NULL, sentence, suite->options->context);
}

static enum ap_rc run_tests(struct suite *suite)
{
    AP_AUTO(matcher) struct matcher *names = NULL;
    struct ap_err err;
    if (suite->options->name_regex) {
        AP_AUTO_FREE char *anywhere = ap_asprintf(".*(?:%s).*", suite->options->name_regex);
        enum ap_rc rc = matcher_new(MATCHER_REGEX, ap_slice_cstr("name"), ap_slice_cstr(anywhere), &names, &err);
        if (rc != AP_OK)
            return report_of(suite, rc, &err);
    }
    for (size_t i = 0; i < suite->form.test_count; i++) {
        const struct test_form *form = &suite->form.tests[i];
        if (names && !matcher_matches(names, ap_slice_cstr(form->name ? form->name : "")))
            continue;
        AP_AUTO_FREE char *name = form->name ? ap_asprintf("%s", form->name) : ap_asprintf("unnamed#%zu", i);
        run_test(suite, form, name);
    }
    return suite->counts.failed ? AP_E_CONFLICT : AP_OK;
}

static enum ap_rc open_engine(struct suite *suite, struct ap_err *err)
{
    struct promql_engine_options options;
    promql_engine_options_init(&options);
    options.threads_max = 1;
    options.is_experimental = suite->options->is_experimental;
    options.subquery_step_ms = suite->form.interval_ms;
    return promql_engine_open(&options, &suite->engine, err);
}

enum ap_rc rule_test_run(const char *path, const struct rule_test_options *options, struct rule_test_counts *ret_counts)
{
    struct suite suite = {.options = options};
    struct ap_err err;
    *ret_counts = suite.counts;
    enum ap_rc rc = rule_test_form_read(path, &suite.form, &err);
    if (rc != AP_OK)
        return report_of(&suite, rc, &err);
    rc = open_engine(&suite, &err);
    if (rc != AP_OK)
        report_of(&suite, rc, &err);
    if (rc == AP_OK)
        rc = rule_files_load(&suite.form.rule_files, path, options->is_experimental, report_rule, &suite, &suite.files,
                             &err);
    if (rc == AP_OK)
        rc = run_tests(&suite);
    *ret_counts = suite.counts;
    promql_engine_close(suite.engine);
    rule_files_clear(&suite.files);
    rule_test_form_clear(&suite.form);
    return rc;
}
