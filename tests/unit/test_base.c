/* base/: result codes, slices, buffers, arenas, time and random numbers, through their headers. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/rc.h"

static void test_errors_carry_a_sentence(void **state)
{
    (void)state;
    struct ap_err err;
    assert_int_equal(ap_fail(&err, AP_E_PARSE, "line %d", 7), AP_E_PARSE);
    assert_string_equal(err.text, "line 7");
    assert_int_equal(ap_err_prefix(&err, "read %s", "a.yaml"), AP_E_PARSE);
    assert_string_equal(err.text, "read a.yaml: line 7");
    assert_int_equal(ap_fail_errno(&err, ENOSPC, "write"), AP_E_FULL);
    assert_string_equal(err.text, "write: No space left on device");
    assert_int_equal(ap_fail_errno(NULL, ENOENT, "open"), AP_E_NOT_FOUND);
    for (int rc = 0; rc < AP_RC_COUNT; rc++)
        assert_non_null(ap_rc_name((enum ap_rc)rc));
}

static void test_slices(void **state)
{
    (void)state;
    assert_true(ap_slice_equal_nocase(ap_slice_cstr("Content-TYPE"), "content-type"));
    assert_false(ap_slice_equal_nocase(ap_slice_cstr("Content-TYPE"), "content-typ"));
    assert_false(ap_slice_equal_nocase(ap_slice_cstr("Content-TYP"), "content-type"));
    assert_true(ap_slice_equal_cstr(ap_slice_trim(ap_slice_cstr(" \t a b\r\n")), "a b"));

    struct ap_slice rest = ap_slice_cstr("a,,b");
    assert_true(ap_slice_equal_cstr(ap_slice_split(&rest, ','), "a"));
    assert_true(ap_slice_equal_cstr(ap_slice_split(&rest, ','), ""));
    assert_true(ap_slice_equal_cstr(ap_slice_split(&rest, ','), "b"));
    assert_null(rest.data);
}

#define UTF8(text, want) assert_int_equal(ap_utf8_valid_bytes(ap_slice(text, sizeof(text) - 1)), want)
static void test_utf8(void **state)
{
    (void)state;
    UTF8("plain ascii that is longer than eight bytes", 43);
    UTF8("h\xc3\xa9llo \xe2\x82\xac \xf0\x9f\x90\x9d", 15);
    UTF8("a\0b", 3);
    UTF8("ab\xff", 2);
    UTF8("ab\xc3", 2);           /* cut short */
    UTF8("\xc0\xaf", 0);         /* overlong */
    UTF8("\xe0\x80\xaf", 0);     /* overlong */
    UTF8("\xed\xa0\x80", 0);     /* surrogate */
    UTF8("\xf4\x90\x80\x80", 0); /* above U+10FFFF */
    UTF8("12345678\x80"
         "abc",
         8); /* lone continuation after a fast block */
    static const struct {
        uint32_t rune;
        const char *want;
    } runes[] = {{0x7f, "\x7f"},
                 {0x80, "\xc2\x80"},
                 {0x7ff, "\xdf\xbf"},
                 {0x800, "\xe0\xa0\x80"},
                 {0xffff, "\xef\xbf\xbf"},
                 {0x10000, "\xf0\x90\x80\x80"},
                 {0x10ffff, "\xf4\x8f\xbf\xbf"}};
    for (size_t i = 0; i < AP_ARRAY_COUNT(runes); i++) {
        char bytes[AP_UTF8_BYTES_MAX];
        assert_int_equal(ap_utf8_encode(runes[i].rune, bytes), strlen(runes[i].want));
        assert_memory_equal(bytes, runes[i].want, strlen(runes[i].want));
    }
}

static void test_buffer_stops_at_its_maximum(void **state)
{
    (void)state;
    AP_AUTO_BUF struct ap_buf buf;
    ap_buf_init(&buf, 10);
    ap_buf_add_cstr(&buf, "12345678");
    assert_true(ap_buf_ok(&buf));
    ap_buf_add_cstr(&buf, "9012");
    assert_false(ap_buf_ok(&buf));
    assert_int_equal(buf.bytes, 8);
    ap_buf_reset(&buf);
    ap_buf_add_cstr(&buf, "ok");
    assert_true(ap_buf_ok(&buf));
}

