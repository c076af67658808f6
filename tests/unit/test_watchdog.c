#include "alert/watchdog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "alert/alerting.h"
#include "rules/alert.h"
#include "rules/rule_file.h"
#include "tsdb/labels.h"

static const struct watchdog pinged = {.url = "http://127.0.0.1:1/ping/\"a\"", .interval_ms = 60000};

static struct alert_config *config_of(const char *text)
{
    struct alert_config *config = NULL;
    struct ap_err err;
    if (alert_config_parse(ap_slice_cstr(text), "test", &config, &err) != AP_OK)
        fail_msg("%s", err.text);
    return config;
}

/* ---- Who is told ---- */

static void add_receiver(const struct route *route, void *context)
{
    ap_buf_printf(context, "%s;", route->receiver);
}

static const char *receivers_of(const struct alert_config *config, struct label *labels, size_t count,
                                struct ap_buf *out)
{
    AP_AUTO_BUF struct ap_buf encoded = {0};
    struct ap_err err;
    assert_int_equal(labels_encode(labels, count, &encoded, &err), AP_OK);
    ap_buf_reset(out);
    alert_config_match(config, ap_buf_slice(&encoded), add_receiver, out);
    ap_buf_add_char(out, '\0');
    return out->data;
}

static void test_route(void **state)
{
    (void)state;
    AP_AUTO(alert_config)
    struct alert_config *config =
        config_of("route: {receiver: all, routes: [{receiver: page, continue: true}, {receiver: mail}]}\n"
                  "receivers: [{name: all}, {name: page, webhook_configs: [{url: 'http://a'}]}, {name: mail}]\n");
    AP_AUTO_BUF struct ap_buf out = {0};
    struct ap_err err;
    struct label own[] = {{ap_slice_cstr("alertname"), ap_slice_cstr("Watchdog")},
                          {ap_slice_cstr("watchdog"), ap_slice_cstr("built-in")}};
    assert_string_equal(receivers_of(config, own, 2, &out), "page;mail;");
    assert_int_equal(watchdog_add_route(&pinged, config, &err), AP_OK);
    assert_string_equal(receivers_of(config, own, 2, &out), WATCHDOG_RECEIVER ";"); /* nobody else */
    assert_string_equal(receivers_of(config, own, 1, &out), "page;mail;");          /* somebody else's Watchdog */
    own[0].value = ap_slice_cstr("Down");
    assert_string_equal(receivers_of(config, own, 2, &out), "page;mail;");
    const struct receiver *receiver = alert_config_receiver(config, WATCHDOG_RECEIVER);
    assert_non_null(receiver);
    assert_string_equal(receiver->ways[0].webhook.url, pinged.url);
    assert_false(receiver->ways[0].is_sending_resolved);
    assert_non_null(alert_config_receiver(config, "mail"));
    assert_int_equal(config->receiver_count, 3); /* what the file has stays what it is */
    assert_int_equal(receiver->first_way_index, 1);
    assert_int_equal(config->way_count, 2);
}

static void test_route_without_a_file(void **state)
{
    (void)state;
    AP_AUTO(alert_config) struct alert_config *config = alert_config_new_silent();
    struct watchdog in_file = {.url_file = "/etc/apiary/beat.url", .interval_ms = 1000};
    struct ap_err err;
    assert_int_equal(watchdog_add_route(&in_file, config, &err), AP_OK);
    assert_string_equal(alert_config_receiver(config, WATCHDOG_RECEIVER)->ways[0].webhook.url_file, in_file.url_file);
}

static void test_a_receiver_of_its_name(void **state)
{
    (void)state;
    AP_AUTO(alert_config)
    struct alert_config *config =
        config_of("route: {receiver: '" WATCHDOG_RECEIVER "'}\nreceivers: [{name: '" WATCHDOG_RECEIVER "'}]\n");
    struct ap_err err;
    assert_int_equal(watchdog_add_route(&pinged, config, &err), AP_E_CONFLICT);
    assert_string_equal(err.text,
                        "the receiver \"" WATCHDOG_RECEIVER "\" is the server's own; give yours another name");
}

/* ---- What fires ---- */

