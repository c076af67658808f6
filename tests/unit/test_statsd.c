/* StatsD: lines, what they add up to, histograms while they are filled, and the thread with its port. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include <arpa/inet.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/bits.h"
#include "base/random.h"
#include "ingest/observations.h"
#include "ingest/statsd.h"
#include "ingest/statsd_line.h"
#include "ingest/statsd_table.h"
#include "tsdb/histogram.h"

#define SEED 7

/* ---- Lines ---- */

static void add_values(const struct statsd_line *line, struct ap_buf *out)
{
    struct ap_slice rest = line->values;
    struct statsd_value value;
    struct ap_err err;
    if (line->kind == STATSD_SET) {
        ap_buf_printf(out, " %.*s", AP_SLICE_ARG(rest));
        return;
    }
    while (rest.data) {
        if (statsd_next_value(&rest, &value, &err) != AP_OK) {
            ap_buf_printf(out, " %s", err.text);
            return;
        }
        ap_buf_printf(out, " %s%g", value.is_signed ? "~" : "", value.number);
    }
}

static void expect_line(const char *text, const char *want, const char *file, int row)
{
    struct statsd_line line;
    struct ap_err err;
    struct ap_buf got = {0};
    if (statsd_line_parse(ap_slice_cstr(text), &line, &err) != AP_OK) {
        ap_buf_add_cstr(&got, err.text);
    } else if (line.kind == STATSD_IGNORED) {
        ap_buf_add_cstr(&got, "ignored");
    } else {
        ap_buf_printf(&got, "%s%s %.*s x%g", line.is_milliseconds ? "ms " : "", statsd_kind_name(line.kind),
                      AP_SLICE_ARG(line.name), line.weight);
        for (size_t i = 0; i < line.tag_count; i++)
            ap_buf_printf(&got, " %.*s=%.*s", AP_SLICE_ARG(line.tags[i].name), AP_SLICE_ARG(line.tags[i].value));
        add_values(&line, &got);
    }
    ap_buf_add_char(&got, '\0');
    _assert_string_equal(got.data, want, file, row);
    ap_buf_clear(&got);
}
#define LINE(text, want) expect_line(text, want, __FILE__, __LINE__)

static void test_lines(void **state)
{
    (void)state;
    LINE("a.b:1|c", "counter a.b x1 1");
    LINE("a:1.5|c|@0.1", "counter a x10 1.5");
    LINE("a:3|g", "gauge a x1 3");
    LINE("a:-3|g", "gauge a x1 ~-3");
    LINE("a:+3e2|g", "gauge a x1 ~300");
    LINE("a:12|ms", "ms histogram a x1 12");
    LINE("a:12|h|#x:y,z,:q,k:", "histogram a x1 x=y z= k= 12");
    LINE("a:1:2:3|d|@0.5|#x:a:b", "histogram a x2 x=a:b 1 2 3");
    LINE("a:1|c|#x:y|c:container|T1656581400|@0.5", "counter a x2 x=y 1");
    LINE("a:al:ice|s", "set a x1 al:ice");
    LINE("_e{5,4}:title|text", "ignored");
    LINE("_sc|name|0", "ignored");
    LINE("a", "there is no value");
    LINE("a:", "there is no value");
    LINE("a:|c", "there is no value");
    LINE(":1|c", "there is no name");
    LINE("a:1", "there is no type");
    LINE("a:1|", "the type \"\" is none of c, g, ms, h, d, s");
    LINE("a:1|x", "the type \"x\" is none of c, g, ms, h, d, s");
    LINE("a:b|c", "counter a x1 \"b\" is no number");
    LINE("a:nan|g", "gauge a x1 \"nan\" is no number");
    LINE("a:0x1|g", "gauge a x1 \"0x1\" is no number");
    LINE("a:1e999|g", "gauge a x1 \"1e999\" is no number");
    LINE("a:1|c|@0", "the rate \"0\" is not between 1e-06 and 1");
    LINE("a:1|c|@2", "the rate \"2\" is not between 1e-06 and 1");
    LINE("a:1|c|@x", "the rate \"x\" is not between 1e-06 and 1");
}

/* ---- Histograms ---- */

static struct histogram decode(const struct observations *observations, bool is_stale, struct ap_arena *arena)
{
    struct ap_buf blob = {0};
    struct histogram histogram;
    struct ap_err err;
    observations_encode(observations, is_stale, &blob);
    if (histogram_decode(ap_buf_slice(&blob), arena, &histogram, &err) != AP_OK ||
        histogram_check(&histogram, &err) != AP_OK)
        fail_msg("%s", err.text);
    ap_buf_clear(&blob);
    return histogram;
}

