#include "codec/protobuf_json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum ap_rc protobuf_json_fail(struct json_reader *reader, const char *wanted, struct ap_err *err)
{
    struct ap_slice key = json_reader_member_raw(reader);
    (void)ap_slice_split(&key, '"');
    key = ap_slice_split(&key, '"');
    return ap_fail(err, AP_E_PARSE, "\"%.*s\" must be %s", (int)AP_MIN(key.bytes, (size_t)100),
                   key.data ? key.data : "", wanted);
}

enum ap_rc protobuf_json_next_member(struct json_reader *reader, struct ap_slice *ret_key, bool *ret_is_there,
                                     struct ap_err *err)
{
    for (;;) {
        enum json_kind kind;
        enum ap_rc rc = json_reader_next_key(reader, ret_key, ret_is_there, err);
        if (rc != AP_OK || !*ret_is_there)
            return rc;
        rc = json_reader_peek(reader, &kind, err);
        if (rc != AP_OK || kind != JSON_KIND_NULL)
            return rc;
        rc = json_reader_null(reader, err);
        if (rc != AP_OK)
            return rc;
    }
}

/* ---- Numbers ---- */

/* A number's text, which may stand in quotes. */
static enum ap_rc read_digits(struct json_reader *reader, struct ap_slice *ret_text, struct ap_err *err)
{
    enum json_kind kind;
    enum ap_rc rc = json_reader_peek(reader, &kind, err);
    if (rc != AP_OK)
        return rc;
    if (kind == JSON_KIND_STRING)
        return json_reader_string(reader, ret_text, err);
    rc = json_reader_skip(reader, ret_text, err);
    if (rc == AP_OK && kind != JSON_KIND_NUMBER)
        rc = protobuf_json_fail(reader, "a number", err);
    return rc;
}

/* strtod() of a slice. False: it is not all a number. */
static bool parse_double(struct ap_slice text, double *ret_value)
{
    char copy[JSON_READER_NUMBER_BYTES_MAX + 1], *end;
    if (text.bytes == 0 || text.bytes > JSON_READER_NUMBER_BYTES_MAX || memchr("+ \t\n\r", text.data[0], 5))
        return false;
    memcpy(copy, text.data, text.bytes);
    copy[text.bytes] = '\0';
    *ret_value = strtod(copy, &end);
    return end == copy + text.bytes;
}

/* False: more than 64 bits, negative, or no whole number. */
static bool parse_u64(struct ap_slice text, uint64_t *ret_value)
{
    uint64_t value = 0;
    size_t i = 0;
    for (; i < text.bytes && text.data[i] >= '0' && text.data[i] <= '9'; i++)
        if (__builtin_mul_overflow(value, (uint64_t)10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text.data[i] - '0'), &value))
            return false;
    if (i == text.bytes && i > 0) {
        *ret_value = value;
        return true;
    }
    double number; /* 1e9 and 15.0 are whole numbers too */
    if (!parse_double(text, &number) || !(number >= 0 && number < 18446744073709551616.0) || number != floor(number))
        return false;
    *ret_value = (uint64_t)number;
    return true;
}

static bool parse_i64(struct ap_slice text, int64_t *ret_value)
{
    bool is_negative = text.bytes && text.data[0] == '-';
    uint64_t value;
    if (is_negative)
        text = ap_slice(text.data + 1, text.bytes - 1);
    if (!parse_u64(text, &value) || value > (uint64_t)INT64_MAX + is_negative)
        return false;
    *ret_value = is_negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

enum ap_rc protobuf_json_u64(struct json_reader *reader, uint64_t *ret_value, struct ap_err *err)
{
    struct ap_slice text;
    enum ap_rc rc = read_digits(reader, &text, err);
    if (rc == AP_OK && !parse_u64(text, ret_value))
        rc = protobuf_json_fail(reader, "a whole number from 0 to 2^64 - 1", err);
    return rc;
}

enum ap_rc protobuf_json_i64(struct json_reader *reader, int64_t *ret_value, struct ap_err *err)
{
    struct ap_slice text;
    enum ap_rc rc = read_digits(reader, &text, err);
    if (rc == AP_OK && !parse_i64(text, ret_value))
        rc = protobuf_json_fail(reader, "a whole number of 64 bits", err);
    return rc;
}

enum ap_rc protobuf_json_i32(struct json_reader *reader, int32_t *ret_value, struct ap_err *err)
{
    int64_t value;
    enum ap_rc rc = protobuf_json_i64(reader, &value, err);
    if (rc == AP_OK && (value < INT32_MIN || value > INT32_MAX))
        rc = protobuf_json_fail(reader, "a whole number of 32 bits", err);
    if (rc == AP_OK)
        *ret_value = (int32_t)value;
    return rc;
}

enum ap_rc protobuf_json_double(struct json_reader *reader, double *ret_value, struct ap_err *err)
{
    enum json_kind kind;
    struct ap_slice text;
    enum ap_rc rc = json_reader_peek(reader, &kind, err);
    if (rc != AP_OK || kind == JSON_KIND_NUMBER)
        return rc == AP_OK ? json_reader_number(reader, ret_value, err) : rc;
    rc = read_digits(reader, &text, err);
    if (rc != AP_OK)
        return rc;
    if (ap_slice_equal_cstr(text, "NaN"))
        *ret_value = NAN;
    else if (ap_slice_equal_cstr(text, "Infinity"))
        *ret_value = INFINITY;
    else if (ap_slice_equal_cstr(text, "-Infinity"))
        *ret_value = -INFINITY;
    else if (!parse_double(text, ret_value))
        return protobuf_json_fail(reader, "a number, \"NaN\", \"Infinity\" or \"-Infinity\"", err);
    return AP_OK;
}

enum ap_rc protobuf_json_enum(struct json_reader *reader, const char *const *names, size_t name_count,
                              const char *wanted, uint64_t *ret_value, struct ap_err *err)
{
    struct ap_slice text;
    enum ap_rc rc = read_digits(reader, &text, err);
    if (rc != AP_OK)
        return rc;
    for (size_t i = 0; i < name_count; i++) {
        if (ap_slice_equal_cstr(text, names[i])) {
            *ret_value = i;
            return AP_OK;
        }
    }
    return parse_u64(text, ret_value) ? AP_OK : protobuf_json_fail(reader, wanted, err);
}

/* ---- Bytes ---- */

static int base64_digit(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

enum ap_rc protobuf_json_bytes(struct json_reader *reader, struct ap_arena *arena, struct ap_slice *ret_bytes,
                               struct ap_err *err)
{
    struct ap_slice text;
    enum ap_rc rc = json_reader_string(reader, &text, err);
    if (rc != AP_OK)
        return rc;
    while (text.bytes && text.data[text.bytes - 1] == '=')
        text.bytes--;
    char *bytes = ap_arena_try_alloc(arena, text.bytes / 4 * 3 + 3);
    if (!bytes)
        return ap_fail(err, AP_E_LIMIT, "no room for the bytes of a text in base64");
    size_t count = 0;
    uint32_t bits = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        int digit = base64_digit(text.data[i]);
        if (digit < 0)
            return protobuf_json_fail(reader, "in base64", err);
        bits = bits << 6 | (uint32_t)digit;
        if (i % 4)
            bytes[count++] = (char)(bits >> (6 - 2 * (i % 4)) & 0xff);
    }
    *ret_bytes = ap_slice(bytes, count);
    return AP_OK;
}
