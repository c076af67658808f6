#include "ingest/otlp_protobuf_internal.h"

#include <string.h>

#include "base/bits.h"
#include "ingest/otlp_array.h"
#include "ingest/otlp_value.h"

enum ap_rc otlp_protobuf_fail(struct otlp_protobuf *protobuf, const uint8_t *at, const char *what, struct ap_err *err)
{
    protobuf->malformed = at;
    return ap_fail(err, AP_E_PARSE, "malformed Protocol Buffers in %s", what);
}

static enum ap_rc fail_full(struct ap_err *err)
{
    return ap_fail(err, AP_E_LIMIT, "the request holds too much in its points; send it in smaller parts");
}

/* ---- Attributes ---- */

/* What an array or a map holds: values, or keys with values. */
static enum ap_rc add_children(struct otlp_protobuf *protobuf, struct otlp_value_tree *tree, struct otlp_value *value,
                               struct ap_slice message, struct ap_err *err)
{
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field, inner;
    enum ap_rc rc = AP_OK;
    while (rc == AP_OK && protobuf_next(&reader, &field)) {
        if (field.tag != BYTES(1))
            continue;
        struct ap_slice key = ap_slice("", 0), raw = field.bytes;
        if (value->kind == OTLP_VALUE_MAP) {
            struct protobuf_reader pair = protobuf_reader(field.bytes);
            raw = ap_slice("", 0);
            while (protobuf_next(&pair, &inner)) {
                if (inner.tag == BYTES(1))
                    key = inner.bytes;
                else if (inner.tag == BYTES(2))
                    raw = inner.bytes;
            }
            if (pair.is_malformed)
                return otlp_protobuf_fail(protobuf, pair.next, "an attribute", err);
        }
        rc = otlp_value_add_child(tree, value, key, raw, err);
    }
    return reader.is_malformed ? otlp_protobuf_fail(protobuf, reader.next, "an attribute", err) : rc;
}

static enum ap_rc read_value(void *context, struct otlp_value_tree *tree, struct otlp_value *value, struct ap_err *err)
{
    struct otlp_protobuf *protobuf = context;
    struct protobuf_reader reader = protobuf_reader(value->text);
    struct protobuf_field field;
    struct ap_slice children = {0};
    while (protobuf_next(&reader, &field)) {
        switch (field.tag) {
        case BYTES(1):
            value->kind = OTLP_VALUE_STRING;
            value->text = field.bytes;
            break;
        case VARINT(2):
            value->kind = OTLP_VALUE_BOOLEAN;
            value->integer = field.number != 0;
            break;
        case VARINT(3):
            value->kind = OTLP_VALUE_INTEGER;
            value->integer = (int64_t)field.number;
            break;
        case FIXED64(4):
            value->kind = OTLP_VALUE_DOUBLE;
            value->number = ap_double_of_bits(field.number);
            break;
        case BYTES(5):
        case BYTES(6):
            value->kind = field.tag == BYTES(5) ? OTLP_VALUE_ARRAY : OTLP_VALUE_MAP;
            children = field.bytes;
            break;
        case BYTES(7):
            value->kind = OTLP_VALUE_BYTES;
            value->text = field.bytes;
            break;
        default:
            break;
        }
    }
    if (reader.is_malformed)
        return otlp_protobuf_fail(protobuf, reader.next, "an attribute", err);
    if (value->kind == OTLP_VALUE_ARRAY || value->kind == OTLP_VALUE_MAP)
        return add_children(protobuf, tree, value, children, err);
    return AP_OK;
}

/*
 * A key and a string as everybody writes them, with lengths below 128: { 0x0a key 0x12 { 0x0a string } }. False: it is
 * something else.
 */
static inline bool read_plain_attribute(struct ap_slice message, struct otlp_attribute *attribute)
{
    const uint8_t *at = (const uint8_t *)message.data;
    size_t bytes = message.bytes;
    if (bytes < 6 || at[0] != BYTES(1) || at[1] > bytes - 6 || at[1] >= 0x80)
        return false;
    size_t key_bytes = at[1];
    const uint8_t *value = at + 2 + key_bytes;
    size_t value_bytes = bytes - key_bytes - 6;
    if (value_bytes >= 0x7e || value[0] != BYTES(2) || value[1] != value_bytes + 2 || value[2] != BYTES(1) ||
        value[3] != value_bytes)
        return false;
    attribute->key = ap_slice(at + 2, key_bytes);
    attribute->value = ap_slice(value + 4, value_bytes);
    return true;
}

