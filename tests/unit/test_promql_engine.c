/*
 * Series in, answers out: the cases are in tests/cases/promql/, whose README.md tells how to write one. Each *.case
 * file is read whole; a case is a heading, series, and queries with their answers.
 */
#include <glob.h>
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "promql/ast.h"
#include "promql/engine.h"
#include "promql/float_text.h"
#include "promql/lexer.h"
#include "promql/memory_storage.h"
#include "promql/parser.h"
#include "promql/series_text.h"
#include "tsdb/labels.h"

struct test {
    const char *file;
    int line;
    struct ap_slice title; /* of the case */
    struct ap_buf titles;  /* of all cases, each on a line */
    int64_t interval_ms;
    bool is_experimental;
    struct memory_storage *storage;
    int queries; /* of all files */
    int wrong;
};

/* ---- Series ---- */

struct adding {
    struct test *test;
    struct ap_slice labels;
    int64_t ts_ms;
};

static void add_sample(bool is_missing, double value, const struct float_histogram *histogram, void *context)
{
    struct adding *adding = context;
    if (!is_missing)
        memory_storage_add(adding->test->storage, adding->labels, adding->ts_ms, value, histogram);
    adding->ts_ms += adding->test->interval_ms;
}

/* Labels end at the blank behind the name or the brace. */
static struct ap_slice split_labels(struct ap_slice *line)
{
    size_t at = 0;
    bool is_quoted = false;
    for (int depth = 0; at < line->bytes; at++) {
        char c = line->data[at];
        if (c == '"' && (at == 0 || line->data[at - 1] != '\\'))
            is_quoted = !is_quoted;
        depth += is_quoted ? 0 : (c == '{') - (c == '}');
        if (c == ' ' && depth == 0 && !is_quoted)
            break;
    }
    struct ap_slice labels = ap_slice(line->data, at);
    *line = ap_slice(line->data + at, line->bytes - at);
    return labels;
}

static void add_series(struct test *test, struct ap_slice line)
{
    AP_AUTO_BUF struct ap_buf labels = {0};
    struct ap_err err = {0};
    if (series_text_labels(split_labels(&line), &labels, &err) != AP_OK)
        fail_msg("%s:%d: %s", test->file, test->line, err.text);
    struct adding adding = {test, ap_buf_slice(&labels), 0};
    if (series_text_values(line, add_sample, &adding, &err) != AP_OK)
        fail_msg("%s:%d: %s", test->file, test->line, err.text);
}

/* ---- Answers as text ---- */

static void add_value(struct ap_buf *out, double value)
{
    struct float_text text = go_float(value);
    ap_buf_add_cstr(out, text.text);
}

static void add_steps(struct ap_buf *out, const struct promql_request *request, const struct promql_points *points)
{
    size_t at = 0, histogram_at = 0;
    for (int64_t ts_ms = request->start_ms; ts_ms <= request->end_ms; ts_ms += AP_MAX(request->step_ms, 1)) {
        ap_buf_add_char(out, ' ');
        if (at < points->count && points->ts_ms[at] == ts_ms)
            add_value(out, points->values[at++]);
        else if (histogram_at < points->histogram_count && points->histogram_ts_ms[histogram_at] == ts_ms)
            float_histogram_print(points->histograms[histogram_at++], out);
        else
            ap_buf_add_char(out, '_');
    }
}

static void add_samples(struct ap_buf *out, const struct promql_points *points)
{
    for (size_t i = 0; i < points->count; i++) {
        ap_buf_add_char(out, ' ');
        add_value(out, points->values[i]);
        ap_buf_printf(out, "@%g", (double)points->ts_ms[i] / 1000);
    }
    for (size_t i = 0; i < points->histogram_count; i++) {
        ap_buf_add_char(out, ' ');
        float_histogram_print(points->histograms[i], out);
        ap_buf_printf(out, "@%g", (double)points->histogram_ts_ms[i] / 1000);
    }
}

static enum ap_rc add_answer(struct promql_execution *execution, const struct promql_request *request,
                             struct ap_buf *out, struct ap_err *err)
{
    enum promql_type type = promql_execution_type(execution);
    if (type == TYPE_STRING) {
        ap_buf_add_cstr(out, "string ");
        ap_buf_add_slice(out, promql_execution_text(execution));
        ap_buf_add_char(out, '\n');
        return AP_OK;
    }
    for (size_t i = 0; i < promql_execution_count(execution); i++) {
        struct promql_points points;
        enum ap_rc rc = promql_execution_read(execution, i, &points, err);
        if (rc != AP_OK)
            return rc;
        if (points.count + points.histogram_count == 0)
            continue;
        if (type == TYPE_SCALAR)
            ap_buf_add_cstr(out, "scalar");
        else
            labels_format(promql_execution_labels(execution, i), out);
        if (type == TYPE_MATRIX && request->step_ms == 0)
            add_samples(out, &points);
        else
            add_steps(out, request, &points);
        ap_buf_add_char(out, '\n');
    }
    return AP_OK;
}

