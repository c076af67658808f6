/* Prometheus' HTTP API as its clients see it: queries as trees, exemplars. */
#include "test_api_fixture.h"

/* ---- Trees ---- */

static void check_tree(struct fixture *fx, const char *query, const char *want, int line)
{
    AP_AUTO_BUF struct ap_buf form = {0};
    ap_buf_add_cstr(&form, "query=");
    for (; *query; query++)
        ap_buf_printf(&form, "%%%02x", (unsigned char)*query);
    ap_buf_add_char(&form, '\0');
    AP_AUTO_FREE char *whole = ap_asprintf("{\"status\":\"success\",\"data\":%s}\n", want);
    check_answer(fx, "/api/v1/parse_query", form.data, 200, whole, line);
}
#define TREE(query, want) check_tree(fx, query, want, __LINE__)
#define NAMED(name)                                                                                                    \
    "{\"anchored\":false,\"matchers\":[{\"name\":\"__name__\",\"type\":\"=\",\"value\":\"" name                        \
    "\"}],\"name\":\"" name "\",\"offset\":0,\"smoothed\":false,\"startOrEnd\":null,\"timestamp\":null,"               \
    "\"type\":\"vectorSelector\"}"
#define NO_FILL "\"fillValues\":{\"lhs\":null,\"rhs\":null}"

static void test_parse_query(void **state)
{
    struct fixture *fx = *state;
    TREE("foo/bar", "{\"bool\":false,\"lhs\":" NAMED(
                        "foo") ",\"matching\":{\"card\":\"one-to-one\"," NO_FILL
                               ",\"include\":[],\"labels\":[],\"on\":false},\"op\":\"/\",\"rhs\":" NAMED(
                                   "bar") ","
                                          "\"type\":\"binaryExpr\"}");
    TREE("a == on(x) group_right(y) fill_left(0.5) b",
         "{\"bool\":false,\"lhs\":" NAMED("a") ",\"matching\":{\"card\":\"one-to-many\",\"fillValues\":"
                                               "{\"lhs\":0.5,\"rhs\":null},\"include\":[\"y\"],\"labels\":[\"x\"],"
                                               "\"on\":true},\"op\":\"==\",\"rhs\":" NAMED(
                                                   "b") ",\"type\":\"binaryExpr\"}");
    TREE("a or ignoring(x) b", "{\"bool\":false,\"lhs\":" NAMED(
                                   "a") ",\"matching\":{\"card\":\"many-to-many\"," NO_FILL
                                        ",\"include\":[],\"labels\":[\"x\"],\"on\":false},\"op\":\"or\",\"rhs\":" NAMED(
                                            "b") ","
                                                 "\"type\":\"binaryExpr\"}");
    TREE("a > bool 1e21",
         "{\"bool\":true,\"lhs\":" NAMED(
             "a") ",\"matching\":null,\"op\":\">\",\"rhs\":"
                  "{\"type\":\"numberLiteral\",\"val\":\"1000000000000000000000\"},\"type\":\"binaryExpr\"}");
    TREE("-(a)", "{\"expr\":{\"expr\":" NAMED("a") ",\"type\":\"parenExpr\"},\"op\":\"-\",\"type\":\"unaryExpr\"}");
    TREE("-Inf", "{\"type\":\"numberLiteral\",\"val\":\"-Inf\"}");
    TREE("'a\"\xc3\xa9'", "{\"type\":\"stringLiteral\",\"val\":\"a\\\"\xc3\xa9\"}");
    TREE("sum by (job, x) (a)", "{\"expr\":" NAMED("a") ",\"grouping\":[\"job\",\"x\"],\"op\":\"sum\",\"param\":null,"
                                                        "\"type\":\"aggregation\",\"without\":false}");
    TREE("topk without () (3, a)",
         "{\"expr\":" NAMED("a") ",\"grouping\":[],\"op\":\"topk\",\"param\":"
                                 "{\"type\":\"numberLiteral\",\"val\":\"3\"},\"type\":\"aggregation\","
                                 "\"without\":true}");
    TREE("rate(a{b!~\"c\",d=\"e\"}[5m] offset -1h @ end())",
         "{\"args\":[{\"anchored\":false,\"matchers\":[{\"name\":\"b\",\"type\":\"!~\",\"value\":\"c\"},"
         "{\"name\":\"d\",\"type\":\"=\",\"value\":\"e\"},{\"name\":\"__name__\",\"type\":\"=\",\"value\":\"a\"}],"
         "\"name\":\"a\",\"offset\":-3600000,\"range\":300000,\"smoothed\":false,\"startOrEnd\":\"end\","
         "\"timestamp\":null,\"type\":\"matrixSelector\"}],\"func\":{\"argTypes\":[\"matrix\"],\"name\":\"rate\","
         "\"returnType\":\"vector\",\"variadic\":0},\"type\":\"call\"}");
    TREE("round({\"a b\",c=~\"d\"}, 2)",
         "{\"args\":[{\"anchored\":false,\"matchers\":[{\"name\":\"__name__\",\"type\":\"=\",\"value\":\"a b\"},"
         "{\"name\":\"c\",\"type\":\"=~\",\"value\":\"d\"}],\"name\":\"\",\"offset\":0,\"smoothed\":false,"
         "\"startOrEnd\":null,\"timestamp\":null,\"type\":\"vectorSelector\"},{\"type\":\"numberLiteral\",\"val\":"
         "\"2\"}],"
         "\"func\":{\"argTypes\":[\"vector\",\"scalar\"],\"name\":\"round\",\"returnType\":\"vector\",\"variadic\":1},"
         "\"type\":\"call\"}");
    TREE("time()", "{\"args\":[],\"func\":{\"argTypes\":[],\"name\":\"time\",\"returnType\":\"scalar\",\"variadic\":0},"
                   "\"type\":\"call\"}");
    TREE("a[1h:5m] @ 12.5 offset 1m",
         "{\"expr\":" NAMED("a") ",\"offset\":60000,\"range\":3600000,\"startOrEnd\":null,"
                                 "\"step\":300000,\"timestamp\":12500,\"type\":\"subquery\"}");
    GET("/api/v1/parse_query?query=1", DATA("{\"type\":\"numberLiteral\",\"val\":\"1\"}"));
    ask(fx, "GET", "/api/v1/parse_query", NULL);
    assert_int_equal(fx->status, 400);
    assert_non_null(strstr(fx->body, "invalid parameter \\\"query\\\": "));
    assert_non_null(strstr(fx->body, "parse error: no expression found in input"));
}