/* How much is in buckets that end at or below `bound`, which is one bucket's end. */
static double count_to(const struct histogram *histogram, double bound)
{
    double sum = 0;
    int32_t index = histogram->positive.span_count ? histogram->positive.spans[0].offset : 0;
    for (size_t i = 0; i < histogram->positive.count; i++)
        if (exp2((double)(index + (int32_t)i) / exp2(histogram->schema)) <= bound * (1 + 1e-12))
            sum += histogram->positive.values[i];
    return sum;
}

static void test_observations(void **state)
{
    (void)state;
    AP_AUTO_ARENA struct ap_arena arena;
    ap_arena_init(&arena, 0);
    struct observations observations;
    observations_init(&observations);
    static const double values[] = {1, 1, 2, 4, 0.5, 1.001, 0, -3, -3};
    for (size_t i = 0; i < AP_ARRAY_COUNT(values); i++)
        observations_add(&observations, values[i], 1);
    observations_add(&observations, 8, 2.5);
    struct histogram histogram = decode(&observations, false, &arena);
    assert_int_equal(histogram.schema, 3);
    assert_true(histogram.is_float);
    assert_true(histogram.count_value == 11.5);
    assert_true(histogram.zero_value == 1);
    assert_true(fabs(histogram.sum - (1 + 1 + 2 + 4 + 0.5 + 1.001 - 6 + 20)) < 1e-12);
    /* Upper bounds belong to their bucket. */
    assert_true(count_to(&histogram, 0.5) == 1);
    assert_true(count_to(&histogram, 1) == 3);
    assert_true(count_to(&histogram, 2) == 5);
    assert_true(count_to(&histogram, 4) == 6);
    assert_true(count_to(&histogram, 8) == 8.5);
    assert_int_equal(histogram.negative.count, 1);
    assert_true(histogram.negative.values[0] == 2);
    histogram = decode(&observations, true, &arena);
    assert_true(histogram_is_stale(&histogram));
    observations_clear(&observations);
}

/* Whatever comes: as few buckets as promised, nothing lost, and every count between the bounds where it belongs. */
static void test_observations_far_apart(void **state)
{
    (void)state;
    struct ap_random random;
    ap_random_init(&random, 11);
    for (int round = 0; round < 50; round++) {
        AP_AUTO_ARENA struct ap_arena arena;
        ap_arena_init(&arena, 0);
        struct observations observations;
        observations_init(&observations);
        double below_one = 0;
        double reach = 1 + ap_random_below(&random, 600);
        for (int i = 0; i < 500; i++) {
            double exponent = ((double)ap_random_below(&random, 2001) / 1000 - 1) * reach;
            double value = exp2(exponent);
            if (!(value > 1e-38) || !isfinite(value))
                continue;
            below_one += value <= 1;
            observations_add(&observations, value, 1);
        }
        struct histogram histogram = decode(&observations, false, &arena);
        assert_true(histogram.positive.count <= OBSERVATIONS_BUCKETS_MAX);
        assert_true(count_to(&histogram, 1) == below_one); /* 1 is a bound at every resolution */
        assert_true(count_to(&histogram, INFINITY) == observations.count);
        observations_clear(&observations);
    }
}

/* ---- The table ---- */