static void add_annotations(struct promql_execution *execution, enum promql_annotation_kind kind, struct ap_buf *out)
{
    const char *name = kind == PROMQL_WARNING ? "warning" : "info";
    for (size_t i = 0; i < promql_execution_annotations(execution, kind); i++) {
        const char *text = promql_execution_annotation(execution, kind, i);
        ap_buf_printf(out, "%s:%s\n", name, strchr(text, ':') + 1);
    }
}

static void add_counts(const struct promql_execution *execution, struct ap_buf *out)
{
    ap_buf_add_cstr(out, "samples:");
    for (size_t i = 0; i < promql_execution_steps(execution); i++) {
        ap_buf_add_char(out, ' ');
        ap_buf_add_integer(out, (int64_t)promql_execution_samples_at(execution, i));
    }
    ap_buf_add_char(out, '\n');
}

static char *ask(struct test *test, const struct promql_request *request)
{
    struct promql_engine_options options;
    promql_engine_options_init(&options);
    options.is_experimental = test->is_experimental;
    AP_AUTO(promql_engine) struct promql_engine *engine = NULL;
    AP_AUTO(promql_execution) struct promql_execution *execution = NULL;
    struct ap_err err = {0};
    struct ap_buf out = {0};
    enum ap_rc rc = promql_engine_open(&options, &engine, &err);
    if (rc == AP_OK)
        rc = promql_execute(engine, promql_storage_memory(test->storage), request, &execution, &err);
    if (rc == AP_OK)
        rc = add_answer(execution, request, &out, &err);
    if (rc == AP_OK) {
        add_annotations(execution, PROMQL_WARNING, &out);
        add_annotations(execution, PROMQL_INFO, &out);
        if (request->is_counting)
            add_counts(execution, &out);
    } else {
        ap_buf_reset(&out);
        ap_buf_printf(&out, "fails: %s\n", err.text);
    }
    return ap_buf_detach(&out);
}

/* ---- The file ---- */

static int64_t read_time(struct test *test, struct ap_slice text)
{
    int64_t ms = 0;
    bool is_negative = text.bytes && text.data[0] == '-';
    if (is_negative)
        text = ap_slice(text.data + 1, text.bytes - 1);
    if (!ap_slice_equal_cstr(text, "0") && !promql_parse_duration(text, &ms))
        fail_msg("%s:%d: a time such as 5m or 0, found %.*s", test->file, test->line, AP_SLICE_ARG(text));
    return is_negative ? -ms : ms;
}

static bool cut_word(struct ap_slice *text, const char *word)
{
    size_t bytes = strlen(word);
    if (text->bytes < bytes || memcmp(text->data, word, bytes) != 0)
        return false;
    *text = ap_slice(text->data + bytes, text->bytes - bytes);
    return true;
}

static void read_options(struct test *test, struct ap_slice text)
{
    while (text.bytes) {
        struct ap_slice word = ap_slice_split(&text, ' ');
        if (cut_word(&word, "interval="))
            test->interval_ms = read_time(test, word);
        else if (ap_slice_equal_cstr(word, "experimental"))
            test->is_experimental = true;
        else if (word.bytes)
            fail_msg("%s:%d: no option: %.*s", test->file, test->line, AP_SLICE_ARG(word));
    }
}

/* " at 5m: up" and " from 0 to 10m step 1m: up". */
static struct promql_request read_query(struct test *test, struct ap_slice text)
{
    struct promql_request request = {0};
    struct ap_slice head = ap_slice_split(&text, ':');
    if (cut_word(&head, " at ")) {
        request.start_ms = request.end_ms = read_time(test, head);
    } else if (cut_word(&head, " from ")) {
        request.start_ms = read_time(test, ap_slice_split(&head, ' '));
        (void)cut_word(&head, "to ");
        request.end_ms = read_time(test, ap_slice_split(&head, ' '));
        (void)cut_word(&head, "step ");
        request.step_ms = read_time(test, head);
    } else {
        fail_msg("%s:%d: expected \"query at\" or \"query from\"", test->file, test->line);
    }
    request.text = ap_slice_trim(text);
    return request;
}

