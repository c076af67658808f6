#include "alert/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "alert/matcher_text.h"
#include "base/buf.h"
#include "tsdb/labels.h"

/* ---- Matchers ---- */

static const char *matchers_text(const char *text, struct ap_buf *out)
{
    struct matchers matchers = {0};
    struct ap_err err;
    ap_buf_reset(out);
    if (matcher_text_parse_list(ap_slice_cstr(text), &matchers, &err) == AP_OK)
        matcher_text_format_list(&matchers, out);
    else
        ap_buf_printf(out, "%s", err.text);
    matchers_clear(&matchers);
    ap_buf_add_char(out, '\0');
    return out->data;
}

static void test_matchers(void **state)
{
    (void)state;
    AP_AUTO_BUF struct ap_buf out = {0};
#define MATCHERS(text, want) assert_string_equal(matchers_text(text, &out), want)
    MATCHERS("foo=bar", "{foo=\"bar\"}");
    MATCHERS("{foo = \"bar\", dings != \"bums\", }", "{foo=\"bar\",dings!=\"bums\"}");
    MATCHERS(" a =~ \"x|y\" , b!~z", "{a=~\"x|y\",b!~\"z\"}");
    MATCHERS("", "{}");
    MATCHERS("{}", "{}");
    MATCHERS("a=", "{a=\"\"}");
    MATCHERS("a=b c", "{a=\"b c\"}");
    MATCHERS("a=\"b,c\\\"d\\\\e\\nf\\g\"", "{a=\"b,c\\\"d\\\\e\\nf\\\\g\"}");
    MATCHERS("a=b=c", "{a=\"b=c\"}");
    /* What the classic notation does not take. */
    MATCHERS("\"http.status\"=~\"5..\"", "{http.status=~\"5..\"}");
    MATCHERS("{\"a b\"=\"\\u00e9\\x41\"}", "{\"a b\"=\"\xc3\xa9"
                                           "A\"}");
    MATCHERS("k\xc3\xa4se=gut", "{k\xc3\xa4se=\"gut\"}");
    /* Neither takes these, and the classic one says why. */
    MATCHERS("foo", "bad matcher format: foo");
    MATCHERS("=a", "bad matcher format: =a");
    MATCHERS("a=\"b", "matcher value contains unescaped double quote: \"b");
    MATCHERS("a=b\"c\"", "matcher value contains unescaped double quote: b\"c\"");
    MATCHERS("{{a=b}}", "bad matcher format: {a=b}");
    assert_non_null(strstr(matchers_text("a=~\"(\"", &out), "("));
#undef MATCHERS
    struct matcher *matcher;
    struct ap_err err;
    assert_int_equal(matcher_text_parse(ap_slice_cstr("{a=b}"), &matcher, &err), AP_E_PARSE);
    assert_int_equal(matcher_text_parse(ap_slice_cstr("a=b,c=d"), &matcher, &err), AP_OK); /* one, as classic ones go */
    assert_true(ap_slice_equal_cstr(matcher_value(matcher), "b,c=d"));
    matcher_free(matcher);
    assert_int_equal(matcher_text_parse(ap_slice_cstr("\"a b\"=c,d=e"), &matcher, &err), AP_E_PARSE);
}

/* ---- Files ---- */

static enum ap_rc load(const char *text, struct alert_config **ret_config, struct ap_err *err)
{
    char path[] = "/tmp/apiary-alert-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    enum ap_rc rc = alert_config_load(path, ret_config, err);
    unlink(path);
    return rc;
}

static void add_receiver(const struct route *route, void *context)
{
    struct ap_buf *out = context;
    ap_buf_printf(out, "%s%s", out->bytes ? "," : "", route->receiver);
}

static void encode(const char *const *pairs, struct ap_buf *out)
{
    struct label labels[8];
    size_t count = 0;
    for (; pairs[2 * count]; count++)
        labels[count] = (struct label){ap_slice_cstr(pairs[2 * count]), ap_slice_cstr(pairs[2 * count + 1])};
    struct ap_err err;
    assert_int_equal(labels_encode(labels, count, out, &err), AP_OK);
}

