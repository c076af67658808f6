#include "codec/json_reader.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "string_plain_bytes() finds the first byte by its low bits");
_Static_assert(JSON_READER_DEPTH_MAX <= 32, "object_bits has one bit a level");

const struct json_reader_limits json_reader_limits_default = {
    .depth_max = JSON_READER_DEPTH_MAX,
    .keys_max = JSON_READER_KEYS_MAX,
    .string_bytes_max = JSON_READER_STRING_BYTES_MAX,
};

const char *json_kind_name(enum json_kind kind)
{
    static const char *const names[] = {"null", "boolean", "number", "string", "array", "object"};
    AP_ASSERT((size_t)kind < AP_ARRAY_COUNT(names));
    return names[kind];
}

/*
 * UTF-8 is checked here, once, eight bytes a step, and never again: bytes from the first wrong one on are cut off, and
 * whoever runs into that end reports it. So every fault is met in the order of the text.
 */
void json_reader_init(struct json_reader *reader, struct ap_slice text, struct ap_arena *arena,
                      const struct json_reader_limits *limits)
{
    AP_ASSERT(limits->depth_max <= JSON_READER_DEPTH_MAX);
    size_t valid_bytes = ap_utf8_valid_bytes(text);
    const char *begin = text.data ? text.data : "";
    reader->begin = begin;
    reader->at = begin;
    reader->end = begin + valid_bytes;
    reader->key_begin = begin;
    reader->arena = arena;
    reader->limits = *limits;
    reader->depth = 0;
    reader->object_bits = 0;
    reader->is_cut = valid_bytes < text.bytes;
    reader->failed_rc = AP_OK;
}

struct json_position json_reader_position(const struct json_reader *reader)
{
    struct json_position position = {.offset = (size_t)(reader->at - reader->begin), .line = 1};
    const char *line_begin = reader->begin;
    const char *newline;
    while (line_begin < reader->at && (newline = memchr(line_begin, '\n', (size_t)(reader->at - line_begin)))) {
        line_begin = newline + 1;
        position.line++;
    }
    position.column = (size_t)(reader->at - line_begin) + 1;
    return position;
}

static enum ap_rc fail_over_limit(struct json_reader *reader, const char *at, struct ap_err *err, const char *what,
                                  uint32_t max)
{
    reader->at = at;
    reader->failed_rc = AP_E_LIMIT;
    return ap_fail(err, AP_E_LIMIT, "%s; at most %u are allowed", what, max);
}

/* "expected <what>, got …" at reader->at. */
static enum ap_rc fail_unexpected(struct json_reader *reader, struct ap_err *err, const char *what)
{
    reader->failed_rc = AP_E_PARSE;
    if (reader->at >= reader->end) {
        if (reader->is_cut)
            return ap_fail(err, AP_E_PARSE, "not valid UTF-8");
        return ap_fail(err, AP_E_PARSE, "expected %s, got the end of the text", what);
    }
    unsigned char c = (unsigned char)*reader->at;
    if (c > 0x20 && c < 0x7f)
        return ap_fail(err, AP_E_PARSE, "expected %s, got '%c'", what, c);
    if (c == 0xef && reader->at == reader->begin)
        return ap_fail(err, AP_E_PARSE, "expected %s, got a byte order mark; send UTF-8 without one", what);
    return ap_fail(err, AP_E_PARSE, "expected %s, got the byte 0x%02x", what, c);
}

/* A call after a failure gives the failure again. */
static enum ap_rc fail_again(const struct json_reader *reader, struct ap_err *err)
{
    return ap_fail(err, reader->failed_rc, "the JSON text was refused before");
}

static inline void skip_space(struct json_reader *reader)
{
    while (reader->at < reader->end && (unsigned char)*reader->at <= ' ') {
        char c = *reader->at;
        if (c != ' ' && c != '\n' && c != '\r' && c != '\t')
            return;
        reader->at++;
    }
}

