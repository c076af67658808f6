#include "ingest/otlp_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "codec/json_reader.h"
#include "ingest/otlp_array.h"
#include "ingest/otlp_value.h"

struct decoding {
    struct otlp_sink *sink;
    struct ap_arena *arena;
    const char *failed_at;                                 /* where, once something has; NULL otherwise */
    struct otlp_attribute attributes[OTLP_ATTRIBUTES_MAX]; /* of the point at hand */
};

/* A value that is read later, because what stands behind it must be known first. */
struct later {
    struct ap_slice *items; /* in the arena */
    size_t count;
    size_t capacity;
};

static enum ap_rc fail_full(struct ap_err *err)
{
    return ap_fail(err, AP_E_LIMIT, "the request holds too much in its points; send it in smaller parts");
}

/* ---- Values ---- */

static void begin(struct decoding *decoding, struct json_reader *reader, struct ap_slice text)
{
    json_reader_init(reader, text, decoding->arena, &json_reader_limits_default);
}

/* What went wrong with the value that was just read, or where the reader stands. */
static enum ap_rc fail_value(struct json_reader *reader, const char *wanted, struct ap_err *err)
{
    struct ap_slice key = json_reader_member_raw(reader);
    (void)ap_slice_split(&key, '"');
    key = ap_slice_split(&key, '"');
    return ap_fail(err, AP_E_PARSE, "\"%.*s\" must be %s", (int)AP_MIN(key.bytes, (size_t)100),
                   key.data ? key.data : "", wanted);
}

/* The next member whose value is not null. */
static enum ap_rc next_member(struct json_reader *reader, struct ap_slice *ret_key, bool *ret_is_there,
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
        rc = fail_value(reader, "a number", err);
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

static enum ap_rc read_u64(struct json_reader *reader, uint64_t *ret_value, struct ap_err *err)
{
    struct ap_slice text;
    enum ap_rc rc = read_digits(reader, &text, err);
    if (rc == AP_OK && !parse_u64(text, ret_value))
        rc = fail_value(reader, "a whole number from 0 to 2^64 - 1", err);
    return rc;
}

static enum ap_rc read_i64(struct json_reader *reader, int64_t *ret_value, struct ap_err *err)
{
    struct ap_slice text;
    enum ap_rc rc = read_digits(reader, &text, err);
    if (rc == AP_OK && !parse_i64(text, ret_value))
        rc = fail_value(reader, "a whole number of 64 bits", err);
    return rc;
}

static enum ap_rc read_i32(struct json_reader *reader, int32_t *ret_value, struct ap_err *err)
{
    int64_t value;
    enum ap_rc rc = read_i64(reader, &value, err);
    if (rc == AP_OK && (value < INT32_MIN || value > INT32_MAX))
        rc = fail_value(reader, "a whole number of 32 bits", err);
    if (rc == AP_OK)
        *ret_value = (int32_t)value;
    return rc;
}

static enum ap_rc read_double(struct json_reader *reader, double *ret_value, struct ap_err *err)
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
        return fail_value(reader, "a number, \"NaN\", \"Infinity\" or \"-Infinity\"", err);
    return AP_OK;
}

/* ---- Attributes ---- */

static int base64_digit(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

/* Both alphabets, with or without padding. */
static enum ap_rc decode_base64(struct decoding *decoding, struct ap_slice text, struct ap_slice *ret_bytes,
                                struct ap_err *err)
{
    while (text.bytes && text.data[text.bytes - 1] == '=')
        text.bytes--;
    char *bytes = ap_arena_try_alloc(decoding->arena, text.bytes / 4 * 3 + 3);
    if (!bytes)
        return fail_full(err);
    size_t count = 0;
    uint32_t bits = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        int digit = base64_digit(text.data[i]);
        if (digit < 0)
            return ap_fail(err, AP_E_PARSE, "\"bytesValue\" must be in base64");
        bits = bits << 6 | (uint32_t)digit;
        if (i % 4)
            bytes[count++] = (char)(bits >> (6 - 2 * (i % 4)) & 0xff);
    }
    *ret_bytes = ap_slice(bytes, count);
    return AP_OK;
}

/* A key with a value, or a value alone, as an item of an array or map. */
static enum ap_rc add_child(struct json_reader *reader, struct otlp_value_tree *tree, struct otlp_value *value,
                            struct ap_err *err)
{
    struct ap_slice key = ap_slice("", 0), raw = ap_slice("", 0), name;
    bool is_there;
    enum ap_rc rc;
    if (value->kind == OTLP_VALUE_ARRAY) {
        rc = json_reader_skip(reader, &raw, err);
    } else {
        rc = json_reader_begin_object(reader, err);
        while (rc == AP_OK && (rc = next_member(reader, &name, &is_there, err)) == AP_OK && is_there) {
            if (ap_slice_equal_cstr(name, "key"))
                rc = json_reader_string(reader, &key, err);
            else
                rc = json_reader_skip(reader, ap_slice_equal_cstr(name, "value") ? &raw : NULL, err);
        }
    }
    return rc == AP_OK ? otlp_value_add_child(tree, value, key, raw, err) : rc;
}

