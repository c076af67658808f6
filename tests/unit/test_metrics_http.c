/* Metrics from the socket to the store, which a double stands in for: a real server and key file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include <pthread.h>
#include <snappy-c.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "base/buf.h"
#include "codec/protobuf.h"
#include "ingest/ingest.h"
#include "ingest/otlp_sink.h"
#include "ingest/push.h"
#include "meta/keyring.h"
#include "net/http_client.h"
#include "net/http_server.h"
#include "test_dir.h"

#define NOW_MS INT64_C(1795435200000)
#define WRITE  "/api/v1/write"
#define IMPORT "/api/v1/import/prometheus"

/* What stands in for the store: remembers the batch, and does as it is told. The loop's thread and the test's take
 * turns. */
struct store {
    pthread_mutex_t mtx;
    enum ap_rc append_rc; /* of tsdb_append() */
    enum ap_rc done_rc;
    bool is_slow;                /* done() comes from another thread */
    struct tsdb_outcome outcome; /* all written: as the batch is, if this says nothing */
    atomic_int append_count;
    /* Of the last batch. */
    struct ap_buf labels; /* of its first series, as text */
    size_t series_count;
    size_t metadata_count;
    size_t sample_count;
    int64_t ts_ms[8];
    double values[8];
    pthread_t thread;
    bool has_thread;
};