static bool begins_something(struct ap_slice line)
{
    return line.bytes == 0 || ap_slice_starts_with(line, "query ") || ap_slice_starts_with(line, "== ") ||
           ap_slice_starts_with(line, "#");
}

static void check_answer(struct test *test, const struct promql_request *request, int line, struct ap_slice wanted)
{
    AP_AUTO_FREE char *got = ask(test, request);
    if (ap_slice_equal_cstr(wanted, got))
        return;
    test->wrong++;
    print_error("%s:%d: %.*s: %.*s%s\nanswered:\n%sand should have:\n%.*s", test->file, line, AP_SLICE_ARG(test->title),
                AP_SLICE_ARG(request->text), request->query ? ", read before" : "", got, AP_SLICE_ARG(wanted));
}

static void check_query(struct test *test, struct ap_slice head, struct ap_slice *rest)
{
    int line = test->line;
    struct promql_request request = read_query(test, head);
    AP_AUTO_BUF struct ap_buf wanted = {0};
    while (rest->bytes) {
        struct ap_slice before = *rest;
        struct ap_slice answer = ap_slice_split(rest, '\n');
        if (begins_something(answer)) {
            *rest = before;
            break;
        }
        test->line++;
        request.is_counting |= ap_slice_starts_with(answer, "samples:");
        ap_buf_add_slice(&wanted, answer);
        ap_buf_add_char(&wanted, '\n');
    }
    test->queries++;
    check_answer(test, &request, line, ap_buf_slice(&wanted));
    struct promql_query query; /* read once and asked twice: an execution leaves it as it was */
    struct ap_err err;
    if (promql_parse(request.text, test->is_experimental, &query, &err) != AP_OK)
        return;
    request.query = &query;
    check_answer(test, &request, line, ap_buf_slice(&wanted));
    check_answer(test, &request, line, ap_buf_slice(&wanted));
    promql_query_clear(&query);
}

static void begin_case(struct test *test, struct ap_slice title)
{
    test->title = title;
    ap_buf_add_slice(&test->titles, title);
    ap_buf_add_char(&test->titles, '\n');
    memory_storage_free(test->storage);
    test->storage = memory_storage_new();
    test->interval_ms = 60000;
    test->is_experimental = false;
}

static void check_file(struct test *test, struct ap_slice rest)
{
    bool is_in_series = false;
    begin_case(test, ap_slice_cstr("before the first case"));
    while (rest.bytes) {
        struct ap_slice line = ap_slice_split(&rest, '\n');
        test->line++;
        if (line.bytes == 0 || line.data[0] == '#')
            continue;
        if (cut_word(&line, "== "))
            begin_case(test, line);
        else if (cut_word(&line, "options: "))
            read_options(test, line);
        else if (ap_slice_equal_cstr(line, "series:"))
            is_in_series = true;
        else if (cut_word(&line, "query"))
            check_query(test, line, &rest);
        else if (is_in_series)
            add_series(test, line);
        else
            fail_msg("%s:%d: not a case", test->file, test->line);
    }
    memory_storage_free(test->storage);
    test->storage = NULL;
}

static void read_file(const char *path, struct ap_buf *out)
{
    FILE *file = fopen(path, "r");
    char part[4096];
    assert_non_null(file);
    for (size_t bytes; (bytes = fread(part, 1, sizeof(part), file)) > 0;)
        ap_buf_add(out, part, bytes);
    fclose(file);
}

/* ---- Everything that is documented has a case, whose title begins with its kind and name ---- */

static void want_title(struct test *test, const char *kind, const char *name)
{
    AP_AUTO_FREE char *title = ap_asprintf("\n%s %s\n", kind, name);
    ap_buf_add_char(&test->titles, '\0');
    bool is_there = strstr(test->titles.data, title) != NULL;
    test->titles.bytes--;
    if (!is_there) {
        print_error("there is no case \"== %s %s\"\n", kind, name);
        test->wrong++;
    }
}

static void check_titles(struct test *test)
{
    for (size_t i = 0; promql_function_at(i); i++)
        want_title(test, "function", promql_function_at(i)->name);
    for (enum promql_aggregation i = AGGREGATE_SUM; i <= AGGREGATE_LIMIT_RATIO; i++)
        want_title(test, "aggregation", promql_aggregation_name(i));
    for (enum promql_operator i = OPERATOR_POW; i <= OPERATOR_OR; i++)
        want_title(test, "operator", promql_operator_name(i));
}

