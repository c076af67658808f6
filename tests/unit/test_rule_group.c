#include "rules/group.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "promql/memory_storage.h"
#include "promql/series_text.h"
#include "tsdb/labels.h"

/* Rules at work over series in memory; what they give is kept there, and as text in `kept`. */
struct fixture {
    struct rule_file *file;
    struct memory_storage *storage;
    struct rules_world world;
    struct group_run *run;
    struct ap_buf kept;
    enum ap_rc keep_rc;
};

static enum ap_rc keep(void *context, const struct rules_sample *samples, size_t count, struct ap_err *err)
{
    struct fixture *fixture = context;
    for (size_t i = 0; i < count; i++) {
        uint64_t bits;
        memcpy(&bits, &samples[i].value, sizeof(bits));
        labels_format(samples[i].labels, &fixture->kept);
        if (bits == UINT64_C(0x7ff0000000000002))
            ap_buf_printf(&fixture->kept, " stale\n");
        else
            ap_buf_printf(&fixture->kept, " %g @%lld\n", samples[i].value, (long long)samples[i].ts_ms / 1000);
        memory_storage_add(fixture->storage, samples[i].labels, samples[i].ts_ms, samples[i].value,
                           samples[i].histogram);
    }
    return fixture->keep_rc == AP_OK ? AP_OK : ap_fail(err, fixture->keep_rc, "the disk is full");
}

static void start(struct fixture *fixture, const char *rules)
{
    char path[] = "/tmp/apiary-rules-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, rules, strlen(rules)), (ssize_t)strlen(rules));
    close(fd);
    struct ap_err err;
    struct promql_engine_options options;
    promql_engine_options_init(&options);
    options.threads_max = 1;
    *fixture = (struct fixture){.storage = memory_storage_new()};
    fixture->world = (struct rules_world){.storage = promql_storage_memory(fixture->storage),
                                          .keep = keep,
                                          .context = fixture,
                                          .external_url = ap_slice_cstr("https://a.example"),
                                          .clock = &ap_clock_system};
    if (rule_file_load(path, false, NULL, NULL, &fixture->file, &err) != AP_OK)
        fail_msg("%s", err.text);
    assert_int_equal(promql_engine_open(&options, &fixture->world.engine, &err), AP_OK);
    fixture->run = group_run_new(&fixture->file->groups[0], &fixture->world);
    unlink(path);
}

static void end(struct fixture *fixture)
{
    group_run_free(fixture->run);
    promql_engine_close(fixture->world.engine);
    memory_storage_free(fixture->storage);
    rule_file_free(fixture->file);
    ap_buf_clear(&fixture->kept);
}

static void put(struct fixture *fixture, const char *series, int64_t ts_s, double value)
{
    AP_AUTO_BUF struct ap_buf labels = {0};
    struct ap_err err;
    assert_int_equal(series_text_labels(ap_slice_cstr(series), &labels, &err), AP_OK);
    memory_storage_add(fixture->storage, ap_buf_slice(&labels), ts_s * 1000, value, NULL);
}

/* What the evaluation keeps. */
static const char *evaluate(struct fixture *fixture, int64_t ts_s)
{
    ap_buf_reset(&fixture->kept);
    group_run_evaluate(fixture->run, ts_s * 1000);
    ap_buf_add_char(&fixture->kept, '\0');
    return fixture->kept.data;
}

static const char *error_of(struct fixture *fixture)
{
    const char *error = group_run_status(fixture->run, 0).error;
    return error ? error : "";
}