struct fixture {
    char dir[64];
    char meta_path[96];
    _Atomic int64_t now_us;
    struct ap_clock clock;
    struct meta *meta;
    struct keyring *keyring;
    struct store store;
    struct push *push;
    struct ingest *ingest;
    struct http_server *server;
    struct http_client *client;
    char token[KEY_TOKEN_BYTES_MAX]; /* of a secret key */
    /* The last answer. */
    unsigned status;
    char body[4096];
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

/* ---- The store's double ---- */

static void remember(struct store *store, const struct batch *batch)
{
    ap_buf_reset(&store->labels);
    if (batch->series_count)
        labels_format(batch->series[0].labels, &store->labels);
    store->series_count = batch->series_count;
    store->metadata_count = batch->metadata_count;
    store->sample_count = batch->sample_count;
    for (size_t i = 0; i < batch->sample_count && i < AP_ARRAY_COUNT(store->ts_ms); i++) {
        store->ts_ms[i] = batch->ts_ms[i];
        store->values[i] = batch->values[i];
    }
}

static struct store *store_of(struct tsdb *tsdb)
{
    return (struct store *)(void *)tsdb;
}

static void take_turn(struct store *store)
{
    pthread_mutex_lock(&store->mtx);
    pthread_mutex_unlock(&store->mtx);
}

static void *done_later(void *context)
{
    struct tsdb_append *append = context;
    take_turn((struct store *)(void *)append->records);
    append->records = NULL;
    append->done(append, AP_OK);
    return NULL;
}

static enum ap_rc append_locked(struct store *store, struct tsdb_append *append, struct ap_err *err)
{
    const struct batch *batch = append->batch;
    store->append_count++;
    remember(store, batch);
    if (store->append_rc != AP_OK)
        return ap_fail(err, store->append_rc, "as the test wants it");
    append->outcome = store->outcome;
    if (store->outcome.samples_written + store->outcome.samples_refused + store->outcome.exemplars_refused == 0) {
        append->outcome.samples_written = batch->sample_count;
        append->outcome.histograms_written = batch->histogram_count;
        append->outcome.exemplars_written = batch->exemplar_count;
    }
    if (append->appended)
        append->appended(append);
    if (store->is_slow) {
        append->records = (void *)store; /* the store's own field, as good as any to find it by */
        assert_int_equal(pthread_create(&store->thread, NULL, done_later, append), 0);
        store->has_thread = true;
    }
    return AP_OK;
}

static enum ap_rc append(struct tsdb *tsdb, struct tsdb_append *append, struct ap_err *err)
{
    struct store *store = store_of(tsdb);
    pthread_mutex_lock(&store->mtx);
    enum ap_rc rc = append_locked(store, append, err);
    bool is_done = rc == AP_OK && !store->is_slow;
    enum ap_rc done_rc = store->done_rc;
    pthread_mutex_unlock(&store->mtx);
    if (is_done)
        append->done(append, done_rc);
    return rc;
}

/* ---- The server ---- */

static void admit(struct http_request *request, void *context)
{
    struct fixture *fx = context;
    ingest_admit(fx->ingest, ingest_endpoint_find(http_path(request)), request);
}

static void handle(struct http_request *request, void *context)
{
    struct fixture *fx = context;
    ingest_handle(fx->ingest, ingest_endpoint_find(http_path(request)), request);
}

static void open_ingest(struct fixture *fx, bool is_open, bool has_store)
{
    const struct push_options push_options = {
        .meta_path = fx->meta_path,
        .tsdb = (struct tsdb *)(void *)&fx->store,
        .append = append,
        .hash_seed = 99,
        .clock = &fx->clock,
        .interval_ms = 300000,
        .groups_max = 3,
        .bytes_max = 1 << 20,
    };
    MUST(push_open(&push_options, &fx->push, &must_err));
    MUST(push_start(fx->push, &must_err));
    static const char *const pages[] = {"https://app.example", "https://second.example"};
    static struct otlp_settings otlp;
    otlp_settings_init(&otlp);
    otlp.origins = pages;
    otlp.origin_count = AP_ARRAY_COUNT(pages);
    struct ingest_options options = {
        .otlp = &otlp,
        .keyring = fx->keyring,
        .clock = &fx->clock,
        .is_open = is_open,
        .tsdb = has_store ? (struct tsdb *)(void *)&fx->store : NULL,
        .tsdb_append = has_store ? append : NULL,
        .tsdb_hash_seed = 99,
        .push = has_store ? fx->push : NULL,
    };
    client_networks_init_loopback(&options.trusted_proxies);
    fx->ingest = ingest_new(&options);
    struct http_listener listener = {.address = "127.0.0.1"};
    struct http_server_options server_options = {
        .listeners = &listener,
        .listener_count = 1,
        .thread_count = 2,
        .admit = admit,
        .handle = handle,
        .context = fx,
    };
    MUST(http_server_open(&server_options, &fx->server, &must_err));
}

static void close_ingest(struct fixture *fx)
{
    push_stop(fx->push);
    http_server_close(fx->server);
    push_close(fx->push);
    ingest_free(fx->ingest);
}

static void create_key(struct fixture *fx, const struct key_options *options, char token[KEY_TOKEN_BYTES_MAX])
{
    int64_t id;
    MUST(key_create(fx->meta, &fx->clock, options, &id, token, &must_err));
    MUST(keyring_refresh(fx->keyring, &must_err));
}

static int setup(void **state)
{
    struct fixture *fx = ap_new0(struct fixture);
    pthread_mutex_init(&fx->store.mtx, NULL);
    snprintf(fx->dir, sizeof(fx->dir), "/tmp/test_metrics.XXXXXX");
    assert_non_null(mkdtemp(fx->dir));
    snprintf(fx->meta_path, sizeof(fx->meta_path), "%s/meta.sqlite", fx->dir);
    fx->now_us = NOW_MS * AP_US_PER_MS;
    fx->clock = (struct ap_clock){fixture_now_us, fixture_now_us, fx};
    MUST(meta_open(fx->meta_path, &fx->meta, &must_err));
    MUST(keyring_open(fx->meta_path, &fx->clock, &fx->keyring, &must_err));
    create_key(fx, &(struct key_options){.kind = KEY_KIND_SECRET, .name = "test"}, fx->token);
    open_ingest(fx, false, true);
    fx->client = http_client_new(&(struct http_client_options){.is_direct = true});
    *state = fx;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fx = *state;
    http_client_free(fx->client);
    close_ingest(fx);
    ap_buf_clear(&fx->store.labels);
    pthread_mutex_destroy(&fx->store.mtx);
    keyring_close(fx->keyring);
    meta_close(fx->meta);
    dir_remove(fx->dir);
    free(fx);
    return 0;
}

/* ---- Asking ---- */

struct question {
    const char *method; /* NULL: POST */
    const char *path;
    const char *token; /* NULL: the secret key; "": none */
    const char *content_type;
    const char *content_encoding;
    const char *origin; /* NULL: no page */
    struct ap_slice body;
};

static unsigned ask(struct fixture *fx, const struct question *question)
{
    char url[512];
    char authorization[128];
    struct http_field fields[4];
    size_t field_count = 0;
    const char *token = question->token ? question->token : fx->token;
    snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", http_server_port(fx->server, 0), question->path);
    snprintf(authorization, sizeof(authorization), "Bearer %s", token);
    if (token[0])
        fields[field_count++] = (struct http_field){"Authorization", authorization};
    /* Without one curl would say that it is a form. */
    fields[field_count++] = (struct http_field){"Content-Type", question->content_type ? question->content_type : ""};
    if (question->content_encoding)
        fields[field_count++] = (struct http_field){"Content-Encoding", question->content_encoding};
    if (question->origin)
        fields[field_count++] = (struct http_field){"Origin", question->origin};
    struct http_client_request request = {.method = question->method ? question->method : "POST",
                                          .url = url,
                                          .fields = fields,
                                          .field_count = field_count,
                                          .body = question->body};
    struct http_client_answer answer;
    take_turn(&fx->store); /* what the test has set is seen by the loop, */
    MUST(http_client_ask(fx->client, &request, &answer, &must_err));
    take_turn(&fx->store); /* and what the loop has left, by the test */
    fx->status = answer.status;
    snprintf(fx->body, sizeof(fx->body), "%.*s", AP_SLICE_ARG(answer.body));
    if (fx->store.has_thread) {
        pthread_join(fx->store.thread, NULL);
        fx->store.has_thread = false;
    }
    return answer.status;
}

static void assert_says(const struct fixture *fx, const char *wanted)
{
    if (!strstr(fx->body, wanted))
        fail_msg("answer %u is %s, wanted %s", fx->status, fx->body, wanted);
}

static void assert_field(const struct fixture *fx, const char *name, const char *want)
{
    const char *got = http_client_header(fx->client, name);
    if (!want ? got != NULL : !got || strcmp(got, want) != 0)
        fail_msg("%s is %s, wanted %s", name, got ? got : "(none)", want ? want : "(none)");
}

static void assert_written(const struct fixture *fx, const char *samples, const char *histograms, const char *exemplars)
{
    assert_field(fx, "X-Prometheus-Remote-Write-Samples-Written", samples);
    assert_field(fx, "X-Prometheus-Remote-Write-Histograms-Written", histograms);
    assert_field(fx, "X-Prometheus-Remote-Write-Exemplars-Written", exemplars);
}

/* free() the data. */
static struct ap_slice packed(struct ap_slice bytes)
{
    size_t packed_bytes = snappy_max_compressed_length(bytes.bytes);
    char *data = malloc(packed_bytes);
    assert_int_equal(snappy_compress(bytes.data, bytes.bytes, data, &packed_bytes), SNAPPY_OK);
    return ap_slice(data, packed_bytes);
}

#define PROTOBUF   "application/x-protobuf"
#define PROTOBUF_2 "application/x-protobuf;proto=io.prometheus.write.v2.Request"

static unsigned write_with(struct fixture *fx, const char *content_type, const char *content_encoding,
                           struct ap_slice bytes)
{
    struct ap_slice body = packed(bytes);
    ask(fx, &(struct question){
                .path = WRITE, .content_type = content_type, .content_encoding = content_encoding, .body = body});
    free((void *)(uintptr_t)body.data);
    return fx->status;
}

static void add_message(struct ap_buf *out, uint32_t field, struct ap_buf *clear_message)
{
    protobuf_add_bytes(out, field, ap_buf_slice(clear_message));
    ap_buf_clear(clear_message);
}

/* `count` series of one sample each, 1.0. */
static struct ap_buf message_1(int count)
{
    struct ap_buf message = {0};
    for (int i = 0; i < count; i++) {
        struct ap_buf label = {0};
        struct ap_buf sample = {0};
        struct ap_buf series = {0};
        protobuf_add_text(&label, 1, "__name__");
        protobuf_add_text(&label, 2, "up");
        add_message(&series, 1, &label);
        protobuf_add_double(&sample, 1, i + 1);
        protobuf_add_varint(&sample, 2, (uint64_t)NOW_MS);
        add_message(&series, 2, &sample);
        add_message(&message, 1, &series);
    }
    return message;
}

static struct ap_buf message_2(void)
{
    struct ap_buf message = {0};
    struct ap_buf sample = {0};
    struct ap_buf series = {0};
    protobuf_add_text(&message, 4, "");
    protobuf_add_text(&message, 4, "__name__");
    protobuf_add_text(&message, 4, "up");
    protobuf_add_text(&series, 1, "\x01\x02");
    protobuf_add_double(&sample, 1, 5);
    protobuf_add_varint(&sample, 2, (uint64_t)NOW_MS);
    add_message(&series, 2, &sample);
    protobuf_add_text(&series, 4, ""); /* an exemplar of nothing */
    add_message(&message, 5, &series);
    return message;
}

static unsigned import(struct fixture *fx, const char *path, const char *content_type, const char *text)
{
    return ask(fx, &(struct question){.path = path, .content_type = content_type, .body = ap_slice_cstr(text)});
}

static struct metrics_stats stats(struct fixture *fx, enum metrics_way way)
{
    struct metrics_stats all[METRICS_WAY_COUNT];
    ingest_metrics_stats_get(fx->ingest, all);
    return all[way];
}

/* ---- Remote write ---- */

static void test_write_1(void **state)
{
    struct fixture *fx = *state;
    AP_AUTO_BUF struct ap_buf message = message_1(3);
    assert_int_equal(write_with(fx, PROTOBUF, "snappy", ap_buf_slice(&message)), 204);
    assert_string_equal(fx->body, "");
    assert_int_equal(fx->store.series_count, 3);
    assert_true(ap_slice_equal_cstr(ap_buf_slice(&fx->store.labels), "up"));
    assert_int_equal(fx->store.ts_ms[2], NOW_MS);
    assert_true(fx->store.values[2] == 3);
    assert_written(fx, NULL, NULL, NULL);
    /* As senders say it, and as the first of them did not. */
    assert_int_equal(write_with(fx, PROTOBUF ";proto=prometheus.WriteRequest", "snappy", ap_buf_slice(&message)), 204);
    assert_int_equal(
        write_with(fx, "Application/X-Protobuf; proto=\"prometheus.WriteRequest\"", "Snappy", ap_buf_slice(&message)),
        204);
    assert_int_equal(write_with(fx, NULL, NULL, ap_buf_slice(&message)), 204);
    assert_int_equal(fx->store.append_count, 4);
    fx->store.is_slow = true;
    assert_int_equal(write_with(fx, PROTOBUF, "snappy", ap_buf_slice(&message)), 204);
    struct metrics_stats counts = stats(fx, METRICS_WAY_WRITE_1);
    assert_int_equal(counts.requests, 5);
    assert_int_equal(counts.samples_written, 15);
    assert_int_equal(counts.body_bytes, 5 * message.bytes);
    assert_int_equal(counts.requests_refused, 0);
}

/* As vmagent does when it finds that the receiver knows zstd. */
static void test_write_1_zstd(void **state)
{
    struct fixture *fx = *state;
    AP_AUTO_BUF struct ap_buf message = message_1(2);
    char packed_bytes[1024];
    size_t bytes = ZSTD_compress(packed_bytes, sizeof(packed_bytes), message.data, message.bytes, 1);
    assert_false(ZSTD_isError(bytes));
    assert_int_equal(ask(fx, &(struct question){.path = WRITE,
                                                .content_type = PROTOBUF,
                                                .content_encoding = "zstd",
                                                .body = ap_slice(packed_bytes, bytes)}),
                     204);
    assert_int_equal(fx->store.series_count, 2);
}

static void test_an_empty_request_is_fine(void **state)
{
    struct fixture *fx = *state;
    assert_int_equal(write_with(fx, PROTOBUF, "snappy", ap_slice("", 0)), 204);
    assert_int_equal(write_with(fx, PROTOBUF_2, "snappy", ap_slice("", 0)), 204);
    assert_written(fx, "0", "0", "0");
    assert_int_equal(fx->store.append_count, 0);
}

static void test_some_refused(void **state)
{
    struct fixture *fx = *state;
    AP_AUTO_BUF struct ap_buf message = message_1(5);
    struct ap_buf series = {0};
    protobuf_add_text(&series, 2, ""); /* a sample without a name */
    add_message(&message, 1, &series);
    fx->store.outcome = (struct tsdb_outcome){.samples_written = 2,
                                              .samples_refused = 3,
                                              .refused_old = 2,
                                              .refused_duplicate = 1,
                                              .reason = "too old: up{job=\"x\"}"};
    assert_int_equal(write_with(fx, PROTOBUF, "snappy", ap_buf_slice(&message)), 400);
    assert_string_equal(fx->body,
                        "{\"error\":\"4 of 6 samples were refused (1 malformed, 2 too old, 1 with another value for a "
                        "time that has one); the others were written. First: a series has no metric name (label "
                        "__name__)\",\"written\":2,\"refused\":4}");
    assert_written(fx, NULL, NULL, NULL);
    struct metrics_stats counts = stats(fx, METRICS_WAY_WRITE_1);
    assert_int_equal(counts.samples_written, 2);
    assert_int_equal(counts.refused_malformed, 1);
    assert_int_equal(counts.refused_old, 2);
    assert_int_equal(counts.refused_duplicate, 1);
    assert_int_equal(counts.requests_refused, 1);
    /* Exemplars alone are no reason here. */
    fx->store.outcome = (struct tsdb_outcome){.samples_written = 5, .exemplars_refused = 1};
    message.bytes -= 4;
    assert_int_equal(write_with(fx, PROTOBUF, "snappy", ap_buf_slice(&message)), 204);
}

static void test_write_2(void **state)
{
    struct fixture *fx = *state;
    AP_AUTO_BUF struct ap_buf message = message_2();
    assert_int_equal(write_with(fx, PROTOBUF_2, "snappy", ap_buf_slice(&message)), 204);
    assert_written(fx, "1", "0", "1");
    assert_true(ap_slice_equal_cstr(ap_buf_slice(&fx->store.labels), "up"));
    assert_true(fx->store.values[0] == 5);
    fx->store.outcome = (struct tsdb_outcome){.samples_written = 1, .exemplars_refused = 1};
    assert_int_equal(write_with(fx, PROTOBUF_2, "snappy", ap_buf_slice(&message)), 400);
    assert_says(fx, "1 exemplars were refused");
    assert_written(fx, "1", "0", "0");
    fx->store.outcome = (struct tsdb_outcome){.samples_refused = 1, .refused_series = 1, .reason = "the limit"};
    assert_int_equal(write_with(fx, PROTOBUF_2, "snappy", ap_buf_slice(&message)), 400);
    assert_says(fx, "1 of 1 samples were refused (1 of new series over the limit); none was written. First: the limit");
    assert_written(fx, "0", "0", "0");
    /* A 1.0 decoder sees nothing in it, and the other way round. */
    fx->store.outcome = (struct tsdb_outcome){0};
    assert_int_equal(write_with(fx, PROTOBUF, "snappy", ap_buf_slice(&message)), 204);
    assert_int_equal(fx->store.append_count, 3);
    /* The counts are on every answer. */
    assert_int_equal(write_with(fx, PROTOBUF_2, "snappy", ap_slice("\x2a\x09", 2)), 400);
    assert_says(fx, "at offset 0 of the decompressed body");
    assert_written(fx, "0", "0", "0");
    assert_int_equal(write_with(fx, PROTOBUF_2, "br", ap_buf_slice(&message)), 415);
    assert_written(fx, "0", "0", "0");
    fx->store.done_rc = AP_E_FULL;
    assert_int_equal(write_with(fx, PROTOBUF_2, "snappy", ap_buf_slice(&message)), 503);
    assert_written(fx, "0", "0", "0");
    assert_int_equal(stats(fx, METRICS_WAY_WRITE_2).requests, 6);
}

static void test_types_and_encodings(void **state)
{
    struct fixture *fx = *state;
    AP_AUTO_BUF struct ap_buf message = message_1(1);
    static const struct {
        const char *content_type;
        const char *content_encoding;
        unsigned want;
    } cases[] = {
        {PROTOBUF ";proto=io.prometheus.write.v3.Request", "snappy", 415},
        {"application/json", "snappy", 415},
        {"text/plain", "snappy", 415},
        {PROTOBUF, "br", 415},
        {PROTOBUF, "snappy, gzip", 415},
        {PROTOBUF, "gzip", 400}, /* it is none */
        {PROTOBUF, "identity", 400},
        {PROTOBUF "; charset=x; proto=prometheus.WriteRequest", "snappy", 204},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(cases); i++)
        if (write_with(fx, cases[i].content_type, cases[i].content_encoding, ap_buf_slice(&message)) != cases[i].want)
            fail_msg("%s, %s: %u %s", cases[i].content_type, cases[i].content_encoding, fx->status, fx->body);
    assert_int_equal(fx->store.append_count, 1);
    assert_int_equal(ask(fx, &(struct question){.path = WRITE, .content_type = PROTOBUF, .body = ap_slice("\xff", 1)}),
                     400);
    assert_says(fx, "snappy");
    assert_int_equal(ask(fx, &(struct question){.method = "PUT", .path = WRITE, .content_type = PROTOBUF}), 405);
    assert_field(fx, "Allow", "POST");
}

static void test_a_bomb_costs_nothing(void **state)
{
    struct fixture *fx = *state;
    struct question bomb = {
        .path = WRITE,
        .content_type = PROTOBUF,
        .content_encoding = "snappy",
        .body = ap_slice("\xff\xff\xff\xff\x0f\x00", 6), /* says 4 GiB */
    };
    assert_int_equal(ask(fx, &bomb), 413);
    bomb.content_encoding = NULL;
    assert_int_equal(ask(fx, &bomb), 413);
    bomb.body = ap_slice("\x80\x80\x80\x0f\x00x", 6); /* says 30 MiB, which is allowed */
    assert_int_equal(ask(fx, &bomb), 400);
    assert_int_equal(fx->store.append_count, 0);
}

static void test_retry_later(void **state)
{
    struct fixture *fx = *state;
    AP_AUTO_BUF struct ap_buf message = message_1(1);
    static const struct {
        enum ap_rc append_rc;
        enum ap_rc done_rc;
        unsigned want;
        const char *retry_after;
    } cases[] = {
        {AP_E_BUSY, AP_OK, 503, "1"},   {AP_E_FULL, AP_OK, 503, "10"}, {AP_E_LIMIT, AP_OK, 413, NULL},
        {AP_OK, AP_E_BUSY, 503, "1"},   {AP_OK, AP_E_FULL, 503, "10"}, {AP_OK, AP_E_IO, 503, "10"},
        {AP_OK, AP_E_LIMIT, 413, NULL},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(cases); i++) {
        fx->store.append_rc = cases[i].append_rc;
        fx->store.done_rc = cases[i].done_rc;
        assert_int_equal(write_with(fx, PROTOBUF, "snappy", ap_buf_slice(&message)), cases[i].want);
        assert_field(fx, "Retry-After", cases[i].retry_after);
    }
    assert_int_equal(stats(fx, METRICS_WAY_WRITE_1).requests_unavailable, 5);
    assert_int_equal(stats(fx, METRICS_WAY_WRITE_1).samples_written, 0);
    fx->store.append_rc = fx->store.done_rc = AP_OK;
    ingest_drain(fx->ingest);
    assert_int_equal(write_with(fx, PROTOBUF, "snappy", ap_buf_slice(&message)), 503);
    assert_field(fx, "Retry-After", "5");
    assert_says(fx, "stopping");
}

/* ---- OpenTelemetry ---- */

#define OTLP_JSON(metrics) "{\"resourceMetrics\":[{\"scopeMetrics\":[{\"metrics\":[" metrics "]}]}]}"
#define OTLP_GAUGE(points) "{\"name\":\"a\",\"gauge\":{\"dataPoints\":[" points "]}}"
#define OTLP_DELTA(value)                                                                                              \
    "{\"name\":\"d\",\"sum\":{\"aggregationTemporality\":1,\"isMonotonic\":true,\"dataPoints\":[{"                     \
    "\"startTimeUnixNano\":\"1795435199000000000\",\"timeUnixNano\":\"1795435200000000000\",\"asInt\":" value "}]}}"

static unsigned otlp(struct fixture *fx, const char *path, const char *content_type, struct ap_slice body)
{
    return ask(fx, &(struct question){.path = path, .content_type = content_type, .body = body});
}

static void test_otlp(void **state)
{
    struct fixture *fx = *state;
    assert_int_equal(ingest_otlp_cache_bytes(fx->ingest), 0);
    static const char good[] = OTLP_JSON(OTLP_GAUGE("{\"timeUnixNano\":\"1795435200000000000\",\"asInt\":3}"));
    static const char *const paths[] = {"/v1/metrics", "/api/v1/otlp/v1/metrics"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(paths); i++) {
        assert_int_equal(otlp(fx, paths[i], "application/json; charset=utf-8", ap_slice_cstr(good)), 200);
        assert_string_equal(fx->body, "{}");
        assert_field(fx, "Content-Type", "application/json");
        assert_true(fx->store.values[0] == 3);
        /* Resource { Scope { Metric { name "a", Gauge { Point { time, 2.0 } } } } } */
        static const char protobuf[] =
            "\x0a\x1d\x12\x1b\x12\x19\x0a\x01"
            "a\x2a\x14\x0a\x12\x19\x00\x00\x6a\x1a\xa7\x9a\xea\x18\x21\x00\x00\x00\x00\x00\x00"
            "\x00\x40";
        assert_int_equal(otlp(fx, paths[i], PROTOBUF, ap_slice(protobuf, sizeof(protobuf) - 1)), 200);
        assert_string_equal(fx->body, "");
        assert_field(fx, "Content-Type", PROTOBUF);
        assert_true(fx->store.values[0] == 2);
    }
    assert_int_equal(stats(fx, METRICS_WAY_OTLP_JSON).samples_written, 2);
    assert_int_equal(stats(fx, METRICS_WAY_OTLP_PROTOBUF).samples_written, 2);
    assert_in_range(ingest_otlp_cache_bytes(fx->ingest), 1, 1 << 20);
    assert_true(ingest_endpoint_is_otlp(ingest_endpoint_find(ap_slice_cstr(paths[0]))));
    assert_false(ingest_endpoint_is_otlp(ingest_endpoint_find(ap_slice_cstr(WRITE))));
}

/* From the pages that are named, with a key that is meant to be seen; whatever the answer, the page may read it. */
static void test_otlp_from_a_page(void **state)
{
    struct fixture *fx = *state;
    static const char allowed[] = "Access-Control-Allow-Origin";
    static const char good[] = OTLP_JSON(OTLP_GAUGE("{\"timeUnixNano\":\"1795435200000000000\",\"asInt\":3}"));
    char token[KEY_TOKEN_BYTES_MAX];
    create_key(fx, &(struct key_options){.kind = KEY_KIND_PUBLIC, .name = "page", .origins = "https://app.example"},
               token);
    struct question question = {
        .method = "OPTIONS", .path = "/v1/metrics", .token = "", .origin = "https://app.example"};
    assert_int_equal(ask(fx, &question), 204);
    assert_field(fx, allowed, "*");
    assert_field(fx, "Access-Control-Allow-Methods", "POST, OPTIONS");
    assert_non_null(strstr(http_client_header(fx->client, "Access-Control-Allow-Headers"), "X-Apiary-Key"));
    assert_null(http_client_header(fx->client, "Access-Control-Allow-Credentials"));

    question = (struct question){.path = "/v1/metrics",
                                 .token = token,
                                 .content_type = "application/json",
                                 .origin = "https://app.example",
                                 .body = ap_slice_cstr(good)};
    assert_int_equal(ask(fx, &question), 200);
    assert_field(fx, allowed, "*");
    question.origin = "https://second.example"; /* a page of ours, but the key is not for it */
    assert_int_equal(ask(fx, &question), 403);
    assert_field(fx, allowed, "*");
    question.content_type = "text/plain";
    assert_int_equal(ask(fx, &question), 415);
    assert_field(fx, allowed, "*");

    static const char *const strangers[] = {NULL, "null", "https://app.example.evil", "http://app.example"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(strangers); i++) {
        question.origin = strangers[i];
        question.method = "POST";
        question.content_type = "application/json";
        assert_int_equal(ask(fx, &question), 403);
        assert_null(http_client_header(fx->client, allowed));
        question.method = "OPTIONS";
        assert_int_equal(ask(fx, &question), 405);
        assert_null(http_client_header(fx->client, allowed));
    }
    question = (struct question){
        .path = IMPORT, .token = token, .content_type = "text/plain", .origin = "https://app.example"};
    assert_int_equal(ask(fx, &question), 403); /* OpenTelemetry's alone */
    assert_null(http_client_header(fx->client, allowed));
}

/* Errors in the request's own encoding. */
static void test_otlp_errors(void **state)
{
    struct fixture *fx = *state;
    static const char partial[] = OTLP_JSON(OTLP_GAUGE("{\"timeUnixNano\":\"1795435200000000000\",\"asInt\":3},{}"));
    assert_int_equal(otlp(fx, "/v1/metrics", "application/json", ap_slice_cstr(partial)), 200);
    assert_string_equal(fx->body,
                        "{\"partialSuccess\":{\"rejectedDataPoints\":\"1\",\"errorMessage\":\"1 of 2 samples were "
                        "refused (1 malformed); the others were written. First: metric \\\"a\\\": a point has no "
                        "time\"}}");
    assert_int_equal(stats(fx, METRICS_WAY_OTLP_JSON).requests_refused, 0);
    assert_int_equal(otlp(fx, "/v1/metrics", "application/json", ap_slice_cstr("[]")), 400);
    assert_string_equal(fx->body,
                        "{\"code\":3,\"message\":\"expected object, got array, at offset 0 of the decompressed "
                        "body\"}");
    assert_int_equal(otlp(fx, "/v1/metrics", PROTOBUF, ap_slice("\x0a", 1)), 400);
    assert_memory_equal(fx->body, "\x08\x03\x12\x4f", 4); /* code 3, and a message of 79 bytes */
    assert_says(fx, "malformed Protocol Buffers in the request, at offset 0");
    assert_int_equal(otlp(fx, "/v1/metrics", "text/plain", ap_slice_cstr("x")), 415);
    assert_int_equal(otlp(fx, "/v1/metrics", NULL, ap_slice_cstr("x")), 415);
    assert_says(fx, "application/x-protobuf");
    assert_int_equal(ask(fx, &(struct question){.method = "PUT", .path = "/v1/metrics", .content_type = PROTOBUF}),
                     405);
    assert_field(fx, "Allow", "POST");
    fx->store.append_rc = AP_E_BUSY;
    assert_int_equal(otlp(fx, "/v1/metrics", "application/json", ap_slice_cstr(partial)), 503);
    assert_field(fx, "Retry-After", "1");
    assert_says(fx, "{\"code\":14,");
}

/* A request that was answered 503 comes again, and again: its delta counts once. */
static void test_otlp_delta_repeated(void **state)
{
    struct fixture *fx = *state;
    struct ap_slice body = ap_slice_cstr(OTLP_JSON(OTLP_DELTA("5")));
    fx->store.done_rc = AP_E_FULL; /* the head has it, the log has not */
    assert_int_equal(otlp(fx, "/v1/metrics", "application/json", body), 503);
    assert_true(fx->store.values[1] == 5); /* behind the 0 that begins it */
    fx->store.done_rc = AP_OK;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(otlp(fx, "/v1/metrics", "application/json", body), 200);
        assert_int_equal(fx->store.ts_ms[0], INT64_C(1795435200000));
        assert_true(fx->store.values[0] == 5);
    }
    /* Neither got it: it is as if it had never come. */
    body = ap_slice_cstr("{\"resourceMetrics\":[{\"scopeMetrics\":[{\"metrics\":[{\"name\":\"d\",\"sum\":{"
                         "\"aggregationTemporality\":1,\"isMonotonic\":true,\"dataPoints\":[{\"timeUnixNano\":"
                         "\"1795435201000000000\",\"asInt\":2}]}}]}]}]}");
    fx->store.append_rc = AP_E_BUSY;
    assert_int_equal(otlp(fx, "/v1/metrics", "application/json", body), 503);
    fx->store.append_rc = AP_OK;
    assert_int_equal(otlp(fx, "/v1/metrics", "application/json", body), 200);
    assert_true(fx->store.values[0] == 7);
}