/* { "values": [ … ] } */
static enum ap_rc read_container(struct json_reader *reader, struct otlp_value_tree *tree, struct otlp_value *value,
                                 struct ap_err *err)
{
    struct ap_slice key;
    bool is_there, is_item;
    enum ap_rc rc = json_reader_begin_object(reader, err);
    while (rc == AP_OK && (rc = next_member(reader, &key, &is_there, err)) == AP_OK && is_there) {
        if (!ap_slice_equal_cstr(key, "values")) {
            rc = json_reader_skip(reader, NULL, err);
            continue;
        }
        rc = json_reader_begin_array(reader, err);
        while (rc == AP_OK && (rc = json_reader_next_item(reader, &is_item, err)) == AP_OK && is_item)
            rc = add_child(reader, tree, value, err);
    }
    return rc;
}

static enum ap_rc read_member_of_value(struct decoding *decoding, struct json_reader *reader, struct ap_slice key,
                                       struct otlp_value_tree *tree, struct otlp_value *value, struct ap_err *err)
{
    struct ap_slice text;
    bool is_true;
    enum ap_rc rc;
    if (ap_slice_equal_cstr(key, "stringValue")) {
        value->kind = OTLP_VALUE_STRING;
        return json_reader_string(reader, &value->text, err);
    }
    if (ap_slice_equal_cstr(key, "intValue")) {
        value->kind = OTLP_VALUE_INTEGER;
        return read_i64(reader, &value->integer, err);
    }
    if (ap_slice_equal_cstr(key, "doubleValue")) {
        value->kind = OTLP_VALUE_DOUBLE;
        return read_double(reader, &value->number, err);
    }
    if (ap_slice_equal_cstr(key, "boolValue")) {
        value->kind = OTLP_VALUE_BOOLEAN;
        rc = json_reader_boolean(reader, &is_true, err);
        if (rc == AP_OK)
            value->integer = is_true;
        return rc;
    }
    if (ap_slice_equal_cstr(key, "bytesValue")) {
        value->kind = OTLP_VALUE_BYTES;
        rc = json_reader_string(reader, &text, err);
        return rc == AP_OK ? decode_base64(decoding, text, &value->text, err) : rc;
    }
    bool is_array = ap_slice_equal_cstr(key, "arrayValue");
    if (is_array || ap_slice_equal_cstr(key, "kvlistValue")) {
        value->kind = is_array ? OTLP_VALUE_ARRAY : OTLP_VALUE_MAP;
        return read_container(reader, tree, value, err);
    }
    return json_reader_skip(reader, NULL, err);
}

/* Notes the place of a failure, for the one who reports it. */
static enum ap_rc ended(struct decoding *decoding, const struct json_reader *reader, enum ap_rc rc)
{
    if (rc != AP_OK && !decoding->failed_at)
        decoding->failed_at = reader->begin + json_reader_position(reader).offset;
    return rc;
}

static enum ap_rc read_value(void *context, struct otlp_value_tree *tree, struct otlp_value *value, struct ap_err *err)
{
    struct decoding *decoding = context;
    struct json_reader reader;
    struct ap_slice key;
    bool is_there;
    enum json_kind kind;
    if (value->text.bytes == 0)
        return AP_OK;
    begin(decoding, &reader, value->text);
    enum ap_rc rc = json_reader_peek(&reader, &kind, err);
    if (rc == AP_OK && kind == JSON_KIND_NULL)
        return AP_OK;
    if (rc == AP_OK)
        rc = json_reader_begin_object(&reader, err);
    while (rc == AP_OK && (rc = next_member(&reader, &key, &is_there, err)) == AP_OK && is_there)
        rc = read_member_of_value(decoding, &reader, key, tree, value, err);
    return ended(decoding, &reader, rc);
}

/* {"stringValue": "…"} and nothing else, as nearly all values are. False: the reader stands where it stood. */
static bool read_plain_value(struct json_reader *reader, struct ap_slice *ret_text)
{
    struct json_reader ahead = *reader;
    struct ap_slice key;
    struct ap_err ignored;
    enum json_kind kind;
    bool is_there;
    if (json_reader_begin_object(&ahead, &ignored) != AP_OK ||
        json_reader_next_key(&ahead, &key, &is_there, &ignored) != AP_OK || !is_there ||
        !ap_slice_equal_cstr(key, "stringValue") || json_reader_peek(&ahead, &kind, &ignored) != AP_OK ||
        kind != JSON_KIND_STRING || json_reader_string(&ahead, ret_text, &ignored) != AP_OK ||
        json_reader_next_key(&ahead, &key, &is_there, &ignored) != AP_OK || is_there)
        return false;
    *reader = ahead;
    return true;
}

