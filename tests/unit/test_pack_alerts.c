/* Short forms of alerts: what rules they become, and what is refused, with the place. */
#include "pack/alerts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "pack/catalogue.h"
#include "promql/parser.h"
#include "rules/rule_file.h"

/* ---- A pack with a catalogue and one file of alerts, in a temporary directory ---- */

#define METRIC(name, unit, query_unit, query, target)                                                                  \
    "- {name: m." name ", series: m_" name ", type: gauge, unit: \"" unit "\", title: \"" name                         \
    " {{x}}\", meaning: M, owner: O, short_name: " name ", query: '" query "'" query_unit target "}\n"
static const char catalogue[] = "title: A\n"
                                "metrics:\n"                                               /* 2 */
    METRIC("startup_time", "s", "", "quantile(0.95, m_startup_time)", ", target: '<50ms'") /* 3 */
    METRIC("wait", "ms", "", "max(m_wait)", "")                                            /* 4 */
    METRIC("memory", "By", "", "max(m_memory)", ", target: '<25MB'")                       /* 5 */
    METRIC("errors", "1", "", "sum(m_errors) / 2 # share", ", target: '<0.1%'")            /* 6 */
    METRIC("frames", "{frame}/s", "", "scalar(m_frames)", ", target: '>60fps'")            /* 7 */
    METRIC("jobs", "{job}", "", "-m_jobs", "")                                             /* 8 */
    "- {name: m.nameless, series: m_nameless, type: gauge, unit: s, title: N, meaning: M, owner: O, query: "
    "m_nameless}\n";

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    fclose(file);
}

static enum ap_rc load(const char *alerts, struct pack **ret_pack, struct ap_err *err)
{
    char dir[64] = "/tmp/test_pack_alerts_XXXXXX";
    assert_non_null(mkdtemp(dir));
    AP_AUTO_FREE char *metrics = ap_asprintf("%s/metrics", dir), *metric_file = ap_asprintf("%s/metrics/a.yaml", dir);
    AP_AUTO_FREE char *folder = ap_asprintf("%s/alerts", dir), *file = ap_asprintf("%s/alerts/a.yaml", dir);
    AP_AUTO_FREE char *pack = ap_asprintf("%s/pack.yaml", dir);
    assert_int_equal(mkdir(metrics, 0700), 0);
    assert_int_equal(mkdir(folder, 0700), 0);
    write_file(pack, "name: shop\nversion: \"3\"\ntitle: The shop\n");
    write_file(metric_file, catalogue);
    write_file(file, alerts);
    enum ap_rc rc = pack_load(dir, ret_pack, err);
    unlink(file);
    unlink(metric_file);
    unlink(pack);
    rmdir(folder);
    rmdir(metrics);
    rmdir(dir);
    return rc;
}

static struct pack *load_or_die(const char *alerts)
{
    struct pack *pack = NULL;
    struct ap_err err;
    if (load(alerts, &pack, &err) != AP_OK)
        fail_msg("%s", err.text);
    return pack;
}

static const char *text_of(const struct yaml_texts *texts, const char *key)
{
    for (size_t i = 0; i < texts->count; i++)
        if (strcmp(texts->keys[i], key) == 0)
            return texts->items[i];
    return NULL;
}

static void check_explanation(const struct pack_alert *alert, const char *expected)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    pack_alert_explain(alert, &text);
    ap_buf_add_char(&text, '\0');
    assert_string_equal(text.data, expected);
}

/* ---- What they become ---- */