/* The next byte, or -1 at the end. */
static inline int peek_byte(const struct json_reader *reader)
{
    return reader->at < reader->end ? (unsigned char)*reader->at : -1;
}

/* ---- Strings ---- */

static inline uint64_t zero_byte_bits(uint64_t word)
{
    return (word - 0x0101010101010101u) & ~word & 0x8080808080808080u;
}

/* How many bytes from `p` on are ordinary: no quote, no backslash, no control character. Eight at a time. */
static inline size_t string_plain_bytes(const char *p, const char *end)
{
    const char *begin = p;
    while (end - p >= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        uint64_t control_bits = (word - 0x2020202020202020u) & ~word & 0x8080808080808080u;
        uint64_t stop_bits =
            control_bits | zero_byte_bits(word ^ 0x2222222222222222u) | zero_byte_bits(word ^ 0x5c5c5c5c5c5c5c5cu);
        /* A borrow can mark bytes above the first match wrongly, never below: the lowest mark is right. */
        if (stop_bits)
            return (size_t)(p - begin) + (size_t)__builtin_ctzll(stop_bits) / 8;
        p += 8;
    }
    while (p < end && (unsigned char)*p >= 0x20 && *p != '"' && *p != '\\')
        p++;
    return (size_t)(p - begin);
}