static enum ap_rc read_any_attribute(struct otlp_protobuf *protobuf, struct ap_slice message,
                                     struct otlp_attribute *attribute, struct ap_err *err)
{
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    struct ap_slice value = ap_slice("", 0);
    attribute->key = ap_slice("", 0);
    while (protobuf_next(&reader, &field)) {
        if (field.tag == BYTES(1))
            attribute->key = field.bytes;
        else if (field.tag == BYTES(2))
            value = field.bytes;
    }
    if (reader.is_malformed)
        return otlp_protobuf_fail(protobuf, reader.next, "an attribute", err);
    return otlp_value_text(protobuf->arena, value, read_value, protobuf, &attribute->value, err);
}

static inline enum ap_rc read_attribute(struct otlp_protobuf *protobuf, struct ap_slice message,
                                        struct otlp_attribute *attribute, struct ap_err *err)
{
    return read_plain_attribute(message, attribute) ? AP_OK : read_any_attribute(protobuf, message, attribute, err);
}

/* Adds to protobuf->attributes. */
static inline enum ap_rc add_attribute(struct otlp_protobuf *protobuf, struct ap_slice message, struct ap_err *err)
{
    if (protobuf->attribute_count >= OTLP_ATTRIBUTES_MAX) {
        protobuf->attribute_count = OTLP_ATTRIBUTES_MAX + 1;
        return AP_OK;
    }
    return read_attribute(protobuf, message, &protobuf->attributes[protobuf->attribute_count++], err);
}

/* As many as stand one behind the other as everybody writes them. Returns where they end. */
static inline const uint8_t *add_plain_attributes(struct otlp_protobuf *protobuf, const uint8_t *at, const uint8_t *end,
                                                  uint8_t tag)
{
    size_t count = protobuf->attribute_count;
    while (end - at >= 2 && at[0] == tag && at[1] < 0x80 && at[1] <= end - at - 2 && count < OTLP_ATTRIBUTES_MAX &&
           read_plain_attribute(ap_slice(at + 2, at[1]), &protobuf->attributes[count])) {
        count++;
        at += 2 + at[1];
    }
    protobuf->attribute_count = count;
    return at;
}

/* ---- Fields of messages that otlp_message.h describes ---- */

/* Bytes in hexadecimal digits; nothing for an id of zeros, which stands for none. */
static enum ap_rc make_id(struct otlp_protobuf *protobuf, struct ap_slice bytes, struct ap_slice *ret_id,
                          struct ap_err *err)
{
    static const char digits[] = "0123456789abcdef";
    bool is_zero = true;
    for (size_t i = 0; i < bytes.bytes && is_zero; i++)
        is_zero = bytes.data[i] == 0;
    *ret_id = ap_slice("", 0);
    if (is_zero)
        return AP_OK;
    char *text = ap_arena_try_alloc(protobuf->arena, 2 * bytes.bytes);
    if (!text)
        return fail_full(err);
    for (size_t i = 0; i < bytes.bytes; i++) {
        text[2 * i] = digits[(uint8_t)bytes.data[i] >> 4];
        text[2 * i + 1] = digits[(uint8_t)bytes.data[i] & 15];
    }
    *ret_id = ap_slice(text, 2 * bytes.bytes);
    return AP_OK;
}

static size_t count_fields(struct ap_slice message, uint32_t tag)
{
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    size_t count = 0;
    while (protobuf_next(&reader, &field))
        count += field.tag == tag;
    return count;
}

/* Counts and bounds come in one field, or one in each. */
static enum ap_rc add_number(struct otlp_protobuf *protobuf, struct otlp_numbers *numbers, uint64_t number,
                             struct ap_err *err)
{
    if (!otlp_numbers_reserve(protobuf->arena, numbers, 1))
        return fail_full(err);
    numbers->items[numbers->count++] = number;
    return AP_OK;
}

static enum ap_rc add_packed_fixed(struct otlp_protobuf *protobuf, struct otlp_numbers *numbers, struct ap_slice packed,
                                   struct ap_err *err)
{
    const uint8_t *at = (const uint8_t *)packed.data;
    if (packed.bytes % 8)
        return otlp_protobuf_fail(protobuf, at, "a histogram", err);
    if (!otlp_numbers_reserve(protobuf->arena, numbers, packed.bytes / 8))
        return fail_full(err);
    for (size_t i = 0; i < packed.bytes; i += 8)
        numbers->items[numbers->count++] = protobuf_fixed64(at + i);
    return AP_OK;
}

static enum ap_rc add_packed_varints(struct otlp_protobuf *protobuf, struct otlp_numbers *numbers,
                                     struct ap_slice packed, struct ap_err *err)
{
    const uint8_t *at = (const uint8_t *)packed.data;
    const uint8_t *end = at + packed.bytes;
    if (!otlp_numbers_reserve(protobuf->arena, numbers, packed.bytes))
        return fail_full(err);
    while (at < end) {
        const uint8_t *next = protobuf_varint(at, end, &numbers->items[numbers->count]);
        if (!next)
            return otlp_protobuf_fail(protobuf, at, "a histogram", err);
        numbers->count++;
        at = next;
    }
    return AP_OK;
}

