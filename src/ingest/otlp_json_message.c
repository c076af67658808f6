#include "ingest/otlp_json_internal.h"

#include <string.h>

#include "codec/protobuf_json.h"
#include "ingest/otlp_array.h"
#include "ingest/otlp_value.h"

enum ap_rc otlp_json_fail_full(struct ap_err *err)
{
    return ap_fail(err, AP_E_LIMIT, "the request holds too much in its points; send it in smaller parts");
}

void otlp_json_begin(struct otlp_json *json, struct json_reader *reader, struct ap_slice text)
{
    json_reader_init(reader, text, json->arena, &json_reader_limits_default);
}

enum ap_rc otlp_json_ended(struct otlp_json *json, const struct json_reader *reader, enum ap_rc rc)
{
    if (rc != AP_OK && !json->failed_at)
        json->failed_at = reader->begin + json_reader_position(reader).offset;
    return rc;
}

/* ---- Values of attributes ---- */

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
        while (rc == AP_OK && (rc = protobuf_json_next_member(reader, &name, &is_there, err)) == AP_OK && is_there) {
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
    while (rc == AP_OK && (rc = protobuf_json_next_member(reader, &key, &is_there, err)) == AP_OK && is_there) {
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

static enum otlp_value_kind value_kind_of(struct ap_slice key)
{
    static const struct ap_slice names[] = {
        [OTLP_VALUE_STRING] = AP_SLICE_LITERAL("stringValue"), [OTLP_VALUE_BOOLEAN] = AP_SLICE_LITERAL("boolValue"),
        [OTLP_VALUE_INTEGER] = AP_SLICE_LITERAL("intValue"),   [OTLP_VALUE_DOUBLE] = AP_SLICE_LITERAL("doubleValue"),
        [OTLP_VALUE_BYTES] = AP_SLICE_LITERAL("bytesValue"),   [OTLP_VALUE_ARRAY] = AP_SLICE_LITERAL("arrayValue"),
        [OTLP_VALUE_MAP] = AP_SLICE_LITERAL("kvlistValue"),
    };
    for (size_t i = OTLP_VALUE_STRING; i < AP_ARRAY_COUNT(names); i++)
        if (ap_slice_equal(key, names[i]))
            return (enum otlp_value_kind)i;
    return OTLP_VALUE_EMPTY;
}

static enum ap_rc read_member_of_value(struct otlp_json *json, struct json_reader *reader, struct ap_slice key,
                                       struct otlp_value_tree *tree, struct otlp_value *value, struct ap_err *err)
{
    enum otlp_value_kind kind = value_kind_of(key);
    if (kind == OTLP_VALUE_EMPTY)
        return json_reader_skip(reader, NULL, err);
    value->kind = kind;
    switch (kind) {
    case OTLP_VALUE_STRING:
        return json_reader_string(reader, &value->text, err);
    case OTLP_VALUE_INTEGER:
        return protobuf_json_i64(reader, &value->integer, err);
    case OTLP_VALUE_DOUBLE:
        return protobuf_json_double(reader, &value->number, err);
    case OTLP_VALUE_BYTES:
        return protobuf_json_bytes(reader, json->arena, &value->text, err);
    case OTLP_VALUE_BOOLEAN: {
        bool is_true = false;
        enum ap_rc rc = json_reader_boolean(reader, &is_true, err);
        value->integer = is_true;
        return rc;
    }
    default:
        return read_container(reader, tree, value, err);
    }
}

static enum ap_rc read_value(void *context, struct otlp_value_tree *tree, struct otlp_value *value, struct ap_err *err)
{
    struct otlp_json *json = context;
    struct json_reader reader;
    struct ap_slice key;
    bool is_there;
    enum json_kind kind;
    if (value->text.bytes == 0)
        return AP_OK;
    otlp_json_begin(json, &reader, value->text);
    enum ap_rc rc = json_reader_peek(&reader, &kind, err);
    if (rc == AP_OK && kind == JSON_KIND_NULL)
        return AP_OK;
    if (rc == AP_OK)
        rc = json_reader_begin_object(&reader, err);
    while (rc == AP_OK && (rc = protobuf_json_next_member(&reader, &key, &is_there, err)) == AP_OK && is_there)
        rc = read_member_of_value(json, &reader, key, tree, value, err);
    return otlp_json_ended(json, &reader, rc);
}

/* ---- Attributes ---- */

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

static enum ap_rc read_attribute(struct otlp_json *json, struct json_reader *reader, struct otlp_attribute *attribute,
                                 struct ap_err *err)
{
    struct ap_slice key, raw = ap_slice("", 0);
    bool is_there, is_plain = false;
    attribute->key = ap_slice("", 0);
    enum ap_rc rc = json_reader_begin_object(reader, err);
    while (rc == AP_OK && (rc = protobuf_json_next_member(reader, &key, &is_there, err)) == AP_OK && is_there) {
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
    return otlp_value_text(json->arena, raw, read_value, json, &attribute->value, err);
}

/* Into the point's, which are as many as fit. */
static enum ap_rc read_point_attributes(struct otlp_json *json, struct json_reader *reader, struct ap_err *err)
{
    bool is_there;
    json->attribute_count = 0;
    enum ap_rc rc = json_reader_begin_array(reader, err);
    while (rc == AP_OK && (rc = json_reader_next_item(reader, &is_there, err)) == AP_OK && is_there) {
        if (json->attribute_count >= OTLP_ATTRIBUTES_MAX) {
            json->attribute_count = OTLP_ATTRIBUTES_MAX + 1;
            rc = json_reader_skip(reader, NULL, err);
        } else {
            rc = read_attribute(json, reader, &json->attributes[json->attribute_count++], err);
        }
    }
    return rc;
}

/* Into an array of their own; those above the maximum are left out. */
static enum ap_rc keep_attributes(struct otlp_json *json, struct json_reader *reader,
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
        attributes = otlp_array_reserve(json->arena, attributes, count, &capacity, 1, sizeof(*attributes));
        rc = attributes ? read_attribute(json, reader, &attributes[count++], err) : otlp_json_fail_full(err);
    }
    *ret_attributes = (struct otlp_attributes){.items = attributes, .count = count};
    return rc;
}

/* ---- Fields of messages that otlp_message.h describes ---- */

static enum ap_rc read_whole_double(struct json_reader *reader, double *ret_value, struct ap_err *err)
{
    int64_t value;
    enum ap_rc rc = protobuf_json_i64(reader, &value, err);
    if (rc == AP_OK)
        *ret_value = (double)value;
    return rc;
}

/* Hexadecimal digits, made lower-case; nothing for an id of zeros. */
static enum ap_rc read_id(struct otlp_json *json, struct json_reader *reader, struct ap_slice *ret_id,
                          struct ap_err *err)
{
    struct ap_slice text;
    bool is_zero = true;
    enum ap_rc rc = json_reader_string(reader, &text, err);
    if (rc != AP_OK)
        return rc;
    char *id = ap_arena_try_alloc(json->arena, text.bytes);
    if (!id)
        return otlp_json_fail_full(err);
    for (size_t i = 0; i < text.bytes; i++) {
        char c = text.data[i];
        c = c >= 'A' && c <= 'F' ? (char)(c - 'A' + 'a') : c;
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return protobuf_json_fail(reader, "hexadecimal digits", err);
        is_zero = is_zero && c == '0';
        id[i] = c;
    }
    *ret_id = is_zero ? ap_slice("", 0) : ap_slice(id, text.bytes);
    return AP_OK;
}

static enum ap_rc read_numbers(struct otlp_json *json, struct json_reader *reader, bool are_doubles,
                               struct otlp_numbers *ret_numbers, struct ap_err *err)
{
    struct otlp_numbers numbers = {0};
    bool is_there;
    enum ap_rc rc = json_reader_begin_array(reader, err);
    while (rc == AP_OK && (rc = json_reader_next_item(reader, &is_there, err)) == AP_OK && is_there) {
        if (!otlp_numbers_reserve(json->arena, &numbers, 1))
            return otlp_json_fail_full(err);
        rc = are_doubles ? protobuf_json_double(reader, &numbers.doubles[numbers.count], err)
                         : protobuf_json_u64(reader, &numbers.items[numbers.count], err);
        numbers.count++;
    }
    *ret_numbers = numbers;
    return rc;
}

static enum ap_rc read_messages(struct otlp_json *json, struct json_reader *reader, const struct otlp_message *message,
                                struct otlp_list *ret_list, struct ap_err *err)
{
    struct otlp_list list = {0};
    size_t capacity = 0;
    bool is_there;
    enum ap_rc rc = json_reader_begin_array(reader, err);
    while (rc == AP_OK && (rc = json_reader_next_item(reader, &is_there, err)) == AP_OK && is_there) {
        list.items = otlp_array_reserve(json->arena, list.items, list.count, &capacity, 1, message->bytes);
        if (!list.items)
            return otlp_json_fail_full(err);
        void *item = memset((char *)list.items + list.count++ * message->bytes, 0, message->bytes);
        rc = otlp_json_read_message(json, reader, message, item, err);
    }
    *ret_list = list;
    return rc;
}

static enum ap_rc read_field(struct otlp_json *json, struct json_reader *reader, const struct otlp_field *field,
                             void *to, struct ap_err *err)
{
    void *at = (char *)to + field->offset;
    if (field->said_offset)
        *((bool *)to + field->said_offset) = true;
    switch (field->kind) {
    case OTLP_FIELD_FIXED64:
    case OTLP_FIELD_VARINT:
        return protobuf_json_u64(reader, at, err);
    case OTLP_FIELD_SINT32:
        return protobuf_json_i32(reader, at, err);
    case OTLP_FIELD_DOUBLE:
        return protobuf_json_double(reader, at, err);
    case OTLP_FIELD_SFIXED64:
        return read_whole_double(reader, at, err);
    case OTLP_FIELD_TEXT:
        return json_reader_string(reader, at, err);
    case OTLP_FIELD_ID:
        return read_id(json, reader, at, err);
    case OTLP_FIELD_FIXED64S:
    case OTLP_FIELD_VARINTS:
        return read_numbers(json, reader, false, at, err);
    case OTLP_FIELD_DOUBLES:
        return read_numbers(json, reader, true, at, err);
    case OTLP_FIELD_MESSAGE:
        return otlp_json_read_message(json, reader, field->message, at, err);
    case OTLP_FIELD_MESSAGES:
        return read_messages(json, reader, field->message, at, err);
    case OTLP_FIELD_ATTRIBUTES:
        return keep_attributes(json, reader, at, err);
    case OTLP_FIELD_POINT_ATTRIBUTES:
        return read_point_attributes(json, reader, err);
    case OTLP_FIELD_NONE:
        break;
    }
    return json_reader_skip(reader, NULL, err);
}

/* Calls itself no deeper than the descriptions go, which are no circle. */
enum ap_rc otlp_json_read_message(struct otlp_json *json, struct json_reader *reader,
                                  const struct otlp_message *message, void *to, struct ap_err *err)
{
    struct ap_slice key;
    bool is_there;
    enum ap_rc rc = json_reader_begin_object(reader, err);
    while (rc == AP_OK && (rc = protobuf_json_next_member(reader, &key, &is_there, err)) == AP_OK && is_there) {
        const struct otlp_field *field = otlp_message_find(message, key);
        rc = field ? read_field(json, reader, field, to, err) : json_reader_skip(reader, NULL, err);
    }
    return rc;
}