static enum ap_rc read_attribute(struct decoding *decoding, struct json_reader *reader,
                                 struct otlp_attribute *attribute, struct ap_err *err)
{
    struct ap_slice key, raw = ap_slice("", 0);
    bool is_there, is_plain = false;
    attribute->key = ap_slice("", 0);
    enum ap_rc rc = json_reader_begin_object(reader, err);
    while (rc == AP_OK && (rc = next_member(reader, &key, &is_there, err)) == AP_OK && is_there) {
        if (ap_slice_equal_cstr(key, "key")) {
            rc = json_reader_string(reader, &attribute->key, err);
        } else if (!ap_slice_equal_cstr(key, "value")) {
            rc = json_reader_skip(reader, NULL, err);
        } else {
            is_plain = read_plain_value(reader, &attribute->value);
            if (!is_plain)
                rc = json_reader_skip(reader, &raw, err);
        }
    }
    if (rc != AP_OK || is_plain)
        return rc;
    return otlp_value_text(decoding->arena, raw, read_value, decoding, &attribute->value, err);
}

/* Into `attributes`, at most `max`; *ret_count may be one more than that. */
static enum ap_rc read_attributes(struct decoding *decoding, struct json_reader *reader,
                                  struct otlp_attribute *attributes, size_t max, size_t *ret_count, struct ap_err *err)
{
    bool is_there;
    *ret_count = 0;
    enum ap_rc rc = json_reader_begin_array(reader, err);
    while (rc == AP_OK && (rc = json_reader_next_item(reader, &is_there, err)) == AP_OK && is_there) {
        if (*ret_count >= max) {
            *ret_count = max + 1;
            rc = json_reader_skip(reader, NULL, err);
        } else {
            rc = read_attribute(decoding, reader, &attributes[(*ret_count)++], err);
        }
    }
    return rc;
}

/* The same into an array of their own. */
static enum ap_rc keep_attributes(struct decoding *decoding, struct json_reader *reader,
                                  struct otlp_attributes *ret_attributes, struct ap_err *err)
{
    size_t capacity = 0, count = 0;
    struct otlp_attribute *attributes = NULL;
    bool is_there;
    enum ap_rc rc = json_reader_begin_array(reader, err);
    while (rc == AP_OK && (rc = json_reader_next_item(reader, &is_there, err)) == AP_OK && is_there) {
        if (count == OTLP_ATTRIBUTES_MAX) {
            rc = json_reader_skip(reader, NULL, err);
            continue;
        }
        attributes = otlp_array_reserve(decoding->arena, attributes, count, &capacity, 1, sizeof(*attributes));
        rc = attributes ? read_attribute(decoding, reader, &attributes[count++], err) : fail_full(err);
    }
    *ret_attributes = (struct otlp_attributes){.items = attributes, .count = count};
    return rc;
}

/* ---- Points ---- */

static enum ap_rc read_counts(struct decoding *decoding, struct json_reader *reader, const uint64_t **ret_items,
                              size_t *ret_count, struct ap_err *err)
{
    struct otlp_numbers numbers = {0};
    bool is_there;
    enum ap_rc rc = json_reader_begin_array(reader, err);
    while (rc == AP_OK && (rc = json_reader_next_item(reader, &is_there, err)) == AP_OK && is_there) {
        if (!otlp_numbers_reserve(decoding->arena, &numbers, 1))
            return fail_full(err);
        rc = read_u64(reader, &numbers.items[numbers.count++], err);
    }
    *ret_items = numbers.items;
    *ret_count = numbers.count;
    return rc;
}

static enum ap_rc read_bounds(struct decoding *decoding, struct json_reader *reader, struct otlp_point *point,
                              struct ap_err *err)
{
    struct otlp_numbers numbers = {0};
    bool is_there;
    enum ap_rc rc = json_reader_begin_array(reader, err);
    while (rc == AP_OK && (rc = json_reader_next_item(reader, &is_there, err)) == AP_OK && is_there) {
        double bound = 0;
        if (!otlp_numbers_reserve(decoding->arena, &numbers, 1))
            return fail_full(err);
        rc = read_double(reader, &bound, err);
        numbers.items[numbers.count++] = ap_double_to_bits(bound);
    }
    point->bounds = (const double *)(const void *)numbers.items;
    point->bound_count = numbers.count;
    return rc;
}