static void test_recording(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture, "groups:\n- name: g\n  rules:\n"
                    "  - {record: 'job:up', expr: 'sum by (job) (up)', labels: {team: core, job: ''}}\n"
                    "  - {record: 'twice', expr: '2 * {__name__=\"job:up\"}'}\n"
                    "  - {record: 'each', expr: 'up'}\n");
    put(&fixture, "up{job=\"a\"}", 60, 1);
    assert_string_equal(evaluate(&fixture, 60), "job:up{team=\"core\"} 1 @60\n"
                                                "twice{team=\"core\"} 2 @60\n"
                                                "each{job=\"a\"} 1 @60\n");
    put(&fixture, "up{job=\"b\"}", 120, 1); /* without the job they are the same */
    assert_string_equal(evaluate(&fixture, 120), "twice{team=\"core\"} 2 @120\n"
                                                 "each{job=\"a\"} 1 @120\neach{job=\"b\"} 1 @120\n");
    assert_string_equal(error_of(&fixture),
                        "vector contains metrics with the same labelset after applying rule labels");
    /* What is no longer given ends; what failed before goes on. */
    assert_string_equal(evaluate(&fixture, 410), "job:up{team=\"core\"} 1 @410\ntwice{team=\"core\"} 2 @410\n"
                                                 "each{job=\"b\"} 1 @410\neach{job=\"a\"} stale\n");
    assert_string_equal(error_of(&fixture), "");
    fixture.keep_rc = AP_E_FULL;
    assert_int_equal(group_run_evaluate(fixture.run, 415000), 3);
    assert_string_equal(error_of(&fixture), "the disk is full");
    fixture.keep_rc = AP_OK;
    ap_buf_reset(&fixture.kept);
    group_run_end(fixture.run, 420000);
    ap_buf_add_char(&fixture.kept, '\0');
    assert_string_equal(fixture.kept.data, "job:up{team=\"core\"} stale\ntwice{team=\"core\"} stale\n"
                                           "each{job=\"b\"} stale\n");
    end(&fixture);
}

static void test_limit_and_offset(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture, "groups:\n- name: g\n  limit: 1\n  query_offset: 30s\n  rules:\n"
                    "  - {record: n, expr: up}\n  - {alert: A, expr: up}\n");
    put(&fixture, "up{job=\"a\"}", 30, 1);
    put(&fixture, "up{job=\"b\"}", 60, 1);
    assert_string_equal(evaluate(&fixture, 60), "n{job=\"a\"} 1 @30\n"
                                                "ALERTS{alertname=\"A\", alertstate=\"firing\", job=\"a\"} 1 @30\n"
                                                "ALERTS_FOR_STATE{alertname=\"A\", job=\"a\"} 60 @30\n");
    assert_string_equal(evaluate(&fixture, 90), "ALERTS{alertname=\"A\", alertstate=\"firing\", job=\"a\"} stale\n"
                                                "ALERTS_FOR_STATE{alertname=\"A\", job=\"a\"} stale\n");
    assert_string_equal(error_of(&fixture), "exceeded limit of 1 with 2 series");
    struct rule_status status = group_run_status(fixture.run, 1);
    assert_string_equal(status.error, "exceeded limit of 1 with 2 alerts");
    assert_int_equal(status.alert_count, 0);
    assert_int_equal(status.health, RULE_HEALTH_ERR);
    end(&fixture);
}

/* "state value labels annotations" of every alert. */
static void alerts_text(struct fixture *fixture, struct ap_buf *out)
{
    ap_buf_reset(out);
    group_run_lock(fixture->run);
    struct rule_status status = group_run_status(fixture->run, 0);
    for (size_t i = 0; i < status.alert_count; i++) {
        ap_buf_printf(out, "%s %g ", alert_state_name(status.alerts[i].state), status.alerts[i].value);
        labels_format(status.alerts[i].labels, out);
        labels_format(status.alerts[i].annotations, out);
        ap_buf_add_char(out, '\n');
    }
    group_run_unlock(fixture->run);
    ap_buf_add_char(out, '\0');
}

#define ALERTS_ARE(fixture, want)                                                                                      \
    do {                                                                                                               \
        AP_AUTO_BUF struct ap_buf now = {0};                                                                           \
        alerts_text(fixture, &now);                                                                                    \
        assert_string_equal(now.data, want);                                                                           \
    } while (0)

