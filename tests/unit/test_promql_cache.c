/*
 * Range queries with answers that are kept, beside the same queries computed in full: each bit, each label, each
 * annotation must be the same, whatever came into the store in between.
 */
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "base/bits.h"
#include "base/random.h"
#include "os/fs.h"
#include "promql/engine.h"
#include "promql/series_text.h"
#include "tsdb/labels.h"
#include "tsdb/tsdb.h"
#include "wal/wal.h"

enum { RANGE_MS = 600 * 1000, STEP_MS = 15000 };
#define CACHE_BYTES ((size_t)8 << 20)
#define STALE       ap_double_of_bits(UINT64_C(0x7ff0000000000002))

struct fixture {
    char root[64];
    int wal_fd;
    struct wal *wal;
    struct tsdb *tsdb;
    struct promql_engine *engine;
    struct ap_random random;
    _Atomic int64_t now_ms;
    struct ap_clock clock;
    struct os_fs fs;
};

static int64_t clock_us(void *context)
{
    return ((struct fixture *)context)->now_ms * 1000;
}

/* Nothing here is about crashes. */
static int sync_nothing(void *context, int fd)
{
    (void)context;
    (void)fd;
    return 0;
}

static void fixture_init(struct fixture *fx, uint64_t seed, size_t cache_bytes, uint32_t threads)
{
    struct ap_err err = {0};
    char path[128];
    memset(fx, 0, sizeof(*fx));
    snprintf(fx->root, sizeof(fx->root), "/tmp/apiary-test-XXXXXX");
    assert_non_null(mkdtemp(fx->root));
    ap_random_init(&fx->random, seed);
    fx->now_ms = INT64_C(1764000000000);
    fx->clock = (struct ap_clock){clock_us, clock_us, fx};
    fx->fs = os_fs_system;
    fx->fs.datasync = fx->fs.sync_dir = sync_nothing;
    snprintf(path, sizeof(path), "%s/wal", fx->root);
    assert_int_equal(os_dir_open(path, &fx->wal_fd, &err), AP_OK);
    struct wal_options wal_options;
    wal_options_init(&wal_options);
    wal_options.fs = &fx->fs;
    uint64_t cut;
    assert_int_equal(wal_open(fx->wal_fd, &wal_options, &fx->wal, &cut, &err), AP_OK);
    snprintf(path, sizeof(path), "%s/tsdb", fx->root);
    struct tsdb_options options;
    tsdb_options_init(&options);
    options.dir = path;
    options.wal = fx->wal;
    options.clock = &fx->clock;
    options.fs = &fx->fs;
    options.shard_count = 2;
    options.block_range_ms = RANGE_MS;
    options.out_of_order_window_ms = 2 * RANGE_MS;
    options.retention_ms = 0;
    if (tsdb_open(&options, &fx->tsdb, &err) != AP_OK)
        fail_msg("%s", err.text);
    struct promql_engine_options engine_options;
    promql_engine_options_init(&engine_options);
    engine_options.threads_max = threads;
    engine_options.is_experimental = true;
    engine_options.cache_bytes_max = cache_bytes;
    engine_options.clock = &fx->clock;
    assert_int_equal(promql_engine_open(&engine_options, &fx->engine, &err), AP_OK);
}

static void fixture_clear(struct fixture *fx)
{
    promql_engine_close(fx->engine);
    tsdb_close(fx->tsdb);
    wal_close(fx->wal);
    close(fx->wal_fd);
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", fx->root);
    assert_int_equal(system(command), 0);
}

/* ---- Writing ---- */

struct waiting {
    struct tsdb_append append;
    atomic_int is_done;
};

static void append_done(struct tsdb_append *append, enum ap_rc rc)
{
    struct waiting *waiting = append->context;
    assert_int_equal(rc, AP_OK);
    atomic_store(&waiting->is_done, 1);
}

static void append(struct fixture *fx, const struct batch *batch)
{
    struct waiting waiting = {.append = {.batch = batch, .done = append_done}};
    waiting.append.context = &waiting;
    struct ap_err err;
    assert_int_equal(tsdb_append(fx->tsdb, &waiting.append, &err), AP_OK);
    while (!atomic_load(&waiting.is_done))
        usleep(20);
}

/* What is to be written at once: an append waits for the disk. */
struct writing {
    struct fixture *fx;
    struct batch batch;
    struct ap_arena arena; /* labels, histograms */
};

static struct ap_slice keep(struct writing *writing, const struct ap_buf *buf)
{
    char *copy = ap_arena_alloc0(&writing->arena, buf->bytes + 1);
    memcpy(copy, buf->data, buf->bytes);
    return ap_slice(copy, buf->bytes);
}