static void assert_json_string(struct ap_slice text, const char *want)
{
    AP_AUTO_BUF struct ap_buf buf = {0};
    ap_buf_add_json_string(&buf, text);
    AP_AUTO_FREE char *got = ap_buf_detach(&buf);
    assert_string_equal(got, want);
}

static void assert_json_double(double value, const char *want)
{
    AP_AUTO_BUF struct ap_buf buf = {0};
    ap_buf_add_json_double(&buf, value);
    AP_AUTO_FREE char *got = ap_buf_detach(&buf);
    assert_string_equal(got, want);
}

static void test_json_output(void **state)
{
    (void)state;
    assert_json_string(ap_slice_cstr("a\"b\\c\n\x01\xc3\xa9"), "\"a\\\"b\\\\c\\n\\u0001\xc3\xa9\"");
    assert_json_string(ap_slice("x\0y\xff", 4), "\"x\\u0000y\xef\xbf\xbd\"");
    assert_json_string(ap_slice(NULL, 0), "\"\"");
    assert_json_double(0.1, "0.1");
    assert_json_double(1.0 / 3, "0.3333333333333333");
    assert_json_double(412, "412");
    assert_json_double(-0.0, "-0");
    assert_json_double(-12345.25, "-12345.25");
    assert_json_double(1e16, "10000000000000000");
    assert_json_double(0.00001, "0.00001");
    assert_json_double(1.5e-7, "1.5e-07");
    assert_json_double(-1e300, "-1e+300");
    assert_json_double(NAN, "null");
    assert_json_double(INFINITY, "null");
}

