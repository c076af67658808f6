#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/random.h"
#include "codec/json_reader.h"

/* The whole text as one value; *ret_position is where it failed. */
static enum ap_rc check(struct ap_slice text, struct json_position *ret_position, struct ap_err *err)
{
    AP_AUTO_ARENA struct ap_arena arena;
    ap_arena_init(&arena, 1 << 20);
    struct json_reader reader;
    json_reader_init(&reader, text, &arena, &json_reader_limits_default);
    enum ap_rc rc = json_reader_skip(&reader, NULL, err);
    if (rc == AP_OK)
        rc = json_reader_finish(&reader, err);
    *ret_position = json_reader_position(&reader);
    return rc;
}

static void expect_ok(const char *text, int line)
{
    struct ap_err err = {0};
    struct json_position position;
    enum ap_rc rc = check(ap_slice_cstr(text), &position, &err);
    if (rc != AP_OK)
        fail_msg("line %d: %s: %s at %zu", line, text, err.text, position.offset);
}

static void expect_bad(struct ap_slice text, enum ap_rc want_rc, size_t want_offset, const char *want_text, int line)
{
    struct ap_err err = {0};
    struct json_position position;
    enum ap_rc rc = check(text, &position, &err);
    if (rc != want_rc || position.offset != want_offset || !strstr(err.text, want_text))
        fail_msg("line %d: %.*s: got %s at %zu: %s", line, AP_SLICE_ARG(text), ap_rc_name(rc), position.offset,
                 err.text);
}

#define OK(text) expect_ok(text, __LINE__)
#define BAD(text, want_offset, want_text)                                                                              \
    expect_bad(ap_slice(text, sizeof(text) - 1), AP_E_PARSE, want_offset, want_text, __LINE__)

static void test_what_is_json(void **state)
{
    (void)state;
    OK("null");
    OK(" true ");
    OK("\t\r\n false");
    OK("0");
    OK("-0.0e-0");
    OK("12.5E+3");
    OK("\"\"");
    OK("\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00\"");
    OK("\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80\"");
    OK("[]");
    OK("[ 1 , [ ] , { } ]");
    OK("{\"a\":{\"b\":[1,2,{\"c\":null}]},\"a\":2}");
}

static void test_what_is_not_json(void **state)
{
    (void)state;
    BAD("", 0, "expected a JSON value, got the end");
    BAD("  ", 2, "end of the text");
    BAD("nul", 3, "true, false or null");
    BAD("tru}", 3, "'}'");
    BAD("True", 0, "'T'");
    BAD("NaN", 0, "'N'");
    BAD("01", 1, "nothing more");
    BAD("+1", 0, "'+'");
    BAD(".5", 0, "'.'");
    BAD("1.", 2, "after the decimal point");
    BAD("1.e5", 2, "after the decimal point");
    BAD("1e", 2, "exponent");
    BAD("1e+", 3, "exponent");
    BAD("-", 1, "a digit");
    BAD("-a", 1, "a digit");
    BAD("\"abc", 4, "the rest of a string, got the end");
    BAD("\"a\nb\"", 2, "0x0a");
    BAD("\"a\0b\"", 2, "0x00");
    BAD("\0", 0, "0x00");
    BAD("1 \0", 2, "0x00");
    BAD("'a'", 0, "'''");
    BAD("\"\\x\"", 2, "after a backslash");
    BAD("\"\\", 2, "after a backslash, got the end");
    BAD("\"\\u12g4\"", 3, "hexadecimal");
    BAD("\"\\u12", 3, "hexadecimal");
    BAD("\"\\ud800\"", 1, "half of a surrogate");
    BAD("\"\\ud800x\\udc00\"", 1, "half of a surrogate");
    BAD("\"\\ud800\\u0041\"", 1, "half of a surrogate");
    BAD("\"\\udc00\"", 1, "half of a surrogate");
    BAD("[", 1, "end of the text");
    BAD("[1", 2, "',' or ']'");
    BAD("[1,]", 3, "a JSON value, got ']'");
    BAD("[,1]", 1, "a JSON value, got ','");
    BAD("[1 2]", 3, "',' or ']'");
    BAD("[1}", 2, "',' or ']'");
    BAD("{", 1, "a name in quotes");
    BAD("{a:1}", 1, "a name in quotes");
    BAD("{\"a\"}", 4, "':' after a name");
    BAD("{\"a\":}", 5, "a JSON value");
    BAD("{\"a\":1,}", 7, "a name in quotes after ','");
    BAD("{\"a\":1 \"b\":2}", 7, "',' or '}'");
    BAD("{\"a\":1]", 6, "',' or '}'");
    BAD("{} {}", 3, "nothing more");
    BAD("/**/1", 0, "'/'");
    BAD("\xef\xbb\xbf{}", 0, "byte order mark");
    /* Not UTF-8: a lone continuation, an overlong form, a surrogate, beyond U+10FFFF, cut short, Latin-1. */
    BAD("\"ab\x80\"", 3, "UTF-8");
    BAD("\"\xc0\xaf\"", 1, "UTF-8");
    BAD("\"\xed\xa0\x80\"", 1, "UTF-8");
    BAD("\"\xf4\x90\x80\x80\"", 1, "UTF-8");
    BAD("\"\xe2\x82", 1, "UTF-8");
    BAD("{\"name\":\"M\xfcller\"}", 10, "UTF-8");
    BAD("1\xff", 1, "UTF-8");
}