static void test_keys(void **state)
{
    struct fixture *fx = *state;
    char token[KEY_TOKEN_BYTES_MAX];
    struct question question = {.path = IMPORT, .content_type = "text/plain", .body = ap_slice_cstr("up 1\nup 2 5\n")};
    question.token = "";
    assert_int_equal(ask(fx, &question), 401);
    assert_field(fx, "WWW-Authenticate", "Bearer");
    question.token = token;
    create_key(fx, &(struct key_options){.kind = KEY_KIND_VIEWER, .name = "pages"}, token);
    assert_int_equal(ask(fx, &question), 403);
    create_key(fx, &(struct key_options){.kind = KEY_KIND_PUBLIC, .name = "site"}, token);
    assert_int_equal(ask(fx, &question), 403);
    assert_says(fx, "needs a secret one");
    create_key(fx,
               &(struct key_options){.kind = KEY_KIND_SECRET, .name = "slow", .rows_per_second = 1, .rows_burst = 1},
               token);
    assert_int_equal(ask(fx, &question), 204);
    assert_int_equal(ask(fx, &question), 429);
    assert_field(fx, "Retry-After", "3");
    assert_int_equal(stats(fx, METRICS_WAY_IMPORT).requests_unauthorized, 3);
    assert_int_equal(stats(fx, METRICS_WAY_IMPORT).requests_over_rate, 1);
    close_ingest(fx);
    open_ingest(fx, true, true);
    question.token = "";
    assert_int_equal(ask(fx, &question), 204);
}