static struct statsd_table *new_table(size_t series_max, int64_t expire_ms)
{
    return statsd_table_new(
        &(struct statsd_table_options){.hash_seed = SEED, .series_max = series_max, .expire_ms = expire_ms});
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Every series of a batch, a line each, sorted: "labels value@ts value@ts". */
static char *describe(const struct batch *batch)
{
    char *lines[64];
    struct ap_buf all = {0};
    for (size_t i = 0; i < batch->series_count; i++) {
        const struct batch_series *series = &batch->series[i];
        struct ap_buf line = {0};
        assert_true(labels_hash_equal(series->hash, labels_hash_of(SEED, series->labels)));
        labels_format(series->labels, &line);
        for (size_t s = series->sample_first; s < series->sample_first + series->sample_count; s++)
            if (ap_double_to_bits(batch->values[s]) == 0x7ff0000000000002)
                ap_buf_printf(&line, " stale@%lld", (long long)batch->ts_ms[s]);
            else
                ap_buf_printf(&line, " %g@%lld", batch->values[s], (long long)batch->ts_ms[s]);
        for (size_t h = series->histogram_first; h < series->histogram_first + series->histogram_count; h++) {
            AP_AUTO_ARENA struct ap_arena arena;
            ap_arena_init(&arena, 0);
            struct histogram histogram;
            assert_int_equal(histogram_decode(batch->histograms[h].blob, &arena, &histogram, NULL), AP_OK);
            if (histogram_is_stale(&histogram))
                ap_buf_printf(&line, " stale histogram@%lld", (long long)batch->histograms[h].ts_ms);
            else
                ap_buf_printf(&line, " histogram %g, %g@%lld", histogram.count_value, histogram.sum,
                              (long long)batch->histograms[h].ts_ms);
        }
        lines[i] = ap_buf_detach(&line);
    }
    qsort(lines, batch->series_count, sizeof(*lines), compare_lines);
    for (size_t i = 0; i < batch->series_count; i++) {
        ap_buf_printf(&all, "%s\n", lines[i]);
        free(lines[i]);
    }
    return ap_buf_detach(&all);
}

static void expect_flush(struct statsd_table *table, int64_t begin_ts_ms, int64_t ts_ms, const char *want,
                         const char *file, int row)
{
    struct batch batch = {0};
    statsd_table_flush(table, begin_ts_ms, ts_ms, &batch);
    AP_AUTO_FREE char *got = describe(&batch);
    _assert_string_equal(got ? got : "", want, file, row);
    batch_clear(&batch);
}
#define FLUSH(begin, ts, want) expect_flush(table, begin, ts, want, __FILE__, __LINE__)

static struct statsd_counts add(struct statsd_table *table, int64_t now_ms, const char *packet, const char *want_reason)
{
    struct statsd_counts counts = {0};
    struct ap_err err;
    statsd_table_add(table, ap_slice_cstr(packet), now_ms, &counts, &err);
    if (want_reason)
        assert_string_equal(err.text, want_reason);
    else
        assert_int_equal(err.rc, AP_OK);
    return counts;
}

static void test_kinds(void **state)
{
    (void)state;
    struct statsd_table *table = new_table(100, 0);
    struct statsd_counts counts =
        add(table, 5, "a.b:1|c|#h:x\na.b:2|c|@0.5|#h:x\ng:5|g\ng:-2|g\nt:100:300|ms\n\nu:x|s\nu:y|s\nu:x|s\n_sc|n|0\n",
            NULL);
    assert_int_equal(counts.lines, 9);
    assert_int_equal(counts.ignored, 1);
    FLUSH(0, 10,
          "a_b{h=\"x\"} 0@0 5@10\n"
          "g 3@10\n"
          "t histogram 2, 0.4@10\n"
          "u 2@10\n");
    add(table, 15, "a.b:1|c|#h:x\ng:+1.5|g\nt:1|h\nu:z|s", NULL);
    FLUSH(10, 20,
          "a_b{h=\"x\"} 6@20\n"
          "g 4.5@20\n"
          "t histogram 3, 1.4@20\n"
          "u 1@20\n");
    FLUSH(20, 30,
          "a_b{h=\"x\"} 6@30\n"
          "g 4.5@30\n"
          "t histogram 3, 1.4@30\n"
          "u 0@30\n");
    statsd_table_free(table);
}

static void test_names(void **state)
{
    (void)state;
    struct statsd_table *table = new_table(100, 0);
    add(table, 5, "9a-b/c:1|g|#1 x:v,canary,\xc3\xa9:w", NULL);
    FLUSH(0, 10, "_9a_b_c{_1_x=\"v\", __=\"w\", canary=\"true\"} 1@10\n");
    statsd_table_free(table);
}

static void test_refusals(void **state)
{
    (void)state;
    struct statsd_table *table = new_table(2, 0);
    struct statsd_counts counts = add(table, 5, "a:1|c\na:1|g\nb:-1|c\nb:x|c\nb:1|g\nc:1|g\na:2:x:3|c",
                                      "\"a:1|g\": it was a counter before and is a gauge now");
    assert_int_equal(counts.lines, 7);
    assert_int_equal(counts.bad, 4);
    assert_int_equal(counts.over, 1);
    FLUSH(0, 10, "a 0@0 3@10\nb 1@10\n");
    add(table, 5, "c:1|g", "\"c:1|g\": there are 2 series already, as many as are allowed (statsd.max_series)");
    add(table, 5, "a:1|c|#x.y:1,x-y:2", "\"a:1|c|#x.y:1,x-y:2\": label x_y is there twice");
    add(table, 5, "a:1e101|c", "\"a:1e101|c\": the value is above 1e100");
    add(table, 5, "a:1|c|#x:\xff", "\"a:1|c|#x:\xff\": the value of label x is not UTF-8");
    statsd_table_free(table);
}

static void test_expiry(void **state)
{
    (void)state;
    struct statsd_table *table = new_table(3, 15);
    add(table, 5, "a:1|c\nb:1|g\nt:1|h", NULL);
    FLUSH(0, 10, "a 0@0 1@10\nb 1@10\nt histogram 1, 1@10\n");
    add(table, 15, "b:2|g", NULL);
    FLUSH(10, 20, "a 1@20\nb 2@20\nt histogram 1, 1@20\n");
    FLUSH(20, 30, "a stale@30\nb 2@30\nt stale histogram@30\n");
    /* There is room again; a counter that comes back begins anew. */
    add(table, 35, "a:7|c\nc:1|g", NULL);
    assert_int_equal(statsd_table_count(table), 3);
    FLUSH(30, 40, "a 0@30 7@40\nb stale@40\nc 1@40\n");
    statsd_table_free(table);
}

static void test_many_series(void **state)
{
    (void)state;
    struct statsd_table *table = new_table(5000, 15);
    struct batch batch = {0};
    char line[64];
    for (int i = 0; i < 5000; i++) {
        snprintf(line, sizeof(line), "m:%d|g|#i:%d", i, i);
        add(table, i % 2 ? 5 : 30, line, NULL);
    }
    statsd_table_flush(table, 0, 31, &batch);
    assert_int_equal(batch.series_count, 5000);
    assert_int_equal(statsd_table_count(table), 2500);
    for (int i = 0; i < 5000; i += 2) {
        snprintf(line, sizeof(line), "m:1|c|#i:%d", i); /* each is found, or it would be a new one */
        struct statsd_counts counts = {0};
        struct ap_err err;
        statsd_table_add(table, ap_slice_cstr(line), 30, &counts, &err);
        assert_int_equal(counts.bad, 1);
    }
    batch_clear(&batch);
    statsd_table_free(table);
}

/* ---- The thread ---- */

struct store {
    pthread_mutex_t mtx;
    pthread_cond_t changed;
    char *text; /* of the last batch */
};

static enum ap_rc append(struct tsdb *tsdb, struct tsdb_append *append, struct ap_err *err)
{
    (void)err;
    struct store *store = (struct store *)(void *)tsdb;
    pthread_mutex_lock(&store->mtx);
    free(store->text);
    store->text = describe(append->batch);
    pthread_cond_broadcast(&store->changed);
    pthread_mutex_unlock(&store->mtx);
    append->outcome.samples_written = append->batch->sample_count;
    append->done(append, AP_OK);
    return AP_OK;
}

static int64_t fixed_us(void *context)
{
    return *(_Atomic int64_t *)context;
}

static void send_packet(uint16_t port, const char *text)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    assert_int_equal(sendto(fd, text, strlen(text), 0, (struct sockaddr *)&address, sizeof(address)), strlen(text));
    close(fd);
}

