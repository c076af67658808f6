/* Prometheus' questions from the socket to the store and back: a real server, log and store; samples come in directly.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/api.h"
#include "api/pool.h"
#include "base/buf.h"
#include "base/random.h"
#include "net/http_client.h"
#include "promql/engine.h"
#include "tsdb/histogram.h"
#include "tsdb/tsdb.h"
#include "wal/wal.h"

#define NOON_MS INT64_C(1795435200000) /* 2026-11-23T12:00:00Z */

struct fixture {
    char dir[64];
    int dir_fd;
    int64_t now_us;
    struct ap_clock clock;
    struct wal *wal;
    struct tsdb *tsdb;
    struct api api;
    struct http_server *server;
    struct http_client *client;
    unsigned status;
    char *body; /* of the last answer; owned */
};

static struct ap_err must_err;
#define MUST(call)                                                                                                     \
    do {                                                                                                               \
        if ((call) != AP_OK)                                                                                           \
            fail_msg("%s: %s", #call, must_err.text);                                                                  \
    } while (0)

static int64_t fixture_now_us(void *context)
{
    return ((struct fixture *)context)->now_us;
}

static int setup(void **state)
{
    struct fixture *fx = ap_new0(struct fixture);
    snprintf(fx->dir, sizeof(fx->dir), "/tmp/test_api_tsdb.XXXXXX");
    assert_non_null(mkdtemp(fx->dir));
    fx->dir_fd = open(fx->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fx->now_us = NOON_MS * 1000;
    fx->clock = (struct ap_clock){fixture_now_us, fixture_now_us, fx};
    struct wal_options wal_options;
    wal_options_init(&wal_options);
    wal_options.segment_bytes = 4 << 20;
    wal_options.record_bytes_max = 1 << 20;
    uint64_t cut_bytes;
    MUST(wal_open(fx->dir_fd, &wal_options, &fx->wal, &cut_bytes, &must_err));
    struct tsdb_options options;
    tsdb_options_init(&options);
    AP_AUTO_FREE char *dir = ap_asprintf("%s/tsdb", fx->dir);
    options.dir = dir;
    options.wal = fx->wal;
    options.clock = &fx->clock;
    MUST(tsdb_open(&options, &fx->tsdb, &must_err));
    MUST(tsdb_start(fx->tsdb, &must_err));
    fx->api = (struct api){
        .wal = fx->wal,
        .tsdb = fx->tsdb,
        .clock = &fx->clock,
        .export_bytes_max = 1 << 20,
        .is_open = true,
    };
    MUST(pool_open("questions", 2, 16, &fx->api.questions, &must_err));
    MUST(pool_open("chores", 1, 16, &fx->api.chores, &must_err));
    struct http_listener listener = {.address = "127.0.0.1"};
    struct http_server_options server_options = {
        .listeners = &listener,
        .listener_count = 1,
        .thread_count = 1,
        .admit = api_admit,
        .handle = api_handle,
        .context = &fx->api,
    };
    MUST(http_server_open(&server_options, &fx->server, &must_err));
    fx->client = http_client_new(&(struct http_client_options){.is_direct = true});
    *state = fx;
    return 0;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *ftw)
{
    (void)info;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static int teardown(void **state)
{
    struct fixture *fx = *state;
    free(fx->body);
    http_client_free(fx->client);
    pool_stop(fx->api.questions);
    pool_stop(fx->api.chores);
    wal_stop(fx->wal);
    http_server_close(fx->server);
    pool_close(fx->api.questions);
    pool_close(fx->api.chores);
    tsdb_close(fx->tsdb);
    wal_close(fx->wal);
    close(fx->dir_fd);
    nftw(fx->dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    free(fx);
    return 0;
}

/* ---- Samples in ---- */

struct waiting {
    pthread_mutex_t mtx;
    pthread_cond_t cond;
    bool is_done;
    enum ap_rc rc;
};

static void appended(struct tsdb_append *append, enum ap_rc rc)
{
    struct waiting *waiting = append->context;
    pthread_mutex_lock(&waiting->mtx);
    waiting->is_done = true;
    waiting->rc = rc;
    pthread_cond_signal(&waiting->cond);
    pthread_mutex_unlock(&waiting->mtx);
}

static void append_batch(struct fixture *fx, const struct batch *batch)
{
    struct waiting waiting = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, AP_OK};
    struct tsdb_append append = {.batch = batch, .done = appended, .context = &waiting};
    MUST(tsdb_append(fx->tsdb, &append, &must_err));
    pthread_mutex_lock(&waiting.mtx);
    while (!waiting.is_done)
        pthread_cond_wait(&waiting.cond, &waiting.mtx);
    pthread_mutex_unlock(&waiting.mtx);
    assert_int_equal(waiting.rc, AP_OK);
    assert_string_equal(append.outcome.reason, "");
}

/* "up" and then names and values, NULL at the end. */
static void encode_labels(struct ap_buf *out, const char *const *texts)
{
    struct label labels[8];
    size_t count = 0;
    labels[count++] = (struct label){ap_slice_cstr(LABEL_METRIC_NAME), ap_slice_cstr(texts[0])};
    for (size_t i = 1; texts[i]; i += 2)
        labels[count++] = (struct label){ap_slice_cstr(texts[i]), ap_slice_cstr(texts[i + 1])};
    MUST(labels_encode(labels, count, out, &must_err));
}
#define LABELS(...) ((const char *const[]){__VA_ARGS__, NULL})

static struct batch_series *add_series(struct fixture *fx, struct batch *batch, struct ap_buf *out,
                                       const char *const *texts)
{
    encode_labels(out, texts);
    struct ap_slice labels = ap_buf_slice(out);
    return batch_add_series(batch, labels, labels_hash_of(tsdb_hash_seed(fx->tsdb), labels));
}

static void append(struct fixture *fx, const char *const *texts, const int64_t *ts_ms, const double *values,
                   size_t count)
{
    AP_AUTO_BUF struct ap_buf labels = {0};
    struct batch batch = {0};
    add_series(fx, &batch, &labels, texts);
    for (size_t i = 0; i < count; i++)
        batch_add_sample(&batch, ts_ms[i], values[i]);
    append_batch(fx, &batch);
    batch_clear(&batch);
}

static void append_one(struct fixture *fx, const char *const *texts, int64_t ts_ms, double value)
{
    append(fx, texts, &ts_ms, &value, 1);
}

/* ---- Answers out ---- */

static const char *ask(struct fixture *fx, const char *method, const char *path, const char *form)
{
    char url[1024];
    snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", http_server_port(fx->server, 0), path);
    struct http_field type = {"Content-Type", "application/x-www-form-urlencoded"};
    struct http_client_request request = {
        .method = method, .url = url, .fields = &type, .field_count = 1, .body = ap_slice_cstr(form)};
    struct http_client_answer answer;
    MUST(http_client_ask(fx->client, &request, &answer, &must_err));
    fx->status = answer.status;
    free(fx->body);
    fx->body = ap_slice_dup(answer.body);
    return fx->body;
}

static void check_answer(struct fixture *fx, const char *path, const char *form, unsigned status, const char *want,
                         int line)
{
    ask(fx, form ? "POST" : "GET", path, form);
    if (fx->status != status || strcmp(fx->body, want) != 0)
        fail_msg("line %d: %s: %u %s\nshould be %u %s", line, path, fx->status, fx->body, status, want);
}
#define GET(path, want)                   check_answer(fx, path, NULL, 200, want, __LINE__)
#define POST(path, form, want)            check_answer(fx, path, form, 200, want, __LINE__)
#define REFUSED(path, form, status, want) check_answer(fx, path, form, status, want, __LINE__)
#define DATA(json)                        "{\"status\":\"success\",\"data\":" json "}\n"
#define BAD(sentence)                     "{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"" sentence "\"}\n"

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
            BAD("invalid parameter \\\"query\\\": 1:5: parse error: unexpected end of "
                "input in expression, expected number, "
                "string, selector, function call or \\\"(\\\""));
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
    REFUSED("/api/v1/status/tsdb?limit=0", NULL, 400, BAD("invalid parameter \\\"limit\\\": limit must be positive"));
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

static void test_answer_is_too_large(void **state)
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
    fx->api.export_bytes_max = 100000;
    ask(fx, "GET", "/api/v1/export?match[]=long", NULL);
    assert_int_equal(fx->status, 422);
    assert_non_null(strstr(fx->body, "\"errorType\":\"execution\""));
    assert_non_null(strstr(fx->body, "tsdb.export_size"));
    fx->api.export_bytes_max = 1 << 20;
    ask(fx, "GET", "/api/v1/export?match[]=long", NULL);
    assert_int_equal(fx->status, 200);
}

/* Which requests may be answered from what was kept, and keep something. */
static void test_kept_answers(void **state)
{
    struct fixture *fx = *state;
    struct promql_engine_options options;
    promql_engine_options_init(&options);
    options.cache_bytes_max = 1 << 20;
    options.clock = &fx->clock;
    MUST(promql_engine_open(&options, &fx->api.engine, &must_err));
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
        promql_engine_cache_stats(fx->api.engine, &stats);
        if (stats.hits != rows[i].hits || stats.misses != rows[i].misses)
            fail_msg("%s: %d hits, %d misses", form, (int)stats.hits, (int)stats.misses);
    }
    promql_engine_close(fx->api.engine);
    fx->api.engine = NULL;
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

#define FIXTURE_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

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
        FIXTURE_TEST(test_answer_is_too_large),
        FIXTURE_TEST(test_kept_answers),
        cmocka_unit_test(test_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