/* Four hexadecimal digits, or -1. */
static int32_t hex4(const char *p, const char *end)
{
    if (end - p < 4)
        return -1;
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

static inline bool is_high_surrogate(int32_t unit)
{
    return unit >= 0xd800 && unit <= 0xdbff;
}

static inline bool is_low_surrogate(int32_t unit)
{
    return unit >= 0xdc00 && unit <= 0xdfff;
}

/* Checks the escape that starts with the backslash at reader->at and passes over it. */
static enum ap_rc skip_escape(struct json_reader *reader, struct ap_err *err)
{
    const char *p = reader->at + 1;
    if (p < reader->end && *p != 'u' && *p != '\0' && strchr("\"\\/bfnrt", *p)) {
        reader->at += 2;
        return AP_OK;
    }
    if (p >= reader->end || *p != 'u') {
        reader->at = p;
        return fail_unexpected(reader, err, "one of \"\\/bfnrtu after a backslash");
    }
    int32_t unit = hex4(p + 1, reader->end);
    if (unit < 0) {
        reader->at = p + 1;
        return fail_unexpected(reader, err, "four hexadecimal digits after \\u");
    }
    if (is_low_surrogate(unit) || (is_high_surrogate(unit) && !(reader->end - p >= 11 && p[5] == '\\' && p[6] == 'u' &&
                                                                is_low_surrogate(hex4(p + 7, reader->end))))) {
        reader->failed_rc = AP_E_PARSE;
        return ap_fail(err, AP_E_PARSE, "\\u%04x is half of a surrogate pair without the other half", (unsigned)unit);
    }
    reader->at += is_high_surrogate(unit) ? 12 : 6;
    return AP_OK;
}

/* Takes the string that starts at reader->at; *ret_raw is what is between the quotes. */
static inline enum ap_rc scan_string(struct json_reader *reader, struct ap_slice *ret_raw, bool *ret_has_escapes,
                                     struct ap_err *err)
{
    const char *begin = ++reader->at;
    *ret_has_escapes = false;
    for (;;) {
        reader->at += string_plain_bytes(reader->at, reader->end);
        int c = peek_byte(reader);
        if (c == '"')
            break;
        if (c != '\\')
            return fail_unexpected(reader, err, "the rest of a string");
        *ret_has_escapes = true;
        enum ap_rc rc = skip_escape(reader, err);
        if (rc != AP_OK)
            return rc;
    }
    *ret_raw = ap_slice(begin, (size_t)(reader->at - begin));
    if (ret_raw->bytes > reader->limits.string_bytes_max)
        return fail_over_limit(reader, begin, err, "a string has too many bytes", reader->limits.string_bytes_max);
    reader->at++;
    return AP_OK;
}

/* `raw` was checked by scan_string(). No escape is shorter than what it stands for: \u + 4 digits is 3 bytes at most.
 */
static enum ap_rc unescape(struct json_reader *reader, struct ap_slice raw, struct ap_slice *ret_text,
                           struct ap_err *err)
{
    char *begin = ap_arena_try_alloc(reader->arena, raw.bytes);
    if (!begin) {
        reader->failed_rc = AP_E_NOMEM;
        return ap_fail(err, AP_E_NOMEM, "strings with escapes take more memory than one request may have");
    }
    char *to = begin;
    const char *end = raw.data + raw.bytes;
    for (const char *p = raw.data; p < end;) {
        if (*p != '\\') {
            *to++ = *p++;
            continue;
        }
        char c = p[1];
        p += 2;
        if (c == 'u') {
            int32_t unit = hex4(p, end);
            p += 4;
            uint32_t code_point = (uint32_t)unit;
            if (is_high_surrogate(unit)) {
                code_point = 0x10000 + (((uint32_t)unit - 0xd800) << 10) + ((uint32_t)hex4(p + 2, end) - 0xdc00);
                p += 6;
            }
            to += ap_utf8_encode(code_point, to);
        } else {
            *to++ = c == 'b' ? '\b' : c == 'f' ? '\f' : c == 'n' ? '\n' : c == 'r' ? '\r' : c == 't' ? '\t' : c;
        }
    }
    *ret_text = ap_slice(begin, (size_t)(to - begin));
    return AP_OK;
}

static inline enum ap_rc take_string(struct json_reader *reader, struct ap_slice *ret_text, struct ap_err *err)
{
    bool has_escapes;
    enum ap_rc rc = scan_string(reader, ret_text, &has_escapes, err);
    if (rc != AP_OK || !has_escapes)
        return rc;
    return unescape(reader, *ret_text, ret_text, err);
}

/* ---- Numbers ---- */

static inline bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

/* A number as it was written: the digits without the point as one integer, and the power of ten to scale it by. */
struct decimal {
    uint64_t digits;
    uint32_t digit_count; /* without leading zeros */
    int32_t exponent;     /* the written exponent minus the digits behind the point; capped */
    bool is_negative;
};

/* Takes a run of digits into `decimal`; false when there is none. */
static inline bool scan_digits(struct json_reader *reader, struct decimal *decimal)
{
    const char *begin = reader->at;
    while (reader->at < reader->end && is_digit(*reader->at)) {
        unsigned digit = (unsigned)(*reader->at - '0');
        decimal->digits = decimal->digits * 10 + digit; /* wraps past 19 digits: then unused */
        decimal->digit_count += decimal->digit_count > 0 || digit > 0;
        reader->at++;
    }
    return reader->at > begin;
}

enum { EXPONENT_CAP = 100000 }; /* far outside double's range; keeps the sum from wrapping */

static bool scan_exponent(struct json_reader *reader, struct decimal *decimal)
{
    reader->at++;
    int c = peek_byte(reader);
    bool is_negative = c == '-';
    if (c == '+' || c == '-')
        reader->at++;
    int32_t exponent = 0;
    const char *begin = reader->at;
    for (; reader->at < reader->end && is_digit(*reader->at); reader->at++)
        if (exponent < EXPONENT_CAP)
            exponent = exponent * 10 + (*reader->at - '0');
    decimal->exponent += is_negative ? -exponent : exponent;
    return reader->at > begin;
}

/* Takes the number at reader->at. */
static enum ap_rc scan_number(struct json_reader *reader, struct ap_slice *ret_raw, struct decimal *ret_decimal,
                              struct ap_err *err)
{
    const char *begin = reader->at;
    struct decimal decimal = {0};
    if (peek_byte(reader) == '-') {
        decimal.is_negative = true;
        reader->at++;
    }
    if (peek_byte(reader) == '0')
        reader->at++; /* JSON has no leading zeros: a digit after it is the next token's problem */
    else if (!scan_digits(reader, &decimal))
        return fail_unexpected(reader, err, "a digit");
    if (peek_byte(reader) == '.') {
        const char *fraction_begin = ++reader->at;
        if (!scan_digits(reader, &decimal))
            return fail_unexpected(reader, err, "a digit after the decimal point");
        decimal.exponent = -(int32_t)AP_MIN(reader->at - fraction_begin, EXPONENT_CAP);
    }
    int c = peek_byte(reader);
    if ((c == 'e' || c == 'E') && !scan_exponent(reader, &decimal))
        return fail_unexpected(reader, err, "a digit in the exponent");
    *ret_raw = ap_slice(begin, (size_t)(reader->at - begin));
    if (ret_raw->bytes > JSON_READER_NUMBER_BYTES_MAX)
        return fail_over_limit(reader, begin, err, "a number has too many bytes", JSON_READER_NUMBER_BYTES_MAX);
    *ret_decimal = decimal;
    return AP_OK;
}

/*
 * Up to 2^53 an integer is exact as a double, and so is 10^n up to n = 22; one multiplication or division of two exact
 * numbers rounds once, which is correct (Clinger, "How to read floating point numbers accurately", 1990). That covers
 * what people and clocks send; the rest goes to strtod(), which is right for all of them but wants a NUL. The program
 * never calls setlocale(), so the decimal point is a point.
 */
static double decimal_value(const struct decimal *decimal, struct ap_slice raw)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (decimal->digit_count <= 19 && decimal->digits <= UINT64_C(1) << 53 && decimal->exponent >= -22 &&
        decimal->exponent <= 22) {
        double value = (double)decimal->digits;
        value = decimal->exponent < 0 ? value / powers[-decimal->exponent] : value * powers[decimal->exponent];
        return decimal->is_negative ? -value : value;
    }
    char text[JSON_READER_NUMBER_BYTES_MAX + 1];
    memcpy(text, raw.data, raw.bytes);
    text[raw.bytes] = '\0';
    return strtod(text, NULL);
}

