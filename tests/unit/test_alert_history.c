/* When alerts would have fired, asked of a server by HTTP: what is stored is of the day before noon, UTC. */
#include "cli/alert_history.h"

#include "base/bits.h"
#include "test_api_fixture.h"

enum { MINUTE_MS = 60000 };

/* A character a step, the last one at noon: a digit is the value, '-' ends the series, '.' is none. */
static void put_steps(struct fixture *fx, const char *const *texts, int64_t step_ms, const char *steps)
{
    size_t count = strlen(steps), kept = 0;
    AP_AUTO_FREE int64_t *ts_ms = ap_new0_array(int64_t, count + 1);
    AP_AUTO_FREE double *values = ap_new0_array(double, count + 1);
    for (size_t i = 0; i < count; i++) {
        if (steps[i] == '.')
            continue;
        ts_ms[kept] = NOON_MS - (int64_t)(count - 1 - i) * step_ms;
        values[kept++] = steps[i] == '-' ? ap_double_of_bits(UINT64_C(0x7ff0000000000002)) : steps[i] - '0';
    }
    append(fx, texts, ts_ms, values, kept);
}

static void put(struct fixture *fx, const char *const *texts, const char *minutes)
{
    put_steps(fx, texts, MINUTE_MS, minutes);
}

/* One rule, and what came of it: a line each for firings, times in minutes before noon, and for failures. */
struct asking {
    struct rule_file *file;
    struct alert_history history;
    struct ap_err err;
    enum ap_rc rc;
    struct ap_buf text;
};

static void add_minute(struct ap_buf *out, int64_t ts_ms)
{
    if (ts_ms == RULES_TIME_NONE)
        ap_buf_add_cstr(out, " -");
    else
        ap_buf_printf(out, " %d", (int)((NOON_MS - ts_ms) / MINUTE_MS));
}

static void ask_past(struct asking *asking, const struct fixture *fx, const char *rules, int64_t since_ms)
{
    *asking = (struct asking){0};
    AP_AUTO_FREE char *address = ap_asprintf("http://127.0.0.1:%u/", fx->port);
    const struct alert_history_options options = {
        .remote = {address, NULL}, .now_ms = NOON_MS + 1234, .since_ms = since_ms, .interval_ms = MINUTE_MS};
    if (rule_file_parse(ap_slice_cstr(rules), "rules.yml", false, NULL, NULL, &asking->file, &asking->err) != AP_OK)
        fail_msg("%s", asking->err.text);
    const struct rule_group *group = &asking->file->groups[0];
    asking->rc = alert_history_ask(&options, &group->rules[0], group, &asking->history, &asking->err);
    size_t count = 0;
    const struct replay_firing *firings =
        asking->history.replay ? replay_firings(asking->history.replay, &count) : NULL;
    for (size_t i = 0; i < count; i++) {
        labels_format(firings[i].labels, &asking->text);
        add_minute(&asking->text, firings[i].fired_ms);
        add_minute(&asking->text, firings[i].resolved_ms);
        ap_buf_printf(&asking->text, " %g%s\n", firings[i].most, firings[i].reason ? " for a reason" : "");
    }
    struct replay_failures failures =
        asking->history.replay ? replay_failures(asking->history.replay) : (struct replay_failures){0};
    if (failures.count) {
        ap_buf_printf(&asking->text, "failed %zu, first at", failures.count);
        add_minute(&asking->text, failures.first_ms);
    }
    ap_buf_add_char(&asking->text, '\0');
}

static void asking_clear(struct asking *asking)
{
    alert_history_clear(&asking->history);
    rule_file_free(asking->file);
    ap_buf_clear(&asking->text);
}

#define RULE(more) "groups:\n- name: g\n  rules:\n  - {alert: Hot, expr: heat > on () group_left () limit, " more "}\n"
#define CHECK(rules, want)                                                                                             \
    do {                                                                                                               \
        struct asking asking_;                                                                                         \
        ask_past(&asking_, fx, rules, INT64_C(40) * MINUTE_MS);                                                        \
        assert_int_equal(asking_.rc, AP_OK);                                                                           \
        assert_string_equal(asking_.text.data, want);                                                                  \
        assert_int_equal(asking_.history.start_ms, NOON_MS - INT64_C(40) * MINUTE_MS);                                 \
        asking_clear(&asking_);                                                                                        \
    } while (0)

