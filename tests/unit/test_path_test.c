/* Tests of the path on a clock of the test's own; what is sent is written down, and answered as each case wants it. */
#include "notify/path_test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "alert/alerting.h"
#include "base/buf.h"
#include "notify/test_message.h"
#include "tsdb/labels.h"

#define HOUR_MS  INT64_C(3600000)
#define START_MS INT64_C(1796029200000) /* Monday, 2026-11-30 09:00 UTC */

enum { ANSWERS_MAX = 16, HELD_MAX = 8 };

struct fixture {
    int64_t now_ms;
    struct ap_clock clock;
    struct alerting *alerting;
    struct path_test *test;
    struct ap_buf sent;
    enum delivery_outcome answers[ANSWERS_MAX]; /* to the next messages, then DELIVERY_DONE */
    size_t answer_count;
    size_t answered_count;
    bool is_changed;
    bool is_holding; /* nothing is answered until release() */
    struct notification *held[HELD_MAX];
    size_t held_count;
    char dedup_key[65]; /* of the newest */
};

static int64_t wall_us(void *context)
{
    const struct fixture *fixture = context;
    return fixture->now_ms * AP_US_PER_MS;
}

static void answer(struct fixture *fixture, const struct notification *notification)
{
    struct delivery delivery = {.outcome = DELIVERY_DONE};
    if (fixture->answered_count < fixture->answer_count)
        delivery.outcome = fixture->answers[fixture->answered_count++];
    path_test_delivered(fixture->test, notification, &delivery);
}

/* "team webhook 1 begins", in a line each. */
static void deliver(void *context, struct notification *notification)
{
    struct fixture *fixture = context;
    assert_int_equal(notification->kind, NOTIFICATION_TEST);
    assert_int_equal(notification->alert_count, 1);
    assert_true(
        ap_slice_equal_cstr(labels_get(notification->alerts[0].labels, ap_slice_cstr("alertname")), TEST_MESSAGE_NAME));
    ap_buf_printf(&fixture->sent, "%s %s %u %s\n", notification->receiver->name,
                  receiver_kind_name(notification->way->kind), notification->attempt,
                  notification->firing_count ? "begins" : "ends");
    memcpy(fixture->dedup_key, notification->dedup_key, sizeof(fixture->dedup_key));
    if (!fixture->is_holding) {
        answer(fixture, notification);
        return;
    }
    assert_true(fixture->held_count < HELD_MAX);
    fixture->held[fixture->held_count++] = notification_ref(notification);
}

static void release(struct fixture *fixture)
{
    fixture->is_holding = false;
    while (fixture->held_count) {
        struct notification *notification = fixture->held[--fixture->held_count];
        answer(fixture, notification);
        notification_unref(notification);
    }
}

static void changed(void *context)
{
    struct fixture *fixture = context;
    fixture->is_changed = true;
}

static struct alert_config *parse(const char *receiver, const char *receivers)
{
    AP_AUTO_FREE char *text = ap_asprintf("route: {receiver: %s}\nreceivers:\n%s", receiver, receivers);
    struct alert_config *config;
    struct ap_err err;
    if (alert_config_parse(ap_slice_cstr(text), "test", &config, &err) != AP_OK)
        fail_msg("%s", err.text);
    return config;
}

static struct alert_config *config_of(const char *receivers)
{
    AP_AUTO_FREE char *all = ap_asprintf("- {name: none}\n%s", receivers);
    return parse("none", all);
}

#define TEAM   "- {name: team, webhook_configs: [{url: 'http://h/'}, {url: 'http://i/'}]}\n"
#define ONCALL "- {name: oncall, pagerduty_configs: [{routing_key: k}]}\n"

static void start_with(struct fixture *fixture, const char *receivers, int64_t interval_ms)
{
    *fixture = (struct fixture){.now_ms = START_MS};
    fixture->clock = (struct ap_clock){wall_us, wall_us, fixture};
    const struct alerting_options options = {
        .clock = &fixture->clock, .deliver = deliver, .context = fixture, .alerts_max = 10};
    struct ap_err err;
    if (alerting_open(&options, config_of(receivers), &fixture->alerting, &err) != AP_OK)
        fail_msg("%s", err.text);
    fixture->test = path_test_new(&(struct path_test_options){
        .alerting = fixture->alerting,
        .clock = &fixture->clock,
        .schedule = {.interval_ms = interval_ms, .at_ms = 10 * HOUR_MS},
        .deliver = deliver,
        .changed = changed,
        .context = fixture,
    });
}

