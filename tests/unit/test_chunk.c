/* Chunks of floats and of histograms: what goes in comes out to the bit, and damage is found. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "tsdb/bitpack.h"
#include "tsdb/chunk.h"
#include "tsdb/histogram.h"

static const uint64_t edges[] = {
    0,
    0x8000000000000000, /* -0 */
    1,                  /* the smallest subnormal */
    0x000fffffffffffff, 0x0010000000000000, 0x7fefffffffffffff, 0xffefffffffffffff,
    0x7ff0000000000000, /* infinities */
    0xfff0000000000000,
    0x7ff0000000000001, /* NaNs, among them the staleness marker */
    0x7ff0000000000002, 0x7ff8000000000000, 0xfff8000000000001, 0x7fffffffffffffff,
    0x3ff0000000000000, 0x4340000000000000, /* 1, 2^53 */
    0x4340000000000001, 0xc340000000000000, 0x3fb999999999999a /* 0.1 */,
};

static double double_of(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, 8);
    return value;
}

enum shape { CONSTANT, WALK_1, WALK_2, COUNTER, REAL, ANY_BITS, EDGES, MIXED, FEW_BITS, LARGE, STEPS, SHAPE_COUNT };

static double next_value(enum shape shape, double *last, struct ap_random *random)
{
    switch (shape) {
    case CONSTANT:
        return 3.25;
    case WALK_1:
        *last += (double)((int64_t)ap_random_below(random, 11) - 5);
        return *last / 10;
    case WALK_2:
        *last += (double)((int64_t)ap_random_below(random, 101) - 50);
        return *last / 100;
    case COUNTER:
        *last = ap_random_below(random, 300) == 0 ? 0 : *last + (double)ap_random_below(random, 700);
        return *last;
    case REAL:
        return ap_random_unit(random) * 100;
    case ANY_BITS:
        return double_of(ap_random_u64(random));
    case EDGES:
        return double_of(edges[ap_random_below(random, sizeof(edges) / sizeof(edges[0]))]);
    case MIXED:
        return next_value(ap_random_below(random, 20) ? WALK_1 : EDGES, last, random);
    case FEW_BITS:
        return double_of(0x4000000000000000 | (ap_random_u64(random) & 0xff) << 40);
    case LARGE:
        return (double)(int64_t)(ap_random_u64(random) >> 11) * (ap_random_below(random, 2) ? 1 : -1);
    case STEPS:
        if (ap_random_below(random, 30) == 0)
            *last = (double)ap_random_below(random, 1000000);
        return *last;
    case SHAPE_COUNT:
        break;
    }
    return 0;
}

static void make_times(int64_t *ts_ms, size_t count, struct ap_random *random)
{
    static const int64_t starts[] = {0, 1764000000000, -5000, INT64_MIN + 1, INT64_MAX - ((int64_t)1 << 40)};
    uint64_t kind = ap_random_below(random, 4);
    ts_ms[0] = starts[ap_random_below(random, 5)];
    for (size_t i = 1; i < count; i++) {
        int64_t step = kind == 0   ? 10000
                       : kind == 1 ? 9990 + (int64_t)ap_random_below(random, 20)
                       : kind == 2 ? 1 + (int64_t)ap_random_below(random, 1000000)
                                   : (ap_random_below(random, 50) ? 15000 : 3600000);
        ts_ms[i] = ts_ms[i - 1] + step;
    }
}

static void round_trip(const int64_t *ts_ms, const double *values, size_t count, struct ap_buf *chunk)
{
    static struct chunk_floats floats;
    struct ap_err err;
    ap_buf_reset(chunk);
    chunk_encode_floats(ts_ms, values, count, chunk);
    if (chunk_decode_floats(ap_buf_slice(chunk), ts_ms[0], &floats, &err) != AP_OK)
        fail_msg("%s (codec %s)", err.text, chunk_codec_name(ap_buf_slice(chunk)));
    assert_int_equal(floats.count, count);
    assert_memory_equal(floats.ts_ms, ts_ms, count * sizeof(*ts_ms));
    assert_memory_equal(floats.values, values, count * sizeof(*values));
}

static void test_every_shape_comes_back(void **state)
{
    (void)state;
    struct ap_random random;
    ap_random_init(&random, 42);
    struct ap_buf chunk = {0};
    int64_t ts_ms[CHUNK_SAMPLES_MAX];
    double values[CHUNK_SAMPLES_MAX];
    for (enum shape shape = 0; shape < SHAPE_COUNT; shape++) {
        for (unsigned round = 0; round < 300; round++) {
            size_t count = round < 40 ? round + 1 : 1 + ap_random_below(&random, CHUNK_SAMPLES_MAX);
            if (round == 299)
                count = CHUNK_SAMPLES_MAX;
            double last = (double)ap_random_below(&random, 1000);
            make_times(ts_ms, count, &random);
            for (size_t i = 0; i < count; i++)
                values[i] = next_value(shape, &last, &random);
            round_trip(ts_ms, values, count, &chunk);
        }
    }
    ap_buf_clear(&chunk);
}

