/* Pushes and line protocol through the API into a real store, and what can be asked about them. */
#include "test_api_fixture.h"

#include "ingest/ingest.h"
#include "ingest/push.h"

struct pushing {
    struct fixture *fx;
    struct push *push;
    struct ingest *ingest;
};

static int setup_push(void **state)
{
    struct pushing *pushing = ap_new0(struct pushing);
    setup(state);
    struct fixture *fx = *state;
    AP_AUTO_FREE char *path = ap_asprintf("%s/meta.sqlite", fx->dir);
    const struct push_options options = {
        .meta_path = path,
        .tsdb = fx->tsdb,
        .append = tsdb_append,
        .hash_seed = tsdb_hash_seed(fx->tsdb),
        .clock = &fx->clock,
        .interval_ms = 15000,
        .groups_max = 10,
        .bytes_max = 1 << 20,
    };
    MUST(push_open(&options, &pushing->push, &must_err));
    MUST(push_start(pushing->push, &must_err));
    struct ingest_options ingest_options = {
        .clock = &fx->clock,
        .is_open = true,
        .tsdb = fx->tsdb,
        .tsdb_append = tsdb_append,
        .tsdb_hash_seed = tsdb_hash_seed(fx->tsdb),
        .push = pushing->push,
    };
    client_networks_init_loopback(&ingest_options.trusted_proxies);
    pushing->ingest = ingest_new(&ingest_options);
    pushing->fx = fx;
    fx->api.ingest = pushing->ingest;
    fx->api.push = pushing->push;
    *state = pushing;
    return 0;
}

static int teardown_push(void **state)
{
    struct pushing *pushing = *state;
    push_close(pushing->push);
    *state = pushing->fx;
    teardown(state);
    ingest_free(pushing->ingest);
    free(pushing);
    return 0;
}

static void expect(struct fixture *fx, const char *method, const char *path, const char *body, unsigned status,
                   const char *want, const char *file, int line)
{
    const char *got = ask(fx, method, path, body);
    _assert_int_equal(fx->status, status, file, line);
    _assert_string_equal(got, want, file, line);
}
#define ANSWER(method, path, body, status, want) expect(fx, method, path, body, status, want, __FILE__, __LINE__)

static void test_list(void **state)
{
    struct fixture *fx = ((struct pushing *)*state)->fx;
    ANSWER("GET", "/api/v1/metrics", "", 200, "{\"status\":\"success\",\"data\":[]}\n");
    ANSWER("PUT", "/metrics/job/a",
           "# TYPE h histogram\nh_bucket{x=\"2\",le=\"1\"} 1\nh_bucket{x=\"2\",le=\"+Inf\"} 2\nh_sum{x=\"2\"} 3\n"
           "h_count{x=\"2\"} 2\nh_count{x=\"1\"} 0\n",
           200, "");
    ANSWER(
        "GET", "/api/v1/metrics", "", 200,
        "{\"status\":\"success\",\"data\":[{\"labels\":{\"job\":\"a\"},\"last_push_successful\":true,"
        "\"push_time_seconds\":{\"time_stamp\":\"2026-11-23T12:00:00.000Z\",\"type\":\"GAUGE\",\"help\":\"When the "
        "last "
        "push was taken, since 1970; 0: never.\",\"metrics\":[{\"labels\":{\"job\":\"a\"},\"value\":\"1795435200\"}]},"
        "\"push_failure_time_seconds\":{\"time_stamp\":\"2026-11-23T12:00:00.000Z\",\"type\":\"GAUGE\",\"help\":\"When "
        "a "
        "push was last refused, since 1970; 0: never.\",\"metrics\":[{\"labels\":{\"job\":\"a\"},\"value\":\"0\"}]},"
        "\"h\":{\"time_stamp\":\"2026-11-23T12:00:00.000Z\",\"type\":\"HISTOGRAM\",\"metrics\":["
        "{\"labels\":{\"job\":\"a\",\"x\":\"1\"},\"buckets\":{},\"count\":\"0\"},"
        "{\"labels\":{\"job\":\"a\",\"x\":\"2\"},\"buckets\":{\"1.0\":\"1\",\"+Inf\":\"2\"},\"sum\":\"3\",\"count\":"
        "\"2\"}"
        "]}}]}\n");
    ANSWER("PUT", "/metrics/job/a", "# HELP g a \\\"b\\\"\n# TYPE g gauge\ng 1.5\n", 200, "");
    if (!strstr(
            ask(fx, "GET", "/api/v1/metrics", ""),
            "\"g\":{\"time_stamp\":\"2026-11-23T12:00:00.000Z\",\"type\":\"GAUGE\",\"help\":\"a \\\\\\\"b\\\\\\\"\","
            "\"metrics\":[{\"labels\":{\"job\":\"a\"},\"value\":\"1.5\"}]}}]}"))
        fail_msg("%s", fx->body);
}