static void end(struct fixture *fixture)
{
    release(fixture);
    path_test_stop(fixture->test);
    path_test_free(fixture->test);
    alerting_close(fixture->alerting);
    ap_buf_clear(&fixture->sent);
}

static void answers(struct fixture *fixture, size_t count, const enum delivery_outcome *outcomes)
{
    memcpy(fixture->answers, outcomes, count * sizeof(*outcomes));
    fixture->answer_count = count;
    fixture->answered_count = 0;
}
#define ANSWERS(fixture, ...)                                                                                          \
    do {                                                                                                               \
        const enum delivery_outcome outcomes[] = {__VA_ARGS__};                                                        \
        answers(fixture, AP_ARRAY_COUNT(outcomes), outcomes);                                                          \
    } while (0)

/* As the server's thread does, which sleeps for as long as it is told, or until something changes. */
static void advance(struct fixture *fixture, int64_t for_ms)
{
    int64_t end_ms = fixture->now_ms + for_ms;
    for (;;) {
        int64_t wait_ms;
        do {
            fixture->is_changed = false;
            wait_ms = path_test_step(fixture->test);
        } while (fixture->is_changed);
        if (fixture->now_ms + wait_ms > end_ms)
            break;
        assert_true(wait_ms > 0);
        fixture->now_ms += wait_ms;
    }
    fixture->now_ms = end_ms;
}

/* What was sent since the last time. */
#define SENT(fixture, want)                                                                                            \
    do {                                                                                                               \
        ap_buf_add_char(&(fixture)->sent, '\0');                                                                       \
        assert_string_equal((fixture)->sent.data, want);                                                               \
        ap_buf_reset(&(fixture)->sent);                                                                                \
    } while (0)

/* "team webhook 0: done at +3600; …", seconds from the start. */
static void add_result(const struct path_test_result *result, void *context)
{
    struct ap_buf *out = context;
    ap_buf_printf(out, "%s%s %s %zu: ", out->bytes ? "; " : "", result->receiver, receiver_kind_name(result->kind),
                  result->way_index);
    if (result->ended_ms)
        ap_buf_printf(out, "%s at %+lld", delivery_outcome_name(result->delivery.outcome),
                      (long long)(result->ended_ms - START_MS) / 1000);
    else
        ap_buf_add_cstr(out, "never");
    if (result->is_under_way)
        ap_buf_add_cstr(out, ", under way");
}
static void expect_results(struct fixture *fixture, const char *receiver, const char *want)
{
    AP_AUTO_BUF struct ap_buf out = {0};
    path_test_each(fixture->test, receiver, add_result, &out);
    ap_buf_add_char(&out, '\0');
    assert_string_equal(out.data, want);
}
#define RESULTS(fixture, receiver, want) expect_results(fixture, receiver, want)

/* ---- The schedule ---- */

static void test_schedule(void **state)
{
    (void)state;
    struct fixture fixture;
    start_with(&fixture, TEAM ONCALL, 24 * HOUR_MS);
    assert_int_equal(path_test_next_ms(fixture.test), START_MS + HOUR_MS);
    advance(&fixture, HOUR_MS - 1);
    SENT(&fixture, "");
    RESULTS(&fixture, "team", "team webhook 0: never; team webhook 1: never");
    advance(&fixture, 1);
    advance(&fixture, 0);
    SENT(&fixture,
         "team webhook 1 begins\nteam webhook 1 begins\noncall pagerduty 1 begins\noncall pagerduty 1 ends\n");
    RESULTS(&fixture, NULL,
            "team webhook 0: done at +3600; team webhook 1: done at +3600; oncall pagerduty 0: done at +3600");
    assert_int_equal(path_test_next_ms(fixture.test), START_MS + 25 * HOUR_MS);
    advance(&fixture, 24 * HOUR_MS - 1);
    SENT(&fixture, "");
    end(&fixture);
}