static void put_series(struct writing *writing, const char *text)
{
    AP_AUTO_BUF struct ap_buf labels = {0};
    struct ap_err err = {0};
    if (series_text_labels(ap_slice_cstr(text), &labels, &err) != AP_OK)
        fail_msg("%s: %s", text, err.text);
    struct ap_slice kept = keep(writing, &labels);
    batch_add_series(&writing->batch, kept, labels_hash_of(tsdb_hash_seed(writing->fx->tsdb), kept));
}

static void put(struct writing *writing, const char *series, int64_t ts_ms, double value)
{
    put_series(writing, series);
    batch_add_sample(&writing->batch, ts_ms, value);
}

static void keep_blob(bool is_missing, double value, const struct float_histogram *histogram, void *context)
{
    (void)is_missing;
    (void)value;
    AP_AUTO_ARENA struct ap_arena scratch;
    ap_arena_init(&scratch, 0);
    float_histogram_encode(histogram, &scratch, context);
}

static void put_histogram(struct writing *writing, const char *series, int64_t ts_ms, const char *format, ...)
{
    char histogram[256];
    va_list args;
    va_start(args, format);
    vsnprintf(histogram, sizeof(histogram), format, args);
    va_end(args);
    AP_AUTO_BUF struct ap_buf blob = {0};
    struct ap_err err = {0};
    if (series_text_values(ap_slice_cstr(histogram), keep_blob, &blob, &err) != AP_OK)
        fail_msg("%s: %s", histogram, err.text);
    put_series(writing, series);
    batch_add_histogram(&writing->batch, ts_ms, keep(writing, &blob));
}

static void finish(struct writing *writing)
{
    append(writing->fx, &writing->batch);
    batch_clear(&writing->batch);
    ap_arena_clear(&writing->arena);
}

static void add(struct fixture *fx, const char *series, int64_t ts_ms, double value)
{
    struct writing writing = {.fx = fx};
    put(&writing, series, ts_ms, value);
    finish(&writing);
}

static void remove_span(struct fixture *fx, const char *selector, int64_t min_ms, int64_t max_ms)
{
    struct matchers matchers;
    struct ap_err err;
    assert_int_equal(matchers_parse(ap_slice_cstr(selector), &matchers, &err), AP_OK);
    assert_int_equal(tsdb_delete(fx->tsdb, &matchers, min_ms, max_ms, &err), AP_OK);
    matchers_clear(&matchers);
}

static void settle(struct fixture *fx, bool is_all)
{
    struct ap_err err = {0};
    if (tsdb_settle(fx->tsdb, is_all, &err) != AP_OK)
        fail_msg("%s", err.text);
}

/* ---- Asking ---- */

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Their order is that in which threads met them. */
static void add_annotations(const struct promql_execution *execution, struct ap_buf *out)
{
    for (size_t kind = 0; kind < 2; kind++) {
        size_t count = promql_execution_annotations(execution, kind);
        const char **texts = calloc(count + 1, sizeof(*texts));
        for (size_t i = 0; i < count; i++)
            texts[i] = promql_execution_annotation(execution, kind, i);
        qsort(texts, count, sizeof(*texts), compare_texts);
        for (size_t i = 0; i < count; i++)
            ap_buf_printf(out, "%s\n", texts[i]);
        free(texts);
    }
}

static enum ap_rc add_series(struct promql_execution *execution, size_t index, struct ap_buf *out, struct ap_err *err)
{
    struct promql_points points;
    enum ap_rc rc = promql_execution_read(execution, index, &points, err);
    if (rc != AP_OK || points.count + points.histogram_count == 0)
        return rc;
    labels_format(promql_execution_labels(execution, index), out);
    for (size_t i = 0; i < points.count; i++)
        ap_buf_printf(out, " %" PRId64 ":%016" PRIx64, points.ts_ms[i], ap_double_to_bits(points.values[i]));
    for (size_t i = 0; i < points.histogram_count; i++) {
        ap_buf_printf(out, " %" PRId64 ":%d", points.histogram_ts_ms[i], (int)points.histograms[i]->reset_hint);
        float_histogram_print(points.histograms[i], out);
    }
    ap_buf_add_char(out, '\n');
    return AP_OK;
}

/* The whole answer as text; free() it. */
static char *ask(struct fixture *fx, const struct promql_request *request)
{
    AP_AUTO_BUF struct ap_buf out = {0};
    AP_AUTO(promql_execution) struct promql_execution *execution = NULL;
    struct ap_err err = {0};
    enum ap_rc rc = promql_execute(fx->engine, promql_storage_tsdb(fx->tsdb), request, &execution, &err);
    for (size_t i = 0; rc == AP_OK && i < promql_execution_count(execution); i++)
        rc = add_series(execution, i, &out, &err);
    if (rc == AP_OK) {
        add_annotations(execution, &out);
    } else {
        ap_buf_reset(&out);
        ap_buf_printf(&out, "failed: %s\n", err.text);
    }
    ap_buf_add_char(&out, '\0');
    return ap_buf_detach(&out);
}