static void test_alert_life(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture,
          "groups:\n- name: g\n  rules:\n  - alert: Hot\n    expr: heat > 10\n    for: 1m\n    keep_firing_for: 90s\n"
          "    labels: {severity: '{{ if gt $value 50.0 }}page{{ else }}mail{{ end }}'}\n"
          "    annotations: {say: '{{ $labels.room }}: {{ $value }} {{ $externalURL }}', bad: '{{ .Nope }}',\n"
          "                  count: '{{ query \"count(heat)\" | first | value }}'}\n");
    put(&fixture, "heat{room=\"x\"}", 0, 20);
    put(&fixture, "heat{room=\"y\"}", 0, 5);
    assert_string_equal(evaluate(&fixture, 0),
                        "ALERTS{alertname=\"Hot\", alertstate=\"pending\", room=\"x\", severity=\"mail\"} 1 @0\n"
                        "ALERTS_FOR_STATE{alertname=\"Hot\", room=\"x\", severity=\"mail\"} 0 @0\n");
    put(&fixture, "heat{room=\"x\"}", 60, 30);
    assert_string_equal(evaluate(&fixture, 60),
                        "ALERTS{alertname=\"Hot\", alertstate=\"firing\", room=\"x\", severity=\"mail\"} 1 @60\n"
                        "ALERTS_FOR_STATE{alertname=\"Hot\", room=\"x\", severity=\"mail\"} 0 @60\n"
                        "ALERTS{alertname=\"Hot\", alertstate=\"pending\", room=\"x\", severity=\"mail\"} stale\n");
    AP_AUTO_BUF struct ap_buf text = {0};
    alerts_text(&fixture, &text);
    assert_non_null(strstr(text.data, "firing 30 {alertname=\"Hot\", room=\"x\", severity=\"mail\"}"));
    assert_non_null(strstr(text.data, "say=\"x: 30 https://a.example\""));
    assert_non_null(strstr(text.data, "bad=\"<error expanding template: "));
    assert_non_null(strstr(text.data, "count=\"2\""));
    put(&fixture, "heat{room=\"x\"}", 120, 1);
    evaluate(&fixture, 120); /* fires on for 90 s */
    evaluate(&fixture, 209);
    assert_int_equal(group_run_status(fixture.run, 0).state, ALERT_STATE_FIRING);
    assert_string_equal(evaluate(&fixture, 210),
                        "ALERTS{alertname=\"Hot\", alertstate=\"firing\", room=\"x\", severity=\"mail\"} stale\n"
                        "ALERTS_FOR_STATE{alertname=\"Hot\", room=\"x\", severity=\"mail\"} stale\n");
    assert_int_equal(group_run_status(fixture.run, 0).alerts[0].resolved_ms, 210000);
    put(&fixture, "heat{room=\"x\"}", 240, 60); /* another label set: another alert */
    evaluate(&fixture, 240);
    struct rule_status status = group_run_status(fixture.run, 0);
    assert_int_equal(status.alert_count, 2);
    assert_int_equal(status.alerts[0].state, ALERT_STATE_INACTIVE);
    assert_int_equal(status.alerts[1].state, ALERT_STATE_PENDING);
    evaluate(&fixture, 210 + 15 * 60); /* remembered so long, and the pending one is gone without a trace */
    assert_int_equal(group_run_status(fixture.run, 0).alert_count, 1);
    evaluate(&fixture, 211 + 15 * 60);
    ALERTS_ARE(&fixture, "");
    end(&fixture);
}

/* "TIME ends TIME" for each telling. */
static bool tell(void *context, const struct rule *rule, const struct alert *const *alerts, size_t count,
                 int64_t ends_ms)
{
    (void)rule;
    ap_buf_printf(context, "%zu %s ends %d\n", count, alert_state_name(alerts[0]->state), (int)(ends_ms / 1000));
    return true;
}