static void test_no_schedule(void **state)
{
    (void)state;
    struct fixture fixture;
    start_with(&fixture, TEAM, 0);
    assert_int_equal(path_test_next_ms(fixture.test), 0);
    advance(&fixture, 100 * 24 * HOUR_MS);
    SENT(&fixture, "");
    end(&fixture);
}

/* Some are named, then others, then none: all. */
static void test_some_are_on_schedule(void **state)
{
    (void)state;
    struct fixture fixture;
    const char *oncall = "oncall", *team = "team";
    struct path_test_schedule schedule = {
        .interval_ms = 24 * HOUR_MS, .at_ms = 10 * HOUR_MS, .receivers = &oncall, .receiver_count = 1};
    start_with(&fixture, TEAM ONCALL, 24 * HOUR_MS);
    path_test_reconfigure(fixture.test, &schedule);
    assert_int_equal(path_test_receiver_next_ms(fixture.test, "oncall"), START_MS + HOUR_MS);
    assert_int_equal(path_test_receiver_next_ms(fixture.test, "team"), 0);
    advance(&fixture, HOUR_MS);
    SENT(&fixture, "oncall pagerduty 1 begins\noncall pagerduty 1 ends\n");
    schedule.receivers = &team;
    schedule.at_ms = 12 * HOUR_MS;
    fixture.is_changed = false;
    path_test_reconfigure(fixture.test, &schedule);
    assert_true(fixture.is_changed); /* who sleeps until the next one is woken up */
    assert_int_equal(path_test_receiver_next_ms(fixture.test, "team"), START_MS + 3 * HOUR_MS);
    advance(&fixture, 2 * HOUR_MS);
    SENT(&fixture, "team webhook 1 begins\nteam webhook 1 begins\n");
    path_test_reconfigure(fixture.test, NULL); /* the receivers, and not the schedule */
    assert_int_equal(path_test_receiver_next_ms(fixture.test, "oncall"), 0);
    schedule.receiver_count = 0;
    path_test_reconfigure(fixture.test, &schedule);
    assert_int_equal(path_test_receiver_next_ms(fixture.test, "oncall"), START_MS + 27 * HOUR_MS);
    schedule.interval_ms = 0;
    path_test_reconfigure(fixture.test, &schedule);
    assert_int_equal(path_test_receiver_next_ms(fixture.test, "oncall"), 0);
    advance(&fixture, 100 * 24 * HOUR_MS);
    SENT(&fixture, "");
    end(&fixture);
}

/* An interval that no day is a multiple of; a clock that is set goes on with the schedule, and tests nothing twice. */
static void test_clock_is_set(void **state)
{
    (void)state;
    struct fixture fixture;
    start_with(&fixture, ONCALL, 7 * HOUR_MS);
    int64_t first_ms = path_test_next_ms(fixture.test);
    assert_true(first_ms > START_MS && first_ms <= START_MS + 7 * HOUR_MS);
    fixture.now_ms += 1000 * HOUR_MS; /* ahead: what was missed is one test */
    path_test_step(fixture.test);
    SENT(&fixture, "oncall pagerduty 1 begins\noncall pagerduty 1 ends\n");
    assert_true(path_test_next_ms(fixture.test) > fixture.now_ms);
    fixture.now_ms -= 1000 * HOUR_MS; /* back: not silent for a thousand hours */
    path_test_step(fixture.test);
    SENT(&fixture, "");
    assert_int_equal(path_test_next_ms(fixture.test), first_ms);
    end(&fixture);
}

/* ---- What fails ---- */

