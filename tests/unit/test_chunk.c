/* Chunks of floats and of histograms: what goes in comes out to the bit, and damage is found. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/mem.h"
#include "base/random.h"
#include "tsdb/bitpack.h"
#include "tsdb/chunk.h"
#include "tsdb/histogram.h"
#include "tsdb/int_column.h"
#include "wal/crc32c.h"

static const uint64_t edges[] = {
    0,
    0x8000000000000000, /* -0 */
    1,                  /* the smallest subnormal */
    0x000fffffffffffff,
    0x0010000000000000,
    0x7fefffffffffffff,
    0xffefffffffffffff,
    0x7ff0000000000000, /* infinities */
    0xfff0000000000000,
    0x7ff0000000000001, /* NaNs, among them the staleness marker */
    0x7ff0000000000002,
    0x7ff8000000000000,
    0xfff8000000000001,
    0x7fffffffffffffff,
    0x3ff0000000000000,
    0x4340000000000000, /* 1, 2^53 */
    0x4340000000000001,
    0xc340000000000000,
    0x3fb999999999999a /* 0.1 */,
};

enum shape {
    CONSTANT,
    WALK_1,
    WALK_2,
    COUNTER,
    REAL,
    ANY_BITS,
    EDGES,
    MIXED,
    FEW_BITS,
    LARGE,
    STEPS,
    THIRDS,
    FLOAT32,
    SHAPE_COUNT
};

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
        return ap_double_of_bits(ap_random_u64(random));
    case EDGES:
        return ap_double_of_bits(edges[ap_random_below(random, sizeof(edges) / sizeof(edges[0]))]);
    case MIXED:
        return next_value(ap_random_below(random, 20) ? WALK_1 : EDGES, last, random);
    case FEW_BITS:
        return ap_double_of_bits(0x4000000000000000 | (ap_random_u64(random) & 0xff) << 40);
    case LARGE:
        return (double)(int64_t)(ap_random_u64(random) >> 11) * (ap_random_below(random, 2) ? 1 : -1);
    case STEPS:
        if (ap_random_below(random, 30) == 0)
            *last = (double)ap_random_below(random, 1000000);
        return *last;
    case THIRDS:
        return (double)ap_random_below(random, 20) / 3;
    case FLOAT32:
        return (double)(float)(ap_random_unit(random) - 0.5);
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
    assert_string_not_equal(chunk_codec_name(ap_buf_slice(chunk)), "damaged");
    assert_true(chunk->bytes <= count * 16 + 64);
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

static void test_every_count(void **state)
{
    (void)state;
    static const enum shape shapes[] = {WALK_1, REAL, MIXED, THIRDS, EDGES};
    struct ap_random random;
    ap_random_init(&random, 51);
    struct ap_buf chunk = {0};
    int64_t ts_ms[CHUNK_SAMPLES_MAX];
    double values[CHUNK_SAMPLES_MAX];
    for (size_t s = 0; s < sizeof(shapes) / sizeof(shapes[0]); s++) {
        double last = 500;
        make_times(ts_ms, CHUNK_SAMPLES_MAX, &random);
        for (size_t i = 0; i < CHUNK_SAMPLES_MAX; i++)
            values[i] = next_value(shapes[s], &last, &random);
        for (size_t count = 1; count <= CHUNK_SAMPLES_MAX; count++)
            round_trip(ts_ms, values, count, &chunk);
    }
    ap_buf_clear(&chunk);
}

/* Any times that rise, the first and the last that there are included. */
static void test_times(void **state)
{
    (void)state;
    static const struct {
        int64_t ts_ms[5];
        size_t count;
        size_t bytes_max; /* of the chunk, of which times are all but 8 */
    } cases[] = {
        {{INT64_MIN, INT64_MAX}, 2, 24},          {{INT64_MIN, -1, INT64_MAX}, 3, 40}, {{INT64_MAX}, 1, 8},
        {{INT64_MAX - 1, INT64_MAX}, 2, 11},      {{0, 15000, 30000, 45000}, 4, 10},   {{0, 999, 1998, 2997}, 4, 11},
        {{0, 15003, 29998, 45001, 60000}, 5, 24},
    };
    struct ap_buf chunk = {0};
    static const double values[5] = {1, 1, 1, 1, 1};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        round_trip(cases[i].ts_ms, values, cases[i].count, &chunk);
        if (chunk.bytes > cases[i].bytes_max)
            fail_msg("case %zu takes %zu bytes", i, chunk.bytes);
    }
    /* Regular but for one scrape that was missed, and for a jitter of a few milliseconds. */
    int64_t ts_ms[256];
    double ones[256];
    struct ap_random random;
    ap_random_init(&random, 52);
    for (size_t i = 0; i < 256; i++) {
        ts_ms[i] = 1764000000000 + (int64_t)i * 10000 + (i > 77 ? 10000 : 0);
        ones[i] = 1;
    }
    round_trip(ts_ms, ones, 256, &chunk);
    assert_true(chunk.bytes <= 11 + 10);
    for (size_t i = 0; i < 256; i++)
        ts_ms[i] = 1764000000000 + (int64_t)i * 10000 + (int64_t)ap_random_below(&random, 8);
    round_trip(ts_ms, ones, 256, &chunk);
    assert_true(chunk.bytes <= 11 + 256 * 3 / 8 + 8); /* not twice or three times the jitter */
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
        {CONSTANT, "constant", 0.1}, {WALK_1, "decimal", 0.6}, {WALK_2, "decimal", 1.0}, {COUNTER, "decimal", 1.4},
        {REAL, "split", 6.9},        {ANY_BITS, "raw", 8.1},   {STEPS, "decimal", 1.0},
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