static struct promql_request request_of(const char *query, int64_t start_ms, int64_t end_ms)
{
    return (struct promql_request){
        .text = ap_slice_cstr(query), .start_ms = start_ms, .end_ms = end_ms, .step_ms = STEP_MS};
}

static struct promql_cache_stats stats_of(const struct fixture *fx)
{
    struct promql_cache_stats stats;
    promql_engine_cache_stats(fx->engine, &stats);
    return stats;
}

/* Asks with and without; the answer is to be freed. */
static char *ask_both(struct fixture *fx, const char *query, int64_t start_ms, int64_t end_ms)
{
    struct promql_request request = request_of(query, start_ms, end_ms);
    char *got = ask(fx, &request);
    request.is_uncached = true;
    char *want = ask(fx, &request);
    size_t same = 0;
    while (got[same] && got[same] == want[same])
        same++;
    if (got[same] || want[same]) {
        fail_msg("%s from %" PRId64 " to %" PRId64 ", behind byte %zu: …%.200s\nbut without the cache: …%.200s", query,
                 start_ms, end_ms, same, got + AP_MAX(same, (size_t)60) - 60, want + AP_MAX(same, (size_t)60) - 60);
    }
    free(want);
    return got;
}

enum { HIT = 1, PARTIAL = 2, MISS = 4, UNKEPT = 0 };

/* The same answer, and by this use of the cache. */
static void check(struct fixture *fx, int line, const char *query, int64_t start_ms, int64_t end_ms, int want)
{
    struct promql_cache_stats before = stats_of(fx);
    free(ask_both(fx, query, start_ms, end_ms));
    struct promql_cache_stats after = stats_of(fx);
    int got = (after.hits > before.hits ? HIT : 0) | (after.partial_hits > before.partial_hits ? PARTIAL : 0) |
              (after.misses > before.misses ? MISS : 0);
    if (got != want)
        fail_msg("line %d: %s: use of the cache is %d in place of %d", line, query, got, want);
}

#define CHECK(query, start_ms, end_ms, want) check(&fx, __LINE__, query, start_ms, end_ms, want)

/* ---- One thing at a time ---- */

/* Two series with a sample at each step of the last `steps`, up to the clock's time. */
static void add_steps(struct fixture *fx, int steps)
{
    struct writing writing = {.fx = fx};
    for (int i = steps - 1; i >= 0; i--) {
        int64_t ts_ms = fx->now_ms - (int64_t)i * STEP_MS;
        put(&writing, "x{a=\"1\"}", ts_ms, i);
        put(&writing, "x{a=\"2\"}", ts_ms, 0.1 * i);
    }
    finish(&writing);
}

static void go_on(struct fixture *fx, int steps)
{
    for (int i = 0; i < steps; i++) {
        struct writing writing = {.fx = fx};
        fx->now_ms = (fx->now_ms / STEP_MS + 1) * STEP_MS;
        put(&writing, "x{a=\"1\"}", fx->now_ms, (double)(fx->now_ms % 7));
        put(&writing, "x{a=\"2\"}", fx->now_ms, (double)(fx->now_ms % 11) / 3);
        finish(&writing);
    }
}

static void test_moving_window(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx, 1, CACHE_BYTES, 1);
    add_steps(&fx, 40);
    int64_t now_ms = fx.now_ms, start_ms = now_ms - 30 * STEP_MS;
    CHECK("sum(max_over_time(x[1m]))", start_ms, now_ms, MISS);
    CHECK("sum(max_over_time(x[1m]))", start_ms, now_ms, MISS); /* what came just before may have come after the mark */
    fx.now_ms += 1000;
    CHECK("sum(max_over_time(x[1m]))", start_ms, now_ms, MISS);
    CHECK("sum(max_over_time(x[1m]))", start_ms, now_ms, HIT);
    CHECK("sum(max_over_time(x[1m]))", start_ms + 5 * STEP_MS, now_ms - 5 * STEP_MS, HIT); /* a part of it */
    CHECK("sum(max_over_time(x[1m]))", start_ms - 5 * STEP_MS, now_ms, PARTIAL);           /* begins earlier */
    CHECK("sum(max_over_time(x[1m]))", start_ms - 9 * STEP_MS, now_ms + STEP_MS, PARTIAL); /* and ends later */
    CHECK("sum(max_over_time(x[1m]))", start_ms + 1, now_ms + 1, MISS);                    /* steps between these */
    CHECK("sum( max_over_time(x[1m]))", start_ms, now_ms, MISS);
    for (int i = 1; i < 20; i++) {
        go_on(&fx, 1);
        CHECK("sum(max_over_time(x[1m]))", start_ms + i * STEP_MS, now_ms + i * STEP_MS, PARTIAL);
        CHECK("x", start_ms + i * STEP_MS, now_ms + i * STEP_MS, i == 1 ? MISS : PARTIAL);
    }
    /* A shorter window does not forget the longer one. */
    go_on(&fx, 1);
    now_ms = fx.now_ms;
    CHECK("x", now_ms - 10 * STEP_MS, now_ms, PARTIAL);
    CHECK("x", now_ms - 30 * STEP_MS, now_ms, HIT);
    CHECK("x", now_ms - 90 * STEP_MS, now_ms - 80 * STEP_MS, MISS); /* does not touch it */
    fixture_clear(&fx);
}