static void test_tried_again(void **state)
{
    (void)state;
    struct fixture fixture;
    start_with(&fixture, "- {name: team, webhook_configs: [{url: 'http://h/'}]}\n", 24 * HOUR_MS);
    ANSWERS(&fixture, DELIVERY_RETRY, DELIVERY_RETRY);
    advance(&fixture, HOUR_MS + 1000);
    SENT(&fixture, "team webhook 1 begins\n");
    RESULTS(&fixture, NULL, "team webhook 0: never, under way");
    advance(&fixture, 30000);
    SENT(&fixture, "team webhook 2 begins\n");
    advance(&fixture, 30000);
    SENT(&fixture, "team webhook 3 begins\n");
    RESULTS(&fixture, NULL, "team webhook 0: done at +3660");

    ANSWERS(&fixture, DELIVERY_RETRY, DELIVERY_RETRY, DELIVERY_RETRY);
    advance(&fixture, 24 * HOUR_MS);
    SENT(&fixture, "team webhook 1 begins\nteam webhook 2 begins\nteam webhook 3 begins\n");
    RESULTS(&fixture, NULL, "team webhook 0: retry at +90060");

    ANSWERS(&fixture, DELIVERY_REFUSED); /* will not become better */
    advance(&fixture, 24 * HOUR_MS);
    SENT(&fixture, "team webhook 1 begins\n");
    RESULTS(&fixture, NULL, "team webhook 0: refused at +176400");
    end(&fixture);
}

static void run_ok(struct fixture *fixture, const char *receiver)
{
    struct ap_err err;
    if (path_test_run(fixture->test, receiver, 60000, &err) != AP_OK)
        fail_msg("%s", err.text);
}

/* PagerDuty's incident is closed again, whatever became of the message that opens it. */
static void test_incidents_are_closed(void **state)
{
    (void)state;
    struct fixture fixture;
    start_with(&fixture, ONCALL, 0);
    ANSWERS(&fixture, DELIVERY_DONE, DELIVERY_DONE);
    run_ok(&fixture, "oncall");
    SENT(&fixture, "oncall pagerduty 1 begins\noncall pagerduty 1 ends\n");
    char dedup_key[65];
    memcpy(dedup_key, fixture.dedup_key, sizeof(dedup_key));
    RESULTS(&fixture, NULL, "oncall pagerduty 0: done at +0");

    /* A time-out may mean that it came in; the outcome is that of the first message. */
    ANSWERS(&fixture, DELIVERY_RETRY, DELIVERY_DONE);
    run_ok(&fixture, "oncall");
    SENT(&fixture, "oncall pagerduty 1 begins\noncall pagerduty 1 ends\n");
    RESULTS(&fixture, NULL, "oncall pagerduty 0: retry at +0");
    ANSWERS(&fixture, DELIVERY_REFUSED, DELIVERY_REFUSED);
    run_ok(&fixture, "oncall");
    RESULTS(&fixture, NULL, "oncall pagerduty 0: refused at +0");
    ap_buf_reset(&fixture.sent);

    /* Once it is open, only its end is tried again. */
    struct ap_err err;
    ANSWERS(&fixture, DELIVERY_DONE, DELIVERY_RETRY, DELIVERY_DONE);
    assert_int_equal(path_test_run(fixture.test, "oncall", 1, &err), AP_E_TIMEOUT);
    SENT(&fixture, "oncall pagerduty 1 begins\noncall pagerduty 1 ends\n");
    advance(&fixture, 31000);
    SENT(&fixture, "oncall pagerduty 2 ends\n");
    RESULTS(&fixture, NULL, "oncall pagerduty 0: done at +30");
    assert_string_equal(fixture.dedup_key, dedup_key); /* the same incident each time */
    end(&fixture);
}

/* ---- When somebody asks ---- */

static void test_asked(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ap_err err;
    start_with(&fixture, TEAM ONCALL "- {name: nobody}\n", 0);
    ANSWERS(&fixture, DELIVERY_DONE, DELIVERY_RETRY);
    run_ok(&fixture, "team");
    SENT(&fixture, "team webhook 1 begins\nteam webhook 1 begins\n");
    RESULTS(&fixture, "team", "team webhook 0: done at +0; team webhook 1: retry at +0");
    advance(&fixture, HOUR_MS); /* nobody is told again */
    SENT(&fixture, "");
    assert_int_equal(path_test_run(fixture.test, "teem", 60000, &err), AP_E_NOT_FOUND);
    assert_string_equal(err.text, "there is no receiver \"teem\"");
    run_ok(&fixture, "nobody");
    SENT(&fixture, "");

    fixture.is_holding = true;
    assert_int_equal(path_test_run(fixture.test, "team", 1, &err), AP_E_TIMEOUT);
    SENT(&fixture, "team webhook 1 begins\nteam webhook 1 begins\n");
    assert_int_equal(path_test_run(fixture.test, "team", 1, &err), AP_E_TIMEOUT); /* the same ones */
    SENT(&fixture, "");
    release(&fixture);
    RESULTS(&fixture, "team", "team webhook 0: done at +3600; team webhook 1: done at +3600");
    path_test_stop(fixture.test);
    assert_int_equal(path_test_run(fixture.test, "team", 60000, &err), AP_E_BUSY);
    SENT(&fixture, "");
    end(&fixture);
}