/* ---- Text ---- */

static void test_import(void **state)
{
    struct fixture *fx = *state;
    assert_int_equal(import(fx, IMPORT, "text/plain; version=0.0.4", "# TYPE up gauge\nup{job=\"a\"} 1\nup 2 77\n"),
                     204);
    assert_int_equal(fx->store.series_count, 2);
    assert_int_equal(fx->store.metadata_count, 1);
    assert_true(ap_slice_equal_cstr(ap_buf_slice(&fx->store.labels), "up{job=\"a\"}"));
    assert_int_equal(fx->store.ts_ms[0], NOW_MS);
    assert_int_equal(fx->store.ts_ms[1], 77);
    assert_int_equal(
        import(fx, IMPORT "?timestamp=1234&extra_label=job=b&extra_label=zone=x%3Dy", NULL, "up{job=\"a\"} 1\n"), 204);
    assert_true(ap_slice_equal_cstr(ap_buf_slice(&fx->store.labels), "up{job=\"b\", zone=\"x=y\"}"));
    assert_int_equal(fx->store.ts_ms[0], 1234);
    assert_int_equal(import(fx, IMPORT, "application/openmetrics-text; version=1.0.0", "up 1 2.5\n# EOF\n"), 204);
    assert_int_equal(fx->store.ts_ms[0], 2500);
    assert_int_equal(import(fx, IMPORT, "application/x-www-form-urlencoded", "up 1"), 204);
    assert_int_equal(import(fx, IMPORT, NULL, ""), 204);
    assert_int_equal(import(fx, IMPORT, "application/json", "{}"), 415);
    assert_int_equal(import(fx, IMPORT "?timestamp=1.5", NULL, "up 1"), 400);
    assert_says(fx, "milliseconds");
    assert_int_equal(import(fx, IMPORT "?extra_label=job", NULL, "up 1"), 400);
    assert_says(fx, "name=value");
    assert_int_equal(stats(fx, METRICS_WAY_IMPORT).samples_written, 5);
    assert_false(ingest_endpoint_is_there(ingest_endpoint_find(ap_slice_cstr("/api/v1/import"))));
}