static enum ap_rc read_buckets(struct decoding *decoding, struct json_reader *reader, struct otlp_buckets *buckets,
                               struct ap_err *err)
{
    struct ap_slice key;
    bool is_there;
    enum ap_rc rc = json_reader_begin_object(reader, err);
    while (rc == AP_OK && (rc = next_member(reader, &key, &is_there, err)) == AP_OK && is_there) {
        if (ap_slice_equal_cstr(key, "offset"))
            rc = read_i32(reader, &buckets->offset, err);
        else if (ap_slice_equal_cstr(key, "bucketCounts"))
            rc = read_counts(decoding, reader, &buckets->counts, &buckets->count, err);
        else
            rc = json_reader_skip(reader, NULL, err);
    }
    return rc;
}

static enum ap_rc read_quantiles(struct decoding *decoding, struct json_reader *reader, struct otlp_point *point,
                                 struct ap_err *err)
{
    struct otlp_quantile *quantiles = NULL;
    size_t capacity = 0, count = 0;
    struct ap_slice key;
    bool is_item, is_there;
    enum ap_rc rc = json_reader_begin_array(reader, err);
    while (rc == AP_OK && (rc = json_reader_next_item(reader, &is_item, err)) == AP_OK && is_item) {
        quantiles = otlp_array_reserve(decoding->arena, quantiles, count, &capacity, 1, sizeof(*quantiles));
        if (!quantiles)
            return fail_full(err);
        struct otlp_quantile *quantile = &quantiles[count++];
        *quantile = (struct otlp_quantile){0};
        rc = json_reader_begin_object(reader, err);
        while (rc == AP_OK && (rc = next_member(reader, &key, &is_there, err)) == AP_OK && is_there) {
            if (ap_slice_equal_cstr(key, "quantile"))
                rc = read_double(reader, &quantile->quantile, err);
            else if (ap_slice_equal_cstr(key, "value"))
                rc = read_double(reader, &quantile->value, err);
            else
                rc = json_reader_skip(reader, NULL, err);
        }
    }
    point->quantiles = quantiles;
    point->quantile_count = count;
    return rc;
}

/* Hexadecimal digits, made lower-case; nothing for an id of zeros. */
static enum ap_rc read_id(struct decoding *decoding, struct json_reader *reader, struct ap_slice *ret_id,
                          struct ap_err *err)
{
    struct ap_slice text;
    bool is_zero = true;
    enum ap_rc rc = json_reader_string(reader, &text, err);
    if (rc != AP_OK)
        return rc;
    char *id = ap_arena_try_alloc(decoding->arena, text.bytes);
    if (!id)
        return fail_full(err);
    for (size_t i = 0; i < text.bytes; i++) {
        char c = text.data[i];
        c = c >= 'A' && c <= 'F' ? (char)(c - 'A' + 'a') : c;
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return fail_value(reader, "hexadecimal digits", err);
        is_zero = is_zero && c == '0';
        id[i] = c;
    }
    *ret_id = is_zero ? ap_slice("", 0) : ap_slice(id, text.bytes);
    return AP_OK;
}

static enum ap_rc read_as_int(struct json_reader *reader, double *ret_value, struct ap_err *err)
{
    int64_t value;
    enum ap_rc rc = read_i64(reader, &value, err);
    if (rc == AP_OK)
        *ret_value = (double)value;
    return rc;
}

static enum ap_rc read_exemplar(struct decoding *decoding, struct json_reader *reader, struct otlp_exemplar *exemplar,
                                struct ap_err *err)
{
    struct ap_slice key;
    bool is_there;
    *exemplar = (struct otlp_exemplar){.trace_id = ap_slice("", 0), .span_id = ap_slice("", 0)};
    enum ap_rc rc = json_reader_begin_object(reader, err);
    while (rc == AP_OK && (rc = next_member(reader, &key, &is_there, err)) == AP_OK && is_there) {
        bool is_double = ap_slice_equal_cstr(key, "asDouble"), is_int = ap_slice_equal_cstr(key, "asInt");
        exemplar->has_value = exemplar->has_value || is_double || is_int;
        if (is_double)
            rc = read_double(reader, &exemplar->value, err);
        else if (is_int)
            rc = read_as_int(reader, &exemplar->value, err);
        else if (ap_slice_equal_cstr(key, "timeUnixNano"))
            rc = read_u64(reader, &exemplar->ts_ns, err);
        else if (ap_slice_equal_cstr(key, "traceId"))
            rc = read_id(decoding, reader, &exemplar->trace_id, err);
        else if (ap_slice_equal_cstr(key, "spanId"))
            rc = read_id(decoding, reader, &exemplar->span_id, err);
        else if (ap_slice_equal_cstr(key, "filteredAttributes"))
            rc = keep_attributes(decoding, reader, &exemplar->attributes, err);
        else
            rc = json_reader_skip(reader, NULL, err);
    }
    return rc;
}

