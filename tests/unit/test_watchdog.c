#include "alert/watchdog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

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
                  "receivers: [{name: all}, {name: page}, {name: mail}]\n");
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
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_route),
        cmocka_unit_test(test_route_without_a_file),
        cmocka_unit_test(test_a_receiver_of_its_name),
        cmocka_unit_test(test_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