static void test_import_bad_lines(void **state)
{
    struct fixture *fx = *state;
    assert_int_equal(import(fx, IMPORT, NULL, "up 1\ndown x\nup{a=\"b} 2\n"), 400);
    assert_string_equal(fx->body, "{\"error\":\"2 of 3 samples were refused (2 malformed); the others were written. "
                                  "First: expected a number\",\"written\":1,\"refused\":2,\"lines\":["
                                  "{\"line\":2,\"column\":6,\"error\":\"expected a number\"},"
                                  "{\"line\":3,\"column\":6,\"error\":\"the quote is not closed\"}]}");
    assert_int_equal(fx->store.sample_count, 1);
    fx->store.append_count = 0;
    assert_int_equal(import(fx, IMPORT, NULL, "<html>\n"), 400);
    assert_says(fx, "none was written");
    assert_int_equal(fx->store.append_count, 0);
    assert_int_equal(import(fx, IMPORT, "application/openmetrics-text", "up 1\n"), 400);
    assert_says(fx, "# EOF");
    assert_int_equal(fx->store.append_count, 1);
    assert_int_equal(stats(fx, METRICS_WAY_IMPORT).refused_malformed, 4);
}

/* ---- InfluxDB ---- */

static void test_influx(void **state)
{
    struct fixture *fx = *state;
    assert_int_equal(import(fx, "/write?db=x&precision=s", NULL, "m,a=b v=1,w=2 5\nm text=\"t\" 5\n"), 204);
    assert_int_equal(fx->store.series_count, 2);
    assert_true(ap_slice_equal_cstr(ap_buf_slice(&fx->store.labels), "m_v{a=\"b\", db=\"x\"}"));
    assert_int_equal(fx->store.ts_ms[0], 5000);
    assert_int_equal(stats(fx, METRICS_WAY_INFLUX).texts_skipped, 1);
    assert_int_equal(import(fx, "/api/v2/write?org=o&bucket=y", "text/plain", "m value=1"), 204);
    assert_true(ap_slice_equal_cstr(ap_buf_slice(&fx->store.labels), "m{db=\"y\"}"));
    assert_int_equal(fx->store.ts_ms[0], NOW_MS);
    assert_int_equal(import(fx, "/write", NULL, ""), 204);
    assert_int_equal(stats(fx, METRICS_WAY_INFLUX).samples_written, 3);
}