/* ---- Containers ---- */

static inline bool in_object(const struct json_reader *reader)
{
    return reader->depth > 0 && (reader->object_bits >> (reader->depth - 1) & 1);
}

static enum ap_rc push(struct json_reader *reader, bool is_object, struct ap_err *err)
{
    if (reader->depth >= reader->limits.depth_max)
        return fail_over_limit(reader, reader->at, err, "arrays and objects are nested too deep",
                               reader->limits.depth_max);
    uint32_t bit = UINT32_C(1) << reader->depth;
    reader->object_bits = is_object ? reader->object_bits | bit : reader->object_bits & ~bit;
    reader->counts[reader->depth++] = 0;
    reader->at++;
    return AP_OK;
}

/* Steps to the next key or item of the innermost container: to its first byte, or out of the container. */
static inline enum ap_rc step(struct json_reader *reader, bool is_object, bool *ret_is_there, struct ap_err *err)
{
    uint32_t *count = &reader->counts[reader->depth - 1];
    skip_space(reader);
    int c = peek_byte(reader);
    if (c == (is_object ? '}' : ']')) {
        reader->at++;
        reader->depth--;
        *ret_is_there = false;
        return AP_OK;
    }
    if (*count > 0) {
        if (c != ',')
            return fail_unexpected(reader, err, is_object ? "',' or '}' after a member" : "',' or ']' after an item");
        reader->at++;
        skip_space(reader);
    }
    (*count)++;
    *ret_is_there = true;
    if (!is_object)
        return AP_OK;
    if (peek_byte(reader) != '"')
        return fail_unexpected(reader, err, *count == 1 ? "a name in quotes or '}'" : "a name in quotes after ','");
    if (*count > reader->limits.keys_max)
        return fail_over_limit(reader, reader->at, err, "an object has too many keys", reader->limits.keys_max);
    return AP_OK;
}

