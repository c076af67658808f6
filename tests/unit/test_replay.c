/* When a rule would have fired. */
#include "rules/replay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "promql/memory_storage.h"
#include "promql/series_text.h"
#include "rules/group.h"
#include "rules/question.h"
#include "tsdb/labels.h"

enum { STEP_MS = 60000, POINTS_MAX = 64 };

struct fixture {
    struct ap_buf labels[4];
    struct replay_point points[4][POINTS_MAX];
    struct replay_series series[4];
    size_t series_count;
    struct replay_step steps[POINTS_MAX];
    struct rule_group group;
    int64_t end_ms;
};

/* A character a step: '.' is well, '?' has no data, '!' cannot be evaluated. */
static void add_conditions(struct fixture *fx, const char *steps)
{
    for (size_t i = 0; steps[i]; i++) {
        if (steps[i] == '!')
            fx->steps[i] = (struct replay_step){RULE_CONDITION_ERROR, "too much"};
        else
            fx->steps[i].condition = steps[i] == '?' ? RULE_CONDITION_NO_DATA : RULE_CONDITION_OK;
        fx->end_ms = AP_MAX(fx->end_ms, (int64_t)i * STEP_MS);
    }
}

/* A character a step: a digit is the value, '.' is none. `name` NULL: a series without labels. */
static void add_series(struct fixture *fx, const char *name, const char *steps)
{
    size_t index = fx->series_count++;
    struct replay_series *series = &fx->series[index];
    struct label labels[] = {{ap_slice_cstr("job"), ap_slice_cstr(name ? name : "")},
                             {ap_slice_cstr("__name__"), ap_slice_cstr("up")}};
    struct ap_err err;
    if (name)
        assert_int_equal(labels_encode(labels, 2, &fx->labels[index], &err), AP_OK);
    *series = (struct replay_series){.labels = ap_buf_slice(&fx->labels[index]), .points = fx->points[index]};
    for (int64_t i = 0; steps[i]; i++) {
        if (steps[i] != '.')
            fx->points[index][series->count++] = (struct replay_point){i * STEP_MS, steps[i] - '0'};
        fx->end_ms = AP_MAX(fx->end_ms, i * STEP_MS);
    }
}

static void add_minute(struct ap_buf *out, int64_t ts_ms)
{
    if (ts_ms == RULES_TIME_NONE)
        ap_buf_add_cstr(out, " -");
    else
        ap_buf_printf(out, " %d", (int)(ts_ms / STEP_MS));
}

/* A line each: labels, then minutes of active, fired, resolved, then least and most. */
static void add_firing(struct ap_buf *out, const struct replay_firing *firing)
{
    labels_format(firing->labels, out);
    add_minute(out, firing->active_ms);
    add_minute(out, firing->fired_ms);
    add_minute(out, firing->resolved_ms);
    ap_buf_printf(out, " %g %g%s%s\n", firing->least, firing->most, firing->reason ? " " : "",
                  firing->reason ? firing->reason : "");
}

/* What came of it: firings, and a line about failures. */
static void check(struct fixture *fx, struct rule rule, const char *expected)
{
    rule.name = "Down";
    rule.is_alert = true;
    rule.expr = ap_slice_cstr("not asked");
    const struct replay_input input = {.rule = &rule,
                                       .group = &fx->group,
                                       .series = fx->series,
                                       .series_count = fx->series_count,
                                       .steps = fx->steps,
                                       .end_ms = fx->end_ms,
                                       .step_ms = STEP_MS,
                                       .external_url = ap_slice_cstr("")};
    AP_AUTO(replay) struct replay *replay = replay_run(&input);
    AP_AUTO_BUF struct ap_buf got = {0};
    size_t count;
    const struct replay_firing *firings = replay_firings(replay, &count);
    struct replay_failures failures = replay_failures(replay);
    for (size_t i = 0; i < count; i++)
        add_firing(&got, &firings[i]);
    if (failures.count)
        ap_buf_printf(&got, "failed %zu, first at %d: %s\n", failures.count, (int)(failures.first_ms / STEP_MS),
                      failures.reason);
    ap_buf_add_char(&got, '\0');
    assert_string_equal(got.data, expected);
    for (size_t i = 0; i < AP_ARRAY_COUNT(fx->labels); i++)
        ap_buf_clear(&fx->labels[i]);
}

static void test_for(void **state)
{
    (void)state;
    struct fixture fx = {0};
    add_series(&fx, NULL, "..33.1295..7777");
    check(&fx, (struct rule){.for_ms = 2 * STEP_MS},
          "{alertname=\"Down\"} 5 7 9 1 9\n"
          "{alertname=\"Down\"} 11 13 - 7 7\n");
}