/* With a checksum that fits, anything may come out, but nothing outside may be read (the sanitizers look). */
static void test_damage_behind_the_checksum(void **state)
{
    (void)state;
    struct ap_random random;
    ap_random_init(&random, 53);
    static struct chunk_floats floats;
    struct ap_buf chunk = {0};
    int64_t ts_ms[200];
    double values[200];
    struct ap_err err;
    size_t refused = 0;
    for (enum shape shape = 0; shape < SHAPE_COUNT; shape++) {
        double last = 100;
        make_times(ts_ms, 200, &random);
        for (size_t i = 0; i < 200; i++)
            values[i] = next_value(shape, &last, &random);
        for (size_t i = 0; i < 400; i++) {
            round_trip(ts_ms, values, 200, &chunk);
            size_t bytes = chunk.bytes - 4;
            if (i % 4 == 0)
                bytes -= ap_random_below(&random, bytes - 2);
            /* The first bytes decide most. */
            chunk.data[ap_random_below(&random, i % 2 ? AP_MIN(bytes, (size_t)24) : bytes)] ^=
                (char)(1 + ap_random_below(&random, 255));
            char *copy = malloc(bytes + 4);
            memcpy(copy, chunk.data, bytes);
            uint32_t crc = wal_crc32c(wal_crc32c(0, ts_ms, sizeof(ts_ms[0])), copy, bytes);
            memcpy(copy + bytes, &crc, sizeof(crc));
            enum ap_rc rc = chunk_decode_floats(ap_slice(copy, bytes + 4), ts_ms[0], &floats, &err);
            assert_true(rc == AP_OK || rc == AP_E_CORRUPT);
            assert_true(rc == AP_E_CORRUPT || (floats.count >= 1 && floats.count <= CHUNK_SAMPLES_MAX));
            refused += rc == AP_E_CORRUPT;
            free(copy);
        }
    }
    assert_true(refused > 0);
    ap_buf_clear(&chunk);
}

static void test_bitpack_widths(void **state)
{
    (void)state;
    struct ap_random random;
    ap_random_init(&random, 45);
    uint64_t numbers[300];
    uint64_t back[300 + BITPACK_PADDING];
    struct ap_buf out = {0};
    for (unsigned bits = 0; bits <= 64; bits++) {
        unsigned width = bitpack_width(bits);
        for (size_t count = 0; count < 300; count += 1 + count / 7) {
            for (size_t i = 0; i < count; i++)
                numbers[i] = ap_random_u64(&random);
            ap_buf_reset(&out);
            bitpack_write(numbers, count, width, &out); /* leaves out what does not fit */
            assert_int_equal(out.bytes, (count * width + 7) / 8);
            struct ap_slice rest = ap_buf_slice(&out);
            assert_true(bitpack_read(&rest, count, width, back));
            assert_int_equal(rest.bytes, 0);
            for (size_t i = 0; i < count; i++)
                assert_true(back[i] == (width == 64 ? numbers[i] : numbers[i] & ((UINT64_C(1) << width) - 1)));
            if (out.bytes) {
                rest = ap_slice(out.data, out.bytes - 1);
                assert_false(bitpack_read(&rest, count, width, back));
            }
        }
    }
    struct ap_slice rest = ap_slice(out.data, out.bytes);
    assert_false(bitpack_read(&rest, 1, BITPACK_WIDTH_NARROW_MAX + 1, back)); /* there is no such width */
    ap_buf_clear(&out);
}

