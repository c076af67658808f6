/* Prometheus' HTTP API as its clients see it: queries as trees, exemplars, parameters, the server's state, methods. */
#include "test_api_fixture.h"

#include <snappy-c.h>

#include "codec/protobuf.h"
#include "codec/xor_chunk.h"
#include "promql/parser.h"
#include "wal/crc32c.h"

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
    TREE("increase(a[5m] anchored)",
         "{\"args\":[{\"anchored\":true,\"matchers\":[{\"name\":\"__name__\",\"type\":\"=\",\"value\":\"a\"}],"
         "\"name\":\"a\",\"offset\":0,\"range\":300000,\"smoothed\":false,\"startOrEnd\":null,\"timestamp\":null,"
         "\"type\":\"matrixSelector\"}],\"func\":{\"argTypes\":[\"matrix\"],\"name\":\"increase\","
         "\"returnType\":\"vector\",\"variadic\":0},\"type\":\"call\"}");
    TREE("a smoothed",
         "{\"anchored\":false,\"matchers\":[{\"name\":\"__name__\",\"type\":\"=\",\"value\":\"a\"}],\"name\":\"a\","
         "\"offset\":0,\"smoothed\":true,\"startOrEnd\":null,\"timestamp\":null,\"type\":\"vectorSelector\"}");
    TREE("histogram_quantiles(a, 'q', 1)",
         "{\"args\":[" NAMED(
             "a") ",{\"type\":\"stringLiteral\",\"val\":\"q\"},{\"type\":\"numberLiteral\",\"val\":\"1\"}],"
                  "\"func\":{\"argTypes\":[\"vector\",\"string\",\"scalar\",\"scalar\"],\"name\":\"histogram_"
                  "quantiles\","
                  "\"returnType\":\"vector\",\"variadic\":9},\"type\":\"call\"}");
    GET("/api/v1/parse_query?query=1", DATA("{\"type\":\"numberLiteral\",\"val\":\"1\"}"));
    ask(fx, "GET", "/api/v1/parse_query", NULL);
    assert_int_equal(fx->status, 400);
    assert_non_null(strstr(fx->body, "invalid parameter \\\"query\\\": "));
    assert_non_null(strstr(fx->body, "parse error: no expression found in input"));
}

/* The deepest trees that the parser lets through. */
static void test_parse_deep_queries(void **state)
{
    struct fixture *fx = *state;
    AP_AUTO_BUF struct ap_buf form = {0};
    ap_buf_add_cstr(&form, "query=1");
    for (int i = 0; i < PROMQL_OPERATORS_MAX; i++)
        ap_buf_add_cstr(&form, i % 2 ? "%2B1" : "^1"); /* to the left and to the right */
    ap_buf_add_char(&form, '\0');
    ask(fx, "POST", "/api/v1/parse_query", form.data);
    assert_int_equal(fx->status, 200);
    ap_buf_reset(&form);
    ap_buf_add_cstr(&form, "query=");
    for (int i = 0; i < PROMQL_DEPTH_MAX / 4; i++)
        ap_buf_add_cstr(&form, "(-");
    ap_buf_add_cstr(&form, "a");
    for (int i = 0; i < PROMQL_DEPTH_MAX / 4; i++)
        ap_buf_add_char(&form, ')');
    ap_buf_add_char(&form, '\0');
    ask(fx, "POST", "/api/v1/parse_query", form.data);
    assert_int_equal(fx->status, 200);
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
            BAD("invalid parameter \\\"start\\\": Invalid time value for 'start': cannot parse \\\"soon\\\" to a valid "
                "timestamp"));
    REFUSED("/api/v1/query_exemplars", "query=y{", 400, BAD("1:3: parse error: unexpected end of input inside braces"));
}

/* ---- Parameters ---- */