static void test_at_once_and_again(void **state)
{
    (void)state;
    struct fixture fx = {0};
    add_series(&fx, NULL, "1..2");
    check(&fx, (struct rule){0},
          "{alertname=\"Down\"} 0 0 1 1 1\n"
          "{alertname=\"Down\"} 3 3 - 2 2\n");
}

static void test_keep_firing_for(void **state)
{
    (void)state;
    struct fixture fx = {0};
    add_series(&fx, NULL, "12..3.....");
    check(&fx, (struct rule){.for_ms = STEP_MS, .keep_firing_for_ms = 3 * STEP_MS}, "{alertname=\"Down\"} 0 1 8 1 3\n");
}

static void test_each_series_is_an_alert(void **state)
{
    (void)state;
    struct fixture fx = {0};
    const char *keys[] = {"severity", "who"}, *items[] = {"critical", "{{ $labels.job }}!"};
    add_series(&fx, "b", ".55.");
    add_series(&fx, "a", ".1.1");
    check(&fx, (struct rule){.for_ms = STEP_MS, .labels = {.keys = keys, .items = items, .count = 2}},
          "{alertname=\"Down\", job=\"b\", severity=\"critical\", who=\"b!\"} 1 2 3 5 5\n");
}

/* What makes the labels of both the same makes the rule fail, as it does at work. */
static void test_alerts_that_are_alike(void **state)
{
    (void)state;
    struct fixture fx = {0};
    const char *keys[] = {"job"}, *items[] = {"all"};
    add_series(&fx, "b", ".55.");
    add_series(&fx, "a", "..11");
    check(&fx, (struct rule){.labels = {.keys = keys, .items = items, .count = 1}},
          "{alertname=\"Down\", job=\"all\"} 1 1 - 1 5\n" /* a failure resolves nothing */
          "failed 1, first at 2: vector contains metrics with the same labelset after applying alert labels\n");
}

/* The group's limit is that of the server: none goes on when there are more. */
static void test_limit(void **state)
{
    (void)state;
    struct fixture fx = {.group = {.limit = 1}};
    add_series(&fx, "b", "555.5");
    add_series(&fx, "a", "..111");
    check(&fx, (struct rule){0},
          "{alertname=\"Down\", job=\"b\"} 0 0 2 5 5\n"
          "{alertname=\"Down\", job=\"a\"} 3 3 4 1 1\n"
          "failed 2, first at 2: exceeded limit of 1 with 2 alerts\n");
}

static void test_query_offset(void **state)
{
    (void)state;
    struct fixture fx = {.group = {.has_query_offset = true, .query_offset_ms = 2 * STEP_MS}};
    add_series(&fx, "a", ".55....");
    check(&fx, (struct rule){0}, "{alertname=\"Down\", job=\"a\"} 3 3 5 5 5\n");
}

/* ---- No data, and errors ---- */

static void test_no_data(void **state)
{
    (void)state;
    static const struct {
        enum rule_no_data no_data;
        const char *want;
    } cases[] = {
        {RULE_NO_DATA_OK, "{alertname=\"Down\", job=\"a\"} 1 2 4 5 7\n"},
        {RULE_NO_DATA_KEEP, "{alertname=\"Down\", job=\"a\"} 1 2 8 5 7\n"},
        {RULE_NO_DATA_ALERT, "{alertname=\"Down\", job=\"a\"} 1 2 8 5 7\n"
                             "{alertname=\"Down\", condition=\"no_data\"} 4 5 8 nan nan\n"},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(cases); i++) {
        struct fixture fx = {0};
        add_series(&fx, "a", ".567.....");
        add_conditions(&fx, "....????.");
        check(&fx, (struct rule){.for_ms = STEP_MS, .no_data = cases[i].no_data}, cases[i].want);
    }
}

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        enum rule_on_error on_error;
        const char *want;
    } cases[] = {
        {RULE_ON_ERROR_OK, "{alertname=\"Down\", job=\"a\"} 1 2 4 5 7\n"},
        {RULE_ON_ERROR_KEEP, "{alertname=\"Down\", job=\"a\"} 1 2 6 5 7\n"},
        {RULE_ON_ERROR_ALERT, "{alertname=\"Down\", job=\"a\"} 1 2 6 5 7\n"
                              "{alertname=\"Down\", condition=\"error\"} 4 5 6 nan nan too much\n"},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(cases); i++) {
        struct fixture fx = {0};
        add_series(&fx, "a", ".567.....");
        add_conditions(&fx, "....!!..!");
        AP_AUTO_FREE char *want = ap_asprintf("%sfailed 3, first at 4: too much\n", cases[i].want);
        check(&fx, (struct rule){.for_ms = STEP_MS, .on_error = cases[i].on_error}, want);
    }
}