/* Any integers, wrapping around included, at every count; mostly small ones, steps of them, or steps of steps. */
static void test_int_columns_come_back(void **state)
{
    (void)state;
    struct ap_random random;
    ap_random_init(&random, 48);
    int64_t numbers[INT_COLUMN_COUNT_MAX];
    int64_t back[INT_COLUMN_COUNT_MAX + INT_COLUMN_PADDING];
    struct ap_buf out = {0};
    for (size_t round = 0; round < 4 * INT_COLUMN_COUNT_MAX; round++) {
        size_t count = round / 4 + 1;
        unsigned bits = (unsigned)ap_random_below(&random, 65);
        unsigned order = (unsigned)ap_random_below(&random, 3);
        uint64_t outlier_in = 1 + ap_random_below(&random, 200);
        uint64_t sums[3] = {0};
        for (size_t i = 0; i < count; i++) {
            if (ap_random_below(&random, 64) == 0)
                bits = (unsigned)ap_random_below(&random, 65);
            sums[0] = bits ? ap_random_u64(&random) >> (64 - bits) : 0;
            if (ap_random_below(&random, outlier_in) == 0)
                sums[0] = ap_random_u64(&random) >> ap_random_below(&random, 64);
            sums[1] += sums[0];
            sums[2] += sums[1];
            numbers[i] = (int64_t)sums[order];
        }
        ap_buf_reset(&out);
        int_column_encode(numbers, count, &out);
        struct ap_slice rest = ap_buf_slice(&out);
        assert_true(int_column_decode(&rest, count, back));
        assert_int_equal(rest.bytes, 0);
        assert_memory_equal(numbers, back, count * sizeof(*numbers));
        assert_true(out.bytes <= count * 8 + 32); /* never much more than the numbers as they are */
    }
    ap_buf_clear(&out);
}

/* What is between 100 steady steps and a reset to 0 costs the reset's own bytes, not a wider chunk. */
static void test_outliers_do_not_widen(void **state)
{
    (void)state;
    struct ap_random random;
    ap_random_init(&random, 49);
    struct ap_buf out = {0};
    int64_t ts_ms[256];
    double values[256];
    size_t bytes[2];
    for (unsigned with = 0; with < 2; with++) {
        double value = 123456789012;
        for (size_t i = 0; i < 256; i++) {
            ts_ms[i] = (int64_t)i * 10000;
            value = with && i == 100 ? 0 : value + 64 + (double)ap_random_below(&random, 64);
            values[i] = value;
        }
        if (with) {
            values[200] = ap_double_of_bits(0x7ff0000000000002); /* and a staleness marker */
            values[255] = ap_double_of_bits(0x7ff0000000000002);
        }
        round_trip(ts_ms, values, 256, &out);
        assert_string_equal(chunk_codec_name(ap_buf_slice(&out)), "decimal");
        bytes[with] = out.bytes;
    }
    assert_true(bytes[1] <= bytes[0] + 32);
    ap_buf_clear(&out);
}

/* Decimals at every exponent, with as many digits as a double can have, are decimals. */
static void test_decimals_are_recognised(void **state)
{
    (void)state;
    struct ap_random random;
    ap_random_init(&random, 50);
    struct ap_buf out = {0};
    int64_t ts_ms[64];
    double values[64];
    for (unsigned exponent = 0; exponent <= 14; exponent++) {
        double power = 1;
        for (unsigned i = 0; i < exponent; i++)
            power *= 10;
        for (unsigned bits = 8; bits <= 48; bits++) {
            for (size_t i = 0; i < 64; i++) {
                ts_ms[i] = (int64_t)i * 1000;
                values[i] = ((double)(ap_random_u64(&random) >> (64 - bits)) + 1) / power;
            }
            round_trip(ts_ms, values, 64, &out);
            if (strcmp(chunk_codec_name(ap_buf_slice(&out)), "decimal") != 0 && bits <= 32)
                fail_msg("%u bits / 10^%u is %s", bits, exponent, chunk_codec_name(ap_buf_slice(&out)));
            assert_true(out.bytes <= 64 * (bits + 2) / 8 + 32);
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
    assert_int_equal(chunk_decode_histograms(ap_buf_slice(&chunk), ts_ms[0], &arena, &count, &back_ts_ms, &back, &err),
                     AP_OK);
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
    histogram.sum = ap_double_of_bits(0x7ff8000000000000);
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
        cmocka_unit_test(test_every_shape_comes_back),
        cmocka_unit_test(test_codecs_fit),
        cmocka_unit_test(test_damage_is_found),
        cmocka_unit_test(test_bitpack_widths),
        cmocka_unit_test(test_int_columns_come_back),
        cmocka_unit_test(test_outliers_do_not_widen),
        cmocka_unit_test(test_decimals_are_recognised),
        cmocka_unit_test(test_every_count),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_damage_behind_the_checksum),
        cmocka_unit_test(test_histograms_come_back),
        cmocka_unit_test(test_histogram_checks),
        cmocka_unit_test(test_histogram_reduce),
    };
    return cmocka_run_group_tests_name("chunk", tests, NULL, NULL);
}