static void test_changes(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx, 2, CACHE_BYTES, 1);
    add_steps(&fx, 100);
    int64_t now_ms = fx.now_ms, start_ms = now_ms - 90 * STEP_MS, late_ms = now_ms - 40 * STEP_MS;
#define AFTER(change)                                                                                                  \
    fx.now_ms += 1000;                                                                                                 \
    free(ask_both(&fx, "sum by (a) (x)", start_ms, now_ms));                                                           \
    CHECK("sum by (a) (x)", start_ms, now_ms, HIT);                                                                    \
    change;                                                                                                            \
    CHECK("sum by (a) (x)", start_ms, now_ms, PARTIAL)
    AFTER(add(&fx, "x{a=\"1\"}", late_ms + 1, 7));               /* late */
    AFTER(add(&fx, "x{a=\"3\"}", late_ms - 3 * STEP_MS, 7));     /* late, of a new series */
    AFTER(add(&fx, "x{a=\"3\"}", late_ms - 2 * STEP_MS, STALE)); /* it ends */
    AFTER(remove_span(&fx, "x{a=\"2\"}", late_ms, late_ms + STEP_MS));
    AFTER(remove_span(&fx, "x{a=\"3\"}", late_ms - 9 * STEP_MS, INT64_MAX)); /* it was never there */
    struct writing writing = {.fx = &fx};
    put_histogram(&writing, "x{a=\"4\"}", late_ms, "{{schema:0 sum:3 count:4 buckets:[1 2 1]}}");
    AFTER(finish(&writing));
    settle(&fx, true);
    CHECK("sum by (a) (x)", start_ms, now_ms, MISS);                   /* blocks take over, of which some are older */
    AFTER(remove_span(&fx, "x{a=\"1\"}", late_ms, late_ms + STEP_MS)); /* in blocks */
    AFTER(add(&fx, "x{a=\"5\"}", now_ms - 20 * STEP_MS, 1));
    remove_span(&fx, "x{a=\"1\"}", INT64_MIN, INT64_MAX);
    CHECK("sum by (a) (x)", start_ms, now_ms, MISS);
#undef AFTER
    fixture_clear(&fx);
}

/* Which steps a late sample concerns depends on how far the expression looks. */
static void test_reach(void **state)
{
    (void)state;
    static const struct {
        const char *query;
        int late; /* steps before now, of 60 */
        int want;
    } rows[] = {
        {"x offset -5m", 30, PARTIAL}, /* steps from 50 before now on */
        {"x offset -20m", 30, MISS},   /* beyond the start */
        {"x offset 5m", 10, HIT},      /* from 10 behind now on */
        {"x offset 5m", 30, PARTIAL},
        {"sum_over_time(x[1m] offset 10m)", 30, HIT}, /* from 10 behind now on */
        {"max_over_time(x[10m:1m])", 30, PARTIAL},
        {"max_over_time(x[10m:1m] offset -5m)", 30, PARTIAL},
        {"max_over_time((x offset 10m)[10m:1m])", 30, HIT},
        {"max_over_time((x offset -5m)[10m:1m] offset 15m)", 30, HIT},
        {"max_over_time((x offset -25m)[10m:1m] offset 5m)", 30, MISS},
        {"x @ 1763999400", 30, HIT}, /* 40 steps before now */
        {"x @ 1763999400", 50, MISS},
        {"x - x @ 1763999400", 30, PARTIAL},
        {"x - x @ 1763999400", 50, MISS},
        {"max_over_time(x[10m:1m] @ 1763999400)", 30, HIT},
        {"max_over_time((x offset -5m)[10m:1m] @ 1763999400)", 30, MISS},
        {"x offset step()", 30, PARTIAL},
        {"max_over_time(x[1m + step()])", 30, PARTIAL},
        {"absent(x)", 30, PARTIAL},
        {"scalar(x{a=\"1\"})", 30, PARTIAL},
        {"topk(1, x)", 30, PARTIAL},
        {"label_replace(x, \"b\", \"$1\", \"a\", \"(.*)\")", 30, PARTIAL},
        {"timestamp(x) + time()", 30, PARTIAL},
        {"quantile_over_time(scalar(x{a=\"1\"} offset -20m) * 0, x[1m])", 30, MISS}, /* as much as its parameter */
        /* What depends on the query's start and end, or on no sample. */
        {"x @ start()", 30, UNKEPT},
        {"x - x @ end()", 30, UNKEPT},
        {"max_over_time(x[10m:1m] @ end())", 30, UNKEPT},
        {"x + start()", 30, UNKEPT},
        {"x + end()", 30, UNKEPT},
        {"x + range()", 30, UNKEPT},
        {"x offset range()", 30, UNKEPT},
        {"max_over_time(x[max(1m, -(range()))])", 30, UNKEPT},
        {"max_over_time(x[10m:1m + range()])", 30, UNKEPT},
        {"sum(max_over_time(x[range():1m]))", 30, UNKEPT},
        {"info(x)", 30, UNKEPT},
        {"vector(time())", 30, UNKEPT},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(rows); i++) {
        struct fixture fx;
        fixture_init(&fx, 3, CACHE_BYTES, 1);
        add_steps(&fx, 70);
        int64_t now_ms = fx.now_ms, start_ms = now_ms - 60 * STEP_MS;
        fx.now_ms += 1000;
        CHECK(rows[i].query, start_ms, now_ms, rows[i].want == UNKEPT ? UNKEPT : MISS);
        add(&fx, "x{a=\"1\"}", now_ms - rows[i].late * STEP_MS + 1, 1000);
        CHECK(rows[i].query, start_ms, now_ms, rows[i].want);
        fixture_clear(&fx);
    }
}