static void test_influx_errors(void **state)
{
    struct fixture *fx = *state;
    assert_int_equal(import(fx, "/write", NULL, "m v=1\nm\nn v=2\n"), 400);
    assert_string_equal(fx->body,
                        "{\"error\":\"partial write: unable to parse 'm': missing fields dropped=1\",\"line\":2}");
    assert_int_equal(import(fx, "/api/v2/write", NULL, "m v="), 400);
    assert_string_equal(fx->body, "{\"code\":\"invalid\",\"message\":\"unable to parse 'm v=': missing field value\","
                                  "\"line\":1}");
    fx->store.outcome = (struct tsdb_outcome){
        .samples_written = 1, .samples_refused = 1, .refused_old = 1, .reason = "a sample is too old"};
    assert_int_equal(import(fx, "/write", NULL, "m v=1,w=2"), 400);
    assert_string_equal(fx->body,
                        "{\"error\":\"partial write: 1 of 2 samples were refused (1 too old); the others were "
                        "written. First: a sample is too old dropped=1\"}");
    fx->store.outcome = (struct tsdb_outcome){0};
    assert_int_equal(import(fx, "/write?precision=d", NULL, "m v=1"), 400);
    assert_says(fx, "invalid precision \\\"d\\\"");
    assert_int_equal(ask(fx, &(struct question){.path = "/api/v2/write", .content_encoding = "lzma"}), 415);
    assert_int_equal(ask(fx, &(struct question){.path = "/api/v2/write", .method = "PUT"}), 405);
    assert_field(fx, "Allow", "POST");
    fx->store.append_rc = AP_E_FULL;
    assert_int_equal(import(fx, "/api/v2/write", NULL, "m v=1"), 503);
    assert_says(fx, "{\"code\":\"unavailable\"");
    assert_field(fx, "Retry-After", "10");
}