#define GOES_TO(config, want, ...)                                                                                     \
    do {                                                                                                               \
        AP_AUTO_BUF struct ap_buf labels_ = {0};                                                                       \
        AP_AUTO_BUF struct ap_buf got_ = {0};                                                                          \
        const char *const pairs_[] = {__VA_ARGS__, NULL};                                                              \
        encode(pairs_, &labels_);                                                                                      \
        route_match((config)->root, ap_buf_slice(&labels_), add_receiver, &got_);                                      \
        ap_buf_add_char(&got_, '\0');                                                                                  \
        assert_string_equal(got_.data, want);                                                                          \
    } while (0)

static const char tree[] = "route:\n"
                           "  receiver: all\n"
                           "  group_by: [cluster, alertname]\n"
                           "  group_wait: 10s\n"
                           "  routes:\n"
                           "  - receiver: log\n"
                           "    continue: true\n"
                           "    group_by: ['...']\n"
                           "  - matchers: [team=\"db\"]\n"
                           "    receiver: db\n"
                           "    group_interval: 2m\n"
                           "    routes:\n"
                           "    - matchers: ['severity=~\"page|critical\"']\n"
                           "      receiver: pager\n"
                           "      active_time_intervals: [office]\n"
                           "    - match: {severity: mail}\n"
                           "      match_re: {env: 'prod.*'}\n"
                           "      group_wait: 0s\n"
                           "  - matchers: [team=web]\n"
                           "    mute_time_intervals: [office]\n"
                           "receivers: [{name: all}, {name: log}, {name: db}, {name: pager}]\n"
                           "time_intervals:\n"
                           "- name: office\n"
                           "  time_intervals:\n"
                           "  - {weekdays: ['monday:friday'], times: [{start_time: '09:00', end_time: '17:00'}]}\n";

static void test_routes(void **state)
{
    (void)state;
    struct ap_err err;
    AP_AUTO(alert_config) struct alert_config *config = NULL;
    if (load(tree, &config, &err) != AP_OK)
        fail_msg("%s", err.text);
    GOES_TO(config, "log", "alertname", "A");
    GOES_TO(config, "log,db", "team", "db");
    GOES_TO(config, "log,pager", "team", "db", "severity", "page");
    GOES_TO(config, "log,db", "team", "db", "severity", "mail", "env", "production");
    GOES_TO(config, "log,db", "team", "db", "severity", "mail", "env", "test");
    GOES_TO(config, "log,all", "team", "web");
    const struct route *db = &config->root->routes[1], *mail = &db->routes[1];
    assert_int_equal(config->root->group_interval_ms, ROUTE_GROUP_INTERVAL_MS);
    assert_int_equal(mail->group_interval_ms, 120000); /* its parent's */
    assert_int_equal(mail->group_wait_ms, 0);
    assert_int_equal(db->group_wait_ms, 10000);
    assert_int_equal(mail->repeat_interval_ms, ROUTE_REPEAT_INTERVAL_MS);
    assert_int_equal(mail->active_in.count, 0); /* these are not inherited */
    AP_AUTO_BUF struct ap_buf text = {0};
    route_id(mail, &text);
    assert_true(ap_slice_equal_cstr(ap_buf_slice(&text), "{}/{team=\"db\"}/{env=~\"prod.*\",severity=\"mail\"}/1"));
    /* Groups. */
    AP_AUTO_BUF struct ap_buf labels = {0};
    AP_AUTO_BUF struct ap_buf group = {0};
    encode((const char *const[]){"alertname", "A", "team", "db", NULL}, &labels);
    assert_int_equal(route_group_labels(mail, ap_buf_slice(&labels), &group, &err), AP_OK);
    ap_buf_reset(&text);
    labels_format(ap_buf_slice(&group), &text);
    assert_true(ap_slice_equal_cstr(ap_buf_slice(&text), "{alertname=\"A\"}"));
    ap_buf_reset(&group);
    assert_int_equal(route_group_labels(&config->root->routes[0], ap_buf_slice(&labels), &group, &err), AP_OK);
    assert_true(ap_slice_equal(ap_buf_slice(&group), ap_buf_slice(&labels)));
    /* Monday, 2026-11-30 09:00 UTC. */
    const struct named_intervals *office = alert_config_intervals(config, "office");
    assert_true(named_intervals_contain(office, 1796029200));
    assert_false(named_intervals_contain(office, 1796029199));
    assert_false(named_intervals_contain(office, 1796029200 + 8 * 3600));
    assert_false(named_intervals_contain(office, 1796029200 - 86400));
}