static void test_annotations(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx, 4, CACHE_BYTES, 1);
    add_steps(&fx, 60);
    fx.now_ms += 1000;
    int64_t now_ms = fx.now_ms - 1000, start_ms = now_ms - 50 * STEP_MS;
    /* x is not called like a counter: the last step says so, too. */
    CHECK("rate(x[1m])", start_ms, now_ms, MISS);
    CHECK("rate(x[1m])", start_ms, now_ms, PARTIAL);
    CHECK("rate(x[1m]) and x > 1e9", start_ms, now_ms, MISS);
    CHECK("rate(x[1m]) and x > 1e9", start_ms, now_ms, PARTIAL);
    /* A warning of steps in the middle is gone when they are. */
    struct writing writing = {.fx = &fx};
    put(&writing, "y_total{a=\"1\"}", now_ms - 30 * STEP_MS, 1);
    put_histogram(&writing, "y_total{a=\"1\"}", now_ms - 30 * STEP_MS + 1,
                  "{{schema:0 sum:3 count:4 buckets:[1 2 1]}}");
    put(&writing, "y_total{a=\"1\"}", now_ms, 1);
    finish(&writing);
    char *answer = ask_both(&fx, "rate(y_total[1m])", start_ms, now_ms);
    assert_non_null(strstr(answer, "mix of histograms and floats"));
    free(answer);
    fx.now_ms += 1000;
    CHECK("rate(y_total[1m])", start_ms, now_ms, PARTIAL); /* these steps are computed again */
    CHECK("rate(y_total[1m])", start_ms, now_ms, MISS);
    CHECK("rate(y_total[1m])", now_ms - 20 * STEP_MS, now_ms, MISS);
    CHECK("rate(y_total[1m])", now_ms - 20 * STEP_MS, now_ms, HIT);
    fixture_clear(&fx);
}

/* Which of equals is chosen must not depend on a series that was there at the first steps only. */
static void test_equals(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx, 9, CACHE_BYTES, 1);
    struct writing writing = {.fx = &fx};
    int64_t now_ms = fx.now_ms, start_ms = now_ms - 50 * STEP_MS;
    put(&writing, "x{a=\"1\",b=\"second\"}", start_ms, 1); /* puts its group in front */
    put(&writing, "x{a=\"1\",b=\"second\"}", start_ms + 1, STALE);
    for (int64_t ts_ms = start_ms; ts_ms <= now_ms; ts_ms += STEP_MS) {
        put(&writing, "x{a=\"2\",b=\"first\"}", ts_ms, 1);
        put(&writing, "x{a=\"3\",b=\"second\"}", ts_ms, 1);
    }
    finish(&writing);
    fx.now_ms += 1000;
    CHECK("topk(1, sum by (b) (x))", start_ms, now_ms, MISS);
    for (int i = 1; i <= 5; i++) {
        CHECK("topk(1, sum by (b) (x))", start_ms, now_ms + i * STEP_MS, PARTIAL);
        CHECK("topk(1, sum by (b) (x))", start_ms + i * STEP_MS, now_ms + i * STEP_MS, HIT);
    }
    fixture_clear(&fx);
}

static bool always(void *context)
{
    (void)context;
    return true;
}

