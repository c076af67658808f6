/* Values of Protocol Buffers in JSON, each as the member "m" of an object. */
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "codec/protobuf_json.h"

struct reading {
    struct ap_arena arena;
    struct json_reader reader;
    struct ap_err err;
    bool is_there;
};

/* At the value of "m". */
static void begin(struct reading *reading, const char *text)
{
    struct ap_slice key;
    ap_arena_init(&reading->arena, 0);
    json_reader_init(&reading->reader, ap_slice_cstr(text), &reading->arena, &json_reader_limits_default);
    assert_int_equal(json_reader_begin_object(&reading->reader, &reading->err), AP_OK);
    assert_int_equal(protobuf_json_next_member(&reading->reader, &key, &reading->is_there, &reading->err), AP_OK);
}

#define IS(function, type, json, want)                                                                                 \
    do {                                                                                                               \
        struct reading reading;                                                                                        \
        type value = 0;                                                                                                \
        begin(&reading, "{\"m\":" json "}");                                                                           \
        if (function(&reading.reader, &value, &reading.err) != AP_OK)                                                  \
            fail_msg("%s: %s", json, reading.err.text);                                                                \
        assert_true(value == (want));                                                                                  \
        ap_arena_clear(&reading.arena);                                                                                \
    } while (0)

#define BAD(function, type, json, want)                                                                                \
    do {                                                                                                               \
        struct reading reading;                                                                                        \
        type value = 0;                                                                                                \
        begin(&reading, "{\"m\":" json "}");                                                                           \
        assert_int_equal(function(&reading.reader, &value, &reading.err), AP_E_PARSE);                                 \
        assert_string_equal(reading.err.text, "\"m\" must be " want);                                                  \
        ap_arena_clear(&reading.arena);                                                                                \
    } while (0)

static void test_whole_numbers(void **state)
{
    (void)state;
    IS(protobuf_json_u64, uint64_t, "0", 0);
    IS(protobuf_json_u64, uint64_t, "18446744073709551615", UINT64_MAX);
    IS(protobuf_json_u64, uint64_t, "\"18446744073709551615\"", UINT64_MAX);
    IS(protobuf_json_u64, uint64_t, "1e9", 1000000000);
    IS(protobuf_json_u64, uint64_t, "\"15.0\"", 15);
    IS(protobuf_json_i64, int64_t, "\"-9223372036854775808\"", INT64_MIN);
    IS(protobuf_json_i32, int32_t, "-2147483648", INT32_MIN);
    BAD(protobuf_json_u64, uint64_t, "-1", "a whole number from 0 to 2^64 - 1");
    BAD(protobuf_json_u64, uint64_t, "\"18446744073709551616\"", "a whole number from 0 to 2^64 - 1");
    BAD(protobuf_json_u64, uint64_t, "1.5", "a whole number from 0 to 2^64 - 1");
    BAD(protobuf_json_u64, uint64_t, "\"\"", "a whole number from 0 to 2^64 - 1");
    BAD(protobuf_json_u64, uint64_t, "{}", "a number");
    BAD(protobuf_json_i64, int64_t, "9223372036854775808", "a whole number of 64 bits");
    BAD(protobuf_json_i32, int32_t, "2147483648", "a whole number of 32 bits");
}

static void test_doubles(void **state)
{
    (void)state;
    IS(protobuf_json_double, double, "0.1", 0.1);
    IS(protobuf_json_double, double, "\"0.1\"", 0.1);
    IS(protobuf_json_double, double, "\"-Infinity\"", -INFINITY);
    BAD(protobuf_json_double, double, "\"0.1x\"", "a number, \"NaN\", \"Infinity\" or \"-Infinity\"");
    BAD(protobuf_json_double, double, "true", "a number");
}

static enum ap_rc read_colour(struct json_reader *reader, uint64_t *ret_value, struct ap_err *err)
{
    static const char *const names[] = {"COLOUR_NONE", "COLOUR_RED"};
    return protobuf_json_enum(reader, names, 2, "a colour", ret_value, err);
}

static void test_enumerations(void **state)
{
    (void)state;
    IS(read_colour, uint64_t, "\"COLOUR_RED\"", 1);
    IS(read_colour, uint64_t, "1", 1);
    IS(read_colour, uint64_t, "\"7\"", 7);
    BAD(read_colour, uint64_t, "\"RED\"", "a colour");
    BAD(read_colour, uint64_t, "-1", "a colour");
}

static void check_bytes(const char *json, const char *want)
{
    struct reading reading;
    struct ap_slice bytes;
    begin(&reading, json);
    enum ap_rc rc = protobuf_json_bytes(&reading.reader, &reading.arena, &bytes, &reading.err);
    if (!want) {
        assert_int_equal(rc, AP_E_PARSE);
        assert_string_equal(reading.err.text, "\"m\" must be in base64");
    } else {
        assert_int_equal(rc, AP_OK);
        assert_true(ap_slice_equal_cstr(bytes, want));
    }
    ap_arena_clear(&reading.arena);
}

static void test_bytes(void **state)
{
    (void)state;
    check_bytes("{\"m\":\"\"}", "");
    check_bytes("{\"m\":\"Zg==\"}", "f");
    check_bytes("{\"m\":\"Zm9v\"}", "foo");
    check_bytes("{\"m\":\"Zm8\"}", "fo");
    check_bytes("{\"m\":\"_-8\"}", "\xff\xef");
    check_bytes("{\"m\":\"/+8\"}", "\xff\xef");
    check_bytes("{\"m\":\"Z!\"}", NULL);
}

static void test_null_is_not_there(void **state)
{
    (void)state;
    struct reading reading;
    double value = 0;
    begin(&reading, "{\"a\":null,\"b\":null,\"m\":2}");
    assert_true(reading.is_there);
    assert_int_equal(protobuf_json_double(&reading.reader, &value, &reading.err), AP_OK);
    assert_true(value == 2);
    ap_arena_clear(&reading.arena);
    begin(&reading, "{\"a\":null}");
    assert_false(reading.is_there);
    ap_arena_clear(&reading.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_numbers),     cmocka_unit_test(test_doubles),
        cmocka_unit_test(test_enumerations),      cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_null_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