#define ROOT "route: {receiver: a}\nreceivers: [{name: a}]\n"
static void bad(const char *text, const char *want)
{
    struct ap_err err;
    struct alert_config *config;
    if (load(text, &config, &err) == AP_OK) {
        alert_config_free(config);
        fail_msg("taken: %s", text);
    }
    if (!strstr(err.text, want))
        fail_msg("\"%s\" where \"%s\" was to be in it", err.text, want);
}

static void test_what_is_wrong(void **state)
{
    (void)state;
    bad("", ":1:1: no route provided in config");
    bad("route: {}\n", ":1:8: root route must specify a default receiver");
    bad("route: {receiver: b}\nreceivers: [{name: a}]\n", "undefined receiver \"b\" used in route");
    bad("route: {receiver: a, matchers: [x=y]}\nreceivers: [{name: a}]\n", "root route must not have any matchers");
    bad("route: {receiver: a, continue: true}\nreceivers: [{name: a}]\n", "cannot have continue in root route");
    bad("route: {receiver: a, mute_time_intervals: [x]}\nreceivers: [{name: a}]\n", "any mute time intervals");
    bad("route: {receiver: a, routes: [{mute_time_intervals: [x]}]}\nreceivers: [{name: a}]\n",
        "undefined time interval \"x\" used in route");
    bad("route: {receiver: a, group_by: [x, '...']}\nreceivers: [{name: a}]\n", "cannot have wildcard group_by");
    bad("route: {receiver: a, group_by: [x, y, x]}\nreceivers: [{name: a}]\n", "duplicated label \"x\" in group_by");
    bad("route: {receiver: a, group_interval: 0s}\nreceivers: [{name: a}]\n", "group_interval cannot be zero");
    bad("route: {receiver: a, group_wait: soon}\nreceivers: [{name: a}]\n", ":1:34: group_wait: expected a duration");
    bad("route: {receiver: a, routes: [{matchers: ['x']}]}\nreceivers: [{name: a}]\n", "bad matcher format: x");
    bad("route: {receiver: a, routes: [{match_re: {x: '('}}]}\nreceivers: [{name: a}]\n", "match_re: x: ");
    bad("route: {receiver: a, reciever: b}\nreceivers: [{name: a}]\n", "receiver");
    bad("route: {receiver: a}\nreceivers: [{name: a}, {name: a}]\n",
        ":2:24: notification config name \"a\" is not unique");
    bad("route: {receiver: a}\nreceivers: [{name: ''}]\n", "missing name in receiver");
    bad("route: {receiver: a}\nreceivers: [{name: a, webhook_configs: [{}]}]\n", "one of url or url_file");
    bad("route: {receiver: a}\nreceivers: [{name: a, webhook_configs: [{url: 'ftp://x'}]}]\n", "http://");
    bad("route: {receiver: a}\nreceivers: [{name: a, webhook_configs: [{url: 'http://x', timeout: 5}]}]\n",
        "a duration");
    bad("route: {receiver: a}\nreceivers: [{name: a, pagerduty_configs: [{}]}]\n", "exactly one of routing_key");
    bad("route: {receiver: a}\nreceivers: [{name: a, pagerduty_configs: [{service_key: k, change_events: true}]}]\n",
        "2:75: change_events: they are of PagerDuty's Events API v2");
    bad("route: {receiver: a}\nreceivers: [{name: a, slack_configs: [{channel: '#x'}]}]\n", "no global Slack API URL");
    bad("route: {receiver: a}\nreceivers: [{name: a, email_configs: [{to: x@y}]}]\n", "no global SMTP smarthost set");
    bad("route: {receiver: a}\nreceivers: [{name: a, email_configs: [{to: x@y, smarthost: y}]}]\n", "host:port");
    bad("route: {receiver: a}\nreceivers: [{name: a, telegram_configs: []}]\n", ":2:23: telegram_configs: this server");
    bad(ROOT "time_intervals: [{name: x}, {name: x}]\n", "time interval \"x\" is not unique");
    bad(ROOT "inhibit_rules: [{equal: ['']}]\n", "invalid label name \"\" in equal list");
    bad(ROOT "global: {smtp_auth_password: a, smtp_auth_password_file: b}\n", "at most one of smtp_auth_password");
    bad(ROOT "global: {slack_api_url: x}\n", "http://");
    bad(ROOT "nonsense: 1\n", "nonsense");
}