static void test_performance_alert_becomes_two_rules(void **state)
{
    (void)state;
    AP_AUTO(pack)
    struct pack *pack = load_or_die("performance_alerts:\n"
                                    "  startup_time: {target: \"<50ms\", warning: \">100ms\",\n"
                                    "                 critical: \">250ms\", notification: [mail, slack]}\n");
    assert_int_equal(pack->alert_count, 2);
    assert_int_equal(pack->rule_group_count, 1);
    const struct rule_group *group = &pack->rule_groups[0];
    assert_string_equal(group->name, "performance_alerts");
    assert_non_null(strstr(group->file, "/alerts/a.yaml"));
    assert_int_equal(group->rule_count, 2);
    static const char *const severities[] = {"warning", "critical"};
    static const char *const exprs[] = {"quantile(0.95, m_startup_time) > 0.1",
                                        "quantile(0.95, m_startup_time) > 0.25"};
    for (size_t i = 0; i < 2; i++) {
        const struct rule *rule = &group->rules[i];
        assert_string_equal(rule->name, "shop_startup_time");
        assert_true(rule->is_alert);
        assert_int_equal(rule->line, 2 + (int)i);
        assert_int_equal(rule->for_ms, 300000);
        assert_true(ap_slice_equal_cstr(rule->expr, exprs[i]));
        assert_string_equal(text_of(&rule->labels, "severity"), severities[i]);
        assert_string_equal(text_of(&rule->labels, "notify"), "mail,slack");
        assert_ptr_equal(pack->alerts[i].rule, rule);
    }
    const struct yaml_texts *annotations = &group->rules[1].annotations;
    assert_string_equal(text_of(annotations, "summary"),
                        "startup_time {{\"{{\"}}x}} is {{ $value | humanizeDuration }}, "
                        "above 250 ms; the target is < 50 ms");
    assert_string_equal(text_of(annotations, "description"), "M");
    assert_string_equal(text_of(annotations, "owner"), "O");
    assert_string_equal(text_of(annotations, "dashboard"), "{{ $externalURL }}/catalogue?q=startup_time");
    check_explanation(&pack->alerts[1],
                      "Fires when startup_time {{x}} (startup_time) is above 250 ms for 5 minutes; the "
                      "target is < 50 ms; told to mail, slack.");
}

static void test_rule_with_a_condition(void **state)
{
    (void)state;
    AP_AUTO(pack)
    struct pack *pack =
        load_or_die("alerting_rules:\n"
                    "- {name: slow, condition: \"startup_time > 2s for 10 minutes\", severity: warning}\n"
                    "- {name: at_once, condition: \"errors>=5%\", severity: critical, notification: pagerduty}\n"
                    "performance_alerts: {frames: {critical: \"<30fps\", for: 90s}}\n");
    assert_int_equal(pack->rule_group_count, 2);
    assert_string_equal(pack->rule_groups[0].name, "performance_alerts");
    assert_string_equal(pack->rule_groups[1].name, "alerting_rules");
    const struct rule *rules = pack->rule_groups[1].rules;
    assert_int_equal(pack->rule_groups[1].rule_count, 2);
    assert_int_equal(rules[0].for_ms, 600000);
    assert_null(text_of(&rules[0].labels, "notify"));
    assert_int_equal(rules[1].for_ms, 0);
    assert_true(ap_slice_equal_cstr(rules[1].expr, "(sum(m_errors) / 2) >= 0.05"));
    assert_true(ap_slice_equal_cstr(pack->rule_groups[0].rules[0].expr, "vector(scalar(m_frames)) < 30"));
    check_explanation(&pack->alerts[0], "Fires when frames {{x}} (frames) is below 30 fps for 1 minute 30 seconds; the "
                                        "target is > 60 fps; told to whom the routes say.");
    check_explanation(&pack->alerts[2],
                      "Fires when errors {{x}} (errors) is at least 5%; the target is < 0.1%; told to pagerduty.");
}

/* `condition` must be read as `expr`, waiting for so many seconds. */
static void check_condition(const char *condition, const char *expr, int64_t for_s)
{
    AP_AUTO_FREE char *text =
        ap_asprintf("alerting_rules: [{name: a, severity: info, condition: \"%s\"}]\n", condition);
    AP_AUTO(pack) struct pack *pack = load_or_die(text);
    const struct rule *rule = pack->alerts[0].rule;
    if (!ap_slice_equal_cstr(rule->expr, expr))
        fail_msg("%s: became %.*s", condition, AP_SLICE_ARG(rule->expr));
    assert_int_equal(rule->for_ms, for_s * 1000);
    struct promql_query query;
    struct ap_err err;
    assert_int_equal(promql_parse(rule->expr, false, &query, &err), AP_OK);
    promql_query_clear(&query);
}