/* What is in the socket when it stops is taken and written. */
static void test_thread(void **state)
{
    (void)state;
    struct store store = {.mtx = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    _Atomic int64_t now_us = 1000000;
    struct ap_clock clock = {fixed_us, fixed_us, (void *)&now_us};
    struct statsd_options options = {
        .address = "127.0.0.1",
        .tsdb = (struct tsdb *)(void *)&store,
        .append = append,
        .hash_seed = SEED,
        .clock = &clock,
        .flush_interval_ms = 10000,
        .series_max = 10,
    };
    struct statsd *statsd;
    struct ap_err err;
    assert_int_equal(statsd_open(&options, &statsd, &err), AP_OK);
    send_packet(statsd_port(statsd), "a:1|c\nb:2|g\n");
    send_packet(statsd_port(statsd), "a:1|c\nbad\n");
    now_us = 5000000;
    statsd_stop(statsd);
    assert_string_equal(store.text, "a 0@1000 2@5000\nb 2@5000\n");
    struct statsd_stats stats;
    statsd_stats_get(statsd, &stats);
    assert_int_equal(stats.packets, 2);
    assert_int_equal(stats.lines, 4);
    assert_int_equal(stats.lines_bad, 1);
    assert_int_equal(stats.series, 2);
    assert_int_equal(stats.samples_written, 3);
    statsd_close(statsd);
    free(store.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_observations),
        cmocka_unit_test(test_observations_far_apart),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_many_series),
        cmocka_unit_test(test_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