static enum ap_rc read_exemplars(struct decoding *decoding, struct json_reader *reader, struct otlp_point *point,
                                 struct ap_err *err)
{
    struct otlp_exemplar *exemplars = NULL;
    size_t capacity = 0, count = 0;
    bool is_there;
    enum ap_rc rc = json_reader_begin_array(reader, err);
    while (rc == AP_OK && (rc = json_reader_next_item(reader, &is_there, err)) == AP_OK && is_there) {
        exemplars = otlp_array_reserve(decoding->arena, exemplars, count, &capacity, 1, sizeof(*exemplars));
        rc = exemplars ? read_exemplar(decoding, reader, &exemplars[count++], err) : fail_full(err);
    }
    point->exemplars = exemplars;
    point->exemplar_count = count;
    return rc;
}

enum point_member {
    MEMBER_ATTRIBUTES,
    MEMBER_START,
    MEMBER_TIME,
    MEMBER_AS_DOUBLE,
    MEMBER_AS_INT,
    MEMBER_FLAGS,
    MEMBER_EXEMPLARS,
    MEMBER_COUNT,
    MEMBER_SUM,
    MEMBER_BUCKET_COUNTS,
    MEMBER_EXPLICIT_BOUNDS,
    MEMBER_SCALE,
    MEMBER_ZERO_COUNT,
    MEMBER_ZERO_THRESHOLD,
    MEMBER_POSITIVE,
    MEMBER_NEGATIVE,
    MEMBER_QUANTILES,
    MEMBER_OTHER
};

/* Kinds of points share the names of their members, and each name means one thing. */
static enum point_member member_of(struct ap_slice key)
{
    static const struct ap_slice names[MEMBER_OTHER] = {
        AP_SLICE_LITERAL("attributes"),
        AP_SLICE_LITERAL("startTimeUnixNano"),
        AP_SLICE_LITERAL("timeUnixNano"),
        AP_SLICE_LITERAL("asDouble"),
        AP_SLICE_LITERAL("asInt"),
        AP_SLICE_LITERAL("flags"),
        AP_SLICE_LITERAL("exemplars"),
        AP_SLICE_LITERAL("count"),
        AP_SLICE_LITERAL("sum"),
        AP_SLICE_LITERAL("bucketCounts"),
        AP_SLICE_LITERAL("explicitBounds"),
        AP_SLICE_LITERAL("scale"),
        AP_SLICE_LITERAL("zeroCount"),
        AP_SLICE_LITERAL("zeroThreshold"),
        AP_SLICE_LITERAL("positive"),
        AP_SLICE_LITERAL("negative"),
        AP_SLICE_LITERAL("quantileValues"),
    };
    for (size_t i = 0; i < MEMBER_OTHER; i++)
        if (ap_slice_equal(key, names[i]))
            return (enum point_member)i;
    return MEMBER_OTHER;
}

static enum ap_rc read_point_member(struct decoding *decoding, struct json_reader *reader, enum point_member member,
                                    struct otlp_point *point, size_t *attribute_count, struct ap_err *err)
{
    switch (member) {
    case MEMBER_ATTRIBUTES:
        return read_attributes(decoding, reader, decoding->attributes, OTLP_ATTRIBUTES_MAX, attribute_count, err);
    case MEMBER_START:
        return read_u64(reader, &point->start_ns, err);
    case MEMBER_TIME:
        return read_u64(reader, &point->ts_ns, err);
    case MEMBER_AS_DOUBLE:
        point->has_value = true;
        return read_double(reader, &point->value, err);
    case MEMBER_AS_INT:
        point->has_value = true;
        return read_as_int(reader, &point->value, err);
    case MEMBER_FLAGS:
        return read_u64(reader, &point->flags, err);
    case MEMBER_EXEMPLARS:
        return read_exemplars(decoding, reader, point, err);
    case MEMBER_COUNT:
        return read_u64(reader, &point->count, err);
    case MEMBER_SUM:
        point->has_sum = true;
        return read_double(reader, &point->sum, err);
    case MEMBER_BUCKET_COUNTS:
        return read_counts(decoding, reader, &point->bucket_counts, &point->bucket_count, err);
    case MEMBER_EXPLICIT_BOUNDS:
        return read_bounds(decoding, reader, point, err);
    case MEMBER_SCALE:
        return read_i32(reader, &point->scale, err);
    case MEMBER_ZERO_COUNT:
        return read_u64(reader, &point->zero_count, err);
    case MEMBER_ZERO_THRESHOLD:
        return read_double(reader, &point->zero_threshold, err);
    case MEMBER_POSITIVE:
        return read_buckets(decoding, reader, &point->positive, err);
    case MEMBER_NEGATIVE:
        return read_buckets(decoding, reader, &point->negative, err);
    case MEMBER_QUANTILES:
        return read_quantiles(decoding, reader, point, err);
    default:
        return json_reader_skip(reader, NULL, err);
    }
}