/* Takes the ':' between a name and its value. */
static inline enum ap_rc take_colon(struct json_reader *reader, struct ap_err *err)
{
    skip_space(reader);
    if (peek_byte(reader) != ':')
        return fail_unexpected(reader, err, "':' after a name");
    reader->at++;
    return AP_OK;
}

/* ---- What the header offers ---- */

enum ap_rc json_reader_peek(struct json_reader *reader, enum json_kind *ret_kind, struct ap_err *err)
{
    if (reader->failed_rc != AP_OK)
        return fail_again(reader, err);
    skip_space(reader);
    int c = peek_byte(reader);
    switch (c) {
    case '"':
        *ret_kind = JSON_KIND_STRING;
        return AP_OK;
    case '{':
        *ret_kind = JSON_KIND_OBJECT;
        return AP_OK;
    case '[':
        *ret_kind = JSON_KIND_ARRAY;
        return AP_OK;
    case 't':
    case 'f':
        *ret_kind = JSON_KIND_BOOLEAN;
        return AP_OK;
    case 'n':
        *ret_kind = JSON_KIND_NULL;
        return AP_OK;
    default:
        if (c != '-' && !is_digit(c))
            return fail_unexpected(reader, err, "a JSON value");
        *ret_kind = JSON_KIND_NUMBER;
        return AP_OK;
    }
}

/* Peeks and insists. */
static inline enum ap_rc expect(struct json_reader *reader, enum json_kind wanted, struct ap_err *err)
{
    enum json_kind kind;
    enum ap_rc rc = json_reader_peek(reader, &kind, err);
    if (rc != AP_OK || kind == wanted)
        return rc;
    reader->failed_rc = AP_E_PARSE;
    return ap_fail(err, AP_E_PARSE, "expected %s, got %s", json_kind_name(wanted), json_kind_name(kind));
}

static enum ap_rc take_word(struct json_reader *reader, const char *word, struct ap_err *err)
{
    for (; *word; word++, reader->at++)
        if (peek_byte(reader) != *word)
            return fail_unexpected(reader, err, "true, false or null");
    return AP_OK;
}

enum ap_rc json_reader_null(struct json_reader *reader, struct ap_err *err)
{
    enum ap_rc rc = expect(reader, JSON_KIND_NULL, err);
    return rc != AP_OK ? rc : take_word(reader, "null", err);
}

enum ap_rc json_reader_boolean(struct json_reader *reader, bool *ret_value, struct ap_err *err)
{
    enum ap_rc rc = expect(reader, JSON_KIND_BOOLEAN, err);
    if (rc != AP_OK)
        return rc;
    bool value = *reader->at == 't';
    rc = take_word(reader, value ? "true" : "false", err);
    if (rc == AP_OK)
        *ret_value = value;
    return rc;
}

enum ap_rc json_reader_number(struct json_reader *reader, double *ret_value, struct ap_err *err)
{
    struct ap_slice raw;
    struct decimal decimal;
    enum ap_rc rc = expect(reader, JSON_KIND_NUMBER, err);
    if (rc == AP_OK)
        rc = scan_number(reader, &raw, &decimal, err);
    if (rc == AP_OK)
        *ret_value = decimal_value(&decimal, raw);
    return rc;
}

enum ap_rc json_reader_string(struct json_reader *reader, struct ap_slice *ret_text, struct ap_err *err)
{
    enum ap_rc rc = expect(reader, JSON_KIND_STRING, err);
    struct ap_slice text;
    if (rc == AP_OK)
        rc = take_string(reader, &text, err);
    if (rc == AP_OK)
        *ret_text = text;
    return rc;
}

