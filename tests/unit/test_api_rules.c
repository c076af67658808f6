/* /api/v1/rules and /api/v1/alerts from the socket to the rules and back; series are in memory, the test's clock is
 * theirs. */
#include "test_api_server.h"

#include "api/pool.h"
#include "base/buf.h"
#include "test_rules_in_memory.h"
#include "tsdb/labels.h"

struct fixture {
    int64_t now_us;
    struct ap_clock clock;
    struct rules_in_memory rules;
    struct api api;
    struct api_server server;
};

static const char rules[] = "groups:\n"
                            "- name: a\n"
                            "  rules:\n"
                            "  - {record: 'one', expr: '1', labels: {team: core}}\n"
                            "  - {record: 'wrong', expr: up, labels: {job: all}}\n"
                            "- name: b\n"
                            "  interval: 30s\n"
                            "  limit: 7\n"
                            "  rules:\n"
                            "  - alert: Up\n"
                            "    expr: up>0\n"
                            "    for: 1m\n"
                            "    keep_firing_for: 90s\n"
                            "    labels: {team: web}\n"
                            "    annotations: {say: '{{ $value }}'}\n"
                            "- {name: c, rules: [{alert: Later, expr: 'vector(1)'}]}\n";

static int64_t read_clock(void *context)
{
    return ((struct fixture *)context)->now_us;
}

static void put(struct fixture *fx, const char *job, double value)
{
    AP_AUTO_BUF struct ap_buf labels = {0};
    struct label set[] = {{ap_slice_cstr(LABEL_METRIC_NAME), ap_slice_cstr("up")},
                          {ap_slice_cstr("job"), ap_slice_cstr(job)}};
    MUST(labels_encode(set, AP_ARRAY_COUNT(set), &labels, &must_err));
    memory_storage_add(fx->rules.storage, ap_buf_slice(&labels), NOON_MS, value, NULL);
}

static int setup(void **state)
{
    struct fixture *fx = ap_new0(struct fixture);
    fx->now_us = NOON_MS * 1000;
    fx->clock = (struct ap_clock){read_clock, read_clock, fx};
    rules_in_memory_open(&fx->rules, rules, &fx->clock);
    put(fx, "x", 1.5);
    put(fx, "y", 0);
    put(fx, "z", 2e9);
    fx->api.engine = fx->rules.engine;
    fx->api.rules = fx->rules.manager;
    fx->api.clock = &fx->clock;
    fx->api.is_open = true;
    MUST(pool_open("questions", 2, 16, &fx->api.questions, &must_err));
    api_server_open(&fx->server, &fx->api, NULL, api_handle);
    *state = fx;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fx = *state;
    pool_stop(fx->api.questions);
    api_server_close(&fx->server);
    pool_close(fx->api.questions);
    rules_in_memory_close(&fx->rules);
    free(fx);
    return 0;
}

static void advance(struct fixture *fx, int64_t seconds)
{
    fx->now_us += seconds * 1000000;
    while (rule_manager_step(fx->api.rules) == 0)
        ;
}

/* What is at the address, its file's name as FILE and its times as TIME. Lent until the next call. */
static const char *ask(struct fixture *fx, const char *what, unsigned want_status)
{
    static char text[8192];
    AP_AUTO_FREE char *path = ap_asprintf("/api/v1/%s", what);
    assert_int_equal(api_server_ask(&fx->server, path, &(struct http_client_request){0}), want_status);
    struct ap_slice body = fx->server.answer.body;
    size_t used = 0;
    for (size_t at = 0; at < body.bytes && used < sizeof(text) - 8;) {
        struct ap_slice rest = {body.data + at, body.bytes - at};
        if (ap_slice_starts_with(rest, fx->rules.path)) {
            used += (size_t)snprintf(text + used, 5, "FILE");
            at += strlen(fx->rules.path);
        } else if (ap_slice_starts_with(rest, "2026-11-23T12:")) {
            used += (size_t)snprintf(text + used, 5, "TIME");
            at += strlen("2026-11-23T12:00:00.000Z");
        } else {
            text[used++] = body.data[at++];
        }
    }
    text[used] = '\0';
    return text;
}

#define ANSWER(fx, what, want) assert_string_equal(ask(fx, what, 200), "{\"status\":\"success\",\"data\":" want "}\n")
#define REFUSED(fx, what, want)                                                                                        \
    assert_string_equal(ask(fx, what, 400),                                                                            \
                        "{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"" want "\"}\n")

#define NEVER "\"evaluationTime\":0,\"lastEvaluation\":\"0001-01-01T00:00:00Z\""
#define RECORDED(condition)                                                                                            \
    ",\"type\":\"recording\",\"apiary\":{\"language\":\"promql\",\"condition\":\"" condition "\"}}"
#define WELL  RECORDED("ok")
#define WRONG RECORDED("error")
#define PLAIN_ALERT                                                                                                    \
    ",\"type\":\"alerting\",\"apiary\":{\"language\":\"promql\",\"no_data\":\"ok\",\"on_error\":\"keep\","             \
    "\"condition\":\"ok\"}}"
#define ONCE "\"evaluationTime\":0,\"lastEvaluation\":\"TIME\""