/* A part that fails is no answer; the whole says why. */
static void test_failing(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx, 5, CACHE_BYTES, 1);
    add_steps(&fx, 60);
    fx.now_ms += 1000;
    int64_t now_ms = fx.now_ms - 1000, start_ms = now_ms - 50 * STEP_MS;
    CHECK("x{a=\"1\"} + on () x{a!=\"1\"}", start_ms, now_ms, MISS);
    add(&fx, "x{a=\"9\"}", now_ms - STEP_MS, 1);
    char *answer = ask_both(&fx, "x{a=\"1\"} + on () x{a!=\"1\"}", start_ms, now_ms);
    assert_non_null(strstr(answer, "failed"));
    free(answer);
    remove_span(&fx, "x{a=\"9\"}", INT64_MIN, INT64_MAX);
    CHECK("x{a=\"1\"} + on () x{a!=\"1\"}", start_ms, now_ms, MISS);
    /* A query that gives up keeps nothing. */
    struct promql_request request = request_of("sum(x) + 0", start_ms, now_ms);
    struct promql_execution *execution = NULL;
    struct ap_err err;
    request.is_cancelled = always;
    assert_int_equal(promql_execute(fx.engine, promql_storage_tsdb(fx.tsdb), &request, &execution, &err), AP_E_BUSY);
    CHECK("sum(x) + 0", start_ms, now_ms, MISS);
    fixture_clear(&fx);
}

static void test_size(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx, 6, (size_t)64 << 10, 1);
    add_steps(&fx, 60);
    fx.now_ms += 1000;
    int64_t now_ms = fx.now_ms - 1000;
    for (int i = 0; i < 200; i++) {
        char query[64];
        snprintf(query, sizeof(query), "x + %d", i);
        CHECK(query, now_ms - 50 * STEP_MS, now_ms, MISS);
        assert_true(stats_of(&fx).bytes <= (size_t)64 << 10);
    }
    struct promql_cache_stats stats = stats_of(&fx);
    assert_true(stats.answers > 1 && stats.evictions > 0 && stats.answers + stats.evictions == 200);
    CHECK("x + 199", now_ms - 50 * STEP_MS, now_ms, HIT);
    CHECK("x + 0", now_ms - 50 * STEP_MS, now_ms, MISS); /* was used the longest ago */
    /* A quarter of the room is too much for one. */
    CHECK("x", now_ms - 2000 * STEP_MS, now_ms, MISS);
    CHECK("x", now_ms - 2000 * STEP_MS, now_ms, MISS);
    struct writing writing = {.fx = &fx};
    for (int i = 60; i > 0; i--)
        put_histogram(&writing, "h", now_ms - i * STEP_MS,
                      "{{schema:0 sum:3 count:4 buckets:[1 2 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1]}}");
    finish(&writing);
    fx.now_ms += 1000;
    CHECK("h", now_ms - 50 * STEP_MS, now_ms, MISS);
    CHECK("h", now_ms - 50 * STEP_MS, now_ms, MISS);
    CHECK("h", now_ms - 5 * STEP_MS, now_ms, MISS);
    CHECK("h", now_ms - 5 * STEP_MS, now_ms, HIT);
    CHECK("h", now_ms - 50 * STEP_MS, now_ms, MISS); /* a part is there, and the rest is too much */
    fixture_clear(&fx);
    fixture_init(&fx, 6, 0, 1);
    add_steps(&fx, 20);
    CHECK("x", now_ms - 10 * STEP_MS, now_ms, UNKEPT);
    fixture_clear(&fx);
}

/* ---- Anything in any order ---- */

static const char *const queries[] = {
    "x_total",
    "sum(x_total)",
    "sum by (job) (rate(x_total[1m]))",
    "avg without (instance) (increase(x_total[3m]))",
    "stddev by (job) (g)",
    "max by (job) (g) - min by (job) (g)",
    "topk(2, sum by (instance) (g))",
    "topk(2, g)",
    "bottomk by (job) (1, g)",
    "limitk(2, sum by (instance, job) (g))",
    "limit_ratio(0.5, g)",
    "quantile(0.9, g)",
    "count_values by (job) (\"v\", round(g / 20))",
    "sum(count_values(\"v\", round(g / 20)) * 0.1)",
    "g offset 2m",
    "g offset -2m",
    "rate(x_total[1m] offset -1m)",
    "g - g offset 1m",
    "g @ 1764000600",
    "sum(g - on (instance, job) group_left () (x_total @ 1764000600))",
    "max_over_time(g[2m])",
    "avg_over_time(g[5m:30s])",
    "sum_over_time(rate(x_total[1m])[5m:20s])",
    "quantile_over_time(0.3, g[3m])",
    "stdvar_over_time(g[3m])",
    "deriv(g[3m])",
    "predict_linear(g[3m], 60)",
    "double_exponential_smoothing(g[3m], 0.5, 0.5)",
    "changes(g[3m]) + resets(x_total[3m])",
    "irate(x_total[1m])",
    "delta(g[2m])",
    "timestamp(g) - time()",
    "absent(g{job=\"b\"})",
    "absent_over_time(g{job=\"b\"}[30s])",
    "scalar(g{instance=\"1\"}) + g",
    "g > bool 50",
    "g > 50",
    "g and x_total > 20",
    "g or x_total",
    "sum({__name__=~\"g|x_total\"})",
    "sum(rate({__name__=~\"x_total|g\"}[1m]))",
    "g unless on (instance) g{job=\"a\"} > 30",
    "g / on (instance) group_left (job) max by (instance, job) (x_total)",
    "label_replace(g, \"job\", \"$1\", \"instance\", \"(.*)\")",
    "sort(g)",
    "h",
    "sum(h)",
    "sum by (job) (rate(h[1m]))",
    "avg(h)",
    "h + h offset 1m",
    "histogram_quantile(0.9, sum(rate(h[2m])))",
    "histogram_count(h)",
    "sum_over_time(h[1m])",
    "last_over_time(h[1m])",
    "last_over_time({__name__=~\"h|g\"}[30s])",
    "sum by (job) ({__name__=~\"h|g\"})",
    "rate(m_total[2m])",
    "m_total",
    "sum(m_total)",
    "m_total * 2",
    "histogram_quantile(0.5, sum by (le) (rate(b_bucket[2m])))",
    "clamp(g, 10, 60)",
    "-g",
    "vector(1) + scalar(sum(g))",
    "group by (job) (g)",
    "sum(g) / count(g)",
};