/* The codec fits the numbers, and the chunk is as small as that codec promises. */
static void test_codecs_fit(void **state)
{
    (void)state;
    static const struct {
        enum shape shape;
        const char *codec;
        double bytes_max; /* a sample */
    } cases[] = {
        {CONSTANT, "constant", 0.1}, {WALK_1, "decimal", 0.6}, {WALK_2, "decimal", 1.0},
        {COUNTER, "decimal", 1.5},   {REAL, "split", 7.1},     {ANY_BITS, "raw", 8.1},
        {STEPS, "decimal", 1.0},
    };
    struct ap_random random;
    ap_random_init(&random, 43);
    struct ap_buf chunk = {0};
    int64_t ts_ms[256];
    double values[256];
    for (size_t i = 0; i < 256; i++)
        ts_ms[i] = 1764000000000 + (int64_t)i * 10000;
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        double last = 500;
        for (size_t i = 0; i < 256; i++)
            values[i] = next_value(cases[c].shape, &last, &random);
        round_trip(ts_ms, values, 256, &chunk);
        assert_string_equal(chunk_codec_name(ap_buf_slice(&chunk)), cases[c].codec);
        if ((double)chunk.bytes / 256 > cases[c].bytes_max)
            fail_msg("%s: %zu bytes for 256 samples", cases[c].codec, chunk.bytes);
    }
    ap_buf_clear(&chunk);
}

static void test_damage_is_found(void **state)
{
    (void)state;
    struct ap_random random;
    ap_random_init(&random, 44);
    static struct chunk_floats floats;
    struct ap_buf chunk = {0};
    int64_t ts_ms[100];
    double values[100];
    struct ap_err err;
    for (enum shape shape = 0; shape < SHAPE_COUNT; shape++) {
        double last = 100;
        make_times(ts_ms, 100, &random);
        for (size_t i = 0; i < 100; i++)
            values[i] = next_value(shape, &last, &random);
        round_trip(ts_ms, values, 100, &chunk);
        for (size_t i = 0; i < chunk.bytes; i++) {
            chunk.data[i] ^= 0x10;
            assert_int_equal(chunk_decode_floats(ap_buf_slice(&chunk), ts_ms[0], &floats, &err), AP_E_CORRUPT);
            chunk.data[i] ^= 0x10;
            assert_int_equal(chunk_decode_floats(ap_slice(chunk.data, i), ts_ms[0], &floats, &err), AP_E_CORRUPT);
        }
        assert_int_equal(chunk_decode_floats(ap_buf_slice(&chunk), ts_ms[0] + 1, &floats, &err), AP_E_CORRUPT);
    }
    ap_buf_clear(&chunk);
}

static void test_bitpack_widths(void **state)
{
    (void)state;
    struct ap_random random;
    ap_random_init(&random, 45);
    uint64_t numbers[300];
    uint64_t back[300];
    struct ap_buf out = {0};
    for (unsigned bits = 0; bits <= 64; bits++) {
        for (size_t count = 0; count < 300; count += 1 + count / 7) {
            for (size_t i = 0; i < count; i++) {
                numbers[i] = bits ? ap_random_u64(&random) >> (64 - bits) : 0;
                if (ap_random_below(&random, 40) == 0)
                    numbers[i] = ap_random_u64(&random);
            }
            for (unsigned width = 0; width <= 64; width += bits ? 1 : 8) {
                ap_buf_reset(&out);
                bitpack_encode(numbers, count, width, &out);
                struct ap_slice rest = ap_buf_slice(&out);
                assert_true(bitpack_decode(&rest, count, back));
                assert_int_equal(rest.bytes, 0);
                assert_memory_equal(numbers, back, count * sizeof(*numbers));
            }
        }
    }
    ap_buf_clear(&out);
}

/* ---- Histograms ---- */

static void make_histogram(struct histogram *histogram, struct histogram_span *spans, uint64_t *counts,
                           struct ap_random *random)
{
    spans[0] = (struct histogram_span){-3, 4};
    spans[1] = (struct histogram_span){2, 3};
    uint64_t sum = 0;
    for (size_t i = 0; i < 7; i++)
        sum += counts[i] += ap_random_below(random, 50);
    *histogram = (struct histogram){
        .schema = 3,
        .zero_threshold = 1e-128,
        .zero_count = 2,
        .count = sum + 2,
        .sum = (double)sum * 0.37,
        .positive = {.spans = spans, .span_count = 2, .counts = counts, .count = 7},
    };
}

