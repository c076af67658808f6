/* Sums of deltas, with a store that is a table of newest samples. */
#include "ingest/otlp_streams.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { SERIES_MAX = 8, MS = 1000 * 1000 };

struct fixture {
    struct ap_clock clock;
    int64_t now_ms;
    struct tsdb_newest store[SERIES_MAX];
    bool is_there[SERIES_MAX];
    struct ap_buf blobs[SERIES_MAX];
    struct otlp_streams *streams;
    struct ap_arena arena;
    uint32_t refused[SERIES_MAX];
};

static int64_t clock_us(void *context)
{
    return ((struct fixture *)context)->now_ms * 1000;
}

static bool newest(struct tsdb *tsdb, struct labels_hash hash, struct ap_arena *arena, struct tsdb_newest *ret_newest)
{
    struct fixture *fx = (void *)tsdb;
    (void)arena;
    *ret_newest = fx->store[hash.low];
    return fx->is_there[hash.low];
}

static void fixture_open(struct fixture *fx, uint64_t streams_max)
{
    fx->streams = otlp_streams_new(&(struct otlp_streams_options){
        .streams_max = streams_max, .idle_ms = 60000, .tsdb = (void *)fx, .newest = newest, .clock = &fx->clock});
}

static void fixture_init(struct fixture *fx)
{
    memset(fx, 0, sizeof(*fx));
    fx->clock = (struct ap_clock){clock_us, clock_us, fx};
    fx->now_ms = 1000000;
    ap_arena_init(&fx->arena, 0);
    fixture_open(fx, 100);
}

static void fixture_clear(struct fixture *fx)
{
    otlp_streams_free(fx->streams);
    ap_arena_clear(&fx->arena);
    for (int i = 0; i < SERIES_MAX; i++)
        ap_buf_clear(&fx->blobs[i]);
}

/* As after a restart: the sums are gone, the store is not. */
static void restart(struct fixture *fx)
{
    otlp_streams_free(fx->streams);
    fixture_open(fx, 100);
}

static struct otlp_delta delta(unsigned series, int64_t start_ms, int64_t ts_ms)
{
    return (struct otlp_delta){.hash = {series, 0},
                               .series = series,
                               .start_ns = (uint64_t)start_ms * MS,
                               .ts_ns = (uint64_t)ts_ms * MS,
                               .has_start = true};
}

static void keep(struct fixture *fx, unsigned series, const struct otlp_cumulative *cumulative)
{
    struct tsdb_newest *newest = &fx->store[series];
    if (!fx->is_there[series])
        *newest = (struct tsdb_newest){.ts_ms = INT64_MIN, .histogram_ts_ms = INT64_MIN};
    fx->is_there[series] = true;
    if (!cumulative->is_nothing && cumulative->ts_ms >= newest->ts_ms) {
        newest->ts_ms = cumulative->ts_ms;
        newest->value = cumulative->value;
        newest->has_value = true;
    }
}

/* One request with one delta, which the store takes. */
static struct otlp_cumulative add(struct fixture *fx, unsigned series, int64_t start_ms, int64_t ts_ms, double value)
{
    struct otlp_cumulative cumulative;
    struct otlp_delta one = delta(series, start_ms, ts_ms);
    memset(fx->refused, 0, sizeof(fx->refused));
    otlp_streams_begin(fx->streams);
    otlp_streams_add_number(fx->streams, &one, value, &cumulative);
    keep(fx, series, &cumulative);
    otlp_streams_end(fx->streams, fx->refused);
    return cumulative;
}

#define GIVES(cumulative, want_ts_ms, want_value)                                                                      \
    do {                                                                                                               \
        struct otlp_cumulative got_ = (cumulative);                                                                    \
        assert_false(got_.is_nothing);                                                                                 \
        assert_int_equal(got_.ts_ms, want_ts_ms);                                                                      \
        assert_true(got_.value == (want_value));                                                                       \
        assert_false(got_.has_zero);                                                                                   \
    } while (0)
#define BEGINS(cumulative, want_zero_ms, want_ts_ms, want_value)                                                       \
    do {                                                                                                               \
        struct otlp_cumulative got_ = (cumulative);                                                                    \
        assert_true(got_.has_zero);                                                                                    \
        assert_int_equal(got_.zero_ts_ms, want_zero_ms);                                                               \
        assert_int_equal(got_.ts_ms, want_ts_ms);                                                                      \
        assert_true(got_.value == (want_value));                                                                       \
    } while (0)