/* In the store when it is answered, and gone when that is. */
static void test_query(void **state)
{
    struct fixture *fx = ((struct pushing *)*state)->fx;
    static const char nothing[] = "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[]}}\n";
    ANSWER("PUT", "/metrics/job/a/instance/i", "m 1\n", 200, "");
    ANSWER("GET", "/api/v1/query?query=m", "", 200,
           "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[{\"metric\":{\"__name__\":\"m\","
           "\"instance\":\"i\",\"job\":\"a\"},\"value\":[1795435200,\"1\"]}]}}\n");
    fixture_advance(fx, 1000000);
    ANSWER("DELETE", "/metrics/job/a/instance/i", "", 202, "");
    ANSWER("GET", "/api/v1/query?query=m", "", 200, nothing);
    ANSWER("POST", "/write?precision=s&db=d", "n value=2 1795435201", 204, "");
    ANSWER("GET", "/api/v1/query?query=n", "", 200,
           "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[{\"metric\":{\"__name__\":\"n\","
           "\"db\":\"d\"},\"value\":[1795435201,\"2\"]}]}}\n");
}

static void test_influx_questions(void **state)
{
    struct fixture *fx = ((struct pushing *)*state)->fx;
    ANSWER("GET", "/ping", "", 204, "");
    ANSWER("GET", "/ping?verbose=true", "", 200, "{\"version\":\"1.8.10\"}\n");
    assert_string_equal(http_client_header(fx->server.client, "X-Influxdb-Version"), "1.8.10");
    ANSWER("POST", "/query", "q=CREATE+DATABASE+%22x%22", 200, "{\"results\":[{\"statement_id\":0}]}\n");
    ANSWER("POST", "/query?q=create%20database%20x", "", 200, "{\"results\":[{\"statement_id\":0}]}\n");
    ANSWER("GET", "/query?q=SHOW%20DATABASES", "", 200,
           "{\"results\":[{\"statement_id\":0,\"series\":[{\"name\":\"databases\",\"columns\":[\"name\"]}]}]}\n");
    ask(fx, "GET", "/query?q=DROP%20DATABASE%20x", "");
    assert_int_equal(fx->status, 400);
    ask(fx, "POST", "/query", "");
    assert_int_equal(fx->status, 400);
    /* As a link to a page of Prometheus. */
    ask(fx, "GET", "/query?g0.expr=up&g0.tab=table", "");
    assert_int_equal(fx->status, 200);
    assert_string_equal(http_client_header(fx->server.client, "Content-Type"), "text/html; charset=utf-8");
    ask(fx, "GET", "/health", "");
    assert_int_equal(fx->status, 200);
    __atomic_store_n(&fx->api.is_draining, true, __ATOMIC_RELAXED);
    ask(fx, "GET", "/health", "");
    assert_int_equal(fx->status, 503);
    assert_non_null(strstr(fx->body, "\"status\":\"fail\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_list, setup_push, teardown_push),
        cmocka_unit_test_setup_teardown(test_query, setup_push, teardown_push),
        cmocka_unit_test_setup_teardown(test_influx_questions, setup_push, teardown_push),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