static enum ap_rc add_point(struct decoding *decoding, struct json_reader *reader, struct ap_err *err)
{
    struct otlp_point point = {.fault = NULL};
    size_t attribute_count = 0;
    struct ap_slice key;
    bool is_there;
    enum ap_rc rc = json_reader_begin_object(reader, err);
    while (rc == AP_OK && (rc = next_member(reader, &key, &is_there, err)) == AP_OK && is_there)
        rc = read_point_member(decoding, reader, member_of(key), &point, &attribute_count, err);
    if (rc != AP_OK)
        return rc;
    if (attribute_count > OTLP_ATTRIBUTES_MAX)
        point.fault = "a point has too many attributes";
    point.attributes =
        (struct otlp_attributes){.items = decoding->attributes, .count = AP_MIN(attribute_count, OTLP_ATTRIBUTES_MAX)};
    return otlp_sink_add_point(decoding->sink, &point, err);
}

/* ---- What is read in place, or later ---- */

typedef enum ap_rc (*add_fn)(struct decoding *decoding, struct json_reader *reader, struct ap_err *err);

/* Passes over the value, to be read by read_later(). */
static enum ap_rc put_off(struct decoding *decoding, struct json_reader *reader, struct later *later,
                          struct ap_err *err)
{
    struct ap_slice raw;
    enum ap_rc rc = json_reader_skip(reader, &raw, err);
    if (rc != AP_OK)
        return rc;
    struct ap_slice *items =
        otlp_array_reserve(decoding->arena, later->items, later->count, &later->capacity, 1, sizeof(*items));
    if (!items)
        return fail_full(err);
    later->items = items;
    items[later->count++] = raw;
    return AP_OK;
}

/* `add` for each item of an array. */
static enum ap_rc read_array(struct decoding *decoding, struct json_reader *reader, add_fn add, struct ap_err *err)
{
    bool is_there;
    enum ap_rc rc = json_reader_begin_array(reader, err);
    while (rc == AP_OK && (rc = json_reader_next_item(reader, &is_there, err)) == AP_OK && is_there)
        rc = add(decoding, reader, err);
    return rc;
}

/* The same for arrays that were put off. */
static enum ap_rc read_later(struct decoding *decoding, const struct later *later, add_fn add, struct ap_err *err)
{
    enum ap_rc rc = AP_OK;
    for (size_t i = 0; i < later->count && rc == AP_OK; i++) {
        struct json_reader reader;
        begin(decoding, &reader, later->items[i]);
        rc = ended(decoding, &reader, read_array(decoding, &reader, add, err));
    }
    return rc;
}

/* ---- Metrics ---- */

static enum otlp_kind kind_of(struct ap_slice key)
{
    static const char *const names[] = {[OTLP_GAUGE] = "gauge",
                                        [OTLP_SUM] = "sum",
                                        [OTLP_HISTOGRAM] = "histogram",
                                        [OTLP_EXPONENTIAL] = "exponentialHistogram",
                                        [OTLP_SUMMARY] = "summary"};
    for (size_t i = OTLP_GAUGE; i < AP_ARRAY_COUNT(names); i++)
        if (ap_slice_equal_cstr(key, names[i]))
            return (enum otlp_kind)i;
    return OTLP_NO_DATA;
}

static enum ap_rc read_temporality(struct json_reader *reader, uint64_t *ret_temporality, struct ap_err *err)
{
    static const char *const names[] = {"AGGREGATION_TEMPORALITY_UNSPECIFIED", "AGGREGATION_TEMPORALITY_DELTA",
                                        "AGGREGATION_TEMPORALITY_CUMULATIVE"};
    enum json_kind kind;
    struct ap_slice text;
    enum ap_rc rc = json_reader_peek(reader, &kind, err);
    if (rc != AP_OK || kind != JSON_KIND_STRING)
        return rc == AP_OK ? read_u64(reader, ret_temporality, err) : rc;
    rc = json_reader_string(reader, &text, err);
    for (size_t i = 0; i < AP_ARRAY_COUNT(names) && rc == AP_OK; i++) {
        if (ap_slice_equal_cstr(text, names[i])) {
            *ret_temporality = i;
            return AP_OK;
        }
    }
    if (rc == AP_OK && !parse_u64(text, ret_temporality))
        rc = fail_value(reader, "1 (delta) or 2 (cumulative)", err);
    return rc;
}

/* A metric while it is read. */
struct reading_metric {
    struct otlp_metric metric;
    bool has_name, has_description, has_unit, has_temporality, is_monotonic_said;
    bool is_begun;       /* the sink knows it: what else is said of it comes too late */
    struct later points; /* that came before all that must be known of them */
};