static void test_units_and_durations(void **state)
{
    (void)state;
    check_condition("startup_time > 250ms for 5 minutes", "quantile(0.95, m_startup_time) > 0.25", 300);
    check_condition("startup_time > 1s for 10m", "quantile(0.95, m_startup_time) > 1", 600);
    check_condition("startup_time > 2min for 1 hour", "quantile(0.95, m_startup_time) > 120", 3600);
    check_condition("startup_time ≥ 60000us for 1h30m", "quantile(0.95, m_startup_time) >= 0.06", 5400);
    check_condition("wait > 1s for 1 hour 30 minutes", "max(m_wait) > 1000", 5400);
    check_condition("wait < 35ms for 90 seconds", "max(m_wait) < 35", 90);
    check_condition("memory > 100MB for 2 days", "max(m_memory) > 100000000", 172800);
    check_condition("memory > 32MiB for 1min", "max(m_memory) > 33554432", 60);
    check_condition("errors > 0.3%  for  5m ", "(sum(m_errors) / 2) > 0.003", 300);
    check_condition("frames<45fps for 5m", "vector(scalar(m_frames)) < 45", 300);
    check_condition("frames < 45 for 5m", "vector(scalar(m_frames)) < 45", 300);
    check_condition("jobs > 1000 for 0s", "(-m_jobs) > 1000", 0);
}

static void check_value(const struct pack_alert *alert, double value, const char *expected)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    pack_alert_print_value(alert, value, &text);
    ap_buf_add_char(&text, '\0');
    assert_string_equal(text.data, expected);
}

static void test_values_as_people_read_them(void **state)
{
    (void)state;
    AP_AUTO(pack)
    struct pack *pack = load_or_die("performance_alerts:\n"
                                    "  startup_time: {warning: \">100ms\"}\n"
                                    "  wait: {warning: \">100ms\"}\n"
                                    "  memory: {warning: \">50MB\"}\n"
                                    "  errors: {warning: \">1%\"}\n"
                                    "  frames: {warning: \"<45fps\"}\n"
                                    "  jobs: {warning: \">1000\"}\n");
    const struct pack_alert *alerts = pack->alerts;
    check_value(&alerts[0], 0.3124, "312.4 ms");
    check_value(&alerts[0], 2.714, "2.714 s");
    check_value(&alerts[0], 90, "1.5 min");
    check_value(&alerts[1], 312.4, "312.4 ms");
    check_value(&alerts[2], 104857600, "104.9 MB");
    check_value(&alerts[2], 12, "12 B");
    check_value(&alerts[3], 0.0367, "3.67%");
    check_value(&alerts[4], 29.5, "29.5 fps");
    check_value(&alerts[5], 1200, "1200");
    static const char *const values[] = {"{{ $value | humanizeDuration }}", "{{ printf \"%.4g\" $value }} ms",
                                         "{{ $value | humanize }}B",        "{{ $value | humanizePercentage }}",
                                         "{{ $value | humanize }} fps",     "{{ $value | humanize }}, above 1,000"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(values); i++)
        assert_non_null(strstr(text_of(&alerts[i].rule->annotations, "summary"), values[i]));
}

/* ---- What is refused ---- */

static void check_error(const char *alerts, const char *expected)
{
    AP_AUTO(pack) struct pack *pack = NULL;
    struct ap_err err = {0};
    if (load(alerts, &pack, &err) == AP_OK)
        fail_msg("accepted: %s", alerts);
    const char *at = strstr(err.text, "a.yaml:");
    if (!at || strncmp(at + strlen("a.yaml:"), expected, strlen(expected)) != 0)
        fail_msg("%s\nexpected: %s", err.text, expected);
}
#define PERFORMANCE(text, expected) check_error("performance_alerts:\n  " text "\n", expected)
#define CONDITION(text, expected)                                                                                      \
    check_error("alerting_rules:\n- {name: a, severity: info, condition: \"" text "\"}\n", expected)