static void test_histograms_come_back(void **state)
{
    (void)state;
    struct ap_random random;
    ap_random_init(&random, 46);
    struct ap_arena arena;
    ap_arena_init(&arena, 0);
    struct ap_buf blobs_buf[120] = {{0}};
    struct ap_slice blobs[120];
    int64_t ts_ms[120];
    struct histogram_span spans[2];
    uint64_t counts[7] = {0};
    size_t plain_bytes = 0;
    struct ap_err err;
    for (size_t i = 0; i < 120; i++) {
        struct histogram histogram;
        make_histogram(&histogram, spans, counts, &random);
        assert_int_equal(histogram_check(&histogram, &err), AP_OK);
        histogram_encode(&histogram, &blobs_buf[i]);
        blobs[i] = ap_buf_slice(&blobs_buf[i]);
        plain_bytes += blobs[i].bytes;
        ts_ms[i] = 1000 + (int64_t)i * 15000;
        struct histogram back;
        assert_int_equal(histogram_decode(blobs[i], &arena, &back, &err), AP_OK);
        assert_int_equal(back.count, histogram.count);
        assert_int_equal(back.positive.spans[1].offset, 2);
        assert_memory_equal(back.positive.counts, counts, sizeof(counts));
        struct ap_buf again = {0};
        histogram_encode(&back, &again);
        assert_true(ap_slice_equal(ap_buf_slice(&again), blobs[i]));
        ap_buf_clear(&again);
    }
    struct ap_buf chunk = {0};
    chunk_encode_histograms(ts_ms, blobs, 120, &chunk);
    assert_true(chunk.bytes < plain_bytes);
    size_t count;
    const int64_t *back_ts_ms;
    const struct ap_slice *back;
    assert_int_equal(
        chunk_decode_histograms(ap_buf_slice(&chunk), ts_ms[0], &arena, &count, &back_ts_ms, &back, &err), AP_OK);
    assert_int_equal(count, 120);
    assert_memory_equal(back_ts_ms, ts_ms, sizeof(ts_ms));
    for (size_t i = 0; i < 120; i++)
        assert_true(ap_slice_equal(back[i], blobs[i]));
    for (size_t i = 0; i < chunk.bytes; i++) {
        chunk.data[i] ^= 1;
        assert_int_equal(
            chunk_decode_histograms(ap_buf_slice(&chunk), ts_ms[0], &arena, &count, &back_ts_ms, &back, &err),
            AP_E_CORRUPT);
        chunk.data[i] ^= 1;
    }
    ap_buf_clear(&chunk);
    for (size_t i = 0; i < 120; i++)
        ap_buf_clear(&blobs_buf[i]);
    ap_arena_clear(&arena);
}

static void test_histogram_checks(void **state)
{
    (void)state;
    struct ap_random random;
    ap_random_init(&random, 47);
    struct histogram_span spans[2];
    uint64_t counts[7] = {0};
    struct histogram histogram;
    struct ap_err err;
#define BAD(change, word)                                                                                              \
    do {                                                                                                               \
        make_histogram(&histogram, spans, counts, &random);                                                            \
        change;                                                                                                        \
        assert_int_equal(histogram_check(&histogram, &err), AP_E_PARSE);                                               \
        assert_non_null(strstr(err.text, word));                                                                       \
    } while (0)
    BAD(histogram.count++, "count");
    BAD(histogram.schema = 9, "schema");
    BAD(histogram.schema = -5, "schema");
    BAD(spans[1].offset = -1, "offset");
    BAD(spans[1].length = 4, "cover");
    BAD(histogram.zero_threshold = -1, "threshold");
    BAD(histogram.custom_value_count = 1, "bounds");
#undef BAD
    /* Observations that were NaN are counted and in no bucket. */
    make_histogram(&histogram, spans, counts, &random);
    histogram.count += 3;
    histogram.sum = double_of(0x7ff8000000000000);
    assert_int_equal(histogram_check(&histogram, &err), AP_OK);
}

/* b of schema 9 is the root of b of schema 8: buckets 2i-1 and 2i become i. */
static void test_histogram_reduce(void **state)
{
    (void)state;
    struct histogram_span spans[] = {{-3, 5}, {3, 1}}; /* -3 … 1, then 5 */
    uint64_t counts[] = {1, 2, 4, 8, 16, 32};
    struct histogram histogram = {
        .schema = 9, .count = 63, .positive = {.spans = spans, .span_count = 2, .counts = counts, .count = 6}};
    struct ap_arena arena;
    struct ap_err err;
    ap_arena_init(&arena, 0);
    assert_int_equal(histogram_reduce(&histogram, &arena, &err), AP_OK);
    assert_int_equal(histogram.schema, 8);
    assert_int_equal(histogram_check(&histogram, &err), AP_OK);
    assert_int_equal(histogram.positive.count, 4); /* -1: -3,-2; 0: -1,0; 1: 1; 3: 5 */
    const uint64_t want[] = {3, 12, 16, 32};
    assert_memory_equal(histogram.positive.counts, want, sizeof(want));
    assert_int_equal(histogram.positive.spans[0].offset, -1);
    assert_int_equal(histogram.positive.spans[0].length, 3);
    assert_int_equal(histogram.positive.spans[1].offset, 1);
    ap_arena_clear(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_shape_comes_back), cmocka_unit_test(test_codecs_fit),
        cmocka_unit_test(test_damage_is_found),        cmocka_unit_test(test_bitpack_widths),
        cmocka_unit_test(test_histograms_come_back),   cmocka_unit_test(test_histogram_checks),
        cmocka_unit_test(test_histogram_reduce),
    };
    return cmocka_run_group_tests_name("chunk", tests, NULL, NULL);
}
