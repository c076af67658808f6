/* When a rule would have fired. */
#include "rules/replay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "tsdb/labels.h"

enum { STEP_MS = 60000, POINTS_MAX = 64 };

struct fixture {
    struct ap_buf labels[4];
    struct replay_point points[4][POINTS_MAX];
    struct replay_series series[4];
    size_t series_count;
    int64_t end_ms;
};

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

/* What came of it, a line each: labels, then minutes of active, fired, resolved, then least and most. */
static void check(struct fixture *fx, struct rule rule, const char *expected)
{
    rule.name = "Down";
    rule.is_alert = true;
    rule.expr = ap_slice_cstr("not asked");
    const struct replay_input input = {.rule = &rule,
                                       .series = fx->series,
                                       .series_count = fx->series_count,
                                       .end_ms = fx->end_ms,
                                       .step_ms = STEP_MS,
                                       .external_url = ap_slice_cstr("")};
    AP_AUTO(replay) struct replay *replay = NULL;
    AP_AUTO_BUF struct ap_buf got = {0};
    struct ap_err err;
    if (replay_run(&input, &replay, &err) != AP_OK)
        ap_buf_add_cstr(&got, err.text);
    size_t count = 0;
    const struct replay_firing *firings = replay ? replay_firings(replay, &count) : NULL;
    for (size_t i = 0; i < count; i++) {
        labels_format(firings[i].labels, &got);
        ap_buf_printf(&got, " %d %d", (int)(firings[i].active_ms / STEP_MS), (int)(firings[i].fired_ms / STEP_MS));
        if (firings[i].resolved_ms == RULES_TIME_NONE)
            ap_buf_add_cstr(&got, " -");
        else
            ap_buf_printf(&got, " %d", (int)(firings[i].resolved_ms / STEP_MS));
        ap_buf_printf(&got, " %g %g\n", firings[i].least, firings[i].most);
    }
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
          "vector contains metrics with the same labelset after applying alert labels");
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