static void test_receivers(void **state)
{
    (void)state;
    struct ap_err err;
    AP_AUTO(alert_config) struct alert_config *config = NULL;
    if (load("global: {resolve_timeout: 1m, smtp_smarthost: 'mail:587', smtp_from: a@b, slack_api_url: 'https://s/x'}\n"
             "route: {receiver: a}\n"
             "receivers:\n"
             "- name: a\n"
             "  email_configs: [{to: x@y, require_tls: false}]\n"
             "  webhook_configs: [{url: 'http://h/1', max_alerts: 3}, {url_file: /x, send_resolved: false}]\n"
             "  slack_configs: [{channel: '#c', fields: [{title: t, value: v}], mrkdwn_in: [text]}]\n"
             "  pagerduty_configs: [{routing_key: k, details: {n: '{{ .Alerts | len }}'}},\n"
             "    {routing_key: k, change_events: true}, {routing_key: k, change_events: true, send_resolved: true}]\n",
             &config, &err) != AP_OK)
        fail_msg("%s", err.text);
    const struct receiver *receiver = alert_config_receiver(config, "a");
    assert_int_equal(config->global.resolve_timeout_ms, 60000);
    assert_true(config->global.is_smtp_tls_required);
    assert_int_equal(receiver->way_count, 7);
    assert_int_equal(receiver->ways[0].kind, RECEIVER_WEBHOOK);
    assert_int_equal(receiver->ways[0].webhook.alerts_max, 3);
    assert_true(receiver->ways[0].is_sending_resolved);
    assert_false(receiver->ways[1].is_sending_resolved);
    assert_string_equal(receiver->ways[2].pagerduty.routing_key, "k");
    assert_string_equal(receiver->ways[2].pagerduty.details.keys[0], "n");
    assert_true(receiver->ways[2].is_sending_resolved && !receiver->ways[2].pagerduty.is_change);
    assert_false(receiver->ways[3].is_sending_resolved); /* changes do not end */
    assert_true(receiver->ways[4].is_sending_resolved && receiver->ways[4].pagerduty.is_change);
    assert_string_equal(receiver->ways[5].slack.channel, "#c");
    assert_false(receiver->ways[5].is_sending_resolved);
    assert_string_equal(receiver->ways[6].email.to, "x@y");
    assert_string_equal(receiver_kind_name(receiver->ways[6].kind), "email");
}

/* ---- Times ---- */