static void test_wrong_parameters(void **state)
{
    struct fixture *fx = *state;
    static const struct {
        const char *path;
        const char *form;
        const char *error;
    } rows[] = {
        {"query", "query=1&time=x",
         "invalid parameter \\\"time\\\": Invalid time value for 'time': cannot parse \\\"x\\\" to a valid timestamp"},
        {"query", "query=1&timeout=x", "invalid parameter \\\"timeout\\\": cannot parse \\\"x\\\" to a valid duration"},
        {"query", "", "invalid parameter \\\"query\\\": "},
        {"query", "query=1&limit=x", "invalid parameter \\\"limit\\\": "},
        {"query", "query=1&limit=-1", "invalid parameter \\\"limit\\\": "},
        {"query_range", "query=1", "invalid parameter \\\"start\\\": cannot parse \\\"\\\" to a valid timestamp"},
        {"query_range", "query=1&start=x",
         "invalid parameter \\\"start\\\": cannot parse \\\"x\\\" to a valid timestamp"},
        {"query_range", "query=1&start=1", "invalid parameter \\\"end\\\": cannot parse \\\"\\\" to a valid timestamp"},
        {"query_range", "query=1&start=2&end=1",
         "invalid parameter \\\"end\\\": end timestamp must not be before start time"},
        {"query_range", "query=1&start=1&end=2",
         "invalid parameter \\\"step\\\": cannot parse \\\"\\\" to a valid duration"},
        {"query_range", "query=1&start=1&end=2&step=0",
         "invalid parameter \\\"step\\\": zero or negative query resolution step widths are not accepted. Try a "
         "positive "
         "integer"},
        {"query_range", "query=1&start=1&end=2&step=-1", "invalid parameter \\\"step\\\": zero or negative"},
        {"query_range", "query=1&start=0&end=11001&step=1",
         "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution "
         "(?step=XX)"},
        {"series", "", "no match[] parameter provided"},
        {"series", "match[]=up{", "invalid parameter \\\"match[]\\\": "},
        {"series", "match[]=up&limit=x", "invalid parameter \\\"limit\\\": "},
        {"labels", "start=x", "invalid parameter \\\"start\\\": Invalid time value for 'start': cannot parse"},
        {"labels", "match[]={}", "invalid parameter \\\"match[]\\\": a selector needs one matcher at least"},
        {"label/job/values?match[]=up{", NULL, "invalid parameter \\\"match[]\\\": "},
        {"label/%ff/values", NULL, "invalid label name: "},
        {"metadata?limit=x", NULL, "limit must be a number"},
        {"metadata?limit_per_metric=x", NULL, "limit_per_metric must be a number"},
        {"status/tsdb?limit=0", NULL, "limit must be a positive number"},
        {"status/tsdb?limit=x", NULL, "limit must be a positive number"},
        {"status/tsdb?limit=10001", NULL, "limit must not exceed 10000"},
        {"targets/metadata?limit=x", NULL, "limit must be a number"},
        {"targets/metadata?match_target={", NULL, "invalid parameter \\\"match_target\\\": "},
        {"admin/tsdb/delete_series?match[]=a&start=2&end=1", "",
         "invalid parameter \\\"end\\\": end timestamp must not be before start time"},
        {"targets/relabel_steps", NULL, "no scrapePool parameter provided"},
        {"targets/relabel_steps?scrapePool=a", NULL, "no labels parameter provided"},
        {"targets/relabel_steps?scrapePool=a&labels={}", NULL, "scrape pool \\\"a\\\" not found"},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(rows); i++) {
        AP_AUTO_FREE char *path = ap_asprintf("/api/v1/%s", rows[i].path);
        ask(fx, rows[i].form ? "POST" : "GET", path, rows[i].form);
        bool is_refused = fx->status == 400 && strstr(fx->body, "\"errorType\":\"bad_data\"");
        if (!is_refused || !strstr(fx->body, rows[i].error))
            fail_msg("%s %s: %u %s", rows[i].path, rows[i].form, fx->status, fx->body);
    }
    POST("/api/v1/query_range", "query=1&start=0&end=11000&step=1h", /* 11,000 are taken, in whatever steps */
         DATA("{\"resultType\":\"matrix\",\"result\":[{\"metric\":{},\"values\":[[0,\"1\"],[3600,\"1\"],[7200,\"1\"],"
              "[10800,\"1\"]]}]}"));
    GET("/api/v1/metadata?limit=-1&limit_per_metric=-1", DATA("{}"));
    append_one(fx, LABELS("up", "job", "j"), NOON_MS, 1);
    POST("/api/v1/series", "match[]=up&start=2&end=1", DATA("[]")); /* nothing is found in no time */
    GET("/api/v1/labels?start=2&end=1", DATA("[]"));
    GET("/api/v1/label/job/values?start=2&end=1", DATA("[]"));
    REFUSED("/api/v1/nothing", NULL, 404,
            "{\"status\":\"error\",\"errorType\":\"not_found\",\"error\":\"there is nothing at this address\"}\n");
    POST("/api/v1/query", "query=1%2B1&time=1795435200",
         DATA("{\"resultType\":\"scalar\",\"result\":[1795435200,\"2\"]}"));
}