/* Heat is above for eleven minutes, in the midst of which there are two limits for three. */
static void test_errors_are_found(void **state)
{
    struct fixture *fx = *state;
    put(fx, LABELS("heat"), "1111111111999999999991111111111111111111");
    put(fx, LABELS("limit"), "5555555555555555555555555555555555555555");
    put(fx, LABELS("limit", "x", "y"), "..............555-......................");
    CHECK(RULE("on_error: keep"), "{alertname=\"Hot\"} 29 18 9\nfailed 3, first at 25");
    CHECK(RULE("on_error: ok"), "{alertname=\"Hot\"} 29 25 9\n{alertname=\"Hot\"} 22 18 9\nfailed 3, first at 25");
    CHECK(RULE("on_error: alert, for: 1m"), "{alertname=\"Hot\"} 28 18 9\n"
                                            "{alertname=\"Hot\", condition=\"error\"} 24 22 nan for a reason\n"
                                            "failed 3, first at 25");
}

static void test_missing_data_is_found(void **state)
{
    struct fixture *fx = *state;
    put(fx, LABELS("heat"), "1199111111-...........111111111111-.....");
    put(fx, LABELS("limit"), "5555555555555555555555555555555555555555");
    CHECK(RULE("no_data: ok"), "{alertname=\"Hot\"} 37 35 9\n");
    CHECK(RULE("no_data: alert, for: 2m"), "{alertname=\"Hot\", condition=\"no_data\"} 27 17 nan\n"
                                           "{alertname=\"Hot\", condition=\"no_data\"} 3 - nan\n");
}

static void test_query_offset(void **state)
{
    struct fixture *fx = *state;
    put(fx, LABELS("heat"), "111111111111111111111111111111991111111-");
    put(fx, LABELS("limit"), "5555555555555555555555555555555555555555");
    CHECK("groups:\n- name: g\n  query_offset: 2m\n  rules:\n  - {alert: Hot, expr: heat > on () limit}\n",
          "{alertname=\"Hot\"} 7 5 9\n");
}

/* Every other step: to know each takes more questions than are asked, and the oldest are left out. */
static void test_too_many_questions(void **state)
{
    struct fixture *fx = *state;
    enum { STEPS = 600, STEP_MS = 5000 };
    char nines[STEPS + 1], fives[STEPS + 1], doubts[STEPS + 1];
    for (int i = 0; i < STEPS; i++) {
        nines[i] = '9';
        fives[i] = '5';
        doubts[i] = i % 2 ? '5' : '-';
    }
    nines[STEPS] = fives[STEPS] = doubts[STEPS] = '\0';
    put_steps(fx, LABELS("heat"), STEP_MS, nines);
    put_steps(fx, LABELS("limit"), STEP_MS, fives);
    put_steps(fx, LABELS("limit", "x", "y"), STEP_MS, doubts);
    struct asking asking;
    ask_past(&asking, fx, "groups:\n- {name: g, interval: 5s, rules: [{alert: Hot, expr: heat > on () limit}]}\n",
             (int64_t)(STEPS - 1) * STEP_MS);
    assert_int_equal(asking.rc, AP_OK);
    assert_int_equal(asking.history.end_ms, NOON_MS);
    int64_t steps = (asking.history.end_ms - asking.history.start_ms) / STEP_MS + 1;
    assert_in_range(steps, 200, 500);
    assert_int_equal(replay_failures(asking.history.replay).count, (steps + 1) / 2); /* the last one is one of them */
    asking_clear(&asking);
}

static void fails(const struct fixture *fx, const char *rules, const char *want)
{
    struct asking asking;
    ask_past(&asking, fx, rules, INT64_C(39) * MINUTE_MS);
    assert_int_not_equal(asking.rc, AP_OK);
    assert_non_null(strstr(asking.err.text, want));
    assert_null(asking.history.replay);
    asking_clear(&asking);
}

static void test_what_never_works(void **state)
{
    struct fixture *fx = *state;
    put(fx, LABELS("heat"), "9999999999999999999999999999999999999999");
    put(fx, LABELS("limit"), "5555555555555555555555555555555555555555");
    put(fx, LABELS("limit", "x", "y"), "5555555555555555555555555555555555555555");
    fails(fx, "groups:\n- {name: g, rules: [{alert: Hot, expr: heat > on () limit, on_error: alert}]}\n",
          "many-to-many");
    const struct fixture nowhere = {.port = 1};
    fails(&nowhere, RULE("for: 1m"), "127.0.0.1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_errors_are_found), FIXTURE_TEST(test_missing_data_is_found),
        FIXTURE_TEST(test_query_offset),     FIXTURE_TEST(test_too_many_questions),
        FIXTURE_TEST(test_what_never_works),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