static void test_position_counts_lines(void **state)
{
    (void)state;
    struct ap_err err;
    struct json_position position;
    assert_int_equal(check(ap_slice_cstr("{\n  \"a\": 1,\n  \"b\": x\n}"), &position, &err), AP_E_PARSE);
    assert_int_equal(position.offset, 19);
    assert_int_equal(position.line, 3);
    assert_int_equal(position.column, 8);
}

static char *repeated(const char *before, const char *each, size_t count, const char *after)
{
    struct ap_buf buf = {0};
    ap_buf_add_cstr(&buf, before);
    for (size_t i = 0; i < count; i++)
        ap_buf_add_cstr(&buf, each);
    ap_buf_add_cstr(&buf, after);
    return ap_buf_detach(&buf);
}

static void test_limits(void **state)
{
    (void)state;
    AP_AUTO_FREE char *deep_enough = repeated("", "[", 32, "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]");
    OK(deep_enough);
    AP_AUTO_FREE char *too_deep = repeated("", "[", 33, "");
    expect_bad(ap_slice_cstr(too_deep), AP_E_LIMIT, 32, "too deep; at most 32", __LINE__);
    AP_AUTO_FREE char *objects_too_deep = repeated("", "{\"a\":", 100000, "");
    expect_bad(ap_slice_cstr(objects_too_deep), AP_E_LIMIT, 32 * 5, "at most 32", __LINE__);
    AP_AUTO_FREE char *wide_enough = repeated("{\"k\":0", ",\"k\":0", 1999, "}");
    OK(wide_enough);
    AP_AUTO_FREE char *too_wide = repeated("{\"k\":0", ",\"k\":0", 9999, "}");
    expect_bad(ap_slice_cstr(too_wide), AP_E_LIMIT, 1 + 2000 * 6, "too many keys; at most 2000", __LINE__);
    AP_AUTO_FREE char *long_array = repeated("[0", ",0", 100000, "]");
    OK(long_array); /* the items of an array are limited by the size of the text alone */
    AP_AUTO_FREE char *long_string = repeated("\"", "x", (1 << 20) + 1, "\"");
    expect_bad(ap_slice_cstr(long_string), AP_E_LIMIT, 1, "1048576", __LINE__);
    AP_AUTO_FREE char *long_number = repeated("", "1", 257, "");
    expect_bad(ap_slice_cstr(long_number), AP_E_LIMIT, 0, "256", __LINE__);
}