/* The next of the messages that are a field of `whole`, which is asked how many there are when the first one comes. */
static enum ap_rc add_message(struct otlp_protobuf *protobuf, const struct otlp_message *message,
                              const struct protobuf_field *field, struct ap_slice whole, struct otlp_list *list,
                              struct ap_err *err)
{
    if (!list->items)
        list->items = ap_arena_try_alloc(protobuf->arena, count_fields(whole, field->tag) * message->bytes);
    if (!list->items)
        return fail_full(err);
    void *item = memset((char *)list->items + list->count++ * message->bytes, 0, message->bytes);
    return otlp_protobuf_read_message(protobuf, message, field->bytes, item, err);
}

/* The same of attributes. Those above the maximum are left out. */
static enum ap_rc add_own_attribute(struct otlp_protobuf *protobuf, const struct protobuf_field *field,
                                    struct ap_slice whole, struct otlp_attributes *attributes, struct ap_err *err)
{
    if (!attributes->items)
        attributes->items =
            ap_arena_try_alloc(protobuf->arena, AP_MIN(count_fields(whole, field->tag), (size_t)OTLP_ATTRIBUTES_MAX) *
                                                    sizeof(*attributes->items));
    if (!attributes->items)
        return fail_full(err);
    if (attributes->count == OTLP_ATTRIBUTES_MAX)
        return AP_OK;
    return read_attribute(protobuf, field->bytes, &attributes->items[attributes->count++], err);
}

#define READ(kind, wire) ((uint32_t)(OTLP_FIELD_##kind) << 3 | (uint32_t)(PROTOBUF_##wire))

/* One field of `whole` into the struct `to`. One whose type on the wire is another is none that we know. (Where fields
 * come from they begin as {0}: the analyzer does not see that the tag says what is set in one.) */
static enum ap_rc read_field(struct otlp_protobuf *protobuf, const struct otlp_message *message,
                             const struct protobuf_field *from, struct ap_slice whole, void *to, struct ap_err *err)
{
    uint32_t number = from->tag >> 3;
    if (number >= message->field_count)
        return AP_OK;
    const struct otlp_field *field = &message->fields[number];
    void *at = (char *)to + field->offset;
    switch ((uint32_t)field->kind << 3 | (from->tag & 7)) {
    case READ(FIXED64, FIXED64):
    case READ(VARINT, VARINT):
        *(uint64_t *)at = from->number;
        break;
    case READ(SINT32, VARINT):
        *(int32_t *)at = (int32_t)ap_unzigzag((uint32_t)from->number);
        break;
    case READ(DOUBLE, FIXED64):
        *(double *)at = ap_double_of_bits(from->number);
        break;
    case READ(SFIXED64, FIXED64):
        *(double *)at = (double)(int64_t)from->number;
        break;
    case READ(TEXT, BYTES):
        *(struct ap_slice *)at = from->bytes;
        break;
    case READ(ID, BYTES):
        return make_id(protobuf, from->bytes, at, err);
    case READ(FIXED64S, BYTES):
    case READ(DOUBLES, BYTES):
        return add_packed_fixed(protobuf, at, from->bytes, err);
    case READ(VARINTS, BYTES):
        return add_packed_varints(protobuf, at, from->bytes, err);
    case READ(FIXED64S, FIXED64):
    case READ(DOUBLES, FIXED64):
    case READ(VARINTS, VARINT):
        return add_number(protobuf, at, from->number, err);
    case READ(MESSAGE, BYTES):
        return otlp_protobuf_read_message(protobuf, field->message, from->bytes, at, err);
    case READ(MESSAGES, BYTES):
        return add_message(protobuf, field->message, from, whole, at, err);
    case READ(ATTRIBUTES, BYTES):
        return add_own_attribute(protobuf, from, whole, at, err);
    case READ(POINT_ATTRIBUTES, BYTES):
        return add_attribute(protobuf, from->bytes, err);
    default:
        return AP_OK;
    }
    if (field->said_offset)
        *((bool *)to + field->said_offset) = true;
    return AP_OK;
}

/* Calls itself no deeper than the descriptions go, which are no circle. */
enum ap_rc otlp_protobuf_read_message(struct otlp_protobuf *protobuf, const struct otlp_message *message,
                                      struct ap_slice text, void *to, struct ap_err *err)
{
    struct protobuf_reader reader = protobuf_reader(text);
    struct protobuf_field field = {0};
    enum ap_rc rc = AP_OK;
    while (rc == AP_OK && protobuf_next(&reader, &field))
        rc = read_field(protobuf, message, &field, text, to, err);
    return reader.is_malformed ? otlp_protobuf_fail(protobuf, reader.next, message->what, err) : rc;
}

/* ---- Points of gauges and sums, which are most of all points ---- */