static void test_refuses_bounds(void **state)
{
    (void)state;
    PERFORMANCE(
        "startup_time: {warning: \">100MB\"}",
        "2:27: warning of startup_time: \"MB\" does not fit the unit s; expected a number and one of: s, ms, us");
    PERFORMANCE("memory: {target: '<25ms', warning: \">100MB\"}",
                "2:20: target of memory: \"ms\" does not fit the unit bytes");
    PERFORMANCE("startup_time: {warning: \">100\"}",
                "2:27: warning of startup_time: expected a number with its unit such as 250ms, found \">100\"");
    PERFORMANCE("errors: {warning: \">1\"}", "2:21: warning of errors: expected a number with its unit such as 5%");
    PERFORMANCE("startup_time: {warning: 100ms}", "2:27: warning of startup_time: expected a comparison such as");
    PERFORMANCE(
        "startup_time: {target: \"<60ms\", warning: \">100ms\"}",
        "2:26: target: \"< 60 ms\" contradicts the catalogue, where the target of startup_time is \"< 50 ms\" (");
    PERFORMANCE("startup_time: {target: \">50ms\", warning: \">100ms\"}", "2:26: target: \"> 50 ms\" contradicts");
    PERFORMANCE("startup_time: {warning: \">40ms\"}",
                "2:27: warning: expected one that is crossed when the target of < 50 ms is missed, such as \">50 ms\"; "
                "found \"> 40 ms\"");
    PERFORMANCE("startup_time: {critical: \"<100ms\"}", "2:28: critical: expected one that is crossed when the target");
    PERFORMANCE("startup_time: {warning: \">250ms\", critical: \">100ms\"}",
                "2:47: critical: expected one that is crossed after the warning of \"> 250 ms\", found \"> 100 ms\"");
    PERFORMANCE("startup_time: {warning: \">250ms\", critical: \">0.25s\"}", "2:47: critical: expected one that is");
    PERFORMANCE("frames: {warning: \"<30fps\", critical: \"<45fps\"}",
                "2:41: critical: expected one that is crossed after the warning of \"< 30 fps\"");
    PERFORMANCE("frames: {warning: \">70fps\"}",
                "2:21: warning: expected one that is crossed when the target of > 60 fps");
    PERFORMANCE("jobs: {warning: \">5\", critical: \"<9\"}", "2:35: critical: expected one that is crossed after");
    PERFORMANCE("startup_time: {target: \"<50ms\"}", "2:17: startup_time: expected \"warning\", \"critical\" or both");
}

static void test_refuses_names(void **state)
{
    (void)state;
    PERFORMANCE("startup_tme: {warning: \">1s\"}",
                "2:3: \"startup_tme\" is the short_name of no metric; did you mean \"startup_time\"?");
    PERFORMANCE("temperature: {warning: \">1s\"}", "2:3: \"temperature\" is the short_name of no metric; the catalogue "
                                                   "has: startup_time, wait, memory, errors, frames, jobs");
    PERFORMANCE("m.nameless: {warning: \">1s\"}", "2:3: \"m.nameless\" has no short_name in the catalogue, at ");
    PERFORMANCE("startup_time: {warnin: \">1s\"}", "2:18: unknown key \"warnin\"; did you mean \"warning\"?");
    PERFORMANCE("startup_time: {warning: \">1s\", for: 5 minutes}", "2:39: for: expected a duration");
    PERFORMANCE("startup_time: {warning: \">1s\", notification: [slack, slack]}",
                "2:56: notification: \"slack\" is there twice");
    PERFORMANCE("startup_time: {warning: \">1s\", notification: ['a,b']}", "2:49: notification: expected words of");
    check_error("performance_alerts: [a]\n", "1:21: performance_alerts: expected a map");
    check_error("alerting_rules: {a: b}\n", "1:17: alerting_rules: expected a list");
    check_error("alerts: 1\n", "1:1: unknown key \"alerts\"");
    check_error("alerting_rules:\n- {name: a, severity: bad, condition: \"jobs > 1\"}\n",
                "2:23: severity: unknown word \"bad\"");
    check_error("alerting_rules:\n- {name: '{{a}}', severity: info, condition: \"jobs > 1\"}\n",
                "2:10: name: expected a letter");
    check_error("alerting_rules:\n- {name: a, severity: info}\n", "2:3: ");
    check_error("alerting_rules:\n"
                "- {name: a, severity: info, condition: \"jobs > 1\"}\n"
                "- {name: a, severity: warning, condition: \"jobs > 1\"}\n"
                "- {name: a, severity: info, condition: \"jobs > 2\"}\n",
                "4:3: a second alert \"a\" of severity info; the first is at ");
    check_error("performance_alerts: {jobs: {warning: '>1'}}\n"
                "alerting_rules: [{name: shop_jobs, severity: warning, condition: \"jobs > 1\"}]\n",
                "2:18: a second alert \"shop_jobs\" of severity warning; the first is at ");
}