static double number(const char *text)
{
    struct json_reader reader;
    json_reader_init(&reader, ap_slice_cstr(text), NULL, &json_reader_limits_default);
    double value;
    struct ap_err err;
    if (json_reader_number(&reader, &value, &err) != AP_OK || json_reader_finish(&reader, &err) != AP_OK)
        fail_msg("%s: %s", text, err.text);
    return value;
}

#define NUMBER(text) assert_true(number(#text) == strtod(#text, NULL))
static void test_numbers_are_correctly_rounded(void **state)
{
    (void)state;
    NUMBER(0);
    NUMBER(412.2);
    NUMBER(0.1);
    NUMBER(1764000000000);
    NUMBER(1764000000000.123);
    NUMBER(9007199254740993);
    NUMBER(18446744073709551616);
    NUMBER(18446744073709551616.5);
    NUMBER(36893488147419103232);
    NUMBER(0.000000000000000000001);
    NUMBER(1e22);
    NUMBER(1e23);
    NUMBER(123456789e-30);
    NUMBER(2.2250738585072011e-308);
    NUMBER(4.9e-324);
    NUMBER(1.7976931348623157e308);
    NUMBER(0.30000000000000004);
    NUMBER(179769313486231580793728971405301e277);
    assert_true(signbit(number("-0")));
    assert_true(isinf(number("1e999")) && number("1e999") > 0);
    assert_true(isinf(number("-1e99999999999999999999")) && number("-1e999") < 0);
    assert_true(number("1e-99999999999999999999") == 0);
    assert_true(number("0.00000000000000000000000000000000000000000000000001e50") == 1);
}

static void test_random_numbers_agree_with_strtod(void **state)
{
    (void)state;
    struct ap_random random;
    ap_random_init(&random, 20261123);
    for (int i = 0; i < 100000; i++) {
        char text[64];
        snprintf(text, sizeof(text), "%s%llu.%0*llue%d", ap_random_below(&random, 2) ? "-" : "",
                 (unsigned long long)(ap_random_u64(&random) >> ap_random_below(&random, 64)),
                 1 + (int)ap_random_below(&random, 18),
                 (unsigned long long)(ap_random_u64(&random) >> ap_random_below(&random, 64)),
                 (int)ap_random_below(&random, 60) - 30);
        if (number(text) != strtod(text, NULL))
            fail_msg("%s reads as %.17g", text, number(text));
    }
}

static void test_strings_without_escapes_are_slices_of_the_text(void **state)
{
    (void)state;
    static const char text[] = "[\"plain\", \"a\\nb\\u0000c\\u00e9\\ud83d\\ude00\"]";
    AP_AUTO_ARENA struct ap_arena arena;
    ap_arena_init(&arena, 1 << 10);
    struct json_reader reader;
    json_reader_init(&reader, ap_slice_cstr(text), &arena, &json_reader_limits_default);
    struct ap_err err;
    bool is_there;
    struct ap_slice value;
    assert_int_equal(json_reader_begin_array(&reader, &err), AP_OK);
    assert_int_equal(json_reader_next_item(&reader, &is_there, &err), AP_OK);
    assert_int_equal(json_reader_string(&reader, &value, &err), AP_OK);
    assert_ptr_equal(value.data, text + 2);
    assert_int_equal(value.bytes, 5);
    assert_int_equal(arena.used_bytes, 0);
    assert_int_equal(json_reader_next_item(&reader, &is_there, &err), AP_OK);
    assert_int_equal(json_reader_string(&reader, &value, &err), AP_OK);
    assert_true(ap_slice_equal(value, ap_slice("a\nb\0c\xc3\xa9\xf0\x9f\x98\x80", 11)));
    assert_int_equal(json_reader_next_item(&reader, &is_there, &err), AP_OK);
    assert_false(is_there);
    assert_int_equal(json_reader_finish(&reader, &err), AP_OK);
}