/* ---- The server's state ---- */

static void test_status(void **state)
{
    struct fixture *fx = *state;
    GET("/api/v1/notifications", DATA("[]"));
    ask(fx, "GET", "/api/v1/notifications/live", NULL);
    assert_int_equal(fx->status, 204);
    GET("/api/v1/scrape_pools", DATA("{\"scrapePools\":[]}"));
    GET("/api/v1/targets?state=active",
        DATA("{\"activeTargets\":[],\"droppedTargets\":[],\"droppedTargetCounts\":{}}"));
    GET("/api/v1/targets/metadata", DATA("[]"));
    GET("/api/v1/alertmanagers", DATA("{\"activeAlertmanagers\":[],\"droppedAlertmanagers\":[]}"));
    GET("/api/v1/status/config", DATA("{\"yaml\":\"data: x\\n\"}"));
    GET("/api/v1/status/walreplay", DATA("{\"min\":0,\"max\":0,\"current\":0}"));
    fx->api.questions_max = 7;
    ask(fx, "GET", "/api/v1/status/flags", NULL);
    assert_non_null(strstr(fx->body, "\"query.max-concurrency\":\"7\""));
    assert_non_null(strstr(fx->body, "\"storage.tsdb.retention.time\":\"15d\""));
    ask(fx, "GET", "/api/v1/status/buildinfo", NULL);
    assert_non_null(strstr(fx->body, "{\"version\":\"3."));
}

static void test_features(void **state)
{
    struct fixture *fx = *state;
    static const char *const wanted[] = {
        "{\"api\":{\"admin\":true,",
        "\"query_warnings\":true,",
        "\"promql\":{\"anchored\":true,\"at_modifier\":true,",
        "\"duration_expr\":true,",
        "\"promql_functions\":{\"abs\":true,",
        "\"mad_over_time\":true,",
        "\"promql_operators\":{\"^\":true,",
        "\"sum\":true,",
        "\"limitk\":true,",
        "\"=~\":true",
        "\"templating_functions\":{\"args\":true,",
        "\"exemplar_storage\":true,",
        "\"keep_firing_for\":true,",
    };
    ask(fx, "GET", "/api/v1/features", NULL);
    assert_int_equal(fx->status, 200);
    for (size_t i = 0; i < AP_ARRAY_COUNT(wanted); i++)
        if (!strstr(fx->body, wanted[i]))
            fail_msg("%s lacks %s", fx->body, wanted[i]);
}

static void test_blocks(void **state)
{
    struct fixture *fx = *state;
    GET("/api/v1/status/tsdb/blocks", DATA("{\"blocks\":[]}"));
    append_one(fx, LABELS("a"), NOON_MS - 86400000, 1);
    append_one(fx, LABELS("a"), NOON_MS, 2);
    fixture_advance(fx, INT64_C(86400) * 1000000);
    ask(fx, "POST", "/api/apiary/v1/tsdb/settle", "");
    assert_int_equal(fx->status, 200);
    ask(fx, "GET", "/api/v1/status/tsdb/blocks", NULL);
    static const char *const wanted[] = {
        "{\"blocks\":[{\"ulid\":\"",
        "\"minTime\":1795435200000,\"maxTime\":1795435200001,\"stats\":{\"numSamples\":1,\"numSeries\":1,"
        "\"numChunks\":1},\"compaction\":{\"level\":1,\"sources\":[\"",
        "\"]},\"version\":1}",
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(wanted); i++)
        if (!strstr(fx->body, wanted[i]))
            fail_msg("%s lacks %s", fx->body, wanted[i]);
}

/* ---- Methods and pages ---- */

static const char *header_of(struct fixture *fx, const char *name)
{
    const char *value = http_client_header(fx->server.client, name);
    return value ? value : "";
}

static void ask_from_page(struct fixture *fx, const char *method, const char *path, unsigned status)
{
    AP_AUTO_FREE char *url = ap_asprintf("http://127.0.0.1:%u%s", fx->port, path);
    struct http_field origin = {"Origin", "http://page.example"};
    struct http_client_request request = {.method = method, .url = url, .fields = &origin, .field_count = 1};
    struct http_client_answer answer;
    MUST(http_client_ask(fx->server.client, &request, &answer, &must_err));
    if (answer.status != status)
        fail_msg("%s %s: %u, should be %u", method, path, answer.status, status);
}