static void test_refuses_conditions(void **state)
{
    (void)state;
    CONDITION("startup_time > 100MB for 5 minutes",
              "2:54: condition of startup_time: \"MB\" does not fit the unit s; expected");
    CONDITION("startup_time", "2:40: condition: expected a short name, a comparison and for how long");
    CONDITION("> 5", "2:40: condition: expected a short name, a comparison and for how long");
    CONDITION("", "2:");
    CONDITION("startup_tme > 1s",
              "2:41: \"startup_tme\" is the short_name of no metric; did you mean \"startup_time\"?");
    CONDITION("startup_time == 1s", "2:54: condition of startup_time: expected a comparison such as");
    CONDITION("startup_time > 1s for ever",
              "2:63: condition: expected a duration such as \"5 minutes\" or \"10m\", found \"ever\"");
    CONDITION("startup_time > 1s for", "2:62: condition: expected a duration");
    CONDITION("startup_time > 1s for 5", "2:63: condition: expected a duration");
    CONDITION("startup_time > 1s for 5 parsecs", "2:63: condition: expected a duration");
    CONDITION("startup_time > 1s for 99999999 days", "2:63: condition: expected a duration");
    CONDITION("startup_time > 1s for 5 minutes or so", "2:63: condition: expected a duration");
    CONDITION("startup_time < 20ms for 5m",
              "2:54: condition: \"< 20 ms\" holds while the target of startup_time is met");
    CONDITION("startup_time > 20ms for 5m",
              "2:54: condition: \"> 20 ms\" holds while the target of startup_time is met");
    CONDITION("startup_time > 1s or errors > 5% for 5m", "2:54: condition of startup_time: ");
}

static void test_packs_with_the_same_alert(void **state)
{
    (void)state;
    const char *rules = "alerting_rules: [{name: a, severity: info, condition: jobs > 1}]\n";
    AP_AUTO(pack) struct pack *one = load_or_die(rules);
    AP_AUTO(pack) struct pack *same = load_or_die(rules);
    AP_AUTO(pack)
    struct pack *other = load_or_die("alerting_rules: [{name: a, severity: warning, condition: jobs > 1}]\n");
    struct ap_err err;
    assert_int_equal(pack_check_together((const struct pack *const[]){one, other}, 2, &err), AP_OK);
    assert_int_equal(pack_check_together((const struct pack *const[]){one, same}, 2, &err), AP_E_CONFLICT);
    assert_non_null(strstr(err.text, "a.yaml:1:18: another pack has an alert \"a\" of severity info, at "));
}

/* ---- By SQL ---- */

#define SQL_RULE(name, more)                                                                                           \
    "- {name: " name ", sql: 'SELECT 1 AS value', threshold: '> 0.5', severity: warning" more "}\n"