static void test_influx_key_as_parameter(void **state)
{
    struct fixture *fx = *state;
    char path[128];
    struct question question = {.path = path, .token = "", .body = ap_slice_cstr("m v=1")};
    snprintf(path, sizeof(path), "/write?u=any&p=%s", fx->token);
    assert_int_equal(ask(fx, &question), 204);
    snprintf(path, sizeof(path), "/api/v2/write?u=any&p=%s", fx->token);
    assert_int_equal(ask(fx, &question), 401);
    snprintf(path, sizeof(path), "/write?p=");
    assert_int_equal(ask(fx, &question), 401);
}

/* ---- Pushgateway ---- */

static unsigned push_body(struct fixture *fx, const char *method, const char *path, const char *body)
{
    return ask(fx, &(struct question){.method = method, .path = path, .body = ap_slice_cstr(body)});
}

static void test_push(void **state)
{
    struct fixture *fx = *state;
    assert_int_equal(push_body(fx, "PUT", "/metrics/job/a/x/1", "# TYPE m gauge\nm 1\n"), 200);
    assert_string_equal(fx->body, "");
    assert_int_equal(fx->store.series_count, 3);
    assert_int_equal(fx->store.metadata_count, 3); /* of m, and of our two */
    assert_true(ap_slice_equal_cstr(ap_buf_slice(&fx->store.labels), "m{job=\"a\", x=\"1\"}"));
    assert_int_equal(push_body(fx, "POST", "/metrics/job@base64/YQ/p@base64/L3Zhcg", "n 1\n"), 200);
    assert_true(ap_slice_equal_cstr(ap_buf_slice(&fx->store.labels), "n{job=\"a\", p=\"/var\"}"));
    assert_int_equal(push_body(fx, "DELETE", "/metrics/job/a/x/1", ""), 202);
    assert_int_equal(push_body(fx, "DELETE", "/metrics/job/a/x/1", ""), 202);
    assert_int_equal(push_body(fx, "PUT", "/api/v1/admin/wipe", ""), 202);
    assert_int_equal(stats(fx, METRICS_WAY_PUSH).requests, 5);
    struct push_stats push;
    push_stats_get(fx->push, &push);
    assert_int_equal(push.groups, 0);
}

