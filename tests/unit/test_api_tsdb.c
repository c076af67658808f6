/* Prometheus' questions from the socket to the store and back. */
#include "test_api_fixture.h"

static double from_bits(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static void test_export(void **state)
{
    struct fixture *fx = *state;
    const int64_t ts_ms[] = {NOON_MS - 6000, NOON_MS - 5000, NOON_MS - 4000, NOON_MS - 3000,
                             NOON_MS - 2000, NOON_MS - 1000, NOON_MS};
    const double values[] = {1, 0.1, -0.0, INFINITY, -INFINITY, from_bits(UINT64_C(0x7ff0000000000002)), 1e300};
    append(fx, LABELS("odd", "job", "a\"b\\c"), ts_ms, values, 7);
    GET("/api/v1/export?match[]=odd",
        "{\"metric\":{\"__name__\":\"odd\",\"job\":\"a\\\"b\\\\c\"},\"values\":[1,0.1,-0,\"Infinity\",\"-Infinity\","
        "null,"
        "1e+300],\"timestamps\":[1795435194000,1795435195000,1795435196000,1795435197000,1795435198000,1795435199000,"
        "1795435200000]}\n");
    POST("/api/v1/export", "match%5B%5D=%7B__name__%3D%22odd%22%7D&raw=1&start=1795435199",
         "{\"metric\":{\"__name__\":\"odd\",\"job\":\"a\\\"b\\\\c\"},\"bits\":[\"7ff0000000000002\","
         "\"7e37e43c8800759c\"],"
         "\"timestamps\":[1795435199000,1795435200000]}\n");
    POST("/api/v1/export", "match[]=odd&start=2026-11-23T11:59:54Z&end=1795435195&max_rows_per_line=1",
         "{\"metric\":{\"__name__\":\"odd\",\"job\":\"a\\\"b\\\\c\"},\"values\":[1],\"timestamps\":[1795435194000]}\n"
         "{\"metric\":{\"__name__\":\"odd\",\"job\":\"a\\\"b\\\\c\"},\"values\":[0.1],\"timestamps\":[1795435195000]}"
         "\n");
    GET("/api/v1/export?match[]=nothing", "");
    REFUSED("/api/v1/export", "", 400, BAD("no match[] parameter provided"));
    REFUSED("/api/v1/export", "match[]=odd&start=2&end=1", 400,
            BAD("invalid parameter \\\"end\\\": end timestamp must not be before start time"));
    ask(fx, "GET", "/api/v1/export?match[]=odd{", NULL);
    assert_int_equal(fx->status, 400);
    assert_non_null(strstr(fx->body, "invalid parameter \\\"match[]\\\": "));
}

/* Every value of an export reads back as itself, in no more digits than it needs. */
static void test_exported_values_read_back(void **state)
{
    struct fixture *fx = *state;
    enum { COUNT = 6000 };
    static int64_t ts_ms[COUNT];
    static double values[COUNT];
    struct ap_random random;
    ap_random_init(&random, 11);
    for (int i = 0; i < COUNT; i++) {
        static const double scales[] = {1, 10, 100, 1000, 10000, 100000};
        uint64_t bits = ap_random_u64(&random);
        ts_ms[i] = NOON_MS - COUNT + i;
        if (i % 7 == 6 && ((bits >> 52) & 0x7ff) != 0x7ff)
            memcpy(&values[i], &bits, sizeof(bits));
        else
            values[i] = (double)((int64_t)bits >> (i % 63)) / scales[i % 6];
    }
    append(fx, LABELS("any"), ts_ms, values, COUNT);
    const char *at = strchr(strstr(ask(fx, "GET", "/api/v1/export?match[]=any", NULL), "\"values\""), '[') + 1;
    for (int i = 0; i < COUNT; i++) {
        char *end;
        double value = strtod(at, &end);
        assert_memory_equal(&value, &values[i], sizeof(value));
        char shortest[40];
        for (int digits = 1; digits <= 17; digits++) {
            snprintf(shortest, sizeof(shortest), "%.*g", digits, value);
            if (strtod(shortest, NULL) == value)
                break;
        }
        if (!strchr(shortest, 'e') && (size_t)(end - at) > strlen(shortest))
            fail_msg("%.*s, but %s would do", (int)(end - at), at, shortest);
        assert_true(*end == ',' || *end == ']');
        at = end + 1;
    }
}

/* Two selectors that select the same series give it once; series are in order. */
static void test_several_selectors(void **state)
{
    struct fixture *fx = *state;
    append_one(fx, LABELS("c", "n", "2"), NOON_MS, 1);
    append_one(fx, LABELS("b", "n", "1"), NOON_MS, 2);
    append_one(fx, LABELS("a", "n", "2"), NOON_MS, 3);
    POST("/api/v1/series", "match[]={n=\"2\"}&match[]=b&match[]={__name__=~\"a|b\"}",
         DATA("[{\"__name__\":\"a\",\"n\":\"2\"},{\"__name__\":\"b\",\"n\":\"1\"},{\"__name__\":\"c\",\"n\":\"2\"}]"));
    POST("/api/v1/series", "match[]={n=~\".%2B\"}&limit=1",
         "{\"status\":\"success\",\"data\":[{\"__name__\":\"a\",\"n\":\"2\"}],"
         "\"warnings\":[\"results truncated due to limit\"]}\n");
    ask(fx, "GET", "/api/v1/export?match[]=a&match[]={n=\"2\"}", NULL);
    assert_non_null(strstr(fx->body, "\"__name__\":\"a\""));
    assert_null(strstr(strstr(fx->body, "\"__name__\":\"a\"") + 1, "\"__name__\":\"a\""));
    REFUSED("/api/v1/series", "", 400, BAD("no match[] parameter provided"));
}

static void test_labels(void **state)
{
    struct fixture *fx = *state;
    GET("/api/v1/labels", DATA("[]"));
    append_one(fx, LABELS("up", "job", "node", "instance", "a:9100"), NOON_MS, 1);
    append_one(fx, LABELS("up", "job", "node", "instance", "b:9100"), NOON_MS, 1);
    append_one(fx, LABELS("other", "http.status", "200"), NOON_MS, 1);
    GET("/api/v1/labels", DATA("[\"__name__\",\"http.status\",\"instance\",\"job\"]"));
    POST("/api/v1/labels", "match[]=up", DATA("[\"__name__\",\"instance\",\"job\"]"));
    POST("/api/v1/labels", "match[]=up&match[]=other", DATA("[\"__name__\",\"http.status\",\"instance\",\"job\"]"));
    GET("/api/v1/labels?limit=1", "{\"status\":\"success\",\"data\":[\"__name__\"],"
                                  "\"warnings\":[\"results truncated due to limit\"]}\n");
    GET("/api/v1/label/instance/values", DATA("[\"a:9100\",\"b:9100\"]"));
    GET("/api/v1/label/instance/values?match[]=other", DATA("[]"));
    GET("/api/v1/label/U__http_2e_status/values", DATA("[\"200\"]"));
    GET("/api/v1/label/http.status/values", DATA("[\"200\"]"));
    GET("/api/v1/label/nothing/values", DATA("[]"));
    REFUSED("/api/v1/label/%ff/values", NULL, 400, BAD("invalid label name: \\\"\xef\xbf\xbd\\\""));
    ask(fx, "GET", "/api/v1/label/job", NULL);
    assert_int_equal(fx->status, 404);
}

static void test_histograms_and_exemplars(void **state)
{
    struct fixture *fx = *state;
    static const struct histogram_span span = {0, 1};
    static const uint64_t counts[] = {3};
    struct histogram histogram = {
        .count = 3, .sum = 2.5, .positive = {.spans = &span, .span_count = 1, .counts = counts, .count = 1}};
    AP_AUTO_BUF struct ap_buf blob = {0};
    AP_AUTO_BUF struct ap_buf labels = {0};
    AP_AUTO_BUF struct ap_buf trace = {0};
    histogram_encode(&histogram, &blob);
    struct label trace_id = {ap_slice_cstr("trace_id"), ap_slice_cstr("abc")};
    MUST(labels_encode(&trace_id, 1, &trace, &must_err));
    struct batch batch = {0};
    add_series(fx, &batch, &labels, LABELS("latency"));
    batch_add_histogram(&batch, NOON_MS, ap_buf_slice(&blob));
    struct batch_exemplar *exemplar = batch_add_exemplar(&batch);
    *exemplar = (struct batch_exemplar){NOON_MS - 500, 0.25, ap_buf_slice(&trace)};
    struct batch_metadata *metadata = batch_add_metadata(&batch);
    *metadata = (struct batch_metadata){ap_slice_cstr("latency"), ap_slice_cstr("How \"long\"."),
                                        ap_slice_cstr("seconds"), METADATA_HISTOGRAM};
    metadata = batch_add_metadata(&batch);
    *metadata = (struct batch_metadata){ap_slice_cstr("a"), ap_slice_cstr(""), ap_slice_cstr(""), METADATA_COUNTER};
    append_batch(fx, &batch);
    batch_clear(&batch);

    GET("/api/v1/export?match[]=latency",
        "{\"metric\":{\"__name__\":\"latency\"},\"histograms\":[{\"count\":\"3\",\"sum\":\"2.5\",\"buckets\":"
        "[[0,\"0.5\",\"1\",\"3\"]]}],\"timestamps\":[1795435200000]}\n");
    GET("/api/v1/query_exemplars?query=latency",
        DATA("[{\"seriesLabels\":{\"__name__\":\"latency\"},\"exemplars\":[{\"labels\":{\"trace_id\":\"abc\"},"
             "\"value\":\"0.25\",\"timestamp\":1795435199.500}]}]"));
    GET("/api/v1/query_exemplars?query=latency&start=1795435200", DATA("[]"));
    ask(fx, "GET", "/api/v1/query_exemplars", NULL);
    assert_int_equal(fx->status, 400);
    GET("/api/v1/metadata", DATA("{\"a\":[{\"type\":\"counter\",\"unit\":\"\",\"help\":\"\"}],\"latency\":[{\"type\":"
                                 "\"histogram\",\"unit\":\"seconds\",\"help\":\"How \\\"long\\\".\"}]}"));
    GET("/api/v1/metadata?limit=1", DATA("{\"a\":[{\"type\":\"counter\",\"unit\":\"\",\"help\":\"\"}]}"));
    GET("/api/v1/metadata?metric=nothing", DATA("{}"));
    GET("/api/v1/format_query?query=sum(rate(a%5B300%5D))by(b)", DATA("\"sum by (b) (rate(a[5m]))\""));
    REFUSED("/api/v1/format_query?query=sum(", NULL, 400,
            BAD("invalid parameter \\\"query\\\": 1:5: parse error: unclosed left parenthesis"));
}

static void test_cardinality(void **state)
{
    struct fixture *fx = *state;
    for (int i = 0; i < 30; i++) {
        char text[16];
        snprintf(text, sizeof(text), "%d", i);
        append_one(fx, LABELS("many", "n", text, "job", "j"), NOON_MS, i);
    }
    append_one(fx, LABELS("one", "job", "j"), NOON_MS - 60000, 1);
    ask(fx, "GET", "/api/v1/status/tsdb?limit=1", NULL);
    assert_int_equal(fx->status, 200);
    static const char *const wanted[] = {
        "\"headStats\":{\"numSeries\":31,\"numLabelPairs\":33,",
        "\"minTime\":1795435140000,\"maxTime\":1795435200000}",
        "\"seriesCountByMetricName\":[{\"name\":\"many\",\"value\":30}]",
        "\"labelValueCountByLabelName\":[{\"name\":\"n\",\"value\":30}]",
        "\"seriesCountByLabelValuePair\":[{\"name\":\"job=j\",\"value\":31}]",
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(wanted); i++)
        if (!strstr(fx->body, wanted[i]))
            fail_msg("%s lacks %s", fx->body, wanted[i]);
    REFUSED("/api/v1/status/tsdb?limit=0", NULL, 400, BAD("limit must be a positive number"));
}

static void test_administration(void **state)
{
    struct fixture *fx = *state;
    append_one(fx, LABELS("a"), NOON_MS - 1000, 1);
    append_one(fx, LABELS("a"), NOON_MS, 2);
    append_one(fx, LABELS("b"), NOON_MS, 3);
    ask(fx, "PUT", "/api/v1/admin/tsdb/delete_series?match[]=a&end=1795435199", "");
    assert_int_equal(fx->status, 204);
    GET("/api/v1/export?match[]=a",
        "{\"metric\":{\"__name__\":\"a\"},\"values\":[2],\"timestamps\":[1795435200000]}\n");
    ask(fx, "POST", "/api/v1/admin/tsdb/clean_tombstones", "");
    assert_int_equal(fx->status, 204);
    ask(fx, "POST", "/api/apiary/v1/tsdb/settle", "");
    assert_int_equal(fx->status, 200);
    assert_non_null(strstr(fx->body, "\"block_count\":1"));
    ask(fx, "POST", "/api/v1/admin/tsdb/snapshot", "");
    assert_int_equal(fx->status, 200);
    GET("/api/v1/export?match[]=a",
        "{\"metric\":{\"__name__\":\"a\"},\"values\":[2],\"timestamps\":[1795435200000]}\n");
    ask(fx, "GET", "/api/v1/admin/tsdb/snapshot", NULL);
    assert_int_equal(fx->status, 405);
    assert_non_null(strstr(fx->body, "\"status\":\"error\""));
}

static void test_large_export(void **state)
{
    struct fixture *fx = *state;
    enum { COUNT = 20000 };
    AP_AUTO_FREE int64_t *ts_ms = ap_new0_array(int64_t, COUNT);
    AP_AUTO_FREE double *values = ap_new0_array(double, COUNT);
    for (int i = 0; i < COUNT; i++) {
        ts_ms[i] = NOON_MS - COUNT + i;
        values[i] = i / 7.0;
    }
    append(fx, LABELS("long"), ts_ms, values, COUNT);
    const char *body = ask(fx, "GET", "/api/v1/export?match[]=long", NULL);
    assert_int_equal(fx->status, 200);
    assert_true(strlen(body) > 2 * 256 * 1024); /* several pieces */
    assert_non_null(strstr(body, "{\"metric\":{\"__name__\":\"long\"},\"values\":[0,0.14285714285714285,"));
    assert_non_null(strstr(body, "],\"timestamps\":[1795435180000,1795435180001,"));
    assert_string_equal(body + strlen(body) - strlen(",1795435199999]}\n"), ",1795435199999]}\n");
}

/* Which requests may be answered from what was kept, and keep something. */
static void test_kept_answers(void **state)
{
    struct fixture *fx = *state;
    struct promql_engine_options options;
    promql_engine_options_init(&options);
    options.cache_bytes_max = 1 << 20;
    options.clock = &fx->clock;
    promql_engine_close(fx->engine);
    MUST(promql_engine_open(&options, &fx->engine, &must_err));
    fx->api.engine = fx->engine;
    static const struct {
        const char *more;
        uint64_t hits, misses;
    } rows[] = {{"&nocache=1", 0, 0},         {"&limit=5", 0, 0},   {"&stats=all", 0, 0},        {"", 0, 1},
                {"&limit=0&nocache=0", 1, 1}, {"&nocache=1", 1, 1}, {"&lookback_delta=1m", 1, 2}};
    for (size_t i = 0; i < AP_ARRAY_COUNT(rows); i++) {
        char form[128];
        snprintf(form, sizeof(form), "query=up&start=1795435000&end=1795435200&step=10%s", rows[i].more);
        ask(fx, "POST", "/api/v1/query_range", form);
        assert_int_equal(fx->status, 200);
        struct promql_cache_stats stats;
        promql_engine_cache_stats(fx->engine, &stats);
        if (stats.hits != rows[i].hits || stats.misses != rows[i].misses)
            fail_msg("%s: %d hits, %d misses", form, (int)stats.hits, (int)stats.misses);
    }
}

/* ---- The pool ---- */

struct counted_task {
    struct pool_task task;
    pthread_mutex_t *gate;
    int *ran;
    int *told_to_stop;
};

static void run_counted(struct pool_task *task, bool is_stopping)
{
    struct counted_task *counted = AP_CONTAINER_OF(task, struct counted_task, task);
    pthread_mutex_lock(counted->gate);
    pthread_mutex_unlock(counted->gate);
    __atomic_fetch_add(is_stopping ? counted->told_to_stop : counted->ran, 1, __ATOMIC_SEQ_CST);
}

/* A full queue refuses; every task that was taken runs once, also when the pool stops. */
static void test_pool(void **state)
{
    (void)state;
    enum { TASKS = 20, QUEUE_MAX = 8 };
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    struct counted_task tasks[TASKS];
    struct pool *pool;
    struct ap_err err;
    int ran = 0, told_to_stop = 0, taken = 0;
    MUST(pool_open("test", 2, QUEUE_MAX, &pool, &must_err));
    pthread_mutex_lock(&gate);
    for (int i = 0; i < TASKS; i++) {
        tasks[i] = (struct counted_task){{.run = run_counted}, &gate, &ran, &told_to_stop};
        enum ap_rc rc = pool_submit(pool, &tasks[i].task, &err);
        assert_true(rc == AP_OK || rc == AP_E_BUSY);
        taken += rc == AP_OK;
    }
    assert_true(taken >= QUEUE_MAX && taken <= QUEUE_MAX + 2);
    pthread_mutex_unlock(&gate);
    pool_stop(pool);
    assert_int_equal(ran + told_to_stop, taken);
    assert_int_equal(pool_submit(pool, &tasks[0].task, &err), AP_E_BUSY);
    pool_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_export),
        FIXTURE_TEST(test_exported_values_read_back),
        FIXTURE_TEST(test_several_selectors),
        FIXTURE_TEST(test_labels),
        FIXTURE_TEST(test_histograms_and_exemplars),
        FIXTURE_TEST(test_cardinality),
        FIXTURE_TEST(test_administration),
        FIXTURE_TEST(test_large_export),
        FIXTURE_TEST(test_kept_answers),
        cmocka_unit_test(test_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