enum { INSTANCES = 6, ROUNDS = 200 };

static int64_t some_late(struct fixture *fx)
{
    if (ap_random_below(&fx->random, 12) > 0)
        return (int64_t)ap_random_below(&fx->random, 3000);
    return (int64_t)ap_random_below(&fx->random, 3 * RANGE_MS / 2);
}

/* Some of the series have samples now; others rest for some time. */
static void write_some(struct fixture *fx)
{
    struct writing writing = {.fx = fx};
    for (unsigned i = 0; i < INSTANCES; i++) {
        if (ap_random_below(&fx->random, 3) == 0 || (fx->now_ms / 200000 + i) % 5 == 0)
            continue;
        const char *job = i % 2 ? "a" : "b";
        char series[96];
        int64_t ts_ms = fx->now_ms - some_late(fx);
        double value = (double)ap_random_below(&fx->random, 1000) / 10;
        bool is_stale = ap_random_below(&fx->random, 30) == 0;
        snprintf(series, sizeof(series), "g{job=\"%s\",instance=\"%u\"}", job, i);
        put(&writing, series, ts_ms, is_stale ? STALE : ap_random_below(&fx->random, 3) ? value : 50);
        snprintf(series, sizeof(series), "x_total{job=\"%s\",instance=\"%u\"}", job, i);
        put(&writing, series, ts_ms, is_stale ? STALE : (double)(ts_ms / 1000 % 977));
        unsigned low = (unsigned)ap_random_below(&fx->random, 9), high = (unsigned)ap_random_below(&fx->random, 9);
        snprintf(series, sizeof(series), "h{job=\"%s\",instance=\"%u\"}", job, i);
        put_histogram(&writing, series, ts_ms, "{{schema:%u sum:%u.1 count:%u buckets:[%u 0 %u]}}", i % 3, low + high,
                      low + high, low, high);
        snprintf(series, sizeof(series), "b_bucket{job=\"%s\",le=\"%u\"}", job, i);
        put(&writing, series, ts_ms, i * 10 + (double)(ts_ms / 1000 % 100));
        if (i > 1)
            continue;
        snprintf(series, sizeof(series), "m_total{instance=\"%u\"}", i);
        if (ap_random_below(&fx->random, 10) == 0)
            put_histogram(&writing, series, ts_ms, "{{schema:0 sum:1 count:%u buckets:[%u]}}", low, low);
        else
            put(&writing, series, ts_ms, low);
    }
    finish(&writing);
}

static void remove_some(struct fixture *fx)
{
    static const char *const selectors[] = {"g", "{job=\"a\"}", "{instance=\"2\"}", "{__name__=~\"h|b_bucket\"}"};
    int64_t from_ms = fx->now_ms - (int64_t)ap_random_below(&fx->random, 2 * RANGE_MS);
    remove_span(fx, selectors[ap_random_below(&fx->random, 4)], from_ms,
                from_ms + (int64_t)ap_random_below(&fx->random, RANGE_MS / 4));
}

struct window {
    int64_t start_ms;
    int64_t steps;
};

static void move_window(struct fixture *fx, struct window *window)
{
    int64_t end_ms = fx->now_ms / STEP_MS * STEP_MS;
    if (window->steps == 0 || ap_random_below(&fx->random, 15) == 0)
        window->steps = 1 + (int64_t)ap_random_below(&fx->random, 80);
    window->start_ms = end_ms - window->steps * STEP_MS;
    switch (ap_random_below(&fx->random, 12)) {
    case 0:
        window->start_ms -= (int64_t)ap_random_below(&fx->random, 40) * STEP_MS; /* back */
        break;
    case 1:
        window->start_ms += 3 * STEP_MS; /* beyond now */
        break;
    case 2:
        window->start_ms += 5000; /* other steps */
        break;
    default:
        break;
    }
}