static void test_before_the_first_evaluation(void **state)
{
    struct fixture *fx = *state;
    ANSWER(fx, "alerts", "{\"alerts\":[]}");
    ANSWER(fx, "rules?rule_group[]=c",
           "{\"groups\":[{\"name\":\"c\",\"file\":\"FILE\",\"rules\":[{\"state\":\"unknown\",\"name\":\"Later\","
           "\"query\":\"vector(1)\",\"duration\":0,\"keepFiringFor\":0,\"labels\":{},\"annotations\":{},\"alerts\":[],"
           "\"health\":\"unknown\"," NEVER PLAIN_ALERT "],\"interval\":60,\"limit\":0," NEVER "}]}");
}

#define ALERT(job, state, value)                                                                                       \
    "{\"labels\":{\"alertname\":\"Up\",\"job\":\"" job "\",\"team\":\"web\"},\"annotations\":{\"say\":\"" value        \
    "\"},\"state\":\"" state "\",\"activeAt\":\"TIME\",\"value\":"

static void test_evaluated(void **state)
{
    struct fixture *fx = *state;
    advance(fx, 60);
    ANSWER(fx, "rules?rule_group[]=a",
           "{\"groups\":[{\"name\":\"a\",\"file\":\"FILE\",\"rules\":["
           "{\"name\":\"one\",\"query\":\"1\",\"labels\":{\"team\":\"core\"},\"health\":\"ok\"," ONCE WELL
           ",{\"name\":\"wrong\",\"query\":\"up\",\"labels\":{\"job\":\"all\"},\"health\":\"err\",\"lastError\":"
           "\"vector contains metrics with the same labelset after applying rule labels\"," ONCE WRONG
           "],\"interval\":60,\"limit\":0," ONCE "}]}");
    ANSWER(fx, "rules?type=alert&rule_name[]=Up&file[]=x&file[]=", "{\"groups\":[]}");
    ANSWER(fx, "rules?type=alert&rule_name[]=Up&rule_name[]=one",
           "{\"groups\":[{\"name\":\"b\",\"file\":\"FILE\",\"rules\":[{\"state\":\"pending\",\"name\":\"Up\",\"query\":"
           "\"up > 0\",\"duration\":60,\"keepFiringFor\":90,\"labels\":{\"team\":\"web\"},\"annotations\":{\"say\":"
           "\"{{ $value }}\"},\"alerts\":[" ALERT("x", "pending", "1.5") "\"1.5e+00\"}," ALERT(
               "z", "pending", "2e+09") "\"2e+09\"}],\"health\":\"ok\"," ONCE PLAIN_ALERT
                                        "],\"interval\":30,\"limit\":7," ONCE "}]}");
    advance(fx, 60);
    ANSWER(fx, "alerts",
           "{\"alerts\":[" ALERT("x", "firing", "1.5") "\"1.5e+00\"}," ALERT(
               "z", "firing", "2e+09") "\"2e+09\"},"
                                       "{\"labels\":{\"alertname\":\"Later\"},\"annotations\":{},\"state\":\"firing\","
                                       "\"activeAt\":\"TIME\","
                                       "\"value\":\"1e+00\"}]}");
    assert_null(strstr(ask(fx, "rules?exclude_alerts=true", 200), "activeAt"));
    advance(fx, 300); /* the samples are too old by now: kept firing */
    assert_non_null(strstr(ask(fx, "alerts", 200), "\"keepFiringSince\":\"TIME\""));
}

static void test_matchers(void **state)
{
    struct fixture *fx = *state;
    const char *text = ask(fx, "rules?match[]=%7Bteam%3D~%22w.*%22%7D", 200);
    assert_null(strstr(text, "\"name\":\"a\""));
    assert_non_null(strstr(text, "\"name\":\"Up\""));
    text = ask(fx, "rules?match[]=%7Bteam%3D%22web%22%7D&match[]=%7Bteam%3D%22core%22%7D", 200);
    assert_non_null(strstr(text, "\"name\":\"one\""));
    assert_null(strstr(text, "\"name\":\"wrong\""));
    assert_non_null(strstr(text, "\"name\":\"Up\""));
}

static void test_pages(void **state)
{
    struct fixture *fx = *state;
    const char *text = ask(fx, "rules?group_limit=2", 200);
    assert_null(strstr(text, "\"name\":\"c\""));
    const char *token = strstr(text, "\"groupNextToken\":\"");
    assert_non_null(token);
    AP_AUTO_FREE char *next =
        ap_asprintf("rules?group_limit=2&group_next_token=%.16s", token + strlen("\"groupNextToken\":\""));
    text = ask(fx, next, 200);
    assert_non_null(strstr(text, "\"groups\":[{\"name\":\"c\""));
    assert_null(strstr(text, "groupNextToken"));
}

static void test_refused(void **state)
{
    struct fixture *fx = *state;
    REFUSED(fx, "rules?type=both",
            "invalid parameter \\\"type\\\": not supported value \\\"both\\\": give alert or record");
    REFUSED(fx, "rules?group_limit=0", "invalid parameter \\\"group_limit\\\": group_limit needs to be greater than 0");
    REFUSED(fx, "rules?group_next_token=x",
            "invalid parameter \\\"group_next_token\\\": group_limit needs to be present in order to paginate over the "
            "groups");
    REFUSED(fx, "rules?group_limit=1&group_next_token=x",
            "invalid parameter \\\"group_next_token\\\": there is no group of the token \\\"x\\\"; were rule groups "
            "changed?");
    assert_non_null(strstr(ask(fx, "rules?exclude_alerts=perhaps", 400), "exclude_alerts"));
    assert_non_null(strstr(ask(fx, "rules?match[]=%7B", 400), "match[]"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_before_the_first_evaluation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_evaluated, setup, teardown),
        cmocka_unit_test_setup_teardown(test_matchers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