#define ATTRIBUTES_TAG BYTES(7)

/* Takes the field if it comes next. */
static inline const uint8_t *take_fixed64(const uint8_t *at, const uint8_t *end, uint8_t tag, uint64_t *ret_number)
{
    if (end - at < 9 || *at != tag)
        return at;
    *ret_number = protobuf_fixed64(at + 1);
    return at + 9;
}

/* The fields that begin nearly every one, in the order of their numbers: start, time, and asDouble or asInt. */
static inline const uint8_t *take_plain_fields(const uint8_t *at, const uint8_t *end, struct otlp_point *point)
{
    uint64_t bits = 0;
    at = take_fixed64(at, end, FIXED64(2), &point->start_ns);
    at = take_fixed64(at, end, FIXED64(3), &point->ts_ns);
    const uint8_t *value = take_fixed64(at, end, FIXED64(4), &bits);
    point->value = ap_double_of_bits(bits);
    if (value == at) {
        value = take_fixed64(at, end, FIXED64(6), &bits);
        point->value = (double)(int64_t)bits;
    }
    point->has_value = value > at;
    return value;
}

/* Where fields of this tag end that stand one behind the other. */
static inline const uint8_t *run_end(const uint8_t *at, const uint8_t *end, uint8_t tag)
{
    struct protobuf_reader reader = {.next = at, .end = end};
    struct protobuf_field field;
    for (; at < end && *at == tag; at = reader.next) {
        while (end - at >= 2 && at[0] == tag && at[1] < 0x80 && at[1] <= end - at - 2)
            at += 2 + at[1];
        reader.next = at;
        if (at == end || *at != tag || !protobuf_next(&reader, &field))
            return at;
    }
    return at;
}

/* `is_asking`: attributes need not be read that the sink knows. */
static enum ap_rc read_number_point(struct otlp_protobuf *protobuf, const struct otlp_message *message,
                                    struct ap_slice text, bool is_asking, struct otlp_point *point, struct ap_err *err)
{
    struct protobuf_reader reader = protobuf_reader(text);
    struct protobuf_field field = {0};
    const uint8_t *attributes_end = NULL; /* where the first run of attributes ends */
    enum ap_rc rc = AP_OK;
    reader.next = take_plain_fields(reader.next, reader.end, point);
    for (const uint8_t *at = reader.next; rc == AP_OK && protobuf_next(&reader, &field); at = reader.next) {
        if (field.tag != ATTRIBUTES_TAG) {
            rc = read_field(protobuf, message, &field, text, point, err);
            continue;
        }
        if (point->is_known) { /* there are more of them */
            *point = (struct otlp_point){.fault = NULL};
            return read_number_point(protobuf, message, text, false, point, err);
        }
        if (is_asking && !attributes_end) {
            attributes_end = run_end(at, reader.end, ATTRIBUTES_TAG);
            point->attributes.raw = ap_slice(at, (size_t)(attributes_end - at));
            point->is_known = otlp_sink_knows(protobuf->sink, point->attributes.raw);
            if (point->is_known) {
                reader.next = attributes_end;
                continue;
            }
        } else if (is_asking && at >= attributes_end) { /* they are not in one piece */
            point->attributes.raw = (struct ap_slice){0};
        }
        const uint8_t *behind = add_plain_attributes(protobuf, at, reader.end, ATTRIBUTES_TAG);
        if (behind > at)
            reader.next = behind;
        else
            rc = add_attribute(protobuf, field.bytes, err);
    }
    if (reader.is_malformed)
        return otlp_protobuf_fail(protobuf, reader.next, message->what, err);
    if (!attributes_end && is_asking) {
        point->attributes.raw = ap_slice("", 0);
        point->is_known = otlp_sink_knows(protobuf->sink, point->attributes.raw);
    }
    return rc;
}

enum ap_rc otlp_protobuf_add_point(struct otlp_protobuf *protobuf, enum otlp_kind kind, struct ap_slice text,
                                   struct ap_err *err)
{
    const struct otlp_message *message = otlp_point_message(kind);
    struct otlp_point point = {.fault = NULL};
    protobuf->attribute_count = 0;
    enum ap_rc rc =
        kind == OTLP_GAUGE || kind == OTLP_SUM
            ? read_number_point(protobuf, message, text, otlp_sink_is_worth_asking(protobuf->sink), &point, err)
            : otlp_protobuf_read_message(protobuf, message, text, &point, err);
    if (rc != AP_OK)
        return rc;
    if (protobuf->attribute_count > OTLP_ATTRIBUTES_MAX)
        point.fault = "a point has too many attributes";
    point.attributes.items = protobuf->attributes;
    point.attributes.count = AP_MIN(protobuf->attribute_count, (size_t)OTLP_ATTRIBUTES_MAX);
    return otlp_sink_add_point(protobuf->sink, &point, err);
}