/* Every byte at every place: texts are looked at eight bytes at a time. */
static void test_json_strings_of_every_byte(void **state)
{
    (void)state;
    for (size_t bytes = 1; bytes <= 17; bytes++) {
        for (unsigned c = 0; c < 256; c++) {
            char escaped[8] = {(char)c, '\0'};
            if (c >= 0x80)
                memcpy(escaped, "\xef\xbf\xbd", 4);
            else if (c == '"' || c == '\\')
                snprintf(escaped, sizeof(escaped), "\\%c", (char)c);
            else if (c == '\n' || c == '\r' || c == '\t')
                snprintf(escaped, sizeof(escaped), "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
            else if (c < 0x20)
                snprintf(escaped, sizeof(escaped), "\\u%04x", c);
            for (size_t at = 0; at < bytes; at++) {
                char text[17], want[64];
                memset(text, 'a', sizeof(text));
                text[at] = (char)c;
                snprintf(want, sizeof(want), "\"%.*s%s%.*s\"", (int)at, "aaaaaaaaaaaaaaaaa", escaped,
                         (int)(bytes - at - 1), "aaaaaaaaaaaaaaaaa");
                assert_json_string(ap_slice(text, bytes), want);
            }
        }
    }
}

/* Read back to the bit, and with one digit less not. */
static void test_shortest_digits(void **state)
{
    (void)state;
    struct ap_random random;
    ap_random_init(&random, 4);
    for (size_t i = 0; i < 200000; i++) {
        double value = (double)ap_random_below(&random, (uint64_t)1 << ap_random_below(&random, 54)) + 1;
        for (uint64_t digits = ap_random_below(&random, 8); digits > 0; digits--)
            value /= 10; /* now and then rounded twice: not a short decimal any more */
        struct ap_shortest shortest;
        char text[40];
        ap_shortest(value, &shortest);
        for (int less = 0; less < 2 && shortest.count > less; less++) {
            snprintf(text, sizeof(text), "0.%.*se%d", shortest.count - less, shortest.digits, shortest.point);
            assert_int_equal(strtod(text, NULL) == value, less == 0);
        }
        assert_true(shortest.digits[0] != '0' && shortest.digits[shortest.count - 1] != '0');
    }
}

static void test_integers_in_buffers(void **state)
{
    (void)state;
    static const int64_t numbers[] = {0, 7, 10, 99, 100, -1, -10, 12345, 1764000000, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < AP_ARRAY_COUNT(numbers); i++) {
        AP_AUTO_BUF struct ap_buf text = {0};
        char want[32];
        ap_buf_add_integer(&text, numbers[i]);
        snprintf(want, sizeof(want), "%" PRId64, numbers[i]);
        assert_true(ap_slice_equal_cstr(ap_buf_slice(&text), want));
    }
    AP_AUTO_BUF struct ap_buf buf = {0};
    ap_buf_add_u32(&buf, 0x01020304);
    ap_buf_add_varint(&buf, 300);
    ap_buf_add_varint(&buf, UINT64_MAX);
    assert_int_equal(buf.bytes, 4 + 2 + 10);
    assert_memory_equal(buf.data, "\x04\x03\x02\x01\xac\x02", 6);
}

static void test_arena(void **state)
{
    (void)state;
    _Alignas(16) char memory[64];
    struct ap_arena arena;
    ap_arena_init_with(&arena, memory, sizeof(memory), 100000);
    assert_ptr_equal(ap_arena_try_alloc(&arena, 10), memory);
    assert_ptr_equal(ap_arena_try_alloc(&arena, 1), memory + 16);
    char *big = ap_arena_try_alloc(&arena, 50000);
    assert_non_null(big);
    memset(big, 1, 50000);
    assert_null(ap_arena_try_alloc(&arena, 60000));
    assert_null(ap_arena_try_alloc(&arena, SIZE_MAX));
    ap_arena_reset(&arena);
    assert_ptr_equal(ap_arena_try_alloc(&arena, 10), memory);
    assert_string_equal(ap_arena_try_strndup(&arena, ap_slice_cstr("copy")), "copy");
    ap_arena_clear(&arena);

    ap_arena_init(&arena, 0);
    ap_arena_recycle(&arena);
    for (size_t i = 0; i < 3; i++) {
        assert_non_null(ap_arena_try_alloc(&arena, 10));
        big = ap_arena_try_alloc(&arena, 50000);
        memset(big, 1, 50000);
        ap_arena_recycle(&arena);
        assert_ptr_equal(ap_arena_try_alloc(&arena, 50000), big);
        assert_int_equal(arena.used_bytes, 50000);
        ap_arena_recycle(&arena);
    }
    ap_arena_clear(&arena);

    assert_non_null(
        ap_arena_try_alloc(&arena, 10)); /* a small one takes little, a large one little more than it holds */
    assert_true(arena.block_bytes < 2048);
    while (arena.used_bytes < 200000)
        assert_non_null(ap_arena_try_alloc(&arena, 100));
    assert_true(arena.block_bytes < 210000);
    ap_arena_clear(&arena);
}

#define TIME(text, want_us)                                                                                            \
    do {                                                                                                               \
        int64_t got_us_ = -1;                                                                                          \
        assert_true(ap_time_parse(ap_slice_cstr(text), &got_us_));                                                     \
        assert_int_equal(got_us_, want_us);                                                                            \
    } while (0)
#define NOT_TIME(text)                                                                                                 \
    do {                                                                                                               \
        int64_t got_us_;                                                                                               \
        assert_false(ap_time_parse(ap_slice_cstr(text), &got_us_));                                                    \
    } while (0)
static void test_time(void **state)
{
    (void)state;
    TIME("1970-01-01T00:00:00Z", 0);
    TIME("2026-11-23T12:00:00Z", INT64_C(1795435200000000));
    TIME("2026-11-23T12:00:00.5Z", INT64_C(1795435200500000));
    TIME("2026-11-23 13:30:00.123456789+01:30", INT64_C(1795435200123456));
    TIME("1969-12-31T23:59:59Z", INT64_C(-1000000));
    TIME("2024-02-29T00:00:00z", INT64_C(1709164800000000));
    NOT_TIME("2023-02-29T00:00:00Z");
    NOT_TIME("2026-11-23");
    NOT_TIME("2026-11-23T12:00:00");
    NOT_TIME("2026-11-23T12:00:00.Z");
    NOT_TIME("2026-13-01T00:00:00Z");
    NOT_TIME("2026-11-23T24:00:00Z");
    NOT_TIME("2026-11-23T12:00:00Zx");
    NOT_TIME("");

    char text[AP_TIME_TEXT_BYTES];
    ap_time_format(INT64_C(1795435200123456), text);
    assert_string_equal(text, "2026-11-23T12:00:00.123Z");
    ap_time_format(-1, text);
    assert_string_equal(text, "1969-12-31T23:59:59.999Z");
    assert_int_equal(ap_days_of_us(-1), -1);
    assert_int_equal(ap_days_of_us(AP_US_PER_DAY), 1);
}

/* Every day of 400 years, formatted and read back: the calendar repeats after that. */
static void test_time_round_trip(void **state)
{
    (void)state;
    for (int64_t day = ap_days_of_civil(1900, 1, 1); day < ap_days_of_civil(2300, 1, 1); day++) {
        char text[AP_TIME_TEXT_BYTES];
        ap_time_format(day * AP_US_PER_DAY, text);
        TIME(text, day * AP_US_PER_DAY);
    }
}

/* As the C library has it, in centuries near and far. */
static void test_civil(void **state)
{
    (void)state;
    const int64_t step_s = 86400 * 36 + 3601; /* each month, weekday, hour, minute and second comes up */
    for (int64_t at_s = INT64_C(-70000000000); at_s < INT64_C(300000000000); at_s += step_s) {
        time_t seconds = (time_t)at_s;
        struct tm want;
        assert_non_null(gmtime_r(&seconds, &want));
        struct ap_civil got = ap_civil_of_s(at_s);
        assert_int_equal(got.year, want.tm_year + 1900);
        assert_int_equal(got.month, want.tm_mon + 1);
        assert_int_equal(got.day, want.tm_mday);
        assert_int_equal(got.weekday, want.tm_wday);
        assert_int_equal((got.hour * 60 + got.minute) * 60 + got.second,
                         (want.tm_hour * 60 + want.tm_min) * 60 + want.tm_sec);
        struct ap_civil midnight = ap_civil_of_days(ap_days_of_civil(got.year, got.month, got.day));
        assert_int_equal(midnight.day, got.day);
        assert_int_equal(midnight.hour + midnight.minute + midnight.second, 0);
    }
}

static void test_random_repeats_and_spreads(void **state)
{
    (void)state;
    struct ap_random a, b;
    ap_random_init(&a, 7);
    ap_random_init(&b, 7);
    unsigned counts[10] = {0};
    double sum = 0, sum_of_squares = 0;
    for (int i = 0; i < 100000; i++) {
        assert_int_equal(ap_random_u64(&a), ap_random_u64(&b));
        counts[ap_random_below(&a, 10)]++;
        (void)ap_random_below(&b, 10);
        double x = ap_random_normal(&a);
        (void)ap_random_normal(&b);
        sum += x;
        sum_of_squares += x * x;
    }
    for (int i = 0; i < 10; i++)
        assert_in_range(counts[i], 9500, 10500);
    assert_true(fabs(sum / 100000) < 0.02);
    assert_true(fabs(sum_of_squares / 100000 - 1) < 0.02);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors_carry_a_sentence),
        cmocka_unit_test(test_slices),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_buffer_stops_at_its_maximum),
        cmocka_unit_test(test_json_output),
        cmocka_unit_test(test_json_strings_of_every_byte),
        cmocka_unit_test(test_shortest_digits),
        cmocka_unit_test(test_integers_in_buffers),
        cmocka_unit_test(test_arena),
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_time_round_trip),
        cmocka_unit_test(test_civil),
        cmocka_unit_test(test_random_repeats_and_spreads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