static void test_sql_rules(void **state)
{
    (void)state;
    AP_AUTO(pack)
    struct pack *pack =
        load_or_die("sql_rules:\n"
                    "- name: few\n"
                    "  sql: |\n"
                    "    SELECT version, count(*) AS value\n"
                    "    FROM events WHERE timestamp > $now - INTERVAL 1 HOUR GROUP BY version\n"
                    "  threshold: '< 5'\n"
                    "  every: 5m\n"
                    "  for: 10m\n"
                    "  no_data: alert\n"
                    "  on_error: keep\n"
                    "  severity: critical\n"
                    "  notification: [mail, slack]\n"
                    "  summary: 'few of {{ $labels.version }}'\n"
                    "  description: 'look'\n" SQL_RULE("often", "") SQL_RULE("also_few", ", every: 5m"));
    assert_int_equal(pack->alert_count, 3); /* in order of how often they are asked */
    assert_int_equal(pack->rule_group_count, 2);
    const struct rule_group *group = &pack->rule_groups[0];
    assert_string_equal(group->name, "sql_rules");
    assert_int_equal(group->interval_ms, 0);
    assert_int_equal(group->rule_count, 1);
    assert_string_equal(group->rules[0].name, "often");
    assert_int_equal(group->rules[0].on_error, RULE_ON_ERROR_ALERT);
    assert_string_equal(text_of(&group->rules[0].annotations, "summary"),
                        "often: {{ $value | humanize }}, threshold > 0.5");
    check_explanation(
        &pack->alerts[0],
        "Fires for each row whose figure is above 0.5; when there is no data, what fires ends, and when it "
        "cannot be evaluated, there is an alert about that; told to whom the routes say.");
    group = &pack->rule_groups[1];
    assert_string_equal(group->name, "sql_rules every 5 minutes");
    assert_int_equal(group->interval_ms, 300000);
    assert_int_equal(group->rule_count, 2);
    assert_string_equal(group->rules[1].name, "also_few");
    const struct rule *rule = &group->rules[0];
    assert_string_equal(rule->name, "few");
    assert_true(rule->is_alert);
    assert_int_equal(rule->language, RULE_LANGUAGE_SQL);
    assert_int_equal(rule->line, 2);
    assert_int_equal(rule->expr_line, 4);
    assert_int_equal(rule->for_ms, 600000);
    assert_int_equal(rule->no_data, RULE_NO_DATA_ALERT);
    assert_int_equal(rule->on_error, RULE_ON_ERROR_KEEP);
    assert_string_equal(text_of(&rule->labels, "severity"), "critical");
    assert_string_equal(text_of(&rule->labels, "notify"), "mail,slack");
    assert_string_equal(text_of(&rule->annotations, "description"), "look");
    check_explanation(
        &pack->alerts[1],
        "Fires for each row whose figure is below 5 for 10 minutes, asked every 5 minutes; when there is no "
        "data, there is an alert about that, and when it cannot be evaluated, all stays as it is; told to "
        "mail, slack.");
}

static void test_sql_rules_refused(void **state)
{
    (void)state;
    check_error("sql_rules: {a: b}\n", "1:12: sql_rules: expected a list of rules");
    check_error("sql_rules:\n" SQL_RULE("a", ", every: 5"), "2:");
    check_error("sql_rules:\n" SQL_RULE("a b", ""), "2:10: name: expected a letter");
    check_error("sql_rules:\n" SQL_RULE("a", "") SQL_RULE("a", ""), "3:3: a second alert \"a\" of severity warning");
    check_error("sql_rules:\n" SQL_RULE("a", ", summary: '{{ $version }}'"), "2:87: summary: ");
    check_error("sql_rules:\n" SQL_RULE("a", ", no_data: fire"), "2:87: no_data: ");
    check_error("sql_rules:\n- {name: a, sql: SELECT now(), threshold: '> 1', severity: info}\n",
                "2:18: sql: now() cannot be asked by a rule: write $now");
    check_error("sql_rules:\n- {name: a, sql: '', threshold: '> 1', severity: info}\n", "2:18: sql: expected SQL");
    check_error("sql_rules:\n- {name: a, sql: SELECT 1, threshold: 5ms, severity: info}\n",
                "2:39: threshold: expected a comparison");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_performance_alert_becomes_two_rules),
        cmocka_unit_test(test_rule_with_a_condition),
        cmocka_unit_test(test_units_and_durations),
        cmocka_unit_test(test_values_as_people_read_them),
        cmocka_unit_test(test_refuses_bounds),
        cmocka_unit_test(test_refuses_names),
        cmocka_unit_test(test_refuses_conditions),
        cmocka_unit_test(test_packs_with_the_same_alert),
        cmocka_unit_test(test_sql_rules),
        cmocka_unit_test(test_sql_rules_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
