#include "rules/rule_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void collect(const char *sentence, void *context)
{
    ap_buf_printf(context, "%s\n", sentence);
}

static struct rule_file *load(const char *text, struct ap_buf *errors)
{
    char path[] = "/tmp/apiary-rules-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    struct rule_file *file = NULL;
    struct ap_err err;
    enum ap_rc rc = rule_file_load(path, false, collect, errors, &file, &err);
    assert_int_equal(rc == AP_OK, file != NULL);
    unlink(path);
    return file;
}

static void count_one(const struct rule_group *group, const struct rule *rule, void *context)
{
    (void)group, (void)rule;
    ++*(int *)context;
}

static void test_file(void **state)
{
    (void)state;
    AP_AUTO_BUF struct ap_buf errors = {0};
    AP_AUTO(rule_file)
    struct rule_file *file = load(
        "groups:\n"
        "- name: a\n  interval: 1m30s\n  limit: 10\n  query_offset: 5s\n  labels: {team: core, env: prod}\n"
        "  rules:\n"
        "  - record: job:up:sum\n    expr: sum by (job) (up)\n    labels: {env: test}\n"
        "  - alert: Down\n    expr: up == 0\n    for: 5m\n    keep_firing_for: 1m\n"
        "    labels: {severity: page}\n    annotations: {summary: '{{ $labels.job }} is {{ $value | humanize }}'}\n"
        "- name: b\n  rules:\n  - record: job:up:sum\n    expr: vector(1)\n    labels: {env: test, team: core}\n",
        &errors);
    assert_non_null(file);
    assert_int_equal(errors.bytes, 0);
    assert_int_equal(file->group_count, 2);
    assert_int_equal(file->rule_count, 3);
    const struct rule_group *group = &file->groups[0];
    assert_int_equal(group->interval_ms, 90000);
    assert_int_equal(group->query_offset_ms, 5000);
    assert_true(group->has_query_offset);
    assert_int_equal(group->limit, 10);
    assert_false(group->rules[0].is_alert);
    assert_int_equal(group->rules[0].labels.count, 2);
    assert_string_equal(group->rules[0].labels.items[1], "test"); /* its own env goes over the group's */
    assert_true(group->rules[1].is_alert);
    assert_int_equal(group->rules[1].for_ms, 300000);
    assert_int_equal(group->rules[1].keep_firing_for_ms, 60000);
    assert_int_equal(group->rules[1].labels.count, 3);
    int duplicates = 0;
    assert_int_equal(rule_file_duplicates(file, count_one, &duplicates), 1);
    assert_int_equal(duplicates, 1);
}

/* A file with one rule of these lines: what is said has `want` in it. */
static void check_bad(const char *rule, const char *want)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    AP_AUTO_BUF struct ap_buf errors = {0};
    ap_buf_printf(&text, "groups:\n- name: g\n  rules:\n  - %s\n", rule);
    ap_buf_add_char(&text, '\0');
    struct rule_file *file = load(text.data, &errors);
    ap_buf_add_char(&errors, '\0');
    if (file || !strstr(errors.data, want))
        fail_msg("%s: %s", rule, errors.data);
}

static void test_errors(void **state)
{
    (void)state;
    check_bad("{record: a}", ":4:5: field 'expr' must be set");
    check_bad("{expr: up}", "needs \"record\"");
    check_bad("{record: a, alert: b, expr: up}", "this one has both");
    check_bad("{record: a, expr: 'sum(up'}", "could not parse expression: 1:");
    check_bad("{record: a, expr: 'up[5m]'}", "gives a range vector");
    check_bad("{record: 'a{b=\"c\"}', expr: up}", "invalid recording rule name");
    check_bad("{record: a, expr: up, for: 5m}", "is for alerting rules");
    check_bad("{alert: a, expr: up, for: soon}", "expected a duration");
    check_bad("{record: a, expr: up, labels: {__name__: x}}", "cannot set __name__");
    check_bad("{alert: a, expr: up, annotations: {s: '{{ $nope }}'}}", "undefined variable \"$nope\"");
    check_bad("{alert: a, exprr: up}", "exprr");
    AP_AUTO_BUF struct ap_buf errors = {0};
    assert_null(load("groups:\n- name: g\n- name: g\n", &errors));
    ap_buf_add_char(&errors, '\0');
    assert_non_null(strstr(errors.data, ":3:3: groupname: \"g\" is repeated"));
    ap_buf_reset(&errors); /* both are told */
    assert_null(
        load("groups:\n- name: g\n  rules:\n  - {record: a, expr: '('}\n  - {record: b, expr: ')'}\n", &errors));
    ap_buf_add_char(&errors, '\0');
    assert_non_null(strstr(errors.data, ":4:"));
    assert_non_null(strstr(errors.data, ":5:"));
}