static bool is_complete(const struct reading_metric *reading)
{
    enum otlp_kind kind = reading->metric.kind;
    bool has_data_head = kind == OTLP_GAUGE || kind == OTLP_SUMMARY ||
                         (reading->has_temporality && (kind != OTLP_SUM || reading->is_monotonic_said));
    return reading->has_name && reading->has_description && reading->has_unit && has_data_head;
}

/* In place if that can be; otherwise later: what they mean may stand behind them. */
static enum ap_rc read_points(struct decoding *decoding, struct json_reader *reader, struct reading_metric *reading,
                              struct ap_err *err)
{
    if (!is_complete(reading))
        return put_off(decoding, reader, &reading->points, err);
    enum ap_rc rc = reading->is_begun ? AP_OK : otlp_sink_begin_metric(decoding->sink, &reading->metric, err);
    reading->is_begun = true;
    return rc == AP_OK ? read_array(decoding, reader, add_point, err) : rc;
}

static enum ap_rc read_data(struct decoding *decoding, struct json_reader *reader, struct reading_metric *reading,
                            struct ap_err *err)
{
    struct ap_slice key;
    bool is_there;
    reading->points.count = 0; /* of several the last one counts */
    enum ap_rc rc = json_reader_begin_object(reader, err);
    while (rc == AP_OK && (rc = next_member(reader, &key, &is_there, err)) == AP_OK && is_there) {
        if (ap_slice_equal_cstr(key, "dataPoints")) {
            rc = read_points(decoding, reader, reading, err);
        } else if (ap_slice_equal_cstr(key, "aggregationTemporality")) {
            rc = read_temporality(reader, &reading->metric.temporality, err);
            reading->has_temporality = true;
        } else if (ap_slice_equal_cstr(key, "isMonotonic")) {
            rc = json_reader_boolean(reader, &reading->metric.is_monotonic, err);
            reading->is_monotonic_said = true;
        } else {
            rc = json_reader_skip(reader, NULL, err);
        }
    }
    return rc;
}

static enum ap_rc add_metric(struct decoding *decoding, struct json_reader *reader, struct ap_err *err)
{
    struct reading_metric reading = {
        .metric = {.name = ap_slice("", 0), .description = ap_slice("", 0), .unit = ap_slice("", 0)}};
    struct otlp_metric *metric = &reading.metric;
    struct ap_slice key;
    bool is_there;
    enum ap_rc rc = json_reader_begin_object(reader, err);
    while (rc == AP_OK && (rc = next_member(reader, &key, &is_there, err)) == AP_OK && is_there) {
        if (reading.is_begun) {
            rc = json_reader_skip(reader, NULL, err);
        } else if (ap_slice_equal_cstr(key, "name")) {
            rc = json_reader_string(reader, &metric->name, err);
            reading.has_name = true;
        } else if (ap_slice_equal_cstr(key, "description")) {
            rc = json_reader_string(reader, &metric->description, err);
            reading.has_description = true;
        } else if (ap_slice_equal_cstr(key, "unit")) {
            rc = json_reader_string(reader, &metric->unit, err);
            reading.has_unit = true;
        } else if (kind_of(key) != OTLP_NO_DATA) {
            metric->kind = kind_of(key);
            rc = read_data(decoding, reader, &reading, err);
        } else {
            rc = json_reader_skip(reader, NULL, err);
        }
    }
    if (rc == AP_OK && !reading.is_begun)
        rc = otlp_sink_begin_metric(decoding->sink, metric, err);
    return rc == AP_OK ? read_later(decoding, &reading.points, add_point, err) : rc;
}

/* ---- Scopes and resources ---- */

static enum ap_rc read_scope(struct decoding *decoding, struct json_reader *reader, struct otlp_scope *scope,
                             struct ap_err *err)
{
    struct ap_slice key;
    bool is_there;
    enum ap_rc rc = json_reader_begin_object(reader, err);
    while (rc == AP_OK && (rc = next_member(reader, &key, &is_there, err)) == AP_OK && is_there) {
        if (ap_slice_equal_cstr(key, "name"))
            rc = json_reader_string(reader, &scope->name, err);
        else if (ap_slice_equal_cstr(key, "version"))
            rc = json_reader_string(reader, &scope->version, err);
        else if (ap_slice_equal_cstr(key, "attributes"))
            rc = keep_attributes(decoding, reader, &scope->attributes, err);
        else
            rc = json_reader_skip(reader, NULL, err);
    }
    return rc;
}