static void test_object_hands_out_members_as_written(void **state)
{
    (void)state;
    static const char text[] = "{ \"a\" : [1, {\"x\":2}] , \"\\u0062\":null,\"a\":3 }";
    AP_AUTO_ARENA struct ap_arena arena;
    ap_arena_init(&arena, 1 << 10);
    struct json_reader reader;
    json_reader_init(&reader, ap_slice_cstr(text), &arena, &json_reader_limits_default);
    static const char *const want[][3] = {
        {"a", "[1, {\"x\":2}]", "\"a\" : [1, {\"x\":2}]"},
        {"b", "null", "\"\\u0062\":null"},
        {"a", "3", "\"a\":3"},
    };
    struct ap_err err;
    assert_int_equal(json_reader_begin_object(&reader, &err), AP_OK);
    for (size_t i = 0; i < AP_ARRAY_COUNT(want); i++) {
        struct ap_slice key, raw;
        bool is_there;
        assert_int_equal(json_reader_next_key(&reader, &key, &is_there, &err), AP_OK);
        assert_true(is_there);
        assert_int_equal(json_reader_skip(&reader, &raw, &err), AP_OK);
        assert_true(ap_slice_equal_cstr(key, want[i][0]));
        assert_true(ap_slice_equal_cstr(raw, want[i][1]));
        assert_true(ap_slice_equal_cstr(json_reader_member_raw(&reader), want[i][2]));
    }
    struct ap_slice key;
    bool is_there;
    assert_int_equal(json_reader_next_key(&reader, &key, &is_there, &err), AP_OK);
    assert_false(is_there);
    assert_int_equal(json_reader_finish(&reader, &err), AP_OK);
}

static void test_wrong_kind_and_stuck_after_failure(void **state)
{
    (void)state;
    struct json_reader reader;
    json_reader_init(&reader, ap_slice_cstr("true"), NULL, &json_reader_limits_default);
    struct ap_err err;
    double value = 7;
    assert_int_equal(json_reader_number(&reader, &value, &err), AP_E_PARSE);
    assert_string_equal(err.text, "expected number, got boolean");
    assert_true(value == 7);
    bool flag;
    assert_int_equal(json_reader_boolean(&reader, &flag, &err), AP_E_PARSE);
    assert_int_equal(json_reader_skip(&reader, NULL, &err), AP_E_PARSE);
}

static void test_escapes_stop_at_the_arena_limit(void **state)
{
    (void)state;
    AP_AUTO_ARENA struct ap_arena arena;
    ap_arena_init(&arena, 64);
    AP_AUTO_FREE char *text = repeated("\"", "\\n", 100, "\"");
    struct json_reader reader;
    json_reader_init(&reader, ap_slice_cstr(text), &arena, &json_reader_limits_default);
    struct ap_slice value;
    struct ap_err err;
    assert_int_equal(json_reader_string(&reader, &value, &err), AP_E_NOMEM);
}

/* Every prefix of a document is refused, and read no further than it goes (the sanitizer watches the heap copy). */
static void test_every_prefix_is_refused(void **state)
{
    (void)state;
    static const char text[] =
        "{\"n\":[-1.5e3,true,null,\"\\ud83d\\ude00 \xc3\xa9 and a rather longer string\"],\"o\":{}}";
    for (size_t bytes = 0; bytes < sizeof(text) - 1; bytes++) {
        AP_AUTO_FREE char *copy = malloc(bytes ? bytes : 1);
        memcpy(copy, text, bytes);
        struct ap_err err;
        struct json_position position;
        assert_int_equal(check(ap_slice(copy, bytes), &position, &err), AP_E_PARSE);
        assert_true(position.offset <= bytes);
    }
    OK(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_json),
        cmocka_unit_test(test_what_is_not_json),
        cmocka_unit_test(test_position_counts_lines),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_numbers_are_correctly_rounded),
        cmocka_unit_test(test_random_numbers_agree_with_strtod),
        cmocka_unit_test(test_strings_without_escapes_are_slices_of_the_text),
        cmocka_unit_test(test_object_hands_out_members_as_written),
        cmocka_unit_test(test_wrong_kind_and_stuck_after_failure),
        cmocka_unit_test(test_escapes_stop_at_the_arena_limit),
        cmocka_unit_test(test_every_prefix_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