static void test_methods(void **state)
{
    struct fixture *fx = *state;
    static const struct {
        const char *path;
        const char *allowed;
    } rows[] = {
        {"/api/v1/query", "GET, HEAD, POST, OPTIONS"},
        {"/api/v1/label/job/values", "GET, HEAD, OPTIONS"},
        {"/api/v1/read", "POST, OPTIONS"},
        {"/api/v1/admin/tsdb/delete_series", "POST, PUT, OPTIONS"},
        {"/api/apiary/v1/session", "GET, HEAD, POST, DELETE, OPTIONS"},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(rows); i++) {
        ask_from_page(fx, "PATCH", rows[i].path, 405);
        assert_string_equal(header_of(fx, "Allow"), rows[i].allowed);
        ask_from_page(fx, "OPTIONS", rows[i].path, 204);
        assert_string_equal(header_of(fx, "Allow"), rows[i].allowed);
    }
    ask_from_page(fx, "GET", "/api/v1/query?query=1", 200);
    assert_string_equal(header_of(fx, "Allow"), "");
    ask_from_page(fx, "OPTIONS", "/", 404);
    ask_from_page(fx, "OPTIONS", "/api/v1/nothing", 404);
}

/* Without keys pages may read what they may read of Prometheus; with keys, and what needs a secret one, nothing. */
static void test_pages(void **state)
{
    struct fixture *fx = *state;
    static const char origin[] = "Access-Control-Allow-Origin";
    static const char *const methods[] = {"GET", "OPTIONS", "PATCH"};
    static const unsigned statuses[] = {200, 204, 405};
    for (size_t i = 0; i < AP_ARRAY_COUNT(methods); i++) {
        ask_from_page(fx, methods[i], "/api/v1/labels", statuses[i]);
        assert_string_equal(header_of(fx, origin), "*");
        assert_string_equal(header_of(fx, "Access-Control-Allow-Methods"), "GET, POST, OPTIONS");
        assert_string_equal(header_of(fx, "Access-Control-Allow-Headers"),
                            "Accept, Authorization, Content-Type, Origin");
        assert_string_equal(header_of(fx, "Access-Control-Expose-Headers"), "Date");
        assert_string_equal(header_of(fx, "Vary"), "Origin");
    }
    ask_from_page(fx, "GET", "/api/v1/series", 400); /* a page may read what is wrong */
    assert_string_equal(header_of(fx, origin), "*");
    ask_from_page(fx, "GET", "/api/v1/query_exemplars?query=1", 204);
    assert_string_equal(header_of(fx, origin), "*");
    ask(fx, "GET", "/api/v1/labels", NULL); /* not from a page */
    assert_string_equal(header_of(fx, origin), "");
    static const char *const secret[] = {"/api/v1/admin/tsdb/snapshot", "/api/v1/status/config", "/api/sql"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(secret); i++) {
        ask_from_page(fx, "OPTIONS", secret[i], 204);
        assert_string_equal(header_of(fx, origin), "");
    }
    fx->api.is_open = false;
    ask_from_page(fx, "OPTIONS", "/api/v1/labels", 204);
    assert_string_equal(header_of(fx, origin), "");
    ask_from_page(fx, "GET", "/api/v1/labels", 401);
    assert_string_equal(header_of(fx, origin), "");
}

/* ---- Remote read ---- */

/* A ReadRequest for `metric`; `types` are accepted, packed. */
static struct ap_slice ask_read(struct fixture *fx, const char *metric, const char *types, size_t type_count,
                                unsigned status)
{
    AP_AUTO_BUF struct ap_buf matcher = {0}, query = {0}, body = {0};
    protobuf_add_text(&matcher, 2, "__name__");
    protobuf_add_text(&matcher, 3, metric);
    protobuf_add_varint(&query, 1, 0);
    protobuf_add_varint(&query, 2, NOON_MS);
    protobuf_add_bytes(&query, 3, ap_buf_slice(&matcher));
    protobuf_add_bytes(&body, 1, ap_buf_slice(&query));
    if (type_count)
        protobuf_add_bytes(&body, 2, ap_slice(types, type_count));
    char packed[512];
    size_t packed_bytes = sizeof(packed);
    assert_int_equal(snappy_compress(body.data, body.bytes, packed, &packed_bytes), SNAPPY_OK);
    AP_AUTO_FREE char *url = ap_asprintf("http://127.0.0.1:%u/api/v1/read", fx->port);
    struct http_field fields[] = {{"Content-Type", "application/x-protobuf"}, {"Content-Encoding", "snappy"}};
    struct http_client_request request = {
        .url = url, .fields = fields, .field_count = 2, .body = ap_slice(packed, packed_bytes)};
    struct http_client_answer answer;
    MUST(http_client_ask(fx->server.client, &request, &answer, &must_err));
    if (answer.status != status)
        fail_msg("%u %.*s", answer.status, AP_SLICE_ARG(answer.body));
    return answer.body;
}

