/* What pages ask for again and again, over HTTP: GET /api/apiary/v1/alerts/summary, where alerts and silences come in
 * by Alertmanager's API and rules from a file; and that an answer which is as it was is not sent. */
#include "test_api_server.h"

#include "alert/alerting.h"
#include "api/pool.h"
#include "test_rules_in_memory.h"

struct fixture {
    int64_t now_us;
    struct ap_clock clock;
    struct rules_in_memory rules;
    struct api api;
    struct api_server server;
};

static const char rules[] =
    "groups:\n"
    "- name: a\n"
    "  rules:\n"
    "  - {record: 'one', expr: '1'}\n"
    "  - {record: 'wrong', expr: 'vector(1) + on() (vector(1) or label_replace(vector(2), \"a\", "
    "\"b\", \"\", \"\"))'}\n";

static int64_t read_clock(void *context)
{
    return ((struct fixture *)context)->now_us;
}

static void deliver(void *context, struct notification *notification)
{
    (void)context;
    (void)notification;
}

static int setup(void **state)
{
    struct fixture *fx = ap_new0(struct fixture);
    fx->now_us = NOON_MS * 1000;
    fx->clock = (struct ap_clock){read_clock, read_clock, fx};
    rules_in_memory_open(&fx->rules, rules, &fx->clock);
    struct alerting_options options = {.clock = &fx->clock, .deliver = deliver, .alerts_max = 100};
    MUST(alerting_open(&options, alert_config_new_silent(), &fx->api.alerting, &must_err));
    fx->api.engine = fx->rules.engine;
    fx->api.rules = fx->rules.manager;
    fx->api.clock = &fx->clock;
    fx->api.is_open = true;
    MUST(pool_open("questions", 1, 16, &fx->api.questions, &must_err));
    MUST(pool_open("alerts", 1, 16, &fx->api.alert_questions, &must_err));
    api_server_open(&fx->server, &fx->api, NULL, api_handle);
    *state = fx;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fx = *state;
    pool_stop(fx->api.questions);
    pool_stop(fx->api.alert_questions);
    api_server_close(&fx->server);
    pool_close(fx->api.questions);
    pool_close(fx->api.alert_questions);
    alerting_close(fx->api.alerting);
    rules_in_memory_close(&fx->rules);
    free(fx);
    return 0;
}

/* Lent until the next call. */
static const char *ask(struct fixture *fx, const char *path, const char *body)
{
    static char text[2048];
    static const struct http_field json = {"Content-Type", "application/json"};
    struct http_client_request request = {0};
    if (body) {
        request.body = ap_slice_cstr(body);
        request.fields = &json;
        request.field_count = 1;
    }
    unsigned status = api_server_ask(&fx->server, path, &request);
    snprintf(text, sizeof(text), "%.*s", AP_SLICE_ARG(fx->server.answer.body));
    if (status != 200)
        fail_msg("%s: %u %s", path, status, text);
    return text;
}

#define SUMMARY(fx, alerts, rest, evaluated, now)                                                                      \
    assert_string_equal(ask(fx, "/api/apiary/v1/alerts/summary", NULL),                                                \
                        "{\"alerts\":{" alerts "},\"active_by_severity\":" rest                                        \
                        ",\"rules\":{\"groups\":1,\"rules\":2," evaluated "},\"is_anybody_told\":false,"               \
                        "\"now_ms\":" now "}\n")

static void test_nothing(void **state)
{
    SUMMARY(*state, "\"active\":0,\"silenced\":0,\"inhibited\":0,\"muted\":0", "{},\"other_severities\":0",
            "\"failing\":0,\"last_evaluation_ms\":null", "1795435200000");
}

/* Silenced ones and Watchdogs are on nobody's mind. */
static void test_alerts(void **state)
{
    struct fixture *fx = *state;
    ask(fx, "/api/v2/alerts",
        "[{\"labels\":{\"alertname\":\"A\",\"severity\":\"critical\",\"n\":\"1\"}},"
        "{\"labels\":{\"alertname\":\"A\",\"severity\":\"critical\",\"n\":\"2\"}},"
        "{\"labels\":{\"alertname\":\"B\",\"severity\":\"warning\"}},{\"labels\":{\"alertname\":\"C\"}},"
        "{\"labels\":{\"alertname\":\"Watchdog\",\"severity\":\"page\"}}]");
    ask(fx, "/api/v2/silences",
        "{\"matchers\":[{\"name\":\"n\",\"value\":\"2\",\"isRegex\":false}],\"startsAt\":\"2026-11-23T12:00:00Z\","
        "\"endsAt\":\"2026-11-23T13:00:00Z\",\"createdBy\":\"a\",\"comment\":\"b\"}");
    fx->now_us += 1000;
    const char *text = ask(fx, "/api/apiary/v1/alerts/summary", NULL);
    assert_non_null(strstr(text, "\"alerts\":{\"active\":4,\"silenced\":1,\"inhibited\":0,\"muted\":0}"));
    assert_non_null(strstr(text, "\"critical\":1"));
    assert_non_null(strstr(text, "\"warning\":1"));
    assert_non_null(strstr(text, "\"\":1"));
    assert_non_null(strstr(text, "\"none\":1"));
    assert_null(strstr(text, "page"));
}