static void test_resend_delay(void **state)
{
    (void)state;
    struct fixture fixture;
    AP_AUTO_BUF struct ap_buf told = {0};
    start(&fixture, "groups:\n- name: g\n  interval: 5s\n  rules:\n  - {alert: Hot, expr: heat > 10}\n");
    fixture.world.tell = tell;
    fixture.world.tell_context = &told;
    fixture.world.resend_ms = 20000;
    put(&fixture, "heat", 0, 20);
    for (int ts_s = 0; ts_s <= 45; ts_s += 5)
        evaluate(&fixture, ts_s);
    put(&fixture, "heat", 50, 5);
    evaluate(&fixture, 50);
    ap_buf_add_char(&told, '\0');
    assert_string_equal(told.data, "1 firing ends 80\n"  /* at once */
                                   "1 firing ends 105\n" /* at 25: more than 20 later */
                                   "1 inactive ends 130\n");
    end(&fixture);
}

static void test_same_alert_twice(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture, "groups:\n- name: g\n  rules:\n  - {alert: A, expr: up == 0, labels: {job: all}}\n");
    put(&fixture, "up{job=\"a\"}", 0, 0);
    evaluate(&fixture, 0);
    ALERTS_ARE(&fixture, "firing 0 {alertname=\"A\", job=\"all\"}{}\n");
    put(&fixture, "up{job=\"b\"}", 60, 0);
    assert_string_equal(evaluate(&fixture, 60), /* a failure resolves nothing */
                        "ALERTS{alertname=\"A\", alertstate=\"firing\", job=\"all\"} 1 @60\n"
                        "ALERTS_FOR_STATE{alertname=\"A\", job=\"all\"} 0 @60\n");
    assert_string_equal(error_of(&fixture),
                        "vector contains metrics with the same labelset after applying alert labels");
    ALERTS_ARE(&fixture, "firing 0 {alertname=\"A\", job=\"all\"}{}\n");
    end(&fixture);
}

/* ---- Another process ---- */

/* The rules again, with nothing in memory; at most two minutes back. */
static void start_again(struct fixture *fixture)
{
    group_run_free(fixture->run);
    fixture->world.restore_ms = 120000;
    fixture->run = group_run_new(&fixture->file->groups[0], &fixture->world);
}

static void test_restart(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture, "groups:\n- name: g\n  rules:\n"
                    "  - {alert: Hot, expr: heat > 10, for: 1m, labels: {how: '{{ $value }}', team: core}}\n");
    put(&fixture, "heat{room=\"x\"}", 0, 20);
    put(&fixture, "heat{room=\"y\"}", 0, 20);
    evaluate(&fixture, 0);
    put(&fixture, "heat{room=\"y\"}", 15, 5);
    evaluate(&fixture, 30); /* y has ended */
    put(&fixture, "heat{room=\"y\"}", 40, 20);
    /* It was away for 70 s, which do not count: 30 s of 60 are left. */
    start_again(&fixture);
    evaluate(&fixture, 100);
    ALERTS_ARE(&fixture, "pending 20 {alertname=\"Hot\", how=\"20\", room=\"x\", team=\"core\"}{}\n"
                         "pending 20 {alertname=\"Hot\", how=\"20\", room=\"y\", team=\"core\"}{}\n");
    assert_int_equal(group_run_status(fixture.run, 0).alerts[0].active_ms, 70000);
    assert_int_equal(group_run_status(fixture.run, 0).alerts[1].active_ms, 100000);
    evaluate(&fixture, 129);
    assert_int_equal(group_run_status(fixture.run, 0).alerts[0].state, ALERT_STATE_PENDING);
    evaluate(&fixture, 130);
    ALERTS_ARE(&fixture, "firing 20 {alertname=\"Hot\", how=\"20\", room=\"x\", team=\"core\"}{}\n"
                         "pending 20 {alertname=\"Hot\", how=\"20\", room=\"y\", team=\"core\"}{}\n");
    /* What fired fires on, and keeps its times. */
    start_again(&fixture);
    evaluate(&fixture, 200);
    struct rule_status status = group_run_status(fixture.run, 0);
    assert_int_equal(status.alerts[0].state, ALERT_STATE_FIRING);
    assert_int_equal(status.alerts[0].active_ms, 70000);
    assert_int_equal(status.alerts[0].fired_ms, 130000);
    assert_int_equal(status.alerts[1].state, ALERT_STATE_PENDING);
    /* What is over by then ends, as if it had been seen. */
    put(&fixture, "heat{room=\"x\"}", 205, 1);
    put(&fixture, "heat{room=\"y\"}", 205, 1);
    start_again(&fixture);
    assert_string_equal(
        evaluate(&fixture, 210),
        "ALERTS{alertname=\"Hot\", alertstate=\"firing\", how=\"20\", room=\"x\", team=\"core\"} stale\n"
        "ALERTS{alertname=\"Hot\", alertstate=\"pending\", how=\"20\", room=\"y\", team=\"core\"} stale\n"
        "ALERTS_FOR_STATE{alertname=\"Hot\", how=\"20\", room=\"x\", team=\"core\"} stale\n"
        "ALERTS_FOR_STATE{alertname=\"Hot\", how=\"20\", room=\"y\", team=\"core\"} stale\n");
    status = group_run_status(fixture.run, 0);
    assert_int_equal(status.alert_count, 1);
    assert_int_equal(status.alerts[0].state, ALERT_STATE_INACTIVE);
    assert_int_equal(status.alerts[0].resolved_ms, 210000);
    /* Too long ago. */
    put(&fixture, "heat{room=\"x\"}", 220, 20);
    evaluate(&fixture, 220);
    evaluate(&fixture, 280);
    assert_int_equal(group_run_status(fixture.run, 0).alerts[0].state, ALERT_STATE_FIRING);
    start_again(&fixture);
    evaluate(&fixture, 280 + 121);
    assert_int_equal(group_run_status(fixture.run, 0).alerts[0].active_ms, 401000);
    end(&fixture);
}