#define CHUNKED "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"

static void test_remote_read(void **state)
{
    struct fixture *fx = *state;
    const int64_t ts_ms[] = {NOON_MS - 2000, NOON_MS - 1000, NOON_MS, NOON_MS + 1000};
    const double values[] = {1, 2.5, -0.0, 4};
    append(fx, LABELS("x", "job", "j"), ts_ms, values, 4);
    struct ap_slice frame = ask_read(fx, "x", "\1\0", 2, 200);
    assert_string_equal(header_of(fx, "Content-Type"), CHUNKED);
    uint64_t bytes = (uint8_t)frame.data[0]; /* a message of less than 128 bytes */
    assert_int_equal(frame.bytes, 1 + 4 + bytes);
    struct ap_slice message = ap_slice(frame.data + 5, bytes);
    uint32_t crc = wal_crc32c(0, message.data, message.bytes);
    for (int i = 0; i < 4; i++)
        assert_int_equal((uint8_t)frame.data[1 + i], crc >> (24 - 8 * i) & 0xff);

    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    assert_true(protobuf_next(&reader, &field));
    assert_int_equal(field.tag, PROTOBUF_TAG(1, PROTOBUF_BYTES));
    reader = protobuf_reader(field.bytes);
    struct ap_slice chunk = {0};
    int label_count = 0;
    while (protobuf_next(&reader, &field)) {
        label_count += field.tag == PROTOBUF_TAG(1, PROTOBUF_BYTES);
        if (field.tag == PROTOBUF_TAG(2, PROTOBUF_BYTES))
            chunk = field.bytes;
    }
    assert_int_equal(label_count, 2);
    uint64_t numbers[16] = {0};
    struct ap_slice data = {0};
    for (reader = protobuf_reader(chunk); protobuf_next(&reader, &field);) {
        numbers[field.tag >> 3 & 15] = field.number;
        data = field.bytes;
    }
    assert_int_equal(numbers[1], NOON_MS - 2000);
    assert_int_equal(numbers[2], NOON_MS);
    assert_int_equal(numbers[3], 1); /* XOR */
    AP_AUTO_ARENA struct ap_arena arena;
    ap_arena_init(&arena, 1 << 20);
    size_t count;
    int64_t *back_ts_ms;
    double *back;
    MUST(xor_chunk_decode(data, &arena, &count, &back_ts_ms, &back, &must_err));
    assert_int_equal(count, 3);
    assert_memory_equal(back_ts_ms, ts_ms, 3 * sizeof(*ts_ms));
    assert_memory_equal(back, values, 3 * sizeof(*values));
}

/* Samples come as snappy, which this client does not take: tests/clients/prometheus_test asks for them. */
static void test_remote_read_types(void **state)
{
    struct fixture *fx = *state;
    append_one(fx, LABELS("x"), NOON_MS, 1);
    static const char *const types[] = {"\1", "\1\0", "\7\1"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(types); i++) {
        assert_true(ask_read(fx, "x", types[i], 1 + i % 2 + i / 2, 200).bytes > 0);
        assert_string_equal(header_of(fx, "Content-Type"), CHUNKED);
    }
    assert_int_equal(ask_read(fx, "nothing", "\1", 1, 200).bytes, 0);
    assert_string_equal(header_of(fx, "Content-Type"), CHUNKED);
    ask_read(fx, "x", "\7", 1, 400);
    ask_read(fx, "x", "\1\xff", 2, 400); /* one that is cut off */
    fx->api.remote_read_bytes_max = 10;  /* of samples, which have to be held */
    ask_read(fx, "x", "\1", 1, 200);
    ask_read(fx, "x", "\0", 1, 422);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_parse_query),
        FIXTURE_TEST(test_parse_deep_queries),
        FIXTURE_TEST(test_exemplars),
        FIXTURE_TEST(test_wrong_parameters),
        FIXTURE_TEST(test_status),
        FIXTURE_TEST(test_features),
        FIXTURE_TEST(test_blocks),
        FIXTURE_TEST(test_methods),
        FIXTURE_TEST(test_pages),
        FIXTURE_TEST(test_remote_read),
        FIXTURE_TEST(test_remote_read_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