static void run_anything(uint64_t seed, size_t cache_bytes)
{
    struct fixture fx;
    struct window windows[AP_ARRAY_COUNT(queries)] = {0};
    fixture_init(&fx, seed, cache_bytes, 1);
    size_t hot = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        fx.now_ms += 200 + (int64_t)ap_random_below(&fx.random, 12000);
        if (ap_random_below(&fx.random, 8))
            write_some(&fx);
        if (ap_random_below(&fx.random, 40) == 0)
            remove_some(&fx);
        if (ap_random_below(&fx.random, 50) == 0)
            settle(&fx, ap_random_below(&fx.random, 2));
        /* Some are asked often, as on a dashboard, and give way to others. */
        hot += ap_random_below(&fx.random, 6) == 0;
        for (unsigned i = 0; i < 12; i++) {
            size_t at = (hot + ap_random_below(&fx.random, 8) * 9) % AP_ARRAY_COUNT(queries);
            if (ap_random_below(&fx.random, 2))
                move_window(&fx, &windows[at]);
            if (windows[at].steps)
                free(ask_both(&fx, queries[at], windows[at].start_ms,
                              windows[at].start_ms + windows[at].steps * STEP_MS));
        }
    }
    struct promql_cache_stats stats = stats_of(&fx);
    print_message("seed %" PRIu64 ": %" PRIu64 " hits, %" PRIu64 " partial, %" PRIu64 " misses, %" PRIu64
                  " evictions\n",
                  seed, stats.hits, stats.partial_hits, stats.misses, stats.evictions);
    assert_true(stats.hits > 0 && stats.partial_hits > 0 && stats.misses > 0);
    fixture_clear(&fx);
}

static void test_anything(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++)
        run_anything(seed, CACHE_BYTES);
    run_anything(5, (size_t)200 << 10); /* with little room */
}

/* ---- At the same time ---- */

struct client {
    struct fixture *fx;
    unsigned number;
    const char *failure;
};

enum { CLIENTS = 3, TURNS = 75 /* within the out-of-order window */ };

/* What was written a moment ago has to be in the answer, whatever others do. */
static void *write_and_ask(void *context)
{
    struct client *client = context;
    struct fixture *fx = client->fx;
    char series[64], query[64];
    snprintf(series, sizeof(series), "y{client=\"%u\"}", client->number);
    snprintf(query, sizeof(query), "max_over_time(y{client=\"%u\"}[15s])", client->number);
    int64_t base_ms = INT64_C(1764000000000);
    for (unsigned turn = 1; turn <= TURNS && !client->failure; turn++) {
        /* Forwards, and every third time into the middle; later values are larger. */
        int64_t ts_ms = base_ms + (turn % 3 ? turn : turn / 2) * STEP_MS + (int64_t)(turn % 3 == 0) * (7 + turn);
        add(fx, series, ts_ms, turn);
        atomic_fetch_add(&fx->now_ms, 100);
        int64_t end_ms = base_ms + (turn + 1) * STEP_MS;
        struct promql_request request = request_of(query, AP_MAX(base_ms, end_ms - 200 * STEP_MS), end_ms);
        char *answer = ask(fx, &request);
        int64_t step_ms = base_ms + (ts_ms - base_ms + STEP_MS - 1) / STEP_MS * STEP_MS;
        char want[64];
        snprintf(want, sizeof(want), "%" PRId64 ":%016" PRIx64, step_ms, ap_double_to_bits(turn));
        if (!strstr(answer, want))
            client->failure = "an answer is without what was written before";
        free(answer);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct fixture fx;
    struct client clients[CLIENTS];
    pthread_t threads[CLIENTS];
    fixture_init(&fx, 8, (size_t)100 << 10, 2);
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){&fx, i, NULL};
        assert_int_equal(pthread_create(&threads[i], NULL, write_and_ask, &clients[i]), 0);
    }
    for (unsigned i = 0; i < 20; i++) {
        settle(&fx, false);
        remove_span(&fx, "{client=\"none\"}", INT64_C(1764000000000), INT64_MAX);
        usleep(2000);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        pthread_join(threads[i], NULL);
        if (clients[i].failure)
            fail_msg("%s", clients[i].failure);
    }
    free(ask_both(&fx, "sum by (client) (y)", fx.now_ms - 100 * STEP_MS, fx.now_ms));
    fixture_clear(&fx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moving_window), cmocka_unit_test(test_changes),  cmocka_unit_test(test_reach),
        cmocka_unit_test(test_annotations),   cmocka_unit_test(test_equals),   cmocka_unit_test(test_failing),
        cmocka_unit_test(test_size),          cmocka_unit_test(test_anything), cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests_name("promql_cache", tests, NULL, NULL);
}