/* One scalar, or the opening of a container. */
static enum ap_rc skip_token(struct json_reader *reader, struct ap_err *err)
{
    enum json_kind kind = JSON_KIND_NULL;
    enum ap_rc rc = json_reader_peek(reader, &kind, err);
    if (rc != AP_OK)
        return rc;
    struct ap_slice raw;
    struct decimal decimal;
    bool ignored;
    switch (kind) {
    case JSON_KIND_NULL:
        return take_word(reader, "null", err);
    case JSON_KIND_BOOLEAN:
        return json_reader_boolean(reader, &ignored, err);
    case JSON_KIND_NUMBER:
        return scan_number(reader, &raw, &decimal, err);
    case JSON_KIND_STRING:
        return scan_string(reader, &raw, &ignored, err);
    case JSON_KIND_ARRAY:
        return push(reader, false, err);
    case JSON_KIND_OBJECT:
        return push(reader, true, err);
    }
    return AP_OK;
}

enum ap_rc json_reader_skip(struct json_reader *reader, struct ap_slice *ret_raw, struct ap_err *err)
{
    if (reader->failed_rc != AP_OK)
        return fail_again(reader, err);
    skip_space(reader);
    const char *begin = reader->at;
    uint32_t outer_depth = reader->depth;
    enum ap_rc rc = skip_token(reader, err);
    while (rc == AP_OK && reader->depth > outer_depth) {
        bool is_object = in_object(reader);
        bool is_there;
        rc = step(reader, is_object, &is_there, err);
        if (rc != AP_OK || !is_there)
            continue;
        if (is_object) {
            struct ap_slice raw;
            bool ignored;
            rc = scan_string(reader, &raw, &ignored, err);
            if (rc == AP_OK)
                rc = take_colon(reader, err);
        }
        if (rc == AP_OK)
            rc = skip_token(reader, err);
    }
    if (rc == AP_OK && ret_raw)
        *ret_raw = ap_slice(begin, (size_t)(reader->at - begin));
    return rc;
}

enum ap_rc json_reader_begin_object(struct json_reader *reader, struct ap_err *err)
{
    enum ap_rc rc = expect(reader, JSON_KIND_OBJECT, err);
    return rc != AP_OK ? rc : push(reader, true, err);
}

enum ap_rc json_reader_next_key(struct json_reader *reader, struct ap_slice *ret_key, bool *ret_is_there,
                                struct ap_err *err)
{
    if (reader->failed_rc != AP_OK)
        return fail_again(reader, err);
    AP_ASSERT(in_object(reader));
    bool is_there;
    enum ap_rc rc = step(reader, true, &is_there, err);
    if (rc != AP_OK)
        return rc;
    if (is_there) {
        reader->key_begin = reader->at;
        struct ap_slice key;
        rc = take_string(reader, &key, err);
        if (rc == AP_OK)
            rc = take_colon(reader, err);
        if (rc != AP_OK)
            return rc;
        *ret_key = key;
    }
    *ret_is_there = is_there;
    return AP_OK;
}

struct ap_slice json_reader_member_raw(const struct json_reader *reader)
{
    return ap_slice(reader->key_begin, (size_t)(reader->at - reader->key_begin));
}

enum ap_rc json_reader_begin_array(struct json_reader *reader, struct ap_err *err)
{
    enum ap_rc rc = expect(reader, JSON_KIND_ARRAY, err);
    return rc != AP_OK ? rc : push(reader, false, err);
}

enum ap_rc json_reader_next_item(struct json_reader *reader, bool *ret_is_there, struct ap_err *err)
{
    if (reader->failed_rc != AP_OK)
        return fail_again(reader, err);
    AP_ASSERT(reader->depth > 0 && !in_object(reader));
    bool is_there;
    enum ap_rc rc = step(reader, false, &is_there, err);
    if (rc == AP_OK)
        *ret_is_there = is_there;
    return rc;
}

enum ap_rc json_reader_finish(struct json_reader *reader, struct ap_err *err)
{
    if (reader->failed_rc != AP_OK)
        return fail_again(reader, err);
    AP_ASSERT(reader->depth == 0);
    skip_space(reader);
    if (reader->at < reader->end || reader->is_cut)
        return fail_unexpected(reader, err, "nothing more after the value");
    return AP_OK;
}