/* ---- The same rule in a server ---- */

/* A server's group over series in memory, and what it was told at each step. */
struct live {
    struct memory_storage *storage;
    struct promql_engine *engine;
    struct rule_file *file;
    struct ap_buf alerts; /* each that fires, or has ended just now, at each step */
};

static enum ap_rc keep(void *context, const struct rules_sample *samples, size_t count, struct ap_err *err)
{
    (void)context, (void)samples, (void)count, (void)err;
    return AP_OK;
}

static void live_open(struct live *live, const char *rules)
{
    struct ap_err err;
    struct promql_engine_options options;
    promql_engine_options_init(&options);
    options.threads_max = 1;
    options.lookback_ms = STEP_MS;
    *live = (struct live){.storage = memory_storage_new()};
    assert_int_equal(promql_engine_open(&options, &live->engine, &err), AP_OK);
    if (rule_file_parse(ap_slice_cstr(rules), "rules.yml", false, NULL, NULL, &live->file, &err) != AP_OK)
        fail_msg("%s", err.text);
}

static void live_close(struct live *live)
{
    promql_engine_close(live->engine);
    memory_storage_free(live->storage);
    rule_file_free(live->file);
    ap_buf_clear(&live->alerts);
}

/* A character a step, as in add_series(). */
static void live_put(struct live *live, const char *name, const char *steps)
{
    AP_AUTO_BUF struct ap_buf labels = {0};
    struct ap_err err;
    assert_int_equal(series_text_labels(ap_slice_cstr(name), &labels, &err), AP_OK);
    for (int64_t i = 0; steps[i]; i++)
        if (steps[i] != '.')
            memory_storage_add(live->storage, ap_buf_slice(&labels), i * STEP_MS, steps[i] - '0', NULL);
}

static struct rules_world world_of(const struct live *live)
{
    return (struct rules_world){.engine = live->engine,
                                .storage = promql_storage_memory(live->storage),
                                .keep = keep,
                                .external_url = ap_slice_cstr(""),
                                .clock = &ap_clock_system};
}

/* "3 {…}" for each alert that fires at minute 3. */
static void add_alerts(struct ap_buf *out, int minute, const struct rule_status *status)
{
    for (size_t i = 0; i < status->alert_count; i++) {
        if (status->alerts[i].state != ALERT_STATE_FIRING)
            continue;
        ap_buf_printf(out, "%d ", minute);
        labels_format(status->alerts[i].labels, out);
        ap_buf_add_char(out, '\n');
    }
}

static void live_run(struct live *live, int minutes)
{
    const struct rules_world world = world_of(live);
    AP_AUTO(group_run) struct group_run *run = group_run_new(&live->file->groups[0], &world);
    for (int minute = 0; minute < minutes; minute++) {
        (void)group_run_evaluate(run, (int64_t)minute * STEP_MS);
        struct rule_status status = group_run_status(run, 0);
        add_alerts(&live->alerts, minute, &status);
    }
}

/* What the rule asks, asked beforehand, as a replay wants it. */
struct asked {
    struct ap_arena arena;
    struct replay_series series[POINTS_MAX];
    size_t series_count;
    struct replay_step steps[POINTS_MAX];
};

static void asked_add(struct asked *asked, const struct rules_sample *sample)
{
    size_t at = 0;
    while (at < asked->series_count && !ap_slice_equal(asked->series[at].labels, sample->labels))
        at++;
    assert_true(at < POINTS_MAX);
    if (at == asked->series_count) {
        asked->series[asked->series_count++] =
            (struct replay_series){.labels = sample->labels,
                                   .points = ap_arena_alloc0(&asked->arena, POINTS_MAX * sizeof(struct replay_point))};
    }
    struct replay_series *series = &asked->series[at];
    ((struct replay_point *)series->points)[series->count++] = (struct replay_point){sample->ts_ms, sample->value};
}

static void ask_all(const struct live *live, int minutes, struct asked *asked)
{
    const struct rules_world world = world_of(live);
    AP_AUTO(rule_question) struct rule_question *question = rule_question_new(&live->file->groups[0].rules[0]);
    ap_arena_init(&asked->arena, 0);
    for (int minute = 0; minute < minutes; minute++) {
        struct rules_answer answer = {0};
        struct ap_err err;
        if (rule_question_ask(question, &world, (int64_t)minute * STEP_MS, STEP_MS, &asked->arena, &answer, &err) !=
            AP_OK)
            asked->steps[minute] = (struct replay_step){RULE_CONDITION_ERROR, "it cannot be evaluated"};
        else if (!answer.has_figure)
            asked->steps[minute].condition = RULE_CONDITION_NO_DATA;
        for (size_t i = 0; i < answer.vector.count; i++)
            asked_add(asked, &answer.vector.samples[i]);
    }
}