/* ---- Exemplars ---- */

static void append_exemplar(struct fixture *fx, const char *const *texts, const char *trace, int64_t ts_ms,
                            double value)
{
    AP_AUTO_BUF struct ap_buf labels = {0};
    AP_AUTO_BUF struct ap_buf trace_labels = {0};
    struct label trace_id = {ap_slice_cstr("trace_id"), ap_slice_cstr(trace)};
    struct batch batch = {0};
    MUST(labels_encode(&trace_id, 1, &trace_labels, &must_err));
    add_series(fx, &batch, &labels, texts);
    batch_add_sample(&batch, ts_ms, value);
    struct batch_exemplar *exemplar = batch_add_exemplar(&batch);
    *exemplar = (struct batch_exemplar){ts_ms, value, ap_buf_slice(&trace_labels)};
    append_batch(fx, &batch);
    batch_clear(&batch);
}

#define EXEMPLAR(trace, value, ts)                                                                                     \
    "{\"labels\":{\"trace_id\":\"" trace "\"},\"value\":\"" value "\",\"timestamp\":" ts "}"
#define BUCKET(le, exemplars)                                                                                          \
    "{\"seriesLabels\":{\"__name__\":\"x_bucket\",\"le\":\"" le "\"},\"exemplars\":[" exemplars "]}"

/* Of every selector in the query, each series once, by labels. */
static void test_exemplars(void **state)
{
    struct fixture *fx = *state;
    append_exemplar(fx, LABELS("x_bucket", "le", "2"), "t2", NOON_MS - 500, 1.5);
    append_exemplar(fx, LABELS("x_bucket", "le", "1"), "t1", NOON_MS - 400, 0.5);
    append_exemplar(fx, LABELS("x_bucket", "le", "1"), "t3", NOON_MS, 1e-7);
    append_exemplar(fx, LABELS("y"), "t4", NOON_MS, 4);
    const char *both = DATA(
        "[" BUCKET("1", EXEMPLAR("t1", "0.5", "1795435199.600") "," EXEMPLAR("t3", "1e-07", "1795435200")) "," BUCKET(
            "2", EXEMPLAR("t2", "1.5", "1795435199.500")) "]");
    POST("/api/v1/query_exemplars", "query=x_bucket", both);
    POST("/api/v1/query_exemplars",
         "query=histogram_quantile(0.9, sum by (le) (rate(x_bucket[5m]))) %2B 0 * sum(x_bucket{le=\"1\"})", both);
    POST("/api/v1/query_exemplars", "query=max_over_time((x_bucket{le=\"2\"} or nothing)[5m:]) or y&end=1795435199.9",
         DATA("[" BUCKET("2", EXEMPLAR("t2", "1.5", "1795435199.500")) "]"));
    POST("/api/v1/query_exemplars", "query=x_bucket / y&start=2026-11-23T12:00:00Z",
         DATA("[" BUCKET("1", EXEMPLAR("t3", "1e-07", "1795435200")) ",{\"seriesLabels\":{\"__name__\":\"y\"},"
                                                                     "\"exemplars\":[" EXEMPLAR("t4", "4",
                                                                                                "1795435200") "]}]"));
    POST("/api/v1/query_exemplars", "query=nothing", DATA("[]"));
    ask(fx, "POST", "/api/v1/query_exemplars", "query=1 %2B time()");
    assert_int_equal(fx->status, 204);
    REFUSED("/api/v1/query_exemplars", "query=y&start=2&end=1", 400,
            BAD("end timestamp must not be before start timestamp"));
    REFUSED("/api/v1/query_exemplars", "query=y&start=soon", 400,
            BAD("invalid parameter \\\"start\\\": cannot parse \\\"soon\\\" to a valid timestamp; expected seconds "
                "since 1970 or "
                "RFC 3339"));
    REFUSED("/api/v1/query_exemplars", "query=y{", 400,
            BAD("1:3: parse error: unexpected end of input in label matching, expected identifier"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_parse_query),
        FIXTURE_TEST(test_exemplars),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