static void test_rules(void **state)
{
    (void)state;
    AP_AUTO_BUF struct ap_buf text = {0};
    AP_AUTO(rule_file) struct rule_file *file = NULL;
    struct ap_err err;
    assert_true(watchdog_is_on(&pinged));
    assert_false(watchdog_is_on(&(struct watchdog){0}));
    ap_buf_add_cstr(&text, "groups:\n");
    watchdog_add_rules(&pinged, &text);
    if (rule_file_parse(ap_buf_slice(&text), "test", false, NULL, NULL, &file, &err) != AP_OK)
        fail_msg("%s", err.text);
    assert_int_equal(file->group_count, 1);
    assert_int_equal(file->groups[0].interval_ms, pinged.interval_ms);
    assert_string_equal(file->groups[0].rules[0].name, "Watchdog");
    assert_int_equal(file->groups[0].rules[0].for_ms, 0);
    assert_int_equal(file->groups[0].rules[0].on_error, RULE_ON_ERROR_OK);
}

/* ---- Over time ---- */

struct fixture {
    int64_t now_ms;
    struct alerting *alerting;
    struct notification *leaving; /* owned */
    size_t told_count;
};

static int64_t wall_us(void *context)
{
    return ((const struct fixture *)context)->now_ms * 1000;
}

static void deliver(void *context, struct notification *notification)
{
    struct fixture *fx = context;
    assert_null(fx->leaving);
    assert_string_equal(notification->receiver->name, WATCHDOG_RECEIVER);
    assert_int_equal(notification->kind, NOTIFICATION_WATCHDOG);
    fx->leaving = notification_ref(notification);
    fx->told_count++;
}

static void taken(void *context, enum ap_rc rc)
{
    (void)context;
    assert_int_equal(rc, AP_OK);
}

/* As a group of rules does every minute. */
static void tell(struct fixture *fx)
{
    AP_AUTO_BUF struct ap_buf labels = {0};
    struct ap_err err;
    struct label own[] = {{ap_slice_cstr("alertname"), ap_slice_cstr("Watchdog")},
                          {ap_slice_cstr("watchdog"), ap_slice_cstr("built-in")}};
    assert_int_equal(labels_encode(own, 2, &labels, &err), AP_OK);
    const struct alert_in alert = {
        .labels = ap_buf_slice(&labels), .starts_ms = fx->now_ms, .ends_ms = fx->now_ms + 4 * (int64_t)ALERT_RESEND_MS};
    assert_int_equal(alerting_put(fx->alerting, &alert, 1, taken, NULL, &err), AP_OK);
}

/* How many beats leave in so many minutes. */
static size_t beats_within(struct fixture *fx, int minutes, bool are_rules_alive)
{
    size_t before = fx->told_count;
    for (int64_t end_ms = fx->now_ms + minutes * INT64_C(60000); fx->now_ms < end_ms; fx->now_ms += 500) {
        if (are_rules_alive && fx->now_ms % ALERT_RESEND_MS == 0)
            tell(fx);
        (void)alerting_step(fx->alerting);
        if (!fx->leaving)
            continue;
        alerting_delivered(fx->alerting, fx->leaving, &(struct delivery){.outcome = DELIVERY_DONE});
        notification_unref(fx->leaving);
        fx->leaving = NULL;
    }
    return fx->told_count - before;
}

/* A beat each interval, not each second one; and none when rules are evaluated no more. */
static void test_beats(void **state)
{
    (void)state;
    struct fixture fx = {.now_ms = INT64_C(1796029200000)};
    const struct ap_clock clock = {.wall_us = wall_us, .monotonic_us = wall_us, .context = &fx};
    const struct alerting_options options = {.clock = &clock, .alerts_max = 10, .deliver = deliver, .context = &fx};
    struct alert_config *config = alert_config_new_silent();
    struct ap_err err;
    assert_int_equal(watchdog_add_route(&pinged, config, &err), AP_OK);
    assert_int_equal(alerting_open(&options, config, &fx.alerting, &err), AP_OK);
    assert_int_equal(beats_within(&fx, 60, true), 60);
    assert_int_equal(beats_within(&fx, 4, false), 3); /* the last word of the rules holds for so long */
    assert_int_equal(beats_within(&fx, 60, false), 0);
    assert_int_equal(beats_within(&fx, 60, true), 60);
    alerting_close(fx.alerting);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_route),
        cmocka_unit_test(test_route_without_a_file),
        cmocka_unit_test(test_a_receiver_of_its_name),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_beats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
