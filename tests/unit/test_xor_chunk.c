/* Prometheus' chunks, of doubles and of histograms: what was written reads back, and bytes are as Prometheus has them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "base/random.h"
#include "codec/bit_stream.h"
#include "codec/histogram_chunk.h"
#include "codec/xor2_chunk.h"
#include "codec/xor_chunk.h"

#define NOON_MS    INT64_C(1795435200000)
#define STALE_BITS UINT64_C(0x7ff0000000000002)

/* In memory of its own size, so that the address sanitizer sees a read past its end. */
static struct ap_slice exact(struct ap_slice bytes)
{
    char *copy = malloc(bytes.bytes ? bytes.bytes : 1);
    assert_non_null(copy);
    memcpy(copy, bytes.data, bytes.bytes);
    return ap_slice(copy, bytes.bytes);
}

static size_t from_hex(const char *text, uint8_t *bytes)
{
    size_t count = strlen(text) / 2;
    for (size_t i = 0; i < count; i++) {
        char digits[3] = {text[2 * i], text[2 * i + 1], '\0'};
        bytes[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return count;
}

static void check_bytes(struct ap_slice found, const char *want_hex, int line)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    for (size_t i = 0; i < found.bytes; i++)
        ap_buf_printf(&text, "%02x", (uint8_t)found.data[i]);
    ap_buf_add_char(&text, '\0');
    if (strcmp(text.data, want_hex) != 0)
        fail_msg("line %d: %s\nshould be %s", line, text.data, want_hex);
}

/* ---- Doubles ---- */

static void check_xor(const int64_t *ts_ms, const double *values, size_t count, int line)
{
    AP_AUTO_BUF struct ap_buf chunk = {0};
    AP_AUTO_ARENA struct ap_arena arena;
    struct ap_err err;
    size_t back_count;
    int64_t *back_ts_ms;
    double *back;
    xor_chunk_encode(ts_ms, values, count, &chunk);
    struct ap_slice bytes = exact(ap_buf_slice(&chunk));
    ap_arena_init(&arena, 64 * bytes.bytes + 32);
    if (xor_chunk_decode(bytes, &arena, &back_count, &back_ts_ms, &back, &err) != AP_OK)
        fail_msg("line %d: %s", line, err.text);
    assert_int_equal(back_count, count);
    for (size_t i = 0; i < count; i++)
        if (back_ts_ms[i] != ts_ms[i] || !ap_double_same(back[i], values[i]))
            fail_msg("line %d: sample %zu is %a, should be %a", line, i, back[i], values[i]);
    for (size_t cut = 0; count && cut < bytes.bytes; cut++) {
        struct ap_slice part = exact(ap_slice(bytes.data, cut));
        ap_arena_reset(&arena);
        assert_int_equal(xor_chunk_decode(part, &arena, &back_count, &back_ts_ms, &back, &err), AP_E_CORRUPT);
        free((void *)(uintptr_t)part.data);
    }
    free((void *)(uintptr_t)bytes.data);
}

static void test_doubles(void **state)
{
    (void)state;
    const double odd[] = {
        0,
        -0.0,
        1,
        1,
        ap_double_of_bits(STALE_BITS),
        NAN,
        ap_double_of_bits(UINT64_C(0x7ff8dead0000beef)),
        INFINITY,
        -INFINITY,
        5e-324,
        1.7976931348623157e308,
        ap_double_of_bits(UINT64_MAX),
        ap_double_of_bits(0),
        ap_double_of_bits(UINT64_C(0x8000000000000001)),
        12,
        24,
        12.5,
    };
    int64_t ts_ms[AP_ARRAY_COUNT(odd)];
    for (size_t i = 0; i < AP_ARRAY_COUNT(odd); i++)
        ts_ms[i] = NOON_MS + (int64_t)i * 15000;
    for (size_t count = 0; count <= AP_ARRAY_COUNT(odd); count++)
        check_xor(ts_ms, odd, count, __LINE__);
    /* Every width that differences of times are written in, and both of its ends. */
    int64_t at = -5;
    for (size_t i = 0; i < AP_ARRAY_COUNT(odd); i++) {
        static const int64_t deltas[] = {0,     8191,   16383, 0,       1,      65536, 0,        131072, 1,
                                         16384, 524288, 0,     1048576, 524288, 1,     1L << 50, 3};
        ts_ms[i] = at += deltas[i];
    }
    check_xor(ts_ms, odd, AP_ARRAY_COUNT(odd), __LINE__);
    const int64_t ends[] = {INT64_MIN, -1, 0, INT64_MAX};
    check_xor(ends, odd, 4, __LINE__);
}

static void test_random_doubles(void **state)
{
    (void)state;
    enum { COUNT = 300 };
    struct ap_random random;
    ap_random_init(&random, 7);
    for (int round = 0; round < 50; round++) {
        int64_t ts_ms[COUNT];
        double values[COUNT];
        int64_t ts = NOON_MS;
        uint64_t bits = 0;
        for (size_t i = 0; i < COUNT; i++) {
            uint64_t chance = ap_random_u64(&random);
            ts += 1 + (int64_t)(ap_random_u64(&random) >> (chance % 64 ? 44 + chance % 20 : 24));
            bits ^= ap_random_u64(&random) >> (chance >> 8) % 64 << (chance >> 16) % 64;
            ts_ms[i] = ts;
            values[i] = ap_double_of_bits(bits);
        }
        check_xor(ts_ms, values, COUNT, __LINE__);
    }
}

/* ---- Histograms ---- */

struct histograms {
    struct histogram_chunk_layout layout;
    struct histogram_chunk_sample samples[64];
    uint64_t figures[64][16];
    size_t count;
};

static void encode(const struct histograms *histograms, struct ap_buf *out)
{
    struct histogram_chunk_writer writer;
    histogram_chunk_begin(&writer, &histograms->layout, out);
    for (size_t i = 0; i < histograms->count; i++)
        histogram_chunk_add(&writer, &histograms->samples[i]);
    histogram_chunk_end(&writer);
}

static void check_layout(const struct histogram_chunk_layout *found, const struct histogram_chunk_layout *want)
{
    assert_int_equal(found->reset, want->reset);
    assert_int_equal(found->schema, want->schema);
    assert_true(ap_double_same(found->zero_threshold, want->zero_threshold));
    for (int sign = 0; sign < 2; sign++) {
        assert_int_equal(found->span_counts[sign], want->span_counts[sign]);
        if (want->span_counts[sign])
            assert_memory_equal(found->spans[sign], want->spans[sign],
                                want->span_counts[sign] * sizeof(*want->spans[sign]));
    }
    assert_int_equal(found->bound_count, want->bound_count);
    for (size_t i = 0; i < want->bound_count; i++)
        assert_true(ap_double_same(found->bounds[i], want->bounds[i]));
}

static void check_histograms(const struct histograms *want, int line)
{
    AP_AUTO_BUF struct ap_buf chunk = {0};
    AP_AUTO_ARENA struct ap_arena arena;
    struct histogram_chunk_reader reader;
    struct histogram_chunk_sample sample;
    struct ap_err err;
    bool is_end;
    encode(want, &chunk);
    struct ap_slice bytes = exact(ap_buf_slice(&chunk));
    ap_arena_init(&arena, 256 * bytes.bytes + 128);
    if (histogram_chunk_open(bytes, want->layout.is_float, &arena, &reader, &err) != AP_OK)
        fail_msg("line %d: %s", line, err.text);
    check_layout(&reader.layout, &want->layout);
    size_t figure_count = 2 + reader.bucket_counts[0] + reader.bucket_counts[1];
    for (size_t i = 0; i < want->count; i++) {
        if (histogram_chunk_next(&reader, &sample, &is_end, &err) != AP_OK || is_end)
            fail_msg("line %d: sample %zu: %s", line, i, is_end ? "missing" : err.text);
        assert_int_equal(sample.ts_ms, want->samples[i].ts_ms);
        assert_true(ap_double_same(sample.sum, want->samples[i].sum));
        assert_int_equal(sample.figures == NULL, want->samples[i].figures == NULL);
        if (sample.figures)
            assert_memory_equal(sample.figures, want->figures[i], figure_count * sizeof(uint64_t));
    }
    assert_int_equal(histogram_chunk_next(&reader, &sample, &is_end, &err), AP_OK);
    assert_true(is_end);
    for (size_t cut = 0; cut < bytes.bytes; cut++) {
        struct ap_slice part = exact(ap_slice(bytes.data, cut));
        ap_arena_reset(&arena);
        enum ap_rc rc = histogram_chunk_open(part, want->layout.is_float, &arena, &reader, &err);
        for (is_end = false; rc == AP_OK && !is_end;)
            rc = histogram_chunk_next(&reader, &sample, &is_end, &err);
        assert_int_equal(rc, AP_E_CORRUPT);
        free((void *)(uintptr_t)part.data);
    }
    free((void *)(uintptr_t)bytes.data);
}

static const struct histogram_chunk_span positive[] = {{-3, 2}, {0, 0}, {70000, 3}};
static const struct histogram_chunk_span negative[] = {{5, 4}};

static struct histograms *new_histograms(bool is_float, double zero_threshold)
{
    struct histograms *histograms = ap_new0(struct histograms);
    histograms->layout = (struct histogram_chunk_layout){
        .is_float = is_float,
        .reset = HISTOGRAM_CHUNK_GAUGE,
        .schema = 3,
        .zero_threshold = zero_threshold,
        .spans = {positive, negative},
        .span_counts = {3, 1},
    };
    return histograms;
}

static void add_random(struct histograms *histograms, struct ap_random *random)
{
    size_t i = histograms->count++;
    for (size_t j = 0; j < 11; j++) {
        uint64_t bits = ap_random_u64(random) >> ap_random_u64(random) % 64;
        histograms->figures[i][j] = histograms->layout.is_float ? ap_double_to_bits((double)bits / 8) : bits;
    }
    histograms->samples[i] = (struct histogram_chunk_sample){
        .ts_ms = NOON_MS + (int64_t)i * 15000 + (int64_t)(ap_random_u64(random) % 3),
        .sum = (double)(int64_t)ap_random_u64(random) / 3,
        .figures = histograms->figures[i],
    };
}

static void add_stale(struct histograms *histograms)
{
    size_t i = histograms->count++;
    histograms->samples[i] =
        (struct histogram_chunk_sample){NOON_MS + (int64_t)i * 15000, ap_double_of_bits(STALE_BITS), NULL};
}

static void test_histograms(void **state)
{
    (void)state;
    static const double thresholds[] = {0, 0x1p-128, 0x1p-243, 0x1p-244, 0x1p10, 0x1p11, 0.1, 1e-128};
    struct ap_random random;
    ap_random_init(&random, 3);
    for (int i = 0; i < 40; i++) {
        AP_AUTO_FREE struct histograms *histograms = new_histograms(i % 2, thresholds[i / 2 % 8]);
        for (int j = 0; j < 1 + i; j++)
            add_random(histograms, &random);
        add_stale(histograms);
        add_stale(histograms);
        check_histograms(histograms, __LINE__);
    }
}

static void test_histograms_without_buckets(void **state)
{
    (void)state;
    AP_AUTO_FREE struct histograms *histograms = ap_new0(struct histograms);
    add_stale(histograms);
    add_stale(histograms);
    check_histograms(histograms, __LINE__);
    histograms->layout.is_float = true;
    check_histograms(histograms, __LINE__);
}

static void test_custom_buckets(void **state)
{
    (void)state;
    static const double bounds[] = {-1.5, -0.0, 0, 0.005, 0.1, 1.0005, 33554.43, 33554.431, 1e9, INFINITY};
    static const struct histogram_chunk_span spans[] = {{0, 9}};
    struct ap_random random;
    ap_random_init(&random, 5);
    AP_AUTO_FREE struct histograms *histograms = new_histograms(false, 0);
    histograms->layout.schema = HISTOGRAM_CHUNK_SCHEMA_CUSTOM;
    histograms->layout.spans[0] = spans;
    histograms->layout.span_counts[0] = 1;
    histograms->layout.span_counts[1] = 0;
    histograms->layout.bounds = bounds;
    histograms->layout.bound_count = AP_ARRAY_COUNT(bounds);
    for (int i = 0; i < 5; i++)
        add_random(histograms, &random);
    check_histograms(histograms, __LINE__);
}

static void test_hostile_chunks(void **state)
{
    (void)state;
    static const char *const chunks[] = {
        "",
        "ff",
        "ffff",                               /* 65,535 samples in nothing */
        "000100ff",                           /* a threshold that is not there */
        "0001000047ffffffffffffffffffff",     /* a span of as many buckets as there are numbers */
        "00010000ff7fffffffffffffffffffffff", /* so many spans */
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(chunks); i++) {
        uint8_t bytes[64];
        struct ap_slice chunk = exact(ap_slice(bytes, from_hex(chunks[i], bytes)));
        AP_AUTO_ARENA struct ap_arena arena;
        struct histogram_chunk_reader reader;
        struct histogram_chunk_sample sample;
        struct ap_err err;
        ap_arena_init(&arena, 256 * chunk.bytes + 128);
        enum ap_rc rc = histogram_chunk_open(chunk, i % 2, &arena, &reader, &err);
        for (bool is_end = false; rc == AP_OK && !is_end;)
            rc = histogram_chunk_next(&reader, &sample, &is_end, &err);
        if (rc != AP_E_CORRUPT)
            fail_msg("chunk %zu is taken", i);
        free((void *)(uintptr_t)chunk.data);
    }
}

/* ---- As Prometheus 2.42 itself wrote them, which its remote read showed ---- */

static void test_prometheus_doubles(void **state)
{
    (void)state;
    static const int64_t ts_ms[] = {NOON_MS,         NOON_MS + 15000,  NOON_MS + 30000,  NOON_MS + 45001,
                                    NOON_MS + 59000, NOON_MS + 300000, NOON_MS + 300001, NOON_MS + 2000000};
    static const uint64_t bits[] = {UINT64_C(0x3ff0000000000000), UINT64_C(0x3ff0000000000000),
                                    UINT64_C(0xbff8000000000000), STALE_BITS,
                                    UINT64_C(0x7ff8dead0000beef), UINT64_C(0x7ff0000000000000),
                                    UINT64_C(0x8000000000000000), UINT64_C(0x40934a456d5cfaad)};
    double values[AP_ARRAY_COUNT(bits)];
    memcpy(values, bits, sizeof(bits));
    AP_AUTO_BUF struct ap_buf chunk = {0};
    xor_chunk_encode(ts_ms, values, AP_ARRAY_COUNT(bits), &chunk);
    check_bytes(ap_buf_slice(&chunk),
                "000880f8b784c1683ff00000000000009875301b0018001c1fe004000000000001bc16d9a46f5680005f76f1bb5cd1bd5a00"
                "017ddfd8a53380cffff000000000019f09ec006049a522b6ae7d5680",
                __LINE__);
    check_xor(ts_ms, values, AP_ARRAY_COUNT(bits), __LINE__);
}

static void check_prometheus_histograms(bool is_float, const char *want_hex, int line)
{
    static const struct histogram_chunk_span spans[2][2] = {{{-2, 1}, {3, 3}}, {{1, 2}}};
    static const int64_t ts_ms[] = {NOON_MS, NOON_MS + 15000, NOON_MS + 30003, NOON_MS + 45003};
    static const double sums[] = {-1.5, -1.5, -0.5, -0.5};
    static const uint64_t buckets[4][6] = {
        {3, 0, 5, 7, 1, 2}, {4, 0, 5, 2000, 1, 2}, {4, 1, 25, 3000, 3, 300000}, {4, 1, 25, 3000, 3, 300001}};
    AP_AUTO_FREE struct histograms *histograms = ap_new0(struct histograms);
    histograms->layout = (struct histogram_chunk_layout){
        .is_float = is_float,
        .schema = 2,
        .zero_threshold = 0.001,
        .spans = {spans[0], spans[1]},
        .span_counts = {2, 1},
    };
    for (size_t i = 0; i < 4; i++) {
        uint64_t figures[8] = {i + 1, i + 1};
        for (size_t j = 0; j < 6; j++) {
            figures[2 + j] = buckets[i][j];
            figures[0] += buckets[i][j];
        }
        for (size_t j = 0; j < 8; j++)
            histograms->figures[i][j] = is_float ? ap_double_to_bits((double)figures[j]) : figures[j];
        histograms->samples[i] = (struct histogram_chunk_sample){ts_ms[i], sums[i], histograms->figures[i]};
    }
    histograms->count = 4;
    AP_AUTO_BUF struct ap_buf chunk = {0};
    encode(histograms, &chunk);
    check_bytes(ap_buf_slice(&chunk), want_hex, line);
    check_histograms(histograms, line);
}

static void test_prometheus_histograms(void **state)
{
    (void)state;
    check_prometheus_histograms(
        false,
        "000400ff3f50624dd2f1a9fc94a369ce328ff0000d104237f0064e37ff00000000000013ae16518fc1d4c79f2e28dde7c927"
        "f8092026d6177964fd8172fc0493dcafefdb4120beb7d8596fdfb6c250",
        __LINE__);
    check_prometheus_histograms(
        true,
        "000400ff3f50624dd2f1a9fc94a369ce328ff0000d104237f0020198000000000001ff80000000000005ffc0000000000002"
        "0040000000000000000000000000000200a000000000000200e0000000000001ff800000000000020000000000000007c1d4"
        "c6836b1f84bffed616682a0d279d5c6837ec07ac2d88afff50d6ea2b83c267ffe74a249fafc07ac2c0fa0c",
        __LINE__);
}

/* ---- XOR2: written here from its description, because Apiary only reads it ---- */

/* How a value that changed is written: in the window that there is, or in a new one. */
static void write_changed(struct bit_writer *bits, struct bit_xor *value, uint64_t now, bool is_after_interval)
{
    uint64_t difference = now ^ value->bits;
    unsigned leading = (unsigned)__builtin_clzll(difference), trailing = (unsigned)__builtin_ctzll(difference);
    leading = leading > 31 ? 31 : leading;
    value->bits = now;
    bool is_fitting = value->has_window && leading >= value->leading && trailing >= value->trailing;
    if (is_after_interval) /* 10 or 110 */
        bit_writer_add(bits, is_fitting ? 2 : 6, is_fitting ? 2 : 3);
    else
        bit_writer_add(bits, is_fitting ? 0 : 1, 1);
    if (!is_fitting) {
        value->leading = (uint8_t)leading;
        value->trailing = (uint8_t)trailing;
        value->has_window = true;
        bit_writer_add(bits, leading, 5);
        bit_writer_add(bits, 64 - leading - trailing, 6);
    }
    bit_writer_add(bits, difference >> value->trailing, 64u - value->leading - value->trailing);
}

static void write_after_interval(struct bit_writer *bits, struct bit_xor *value, uint64_t now)
{
    if (now == STALE_BITS)
        bit_writer_add(bits, 7, 3);
    else if (now == value->bits)
        bit_writer_add(bits, 0, 1);
    else
        write_changed(bits, value, now, true);
}

static void write_sample(struct bit_writer *bits, struct bit_xor *value, int64_t change, uint64_t now)
{
    if (change == 0 && now == STALE_BITS) {
        bit_writer_add(bits, 31, 5);
    } else if (change == 0 && now == value->bits) {
        bit_writer_add(bits, 0, 1);
    } else if (change == 0) {
        bit_writer_add(bits, 2, 2);
        write_changed(bits, value, now, false);
    } else {
        if (change >= -4096 && change <= 4095) {
            bit_writer_add(bits, 6, 3);
            bit_writer_add(bits, (uint64_t)change, 13);
        } else if (change >= -524288 && change <= 524287) {
            bit_writer_add(bits, 14, 4);
            bit_writer_add(bits, (uint64_t)change, 20);
        } else {
            bit_writer_add(bits, 30, 5);
            bit_writer_add(bits, (uint64_t)change, 64);
        }
        write_after_interval(bits, value, now);
    }
}

/* `start`: 0 without start times, otherwise the head's byte; each sample from there on has some difference. */
static void write_xor2(const int64_t *ts_ms, const uint64_t *values, size_t count, unsigned start, struct ap_buf *out)
{
    struct bit_writer bits = bit_writer(out);
    struct bit_xor value = {0};
    int64_t delta = 0;
    bit_writer_add(&bits, count, 16);
    bit_writer_add(&bits, start, 8);
    for (size_t i = 0; i < count; i++) {
        int64_t before = delta;
        if (i == 0) {
            bit_writer_add_varint(&bits, ap_zigzag(ts_ms[0]));
            bit_writer_add(&bits, values[0], 64);
            value.bits = values[0] == STALE_BITS ? 0 : values[0];
            if (start & 0x80)
                bit_writer_add_varint(&bits, ap_zigzag(12345));
        } else if (i == 1) {
            delta = ts_ms[1] - ts_ms[0];
            bit_writer_add_varint(&bits, (uint64_t)delta);
            write_after_interval(&bits, &value, values[1]);
        } else {
            delta = ts_ms[i] - ts_ms[i - 1];
            write_sample(&bits, &value, delta - before, values[i]);
        }
        if ((start & 0x7f) && i >= (start & 0x7f))
            bit_writer_add_int(&bits, &bit_buckets_numbers, (int64_t)i * 7 - 100);
    }
    bit_writer_end(&bits);
}

static void test_xor2(void **state)
{
    (void)state;
    enum { SAMPLES = 300 };
    struct ap_random random;
    ap_random_init(&random, 21);
    static const unsigned starts[] = {0, 0x80, 0x81, 0x01, 0x05, 0xff};
    static const int64_t jitters[] = {0, 0, 0, 3, -3, 5000, -5000, 600000, INT64_C(1) << 40};
    for (int round = 0; round < 200; round++) {
        int64_t ts_ms[SAMPLES] = {NOON_MS};
        uint64_t values[SAMPLES];
        AP_AUTO_BUF struct ap_buf chunk = {0};
        for (size_t i = 0; i < SAMPLES; i++) {
            uint64_t choice = ap_random_below(&random, 10);
            if (i)
                ts_ms[i] = ts_ms[i - 1] + 15000 + jitters[ap_random_below(&random, AP_ARRAY_COUNT(jitters))];
            values[i] = choice == 0           ? STALE_BITS
                        : choice < 5 && i > 0 ? values[i - 1]
                        : choice < 8          ? ap_double_to_bits((double)ap_random_below(&random, 100))
                                              : ap_random_u64(&random);
        }
        size_t count = 1 + ap_random_below(&random, SAMPLES);
        write_xor2(ts_ms, values, count, starts[round % (int)AP_ARRAY_COUNT(starts)], &chunk);
        AP_AUTO_ARENA struct ap_arena arena;
        ap_arena_init(&arena, 0);
        size_t back_count;
        int64_t *back_ts_ms;
        double *back;
        struct ap_err err;
        struct ap_slice bytes = exact(ap_buf_slice(&chunk));
        assert_int_equal(xor2_chunk_decode(bytes, &arena, &back_count, &back_ts_ms, &back, &err), AP_OK);
        assert_int_equal(back_count, count);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(back_ts_ms[i], ts_ms[i]);
            assert_int_equal(ap_double_to_bits(back[i]), values[i]);
        }
        bytes.bytes = ap_random_below(&random, bytes.bytes / 2);
        assert_int_equal(xor2_chunk_decode(bytes, &arena, &back_count, &back_ts_ms, &back, &err), AP_E_CORRUPT);
        free((void *)(uintptr_t)bytes.data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_xor2),
        cmocka_unit_test(test_doubles),
        cmocka_unit_test(test_random_doubles),
        cmocka_unit_test(test_histograms),
        cmocka_unit_test(test_histograms_without_buckets),
        cmocka_unit_test(test_custom_buckets),
        cmocka_unit_test(test_hostile_chunks),
        cmocka_unit_test(test_prometheus_doubles),
        cmocka_unit_test(test_prometheus_histograms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