static void test_cases(void **state)
{
    (void)state;
    const char *root = getenv("APIARY_SOURCE_ROOT");
    AP_AUTO_FREE char *pattern = ap_asprintf("%s/tests/cases/promql/*.case", root ? root : ".");
    glob_t found;
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    struct test test = {0};
    for (size_t i = 0; i < found.gl_pathc; i++) {
        AP_AUTO_BUF struct ap_buf text = {0};
        read_file(found.gl_pathv[i], &text);
        test.file = strrchr(found.gl_pathv[i], '/') + 1;
        test.line = 0;
        check_file(&test, ap_buf_slice(&text));
    }
    globfree(&found);
    check_titles(&test);
    ap_buf_clear(&test.titles);
    assert_int_equal(test.wrong, 0);
    assert_true(test.queries > 20);
    print_message("%d queries\n", test.queries);
}

/* ---- Random series ---- */

/* Decimals, zeros of both signs, NaN, infinities, resets, gaps; one series of few different values. */
static struct memory_storage *random_storage(uint64_t seed)
{
    struct memory_storage *storage = memory_storage_new();
    struct ap_random random;
    ap_random_init(&random, seed);
    static const char *const names[] = {"m{a=\"1\"}", "m{a=\"2\"}", "m{a=\"3\"}", "c_total{a=\"1\"}"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(names); i++) {
        AP_AUTO_BUF struct ap_buf labels = {0};
        struct ap_err err;
        assert_int_equal(series_text_labels(ap_slice_cstr(names[i]), &labels, &err), AP_OK);
        double counter = 0;
        for (int64_t ts_ms = 0; ts_ms < 3600000; ts_ms += 10000 + (int64_t)ap_random_below(&random, 20)) {
            uint64_t chance = ap_random_below(&random, 100);
            double value = (double)ap_random_below(&random, i == 1 ? 3 : 10000) / 100;
            if (chance < 2 && i == 2)
                value = NAN;
            else if (chance < 4 && i == 2)
                value = chance & 1 ? INFINITY : -INFINITY;
            else if (chance < 10)
                value = chance & 1 ? 0.0 : -0.0;
            counter = chance == 50 ? 0 : counter + value;
            if (chance == 11)
                ts_ms += 400000;
            memory_storage_add(storage, ap_buf_slice(&labels), ts_ms, i == 3 ? counter : value, NULL);
        }
    }
    return storage;
}

/* The value a step has in the answer to a query over a span of time is the one it has alone. */
static void test_steps_as_instants(void **state)
{
    (void)state;
    static const char *const queries[] = {
        "quantile_over_time(0.3, m[10m])",
        "quantile_over_time(0.99, m[30s])",
        "quantile_over_time(0, m[1h])",
        "quantile_over_time(time() / 3600, m[20m])",
        "mad_over_time(m[10m])",
        "quantile(0.4, m)",
        "sum_over_time(m[5m])",
        "avg_over_time(m[5m])",
        "min_over_time(m[5m])",
        "max_over_time(m[5m] offset 11m)",
        "ts_of_min_over_time(m[5m])",
        "ts_of_max_over_time(m[5m])",
        "count_over_time(m[90m])",
        "last_over_time(m[1m])",
        "rate(c_total[5m])",
        "increase(c_total[90m])",
        "m offset -3m",
        "max_over_time(rate(c_total[2m])[10m:30s])",
        "c_total @ 1800",
        "rate(c_total[5m]) / rate(c_total[5m])",
    };
    struct test test = {.storage = random_storage(11), .is_experimental = true};
    for (size_t i = 0; i < AP_ARRAY_COUNT(queries); i++) {
        /* From before the first sample until behind the last. */
        struct promql_request request = {
            .text = ap_slice_cstr(queries[i]), .start_ms = -600000, .end_ms = 4800000, .step_ms = 60000};
        AP_AUTO_FREE char *answer = ask(&test, &request);
        assert_true(strlen(answer) > 100);
        struct ap_slice rest = ap_slice_cstr(answer);
        while (rest.bytes) {
            struct ap_slice line = ap_slice_split(&rest, '\n');
            if (ap_slice_starts_with(line, "warning:"))
                break;
            struct ap_slice series = split_labels(&line);
            (void)ap_slice_split(&line, ' ');
            for (int64_t ts_ms = request.start_ms; ts_ms <= request.end_ms; ts_ms += request.step_ms) {
                struct ap_slice value = ap_slice_split(&line, ' ');
                struct promql_request one = {.text = request.text, .start_ms = ts_ms, .end_ms = ts_ms};
                AP_AUTO_FREE char *alone = ask(&test, &one);
                AP_AUTO_FREE char *wanted = ap_asprintf("%.*s %.*s\n", AP_SLICE_ARG(series), AP_SLICE_ARG(value));
                bool is_there = !ap_slice_equal_cstr(value, "_");
                AP_AUTO_FREE char *begin = ap_asprintf("%.*s ", AP_SLICE_ARG(series));
                if ((strstr(alone, is_there ? wanted : begin) != NULL) != is_there)
                    fail_msg("%s: at %" PRId64 " s %.*s has %.*s, alone:\n%s", queries[i], ts_ms / 1000,
                             AP_SLICE_ARG(series), AP_SLICE_ARG(value), alone);
            }
        }
    }
    memory_storage_free(test.storage);
}