/* The replay's firings, told as live_run() tells them. */
static void add_replayed(const struct live *live, const struct asked *asked, int minutes, struct ap_buf *out)
{
    const struct replay_input input = {.rule = &live->file->groups[0].rules[0],
                                       .group = &live->file->groups[0],
                                       .series = asked->series,
                                       .series_count = asked->series_count,
                                       .steps = asked->steps,
                                       .end_ms = (int64_t)(minutes - 1) * STEP_MS,
                                       .step_ms = STEP_MS,
                                       .external_url = ap_slice_cstr("")};
    AP_AUTO(replay) struct replay *replay = replay_run(&input);
    size_t count;
    const struct replay_firing *firings = replay_firings(replay, &count);
    struct alert alerts[POINTS_MAX];
    for (int minute = 0; minute < minutes; minute++) {
        struct rule_status status = {.alerts = alerts};
        for (size_t i = 0; i < count; i++) {
            int64_t ts_ms = (int64_t)minute * STEP_MS;
            if (firings[i].fired_ms <= ts_ms &&
                (firings[i].resolved_ms == RULES_TIME_NONE || ts_ms < firings[i].resolved_ms))
                alerts[status.alert_count++] = (struct alert){.state = ALERT_STATE_FIRING, .labels = firings[i].labels};
        }
        qsort(alerts, status.alert_count, sizeof(*alerts), alert_compare);
        add_alerts(out, minute, &status);
    }
}

/* Two hosts; one is away for a while, then both are, and then a second limit makes the expression ambiguous. */
static void test_as_in_a_server(void **state)
{
    (void)state;
    static const char *const words[] = {"no_data: ok",
                                        "no_data: keep",
                                        "no_data: alert",
                                        "on_error: keep",
                                        "on_error: ok",
                                        "on_error: alert",
                                        "no_data: alert, on_error: alert",
                                        "no_data: keep, on_error: ok",
                                        "no_data: alert, keep_firing_for: 3m"};
    enum { MINUTES = 40 };
    for (size_t i = 0; i < AP_ARRAY_COUNT(words); i++)
        for (int for_minutes = 0; for_minutes < 3; for_minutes++) {
            AP_AUTO_FREE char *rules =
                ap_asprintf("groups:\n- name: g\n  rules:\n"
                            "  - {alert: Hot, expr: heat > on () group_left () limit, for: %dm, labels: {at: '{{ "
                            "$labels.host }}'}, %s}\n",
                            for_minutes, words[i]);
            struct live live;
            struct asked asked = {0};
            AP_AUTO_BUF struct ap_buf replayed = {0};
            live_open(&live, rules);
            live_put(&live, "heat{host=\"a\"}", "1199999911199..9919999......9919999111999");
            live_put(&live, "heat{host=\"b\"}", "1111199999111111111999......1111111999991");
            live_put(&live, "limit", /*      */ "5555555555555555555555555555555555555555");
            live_put(&live, "limit{x=\"y\"}", "..............................555.......");
            live_run(&live, MINUTES);
            ask_all(&live, MINUTES, &asked);
            add_replayed(&live, &asked, MINUTES, &replayed);
            ap_buf_add_char(&live.alerts, '\0');
            ap_buf_add_char(&replayed, '\0');
            assert_non_null(strstr(live.alerts.data, "host=\"b\""));
            assert_true(!strstr(words[i], "no_data: alert") || strstr(live.alerts.data, "condition=\"no_data\""));
            assert_true(!strstr(words[i], "on_error: alert") || strstr(live.alerts.data, "condition=\"error\"") ||
                        for_minutes > 1);
            assert_string_equal(replayed.data, live.alerts.data);
            ap_arena_clear(&asked.arena);
            live_close(&live);
        }
}

static void test_nothing(void **state)
{
    (void)state;
    struct fixture fx = {.end_ms = 10 * STEP_MS};
    check(&fx, (struct rule){0}, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_for),
        cmocka_unit_test(test_at_once_and_again),
        cmocka_unit_test(test_keep_firing_for),
        cmocka_unit_test(test_each_series_is_an_alert),
        cmocka_unit_test(test_alerts_that_are_alike),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_query_offset),
        cmocka_unit_test(test_no_data),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_as_in_a_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