static void test_sums(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx);
    BEGINS(add(&fx, 0, 1000, 2000, 5), 1000, 2000, 5.0);
    GIVES(add(&fx, 0, 2000, 3000, 3), 3000, 8.0);
    GIVES(add(&fx, 0, 7000, 8000, 1), 8000, 9.0);     /* a gap: nobody knows what was in it */
    BEGINS(add(&fx, 1, 0, 2000, 4), 1999, 2000, 4.0); /* no start is said */
    BEGINS(add(&fx, 2, 2000, 2000, 4), 1999, 2000, 4.0);
    fixture_clear(&fx);
}

/* The answer was lost, or was 503: the same request again. */
static void test_repeated(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx);
    add(&fx, 0, 1000, 2000, 5);
    GIVES(add(&fx, 0, 1000, 2000, 5), 2000, 5.0);
    add(&fx, 0, 2000, 3000, 3);
    GIVES(add(&fx, 0, 1000, 2000, 5), 3000, 8.0); /* it is in the newest, which is logged again */
    GIVES(add(&fx, 0, 2000, 3000, 3), 3000, 8.0);
    GIVES(add(&fx, 0, 3000, 4000, 1), 4000, 9.0);
    struct otlp_streams_stats stats;
    otlp_streams_stats_get(fx.streams, &stats);
    assert_int_equal(stats.repeated, 3);
    assert_int_equal(stats.deltas, 6);
    fixture_clear(&fx);
}

/* Several senders of one series, and requests that overtake each other: all is counted, times rise. */
static void test_late(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx);
    add(&fx, 0, 1000, 2000, 5);
    GIVES(add(&fx, 0, 3000, 4000, 7), 4000, 12.0);
    GIVES(add(&fx, 0, 2000, 3000, 3), 4001, 15.0);
    GIVES(add(&fx, 0, 1500, 2500, 2), 4002, 17.0); /* another one's, which overlaps */
    GIVES(add(&fx, 0, 4000, 5000, 1), 5000, 18.0);
    fixture_clear(&fx);
}

static void test_restart(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx);
    add(&fx, 0, 1000, 2000, 5);
    add(&fx, 0, 2000, 3000, 3);
    restart(&fx);
    GIVES(add(&fx, 0, 2000, 3000, 3), 3000, 8.0); /* repeated, since the answer was lost with the process */
    GIVES(add(&fx, 0, 3000, 4000, 2), 4000, 10.0);
    /* What the store did not get before the crash counts now. */
    restart(&fx);
    fx.store[0].ts_ms = 3000;
    fx.store[0].value = 8;
    GIVES(add(&fx, 0, 3000, 4000, 2), 4000, 10.0);
    /* The newest is in a block, or a staleness marker: a new beginning, behind it. */
    restart(&fx);
    fx.store[0].has_value = false;
    BEGINS(add(&fx, 0, 3500, 5000, 2), 4001, 5000, 2.0);
    restart(&fx);
    uint64_t stale_bits = UINT64_C(0x7ff0000000000002);
    memcpy(&fx.store[0].value, &stale_bits, sizeof(stale_bits));
    fx.store[0].has_value = true;
    assert_true(add(&fx, 0, 4500, 5000, 2).is_nothing);
    BEGINS(add(&fx, 0, 5500, 6000, 2), 5500, 6000, 2.0);
    fixture_clear(&fx);
}