/* Away for longer than PromQL looks back: that an expression gives nothing says nothing until all has come in anew. */
static void test_restart_after_long(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture, "groups:\n- name: g\n  query_offset: 30s\n  rules:\n  - {alert: Hot, expr: heat > 10, for: 30s}\n");
    put(&fixture, "heat{room=\"x\"}", 0, 20);
    put(&fixture, "heat{room=\"y\"}", 0, 20);
    put(&fixture, "heat{room=\"z\"}", 59, 20);
    evaluate(&fixture, 30);
    evaluate(&fixture, 60); /* z has been pending since 89 */
    evaluate(&fixture, 89);
    start_again(&fixture);
    fixture.world.restore_ms = 3600000;
    evaluate(&fixture, 600);
    ALERTS_ARE(&fixture,
               "firing nan {alertname=\"Hot\", room=\"x\"}{summary=\"Hot was active before the server started, and "
               "has not been evaluated since: there is no data\"}\n"
               "firing nan {alertname=\"Hot\", room=\"y\"}{summary=\"Hot was active before the server started, and "
               "has not been evaluated since: there is no data\"}\n");
    put(&fixture, "heat{room=\"x\"}", 700, 30); /* goes on where it was, for as long as it is given */
    put(&fixture, "heat{room=\"y\"}", 700, 5);
    evaluate(&fixture, 730);
    struct rule_status status = group_run_status(fixture.run, 0);
    assert_int_equal(status.alerts[0].state, ALERT_STATE_FIRING);
    assert_int_equal(status.alerts[0].active_ms, 30000);
    assert_int_equal(status.alerts[1].state, ALERT_STATE_FIRING);
    put(&fixture, "heat{room=\"x\"}", 800, 5);
    evaluate(&fixture, 830);
    assert_int_equal(group_run_status(fixture.run, 0).alerts[0].resolved_ms, 830000);
    evaluate(&fixture, 899);
    assert_int_equal(group_run_status(fixture.run, 0).alerts[1].state, ALERT_STATE_FIRING);
    evaluate(&fixture, 900);
    assert_int_equal(group_run_status(fixture.run, 0).alerts[1].resolved_ms, 900000);
    end(&fixture);
}