static void test_push_errors(void **state)
{
    struct fixture *fx = *state;
    assert_int_equal(push_body(fx, "PUT", "/metrics/job/a/x", "m 1\n"), 400);
    assert_string_equal(fx->body, "odd number of components in label string \"/x\"\n");
    assert_field(fx, "Content-Type", "text/plain; charset=utf-8");
    assert_int_equal(push_body(fx, "PUT", "/metrics/job/a", "m x\n"), 400);
    assert_string_equal(fx->body, "text format parsing error in line 1: expected a number\n");
    assert_int_equal(push_body(fx, "PUT", "/metrics/job/a", "m 1 5\n"), 400);
    assert_says(fx, "must not have timestamps");
    assert_int_equal(push_body(fx, "PUT", "/metrics/job", "m 1\n"), 400);
    assert_int_equal(push_body(fx, "PATCH", "/metrics/job/a", "m 1\n"), 405);
    assert_field(fx, "Allow", "PUT, POST, DELETE");
    fx->store.append_rc = AP_E_BUSY;
    assert_int_equal(push_body(fx, "PUT", "/metrics/job/a", "m 1\n"), 503);
    assert_field(fx, "Retry-After", "1");
    fx->store.append_rc = AP_OK;
    fx->store.done_rc = AP_E_IO;
    assert_int_equal(push_body(fx, "PUT", "/metrics/job/a", "m 1\n"), 503);
    fx->store.done_rc = AP_OK;
    fx->store.outcome =
        (struct tsdb_outcome){.samples_written = 2, .samples_refused = 1, .refused_series = 1, .reason = "m{}"};
    assert_int_equal(push_body(fx, "PUT", "/metrics/job/a", "m 1\n"), 400);
    assert_says(fx, "1 of 3 samples were refused (1 of new series over the limit)");
    fx->store.outcome = (struct tsdb_outcome){0};
    assert_int_equal(push_body(fx, "PUT", "/metrics/job/b", "m 1\n"), 200);
    assert_int_equal(push_body(fx, "PUT", "/metrics/job/c", "m 1\n"), 200);
    assert_int_equal(push_body(fx, "PUT", "/metrics/job/d", "m 1\n"), 413);
    ingest_drain(fx->ingest);
    assert_int_equal(push_body(fx, "PUT", "/metrics/job/b", "m 1\n"), 503);
}

static void test_without_a_store(void **state)
{
    struct fixture *fx = *state;
    close_ingest(fx);
    open_ingest(fx, false, false);
    assert_int_equal(import(fx, IMPORT, NULL, "up 1"), 404);
    assert_int_equal(stats(fx, METRICS_WAY_IMPORT).requests, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_write_1),
        TEST(test_write_1_zstd),
        TEST(test_an_empty_request_is_fine),
        TEST(test_some_refused),
        TEST(test_write_2),
        TEST(test_types_and_encodings),
        TEST(test_a_bomb_costs_nothing),
        TEST(test_retry_later),
        TEST(test_keys),
        TEST(test_otlp),
        TEST(test_otlp_from_a_page),
        TEST(test_otlp_errors),
        TEST(test_otlp_delta_repeated),
        TEST(test_import),
        TEST(test_import_bad_lines),
        TEST(test_influx),
        TEST(test_influx_errors),
        TEST(test_influx_key_as_parameter),
        TEST(test_push),
        TEST(test_push_errors),
        TEST(test_without_a_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