static enum ap_rc add_scope(struct decoding *decoding, struct json_reader *reader, struct ap_err *err)
{
    struct otlp_scope scope = {.name = ap_slice("", 0), .version = ap_slice("", 0), .schema_url = ap_slice("", 0)};
    struct later metrics = {0};
    struct ap_slice key;
    bool is_there, has_scope = false, is_begun = false;
    enum ap_rc rc = json_reader_begin_object(reader, err);
    while (rc == AP_OK && (rc = next_member(reader, &key, &is_there, err)) == AP_OK && is_there) {
        bool is_enough = has_scope && (scope.schema_url.bytes || !otlp_sink_reads_scopes(decoding->sink));
        if (ap_slice_equal_cstr(key, "metrics") && (is_begun || is_enough)) {
            rc = is_begun ? AP_OK : otlp_sink_begin_scope(decoding->sink, &scope, err);
            is_begun = true;
            if (rc == AP_OK)
                rc = read_array(decoding, reader, add_metric, err);
        } else if (ap_slice_equal_cstr(key, "metrics")) {
            rc = put_off(decoding, reader, &metrics, err);
        } else if (ap_slice_equal_cstr(key, "scope") && !is_begun) {
            rc = read_scope(decoding, reader, &scope, err);
            has_scope = true;
        } else if (ap_slice_equal_cstr(key, "schemaUrl")) {
            rc = json_reader_string(reader, &scope.schema_url, err);
        } else {
            rc = json_reader_skip(reader, NULL, err);
        }
    }
    if (rc == AP_OK && !is_begun)
        rc = otlp_sink_begin_scope(decoding->sink, &scope, err);
    return rc == AP_OK ? read_later(decoding, &metrics, add_metric, err) : rc;
}

static enum ap_rc read_resource(struct decoding *decoding, struct json_reader *reader,
                                struct otlp_attributes *attributes, struct ap_err *err)
{
    struct ap_slice key;
    bool is_there;
    enum ap_rc rc = json_reader_begin_object(reader, err);
    while (rc == AP_OK && (rc = next_member(reader, &key, &is_there, err)) == AP_OK && is_there) {
        if (ap_slice_equal_cstr(key, "attributes"))
            rc = keep_attributes(decoding, reader, attributes, err);
        else
            rc = json_reader_skip(reader, NULL, err);
    }
    return rc;
}

static enum ap_rc add_resource(struct decoding *decoding, struct json_reader *reader, struct ap_err *err)
{
    struct otlp_attributes attributes = {0};
    struct later scopes = {0};
    struct ap_slice key;
    bool is_there, has_resource = false, is_begun = false;
    enum ap_rc rc = json_reader_begin_object(reader, err);
    while (rc == AP_OK && (rc = next_member(reader, &key, &is_there, err)) == AP_OK && is_there) {
        if (ap_slice_equal_cstr(key, "scopeMetrics") && has_resource) {
            rc = is_begun ? AP_OK : otlp_sink_begin_resource(decoding->sink, &attributes, err);
            is_begun = true;
            if (rc == AP_OK)
                rc = read_array(decoding, reader, add_scope, err);
        } else if (ap_slice_equal_cstr(key, "scopeMetrics")) {
            rc = put_off(decoding, reader, &scopes, err);
        } else if (ap_slice_equal_cstr(key, "resource") && !is_begun) {
            rc = read_resource(decoding, reader, &attributes, err);
            has_resource = true;
        } else {
            rc = json_reader_skip(reader, NULL, err);
        }
    }
    if (rc == AP_OK && !is_begun)
        rc = otlp_sink_begin_resource(decoding->sink, &attributes, err);
    if (rc == AP_OK)
        rc = read_later(decoding, &scopes, add_scope, err);
    return rc == AP_OK ? otlp_sink_end_resource(decoding->sink, err) : rc;
}

static enum ap_rc decode(struct decoding *decoding, struct json_reader *reader, struct ap_err *err)
{
    struct ap_slice key;
    bool is_there;
    enum ap_rc rc = json_reader_begin_object(reader, err);
    while (rc == AP_OK && (rc = next_member(reader, &key, &is_there, err)) == AP_OK && is_there) {
        if (ap_slice_equal_cstr(key, "resourceMetrics"))
            rc = read_array(decoding, reader, add_resource, err);
        else
            rc = json_reader_skip(reader, NULL, err);
    }
    return rc == AP_OK ? json_reader_finish(reader, err) : rc;
}

enum ap_rc otlp_json_decode(struct otlp_sink *sink, struct ap_slice text, struct ap_err *err)
{
    struct decoding decoding;
    struct json_reader reader;
    decoding.sink = sink;
    decoding.arena = otlp_sink_arena(sink);
    decoding.failed_at = NULL;
    begin(&decoding, &reader, text);
    enum ap_rc rc = ended(&decoding, &reader, decode(&decoding, &reader, err));
    if (rc != AP_E_PARSE)
        return rc;
    struct ap_err what = *err;
    return ap_fail(err, rc, "%s, at offset %zu of the decompressed body", what.text,
                   (size_t)(decoding.failed_at - text.data));
}