/* A rule that looks for its data knows when there is some. */
static void test_restart_after_long_with_data(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture, "groups:\n- name: g\n  rules:\n  - {alert: Hot, expr: heat > 10, no_data: keep}\n");
    put(&fixture, "heat", 0, 20);
    evaluate(&fixture, 0);
    start_again(&fixture);
    fixture.world.restore_ms = 3600000;
    evaluate(&fixture, 600);
    assert_int_equal(group_run_status(fixture.run, 0).state, ALERT_STATE_FIRING);
    put(&fixture, "heat", 610, 5);
    evaluate(&fixture, 630);
    assert_int_equal(group_run_status(fixture.run, 0).alerts[0].resolved_ms, 630000);
    end(&fixture);
}

/* A rule that is gone ends its series where the last sample could have been: not before those of whoever goes on. */
static void test_end_with_offset(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture, "groups:\n- name: g\n  query_offset: 1m\n  rules:\n  - {record: n, expr: vector(1)}\n");
    evaluate(&fixture, 60);
    group_run_end(fixture.run, 70000);
    evaluate(&fixture, 75); /* as another group would, of another name */
    AP_AUTO_BUF struct ap_buf labels = {0};
    struct ap_err err;
    assert_int_equal(series_text_labels(ap_slice_cstr("n"), &labels, &err), AP_OK);
    struct promql_request request = {.text = ap_slice_cstr("n"), .start_ms = 15000, .end_ms = 15000};
    struct promql_execution *execution = NULL;
    struct promql_points points;
    assert_int_equal(promql_execute(fixture.world.engine, fixture.world.storage, &request, &execution, &err), AP_OK);
    assert_int_equal(promql_execution_count(execution), 1);
    assert_int_equal(promql_execution_read(execution, 0, &points, &err), AP_OK);
    assert_int_equal(points.count, 1);
    promql_execution_free(execution);
    end(&fixture);
}

/* Two rules that could have given the same alerts: each takes up what it gives, and ends nothing of the other's. */
static void test_restart_of_alike_rules(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture, "groups:\n- name: g\n  rules:\n"
                    "  - {alert: Bad, expr: heat > 10}\n  - {alert: Bad, expr: cold > 10, for: 1m, labels: {a: b}}\n");
    put(&fixture, "heat", 0, 20);
    put(&fixture, "cold", 0, 20);
    evaluate(&fixture, 0);
    evaluate(&fixture, 60);
    start_again(&fixture);
    group_run_note_alike(fixture.run, 0);
    group_run_note_alike(fixture.run, 1);
    assert_string_equal(evaluate(&fixture, 90), "ALERTS{alertname=\"Bad\", alertstate=\"firing\"} 1 @90\n"
                                                "ALERTS_FOR_STATE{alertname=\"Bad\"} 0 @90\n"
                                                "ALERTS{a=\"b\", alertname=\"Bad\", alertstate=\"firing\"} 1 @90\n"
                                                "ALERTS_FOR_STATE{a=\"b\", alertname=\"Bad\"} 0 @90\n");
    assert_int_equal(group_run_status(fixture.run, 0).alert_count, 1);
    assert_int_equal(group_run_status(fixture.run, 1).alert_count, 1);
    end(&fixture);
}

/* ---- Nothing to look at, and errors ---- */

static const char *condition_of(struct fixture *fixture)
{
    return rule_condition_name(group_run_status(fixture->run, 0).condition);
}

static void start_hot(struct fixture *fixture, const char *expr, const char *more)
{
    AP_AUTO_BUF struct ap_buf rules = {0};
    ap_buf_printf(&rules, "groups:\n- name: g\n  rules:\n  - {alert: Hot, expr: '%s', labels: {team: core}, %s}\n",
                  expr, more);
    ap_buf_add_char(&rules, '\0');
    start(fixture, rules.data);
}