/* Asks for an hour; the answer as text. */
static char *ask_with_stats(struct test *test, const char *query, uint64_t samples_max, struct promql_stats *ret_stats)
{
    struct promql_request request = {.text = ap_slice_cstr(query), .start_ms = 0, .end_ms = 3600000, .step_ms = 60000};
    struct promql_engine_options options;
    promql_engine_options_init(&options);
    options.samples_max = samples_max;
    AP_AUTO(promql_engine) struct promql_engine *engine = NULL;
    AP_AUTO(promql_execution) struct promql_execution *execution = NULL;
    struct ap_err err;
    struct ap_buf out = {0};
    assert_int_equal(promql_engine_open(&options, &engine, &err), AP_OK);
    assert_int_equal(promql_execute(engine, promql_storage_memory(test->storage), &request, &execution, &err), AP_OK);
    assert_int_equal(add_answer(execution, &request, &out, &err), AP_OK);
    promql_execution_stats(execution, ret_stats);
    return ap_buf_detach(&out);
}

/* What is written twice is read once, unless it is too much to be held. */
static void test_equal_expressions_are_read_once(void **state)
{
    (void)state;
    static const struct {
        const char *query;
        const char *part;  /* what it has more than once */
        uint64_t readings; /* of the part's samples */
    } cases[] = {
        {"rate(c_total[5m]) / rate(c_total[5m])", "rate(c_total[5m])", 1},
        {"rate(c_total[5m]) / (rate( c_total[ 300s ] ))", "rate(c_total[5m])", 1},
        {"sum(m) / sum(m) + sum(m)", "sum(m)", 1},
        {"sum(m) / count(m)", "sum(m)", 1}, /* the selector is the same */
        {"m - +m", "m", 1},
        {"m @ 1800 + m @ 1800", "m @ 1800", 1},
        {"m - m offset 1m", "m", 2},
        {"rate(c_total[5m]) - increase(c_total[5m])", "rate(c_total[5m])", 2},
        {"max_over_time(sum(m)[5m:1m]) + sum(m)", "max_over_time(sum(m)[5m:1m])", 2}, /* at other steps */
    };
    struct test test = {.storage = random_storage(12)};
    struct promql_stats stats, of_part;
    for (size_t i = 0; i < AP_ARRAY_COUNT(cases); i++) {
        AP_AUTO_FREE char *part = ask_with_stats(&test, cases[i].part, 1000000, &of_part);
        AP_AUTO_FREE char *answer = ask_with_stats(&test, cases[i].query, 1000000, &stats);
        AP_AUTO_FREE char *tight = ask_with_stats(&test, cases[i].query, 400, &stats);
        assert_string_equal(answer, tight);
        AP_AUTO_FREE char *again = ask_with_stats(&test, cases[i].query, 1000000, &stats);
        assert_string_equal(answer, again);
        assert_true(of_part.samples_read > 20);
        uint64_t readings = (stats.samples_read + of_part.samples_read / 2) / of_part.samples_read;
        if (readings != cases[i].readings)
            fail_msg("%s: read %" PRIu64 " samples, %s %" PRIu64, cases[i].query, stats.samples_read, cases[i].part,
                     of_part.samples_read);
    }
    AP_AUTO_FREE char *part = ask_with_stats(&test, "rate(c_total[5m])", 400, &of_part);
    AP_AUTO_FREE char *both = ask_with_stats(&test, "rate(c_total[5m]) / rate(c_total[5m])", 400, &stats);
    assert_int_equal(stats.samples_read, 2 * of_part.samples_read);
    memory_storage_free(test.storage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_steps_as_instants),
        cmocka_unit_test(test_equal_expressions_are_read_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