/* A label that anybody may send cannot make the answer long. */
static void test_many_severities(void **state)
{
    struct fixture *fx = *state;
    for (int i = 0; i < 20; i++) {
        AP_AUTO_FREE char *body = ap_asprintf("[{\"labels\":{\"alertname\":\"A\",\"severity\":\"s%d\"}}]", i);
        ask(fx, "/api/v2/alerts", body);
    }
    assert_non_null(strstr(ask(fx, "/api/apiary/v1/alerts/summary", NULL), "},\"other_severities\":4"));
}

static void test_rules(void **state)
{
    struct fixture *fx = *state;
    fx->now_us += 60 * INT64_C(1000000);
    while (rule_manager_step(fx->api.rules) == 0)
        ;
    const char *text = ask(fx, "/api/apiary/v1/alerts/summary", NULL);
    assert_non_null(strstr(text, "\"rules\":2,\"failing\":1,\"last_evaluation_ms\":17954352"));
}

/* ---- What has not changed ---- */

/* The status; the ETag that came is in `tag`. */
static unsigned ask_again(struct fixture *fx, const char *method, const char *path, char tag[64], size_t *ret_bytes)
{
    const struct http_field known = {"If-None-Match", tag};
    const struct http_client_request request = {.method = method, .fields = &known, .field_count = tag[0] != '\0'};
    unsigned status = api_server_ask(&fx->server, path, &request);
    const char *field = http_client_header(fx->server.client, "ETag");
    snprintf(tag, 64, "%s", field ? field : "");
    *ret_bytes = fx->server.answer.body.bytes;
    return status;
}

static void check_unchanged(struct fixture *fx, const char *path, const char *change)
{
    char tag[64] = "", before[64];
    size_t bytes;
    assert_int_equal(ask_again(fx, "GET", path, tag, &bytes), 200);
    assert_true(bytes > 0);
    snprintf(before, sizeof(before), "%s", tag);
    assert_int_not_equal(strlen(tag), 0);
    assert_int_equal(ask_again(fx, "GET", path, tag, &bytes), 304);
    assert_int_equal(bytes, 0);
    assert_string_equal(tag, before);
    ask(fx, "/api/v2/alerts", change);
    assert_int_equal(ask_again(fx, "GET", path, tag, &bytes), 200);
    assert_string_not_equal(tag, before);
    assert_int_equal(ask_again(fx, "HEAD", path, tag, &bytes), 304);
}

static void test_unchanged_is_not_sent(void **state)
{
    struct fixture *fx = *state;
    check_unchanged(fx, "/api/v2/alerts", "[{\"labels\":{\"alertname\":\"A\"}}]");
    check_unchanged(fx, "/api/v2/alerts/groups", "[{\"labels\":{\"alertname\":\"B\"}}]");
}

/* An answer that goes out in pieces. */
static void test_unchanged_and_large(void **state)
{
    struct fixture *fx = *state;
    enum { TEXT_BYTES = 8000 };
    static char text[TEXT_BYTES + 1];
    memset(text, 'x', TEXT_BYTES);
    for (int i = 0; i < 90; i++) {
        AP_AUTO_FREE char *body =
            ap_asprintf("[{\"labels\":{\"alertname\":\"A%d\"},\"annotations\":{\"a\":\"%s\"}}]", i, text);
        ask(fx, "/api/v2/alerts", body);
    }
    check_unchanged(fx, "/api/v2/alerts", "[{\"labels\":{\"alertname\":\"A1\"},\"annotations\":{\"a\":\"y\"}}]");
    check_unchanged(fx, "/api/v2/alerts?filter=alertname%3DA2",
                    "[{\"labels\":{\"alertname\":\"A2\"},\"annotations\":{\"a\":\"y\"}}]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_alerts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_severities, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rules, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unchanged_is_not_sent, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unchanged_and_large, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