static void test_no_data_is_an_alert(void **state)
{
    (void)state;
    struct fixture fixture;
    start_hot(&fixture, "heat > 10",
              "no_data: alert, annotations: {summary: '{{ $value }}', say: '{{ $labels.room }}', book: a}");
    evaluate(&fixture, 0); /* once is not enough: a sample may be late */
    ALERTS_ARE(&fixture, "pending nan {alertname=\"Hot\", condition=\"no_data\", team=\"core\"}{book=\"a\", "
                         "summary=\"No data for Hot: its query gives nothing, so that nobody knows whether it should "
                         "fire\"}\n");
    assert_string_equal(
        evaluate(&fixture, 30),
        "ALERTS{alertname=\"Hot\", alertstate=\"firing\", condition=\"no_data\", team=\"core\"} 1 @30\n"
        "ALERTS_FOR_STATE{alertname=\"Hot\", condition=\"no_data\", team=\"core\"} 0 @30\n"
        "ALERTS{alertname=\"Hot\", alertstate=\"pending\", condition=\"no_data\", team=\"core\"} stale\n");
    assert_string_equal(condition_of(&fixture), "no_data");
    assert_int_equal(group_run_status(fixture.run, 0).health, RULE_HEALTH_OK);
    put(&fixture, "heat{room=\"x\"}", 60, 5); /* data, and all is well */
    evaluate(&fixture, 60);
    assert_string_equal(condition_of(&fixture), "ok");
    assert_int_equal(group_run_status(fixture.run, 0).alerts[0].resolved_ms, 60000);
    put(&fixture, "heat{room=\"x\"}", 90, 20);
    evaluate(&fixture, 90);
    evaluate(&fixture, 391); /* beyond the lookback; what fired is not over because nobody looks any more */
    evaluate(&fixture, 421);
    struct rule_status status = group_run_status(fixture.run, 0);
    assert_int_equal(status.alert_count, 2);
    for (size_t i = 0; i < status.alert_count; i++)
        assert_int_equal(status.alerts[i].state, ALERT_STATE_FIRING);
    end(&fixture);
}

static void test_no_data_keeps_or_ends(void **state)
{
    (void)state;
    static const struct {
        const char *no_data;
        enum alert_state want;
        const char *condition;
    } cases[] = {{"keep", ALERT_STATE_FIRING, "no_data"}, {"ok", ALERT_STATE_INACTIVE, "ok"}};
    for (size_t i = 0; i < AP_ARRAY_COUNT(cases); i++) {
        struct fixture fixture;
        AP_AUTO_FREE char *more = ap_asprintf("no_data: %s", cases[i].no_data);
        start_hot(&fixture, "heat > 10", more);
        put(&fixture, "heat", 0, 20);
        evaluate(&fixture, 0);
        evaluate(&fixture, 301);
        struct rule_status status = group_run_status(fixture.run, 0);
        assert_int_equal(status.alert_count, 1);
        assert_int_equal(status.alerts[0].state, cases[i].want);
        assert_string_equal(condition_of(&fixture), cases[i].condition); /* nobody looks where it is all the same */
        end(&fixture);
    }
}

/* Two series that nothing tells apart: the query cannot be evaluated from then on. */
static void spoil(struct fixture *fixture, int64_t ts_s)
{
    put(fixture, "limit{a=\"1\"}", ts_s, 1);
    put(fixture, "limit{a=\"2\"}", ts_s, 1);
}

static void test_errors_do_as_the_rule_says(void **state)
{
    (void)state;
    static const char own[] = "ALERTS{alertname=\"Hot\", alertstate=\"firing\", team=\"core\"} 1 @60\n"
                              "ALERTS_FOR_STATE{alertname=\"Hot\", team=\"core\"} 0 @60\n";
    static const struct {
        const char *on_error;
        bool is_over; /* at once */
        const char *want;
    } cases[] = {
        {"keep", false, own},
        {"ok", true,
         "ALERTS{alertname=\"Hot\", alertstate=\"firing\", team=\"core\"} stale\n"
         "ALERTS_FOR_STATE{alertname=\"Hot\", team=\"core\"} stale\n"},
        {"alert", false,
         "ALERTS{alertname=\"Hot\", alertstate=\"firing\", condition=\"error\", team=\"core\"} 1 @60\n"
         "ALERTS{alertname=\"Hot\", alertstate=\"firing\", team=\"core\"} 1 @60\n"
         "ALERTS_FOR_STATE{alertname=\"Hot\", condition=\"error\", team=\"core\"} 30 @60\n"
         "ALERTS_FOR_STATE{alertname=\"Hot\", team=\"core\"} 0 @60\n"
         "ALERTS{alertname=\"Hot\", alertstate=\"pending\", condition=\"error\", team=\"core\"} stale\n"},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(cases); i++) {
        struct fixture fixture;
        AP_AUTO_FREE char *more = ap_asprintf("on_error: %s", cases[i].on_error);
        start_hot(&fixture, "heat > on () limit", more);
        put(&fixture, "heat", 0, 20);
        put(&fixture, "limit", 0, 10);
        evaluate(&fixture, 0);
        spoil(&fixture, 30);
        const char *kept = evaluate(&fixture, 30);
        assert_string_equal(cases[i].is_over ? kept : evaluate(&fixture, 60), cases[i].want);
        assert_string_equal(condition_of(&fixture), "error");
        assert_int_equal(group_run_status(fixture.run, 0).health, RULE_HEALTH_ERR);
        assert_non_null(strstr(error_of(&fixture), "many-to-many"));
        end(&fixture);
    }
}