/* What the store refuses for good is not part of later sums. */
static void test_refused(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx);
    struct otlp_cumulative cumulative;
    struct otlp_delta first = delta(0, 1000, 2000), second = delta(0, 2000, 3000), other = delta(1, 1000, 2000);
    add(&fx, 0, 0, 1000, 100);
    add(&fx, 1, 0, 1000, 100);

    otlp_streams_begin(fx.streams);
    otlp_streams_add_number(fx.streams, &first, 1, &cumulative);
    otlp_streams_add_number(fx.streams, &other, 2, &cumulative);
    fx.refused[0] = 1;
    otlp_streams_end(fx.streams, fx.refused);
    GIVES(add(&fx, 1, 2000, 3000, 1), 3000, 103.0);
    GIVES(add(&fx, 0, 1000, 2000, 1), 2000, 101.0); /* not a repetition: it was not taken */

    /* Nothing of the request was taken. */
    otlp_streams_begin(fx.streams);
    otlp_streams_add_number(fx.streams, &second, 50, &cumulative);
    otlp_streams_end(fx.streams, NULL);
    GIVES(add(&fx, 0, 2000, 3000, 1), 3000, 102.0);

    /* Two of one series in a request, and the later one was taken: the sum has both. */
    struct otlp_delta third = delta(0, 3000, 4000), fourth = delta(0, 4000, 5000);
    fourth.series = 2;
    memset(fx.refused, 0, sizeof(fx.refused));
    otlp_streams_begin(fx.streams);
    otlp_streams_add_number(fx.streams, &third, 10, &cumulative);
    otlp_streams_add_number(fx.streams, &fourth, 20, &cumulative);
    fx.refused[0] = 1;
    otlp_streams_end(fx.streams, fx.refused);
    GIVES(add(&fx, 0, 5000, 6000, 1), 6000, 133.0);
    /* And with both refused, neither. */
    struct otlp_delta fifth = delta(0, 6000, 7000), sixth = delta(0, 7000, 8000);
    sixth.series = 2;
    otlp_streams_begin(fx.streams);
    otlp_streams_add_number(fx.streams, &fifth, 10, &cumulative);
    otlp_streams_add_number(fx.streams, &sixth, 20, &cumulative);
    fx.refused[0] = fx.refused[2] = 1;
    otlp_streams_end(fx.streams, fx.refused);
    GIVES(add(&fx, 0, 8000, 9000, 1), 9000, 134.0);
    fixture_clear(&fx);
}

static void test_letting_go(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx);
    otlp_streams_free(fx.streams);
    fixture_open(&fx, 2);
    for (unsigned i = 0; i < 3; i++)
        add(&fx, i, 1000, 2000, i + 1);
    struct otlp_streams_stats stats;
    otlp_streams_stats_get(fx.streams, &stats);
    assert_int_equal(stats.stream_count, 2);
    GIVES(add(&fx, 0, 2000, 3000, 1), 3000, 2.0); /* from the store */
    fx.now_ms += 61000;
    GIVES(add(&fx, 1, 2000, 3000, 1), 3000, 3.0);
    otlp_streams_stats_get(fx.streams, &stats);
    assert_int_equal(stats.stream_count, 1);
    fixture_clear(&fx);
}

/* Requests that add to one series at the same time: nothing is lost, and times rise with the sums. */
enum { THREADS = 4, REQUESTS = 500 };

struct adding {
    struct fixture *fx;
    unsigned number;
};

static void *add_many(void *context)
{
    const struct adding *adding = context;
    struct fixture *fx = adding->fx;
    for (int64_t i = 0; i < REQUESTS; i++) {
        int64_t start_ms = 1000 + 10 * i + adding->number;
        struct otlp_delta one = delta(0, start_ms, start_ms + 10);
        struct otlp_cumulative cumulative;
        const uint32_t refused[1] = {i % 10 == 9}; /* each tenth is refused */
        otlp_streams_begin(fx->streams);
        otlp_streams_add_number(fx->streams, &one, 1, &cumulative);
        if (!refused[0]) {
            assert_true(!fx->is_there[0] || cumulative.ts_ms > fx->store[0].ts_ms);
            keep(fx, 0, &cumulative);
        }
        otlp_streams_end(fx->streams, refused);
    }
    return NULL;
}