/* ---- Another configuration, another process ---- */

static void reconfigure(struct fixture *fixture, const char *receivers)
{
    alerting_reconfigure(fixture->alerting, config_of(receivers));
    path_test_reconfigure(fixture->test, NULL);
}

static void test_reconfigure(void **state)
{
    (void)state;
    struct fixture fixture;
    start_with(&fixture, TEAM ONCALL, 0);
    run_ok(&fixture, "oncall");
    fixture.is_holding = true;
    struct ap_err err;
    assert_int_equal(path_test_run(fixture.test, "team", 1, &err), AP_E_TIMEOUT);
    reconfigure(&fixture, ONCALL "- {name: team, webhook_configs: [{url: 'http://h/'}]}\n");
    RESULTS(&fixture, NULL, "oncall pagerduty 0: done at +0; team webhook 0: never, under way");
    release(&fixture); /* one of them is to a way that is gone */
    RESULTS(&fixture, NULL, "oncall pagerduty 0: done at +0; team webhook 0: done at +0");
    reconfigure(&fixture, "- {name: team, webhook_configs: [{url: 'http://h/'}]}\n" ONCALL);
    RESULTS(&fixture, NULL, "team webhook 0: done at +0; oncall pagerduty 0: done at +0");
    end(&fixture);
}

/* The server's own receiver, a heart-beat service, would take a test for a beat. */
static void test_not_the_watchdog(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ap_err err;
    start_with(&fixture, TEAM, 24 * HOUR_MS);
    struct alert_config *config = config_of(ONCALL);
    assert_int_equal(alert_config_add_builtin(
                         config, parse("beat", "- {name: beat, webhook_configs: [{url: 'http://b/'}]}\n"), &err),
                     AP_OK);
    alerting_reconfigure(fixture.alerting, config);
    path_test_reconfigure(fixture.test, NULL);
    assert_int_equal(path_test_run(fixture.test, "beat", 60000, &err), AP_E_NOT_FOUND);
    advance(&fixture, 2 * HOUR_MS);
    SENT(&fixture, "oncall pagerduty 1 begins\noncall pagerduty 1 ends\n");
    end(&fixture);
}

static void test_remember(void **state)
{
    (void)state;
    struct fixture fixture;
    start_with(&fixture, TEAM, 0);
    struct ap_slice webhook = ap_slice_cstr("webhook");
    path_test_remember(fixture.test, "team", webhook, 0, START_MS - 60000, true);
    path_test_remember(fixture.test, "team", webhook, 1, START_MS - 50000, false);
    path_test_remember(fixture.test, "team", webhook, 2, START_MS - 50000, true); /* is no more */
    path_test_remember(fixture.test, "team", ap_slice_cstr("slack"), 0, START_MS, true);
    RESULTS(&fixture, NULL, "team webhook 0: done at -60; team webhook 1: refused at -50");
    run_ok(&fixture, "team");
    path_test_remember(fixture.test, "team", webhook, 1, START_MS - 50000, false); /* comes late */
    RESULTS(&fixture, NULL, "team webhook 0: done at +0; team webhook 1: done at +0");
    end(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schedule),
        cmocka_unit_test(test_no_schedule),
        cmocka_unit_test(test_some_are_on_schedule),
        cmocka_unit_test(test_clock_is_set),
        cmocka_unit_test(test_tried_again),
        cmocka_unit_test(test_incidents_are_closed),
        cmocka_unit_test(test_asked),
        cmocka_unit_test(test_reconfigure),
        cmocka_unit_test(test_not_the_watchdog),
        cmocka_unit_test(test_remember),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
