/*
 * What the tests of the API share: a real server, log and store below it; samples come in directly, questions by HTTP.
 */
#pragma once

#include "test_api_server.h"

#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/pages.h"
#include "api/pool.h"
#include "base/buf.h"
#include "base/random.h"
#include "promql/engine.h"
#include "test_dir.h"
#include "tsdb/histogram.h"
#include "tsdb/tsdb.h"
#include "wal/wal.h"

struct fixture {
    char dir[64];
    int dir_fd;
    int64_t now_us; /* atomic: threads of the server ask for it */
    bool is_going;  /* see struct fixture_options */
    struct ap_clock clock;
    struct wal *wal;
    struct pages *pages;
    struct tsdb *tsdb;
    struct promql_engine *engine;
    struct api api;
    struct api_server server;
    uint16_t port;
    unsigned status;
    char *body; /* of the last answer; owned */
};

static inline int64_t fixture_now_us(void *context)
{
    return __atomic_load_n(&((struct fixture *)context)->now_us, __ATOMIC_RELAXED);
}

static inline void fixture_advance(struct fixture *fx, int64_t us)
{
    __atomic_add_fetch(&fx->now_us, us, __ATOMIC_RELAXED);
}

static inline int64_t fixture_monotonic_us(void *context)
{
    const struct fixture *fx = context;
    int64_t now_us = fixture_now_us(context);
    return fx->is_going ? ap_clock_monotonic_us(&ap_clock_system) + now_us - NOON_MS * 1000 : now_us;
}

static inline void add_config_text(void *context, struct ap_buf *out)
{
    (void)context;
    ap_buf_add_cstr(out, "data: x\n");
}

struct fixture_options {
    bool is_going; /* the monotonic clock goes as the machine's, the engine's too; otherwise all time stands still */
    struct http_limits limits;
};

static inline struct fixture *fixture_new(const struct fixture_options *given)
{
    struct fixture *fx = ap_new0(struct fixture);
    snprintf(fx->dir, sizeof(fx->dir), "/tmp/test_api_tsdb.XXXXXX");
    assert_non_null(mkdtemp(fx->dir));
    fx->dir_fd = open(fx->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fx->now_us = NOON_MS * 1000;
    fx->is_going = given->is_going;
    fx->clock = (struct ap_clock){fixture_now_us, fixture_monotonic_us, fx};
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
    struct promql_engine_options engine_options;
    promql_engine_options_init(&engine_options);
    engine_options.is_experimental = true;
    if (given->is_going)
        engine_options.clock = &fx->clock;
    MUST(promql_engine_open(&engine_options, &fx->engine, &must_err));
    fx->pages = pages_new(ap_slice_cstr(""));
    fx->api = (struct api){
        .pages = fx->pages,
        .wal = fx->wal,
        .tsdb = fx->tsdb,
        .engine = fx->engine,
        .clock = &fx->clock,
        .remote_read_bytes_max = 16 << 20,
        .retention_ms = INT64_C(15) * 86400 * 1000,
        .config_text = add_config_text,
        .is_open = true,
    };
    MUST(pool_open("questions", 2, 16, &fx->api.questions, &must_err));
    MUST(pool_open("chores", 1, 16, &fx->api.chores, &must_err));
    api_server_open(&fx->server, &fx->api, &given->limits, api_handle);
    fx->port = api_server_port(&fx->server);
    return fx;
}

static inline int setup(void **state)
{
    *state = fixture_new(&(struct fixture_options){.is_going = false});
    return 0;
}

static inline int teardown(void **state)
{
    struct fixture *fx = *state;
    free(fx->body);
    pool_stop(fx->api.questions);
    pool_stop(fx->api.chores);
    wal_stop(fx->wal);
    api_server_close(&fx->server);
    pool_close(fx->api.questions);
    pool_close(fx->api.chores);
    pages_free(fx->pages);
    promql_engine_close(fx->engine);
    tsdb_close(fx->tsdb);
    wal_close(fx->wal);
    close(fx->dir_fd);
    dir_remove(fx->dir);
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

static inline void appended(struct tsdb_append *append, enum ap_rc rc)
{
    struct waiting *waiting = append->context;
    pthread_mutex_lock(&waiting->mtx);
    waiting->is_done = true;
    waiting->rc = rc;
    pthread_cond_signal(&waiting->cond);
    pthread_mutex_unlock(&waiting->mtx);
}

static inline void append_batch(struct fixture *fx, const struct batch *batch)
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
static inline void encode_labels(struct ap_buf *out, const char *const *texts)
{
    struct label labels[8];
    size_t count = 0;
    labels[count++] = (struct label){ap_slice_cstr(LABEL_METRIC_NAME), ap_slice_cstr(texts[0])};
    for (size_t i = 1; texts[i]; i += 2)
        labels[count++] = (struct label){ap_slice_cstr(texts[i]), ap_slice_cstr(texts[i + 1])};
    MUST(labels_encode(labels, count, out, &must_err));
}
#define LABELS(...) ((const char *const[]){__VA_ARGS__, NULL})

static inline struct batch_series *add_series(struct fixture *fx, struct batch *batch, struct ap_buf *out,
                                              const char *const *texts)
{
    encode_labels(out, texts);
    struct ap_slice labels = ap_buf_slice(out);
    return batch_add_series(batch, labels, labels_hash_of(tsdb_hash_seed(fx->tsdb), labels));
}

static inline void append(struct fixture *fx, const char *const *texts, const int64_t *ts_ms, const double *values,
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

static inline void append_one(struct fixture *fx, const char *const *texts, int64_t ts_ms, double value)
{
    append(fx, texts, &ts_ms, &value, 1);
}

/* ---- Answers out ---- */

static inline const char *ask(struct fixture *fx, const char *method, const char *path, const char *form)
{
    struct http_field type = {"Content-Type", "application/x-www-form-urlencoded"};
    struct http_client_request request = {
        .method = method, .fields = &type, .field_count = 1, .body = ap_slice_cstr(form)};
    fx->status = api_server_ask(&fx->server, path, &request);
    free(fx->body);
    fx->body = ap_slice_dup(fx->server.answer.body);
    return fx->body;
}

static inline void check_answer(struct fixture *fx, const char *path, const char *form, unsigned status,
                                const char *want, int line)
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

#define FIXTURE_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