static void test_intervals(void **state)
{
    (void)state;
    AP_AUTO_ARENA struct ap_arena arena;
    ap_arena_init(&arena, 0);
    enum { MONDAY = 1796029200 /* 2026-11-30 09:00 UTC */, DAY = 86400 };
    static const struct {
        const char *text;
        int64_t at_s;
        bool want;
    } cases[] = {
        {"{}", MONDAY, true},
        {"{weekdays: [monday]}", MONDAY, true},
        {"{weekdays: ['Saturday', 'sunday']}", MONDAY, false},
        {"{days_of_month: ['-1']}", MONDAY, true}, /* November has 30 */
        {"{days_of_month: ['31']}", MONDAY, false},
        {"{days_of_month: ['25:31']}", MONDAY, true},
        {"{days_of_month: ['-3:-2']}", MONDAY, false},
        {"{days_of_month: ['1:-1']}", MONDAY + 20 * DAY, true},
        {"{months: ['november:december']}", MONDAY, true},
        {"{months: ['1:10']}", MONDAY, false},
        {"{years: ['2020:2026']}", MONDAY, true},
        {"{years: ['2027']}", MONDAY, false},
        {"{times: [{start_time: '00:00', end_time: '24:00'}]}", MONDAY, true},
        {"{times: [{start_time: '09:00', end_time: '09:01'}]}", MONDAY + 59, true},
        {"{times: [{start_time: '09:00', end_time: '09:01'}]}", MONDAY + 60, false},
        {"{times: [{start_time: '10:00', end_time: '10:01'}], location: Europe/Berlin}", MONDAY, true},
        {"{times: [{start_time: '20:00', end_time: '20:01'}], location: Australia/Sydney}", MONDAY, true},
        {"{weekdays: [tuesday], location: Pacific/Auckland}", MONDAY + 5 * 3600, true},
        {"{weekdays: []}", MONDAY, false}, /* a list that is there and empty has nothing */
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(cases); i++) {
        AP_AUTO(yaml) struct yaml_document *document = NULL;
        struct time_interval interval;
        struct ap_err err;
        assert_int_equal(yaml_parse(ap_slice_cstr(cases[i].text), "x", &document, &err), AP_OK);
        if (time_interval_read(yaml_root(document), &arena, &interval, &err) != AP_OK)
            fail_msg("%s", err.text);
        if (time_interval_contains(&interval, cases[i].at_s) != cases[i].want)
            fail_msg("%s at %lld", cases[i].text, (long long)cases[i].at_s);
        time_interval_clear(&interval);
    }
    static const struct {
        const char *text;
        const char *want;
    } wrong[] = {
        {"{weekdays: [someday]}", "someday is not a valid weekday"},
        {"{weekdays: ['1:5']}", "1 is not a valid weekday"},
        {"{weekdays: ['friday:monday']}", "a range that goes round the end is two"},
        {"{days_of_month: ['0']}", "0 is not a valid day of the month"},
        {"{days_of_month: ['-1:1']}", "must be negative"},
        {"{days_of_month: ['20:-20']}", "always before"},
        {"{months: ['13']}", "months are 1 to 12"},
        {"{months: [smarch]}", "smarch is not a valid month"},
        {"{years: ['2027:2026']}", "is before the first"},
        {"{times: [{start_time: '9:00', end_time: '17:00'}]}", "from 00:00 to 24:00, found \"9:00\""},
        {"{times: [{start_time: '17:00', end_time: '09:00'}]}", "past midnight is two"},
        {"{times: [{start_time: '17:00', end_time: '24:01'}]}", "24:01"},
        {"{times: [{start_time: '17:00'}]}", "end_time"},
        {"{location: Mars}", "Mars is not known here"},
        {"{weekdays: monday}", "expected a list of ranges"},
        {"{days: [1]}", "days"},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(wrong); i++) {
        AP_AUTO(yaml) struct yaml_document *document = NULL;
        struct time_interval interval;
        struct ap_err err;
        assert_int_equal(yaml_parse(ap_slice_cstr(wrong[i].text), "x", &document, &err), AP_OK);
        assert_int_equal(time_interval_read(yaml_root(document), &arena, &interval, &err), AP_E_PARSE);
        if (!strstr(err.text, wrong[i].want))
            fail_msg("\"%s\" where \"%s\" was to be in it", err.text, wrong[i].want);
        time_interval_clear(&interval);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matchers),  cmocka_unit_test(test_routes),    cmocka_unit_test(test_what_is_wrong),
        cmocka_unit_test(test_receivers), cmocka_unit_test(test_intervals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