/* An alert about missing data is one after a restart as well. */
static void test_restart_without_data(void **state)
{
    (void)state;
    struct fixture fixture;
    start_hot(&fixture, "heat > 10", "no_data: alert, for: 1m");
    put(&fixture, "heat", 0, 20);
    evaluate(&fixture, 0);
    evaluate(&fixture, 60);
    evaluate(&fixture, 310);
    evaluate(&fixture, 340);
    start_again(&fixture);
    evaluate(&fixture, 350);
    struct rule_status status = group_run_status(fixture.run, 0);
    assert_int_equal(status.alert_count, 2);
    assert_int_equal(status.alerts[0].condition, RULE_CONDITION_NO_DATA);
    assert_int_equal(status.alerts[0].state, ALERT_STATE_PENDING);
    assert_int_equal(status.alerts[0].active_ms, 320000); /* ten seconds were without a server */
    assert_int_equal(status.alerts[1].condition, RULE_CONDITION_OK);
    assert_int_equal(status.alerts[1].state, ALERT_STATE_FIRING);
    AP_AUTO_BUF struct ap_buf text = {0}; /* its own words went with the process before */
    alerts_text(&fixture, &text);
    assert_non_null(strstr(text.data, "Hot was active before the server started, and has not been evaluated since"));
    put(&fixture, "heat", 360, 5);
    evaluate(&fixture, 360);
    status = group_run_status(fixture.run, 0);
    for (size_t i = 0; i < status.alert_count; i++)
        assert_int_equal(status.alerts[i].state, ALERT_STATE_INACTIVE);
    end(&fixture);
}

/* SQL without a warehouse is an error like any other. */
static void test_sql_without_tables(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture, "groups:\n- name: g\n  rules:\n  - {alert: Few, sql: SELECT 1 AS value, threshold: '< 5'}\n");
    evaluate(&fixture, 0);
    evaluate(&fixture, 30);
    assert_string_equal(error_of(&fixture), "SQL cannot be asked here: there are no tables");
    struct rule_status status = group_run_status(fixture.run, 0);
    assert_int_equal(status.alert_count, 1);
    assert_int_equal(status.alerts[0].condition, RULE_CONDITION_ERROR); /* unless it says otherwise, that is told */
    assert_int_equal(status.alerts[0].state, ALERT_STATE_FIRING);
    end(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recording),
        cmocka_unit_test(test_limit_and_offset),
        cmocka_unit_test(test_alert_life),
        cmocka_unit_test(test_resend_delay),
        cmocka_unit_test(test_same_alert_twice),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_restart_after_long),
        cmocka_unit_test(test_restart_after_long_with_data),
        cmocka_unit_test(test_end_with_offset),
        cmocka_unit_test(test_restart_of_alike_rules),
        cmocka_unit_test(test_no_data_is_an_alert),
        cmocka_unit_test(test_no_data_keeps_or_ends),
        cmocka_unit_test(test_errors_do_as_the_rule_says),
        cmocka_unit_test(test_restart_without_data),
        cmocka_unit_test(test_sql_without_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