static void test_at_the_same_time(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx);
    pthread_t threads[THREADS];
    struct adding adding[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        adding[i] = (struct adding){&fx, i};
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, &adding[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_true(fx.store[0].value == THREADS * REQUESTS * 9 / 10);
    fixture_clear(&fx);
}

/* ---- Histograms ---- */

static struct histogram exponential(int32_t schema, const struct histogram_span *spans, size_t span_count,
                                    const uint64_t *counts, size_t count, uint64_t zero_count)
{
    struct histogram histogram = {.schema = schema, .zero_threshold = 1e-128, .zero_count = zero_count, .sum = 10};
    histogram.positive =
        (struct histogram_buckets){.spans = spans, .span_count = span_count, .counts = counts, .count = count};
    histogram.count = zero_count;
    for (size_t i = 0; i < count; i++)
        histogram.count += counts[i];
    return histogram;
}

static struct otlp_cumulative add_histogram(struct fixture *fx, int64_t start_ms, int64_t ts_ms,
                                            const struct histogram *histogram, struct histogram *ret_sum)
{
    struct otlp_cumulative cumulative;
    struct histogram zero;
    struct ap_err err;
    struct otlp_delta one = delta(0, start_ms, ts_ms);
    memset(fx->refused, 0, sizeof(fx->refused));
    otlp_streams_begin(fx->streams);
    assert_int_equal(
        otlp_streams_add_histogram(fx->streams, &one, histogram, &fx->arena, &cumulative, ret_sum, &zero, &err), AP_OK);
    if (cumulative.has_zero)
        assert_int_equal(zero.count, 0);
    assert_int_equal(histogram_check(ret_sum, &err), AP_OK);
    ap_buf_reset(&fx->blobs[0]);
    histogram_encode(ret_sum, &fx->blobs[0]);
    fx->is_there[0] = true;
    fx->store[0] = (struct tsdb_newest){
        .ts_ms = INT64_MIN, .histogram_ts_ms = cumulative.ts_ms, .histogram = ap_buf_slice(&fx->blobs[0])};
    otlp_streams_end(fx->streams, fx->refused);
    return cumulative;
}

static void test_histograms(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx);
    static const struct histogram_span spans[] = {{1, 2}, {5, 1}}, other_spans[] = {{2, 2}};
    static const uint64_t counts[] = {1, 2, 3}, other_counts[] = {10, 20};
    struct histogram sum;
    struct histogram first = exponential(1, spans, 2, counts, 3, 4);
    struct otlp_cumulative cumulative = add_histogram(&fx, 1000, 2000, &first, &sum);
    assert_true(cumulative.has_zero && cumulative.zero_ts_ms == 1000);
    assert_int_equal(sum.count, 10);
    /* Buckets 1, 2 and 8; then 2 and 3: 1, 2, 3 and 8. */
    struct histogram second = exponential(1, other_spans, 1, other_counts, 2, 0);
    cumulative = add_histogram(&fx, 2000, 3000, &second, &sum);
    assert_false(cumulative.has_zero);
    assert_int_equal(sum.count, 40);
    assert_true(sum.sum == 20);
    assert_int_equal(sum.positive.count, 4);
    const uint64_t want[] = {1, 12, 20, 3};
    assert_memory_equal(sum.positive.counts, want, sizeof(want));
    assert_int_equal(sum.positive.spans[1].offset, 4);
    /* The same again. */
    cumulative = add_histogram(&fx, 2000, 3000, &second, &sum);
    assert_int_equal(cumulative.ts_ms, 3000);
    assert_int_equal(sum.count, 40);
    /* A coarser one, behind a restart: all at half the resolution. 1 and 2 → 1, 3 → 2, 8 → 4. */
    restart(&fx);
    struct histogram third = exponential(0, other_spans, 1, other_counts, 2, 1);
    add_histogram(&fx, 3000, 4000, &third, &sum);
    assert_int_equal(sum.schema, 0);
    const uint64_t coarse[] = {13, 30, 20, 3};
    assert_int_equal(sum.positive.count, 4);
    assert_memory_equal(sum.positive.counts, coarse, sizeof(coarse));
    /* A wider zero bucket takes in what lies in it: (1, 2] and below. */
    struct histogram fourth = exponential(0, other_spans, 1, other_counts, 2, 1);
    fourth.zero_threshold = 2;
    add_histogram(&fx, 4000, 5000, &fourth, &sum);
    assert_true(sum.zero_threshold == 2);
    assert_int_equal(sum.zero_count, 4 + 1 + 1 + 13);
    /* Custom buckets begin anew. */
    static const double bounds[] = {1, 2};
    static const struct histogram_span custom_spans[] = {{0, 3}};
    struct histogram custom = exponential(HISTOGRAM_SCHEMA_CUSTOM, custom_spans, 1, counts, 3, 0);
    custom.zero_threshold = 0;
    custom.custom_values = bounds;
    custom.custom_value_count = 2;
    cumulative = add_histogram(&fx, 5000, 6000, &custom, &sum);
    assert_true(cumulative.has_zero);
    assert_int_equal(sum.count, 6);
    cumulative = add_histogram(&fx, 6000, 7000, &custom, &sum);
    assert_int_equal(sum.count, 12);
    fixture_clear(&fx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_repeated),
        cmocka_unit_test(test_late),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_letting_go),
        cmocka_unit_test(test_at_the_same_time),
        cmocka_unit_test(test_histograms),
    };
    return cmocka_run_group_tests_name("otlp_streams", tests, NULL, NULL);
}