static void test_sql(void **state)
{
    (void)state;
    AP_AUTO_BUF struct ap_buf errors = {0};
    AP_AUTO(rule_file)
    struct rule_file *file = load("groups:\n- name: a\n  interval: 5m\n  rules:\n"
                                  "  - alert: Few\n    sql: |\n      SELECT count(*) AS value\n      FROM events\n"
                                  "    threshold: '< 5'\n    no_data: alert\n"
                                  "  - {record: n, sql: SELECT 1 AS value}\n"
                                  "  - {alert: Hot, expr: heat > 10, no_data: keep, on_error: ok}\n"
                                  "  - {alert: Plain, expr: heat > 10}\n",
                                  &errors);
    assert_int_equal(errors.bytes, 0);
    assert_non_null(file);
    const struct rule *rules = file->groups[0].rules;
    assert_int_equal(rules[0].language, RULE_LANGUAGE_SQL);
    assert_true(ap_slice_equal_cstr(rules[0].expr, "SELECT count(*) AS value\nFROM events\n"));
    assert_int_equal(rules[0].expr_line, 7);
    assert_int_equal(rules[0].threshold.op, THRESHOLD_LESS);
    assert_true(rules[0].threshold.value == 5);
    assert_int_equal(rules[0].no_data, RULE_NO_DATA_ALERT);
    assert_int_equal(rules[0].on_error, RULE_ON_ERROR_ALERT); /* of SQL, where nothing is said */
    assert_int_equal(rules[1].language, RULE_LANGUAGE_SQL);
    assert_int_equal(rules[2].no_data, RULE_NO_DATA_KEEP);
    assert_int_equal(rules[2].on_error, RULE_ON_ERROR_OK);
    assert_true(ap_slice_equal_cstr(rules[2].figure, "heat > bool 10"));
    assert_int_equal(rules[3].language, RULE_LANGUAGE_PROMQL);
    assert_int_equal(rules[3].on_error, RULE_ON_ERROR_KEEP);
    assert_int_equal(rules[3].figure.bytes, 0); /* nobody looks */
}

static void test_sql_errors(void **state)
{
    (void)state;
    check_bad("{alert: a, sql: SELECT 1}", ":4:5: an alert by SQL needs \"threshold\"");
    check_bad("{alert: a, sql: SELECT 1, threshold: five}", ":4:42: threshold: expected a comparison");
    check_bad("{alert: a, sql: SELECT 1, expr: up, threshold: '> 1'}", ":4:16: a rule has either \"expr\"");
    check_bad("{alert: a, sql: '', threshold: '> 1'}", "field 'expr' must be set");
    check_bad("{alert: a, sql: [a], threshold: '> 1'}", "field 'expr' must be set");
    check_bad("{alert: a, expr: up, threshold: '> 1'}", "\"threshold\" goes with \"sql\"");
    check_bad("{record: a, sql: SELECT 1, threshold: '> 1'}", "is for alerting rules");
    check_bad("{record: a, sql: SELECT 1, no_data: alert}", "is for alerting rules");
    check_bad("{alert: a, expr: up, no_data: fire}", ":4:35: no_data: ");
    check_bad("{alert: a, expr: up, on_error: no_data}", "on_error: ");
    check_bad("{alert: a, expr: absent(up), no_data: alert}", "absent() looks for missing data itself");
    check_bad("{alert: a, sql: SELECT now(), threshold: '> 1'}", "sql: now() cannot be asked by a rule: write $now");
    check_bad("{alert: a, sql: SELECT $x, threshold: '> 1'}", "sql: unknown parameter $x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_file), cmocka_unit_test(test_errors),
                                       cmocka_unit_test(test_sql), cmocka_unit_test(test_sql_errors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
