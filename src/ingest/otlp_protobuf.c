#include "ingest/otlp_protobuf.h"

#include <string.h>

#include "base/bits.h"
#include "codec/protobuf.h"
#include "ingest/otlp_array.h"
#include "ingest/otlp_value.h"

#define BYTES(field)   PROTOBUF_TAG(field, PROTOBUF_BYTES)
#define VARINT(field)  PROTOBUF_TAG(field, PROTOBUF_VARINT)
#define FIXED64(field) PROTOBUF_TAG(field, PROTOBUF_FIXED64)

struct decoding {
    struct otlp_sink *sink;
    struct ap_arena *arena;
    const uint8_t *malformed;                              /* where, once something is; NULL otherwise */
    struct otlp_attribute attributes[OTLP_ATTRIBUTES_MAX]; /* of the point, resource or scope at hand */
};

static enum ap_rc fail_malformed(struct decoding *decoding, const uint8_t *at, const char *what, struct ap_err *err)
{
    decoding->malformed = at;
    return ap_fail(err, AP_E_PARSE, "malformed Protocol Buffers in %s", what);
}

static enum ap_rc fail_full(struct ap_err *err)
{
    return ap_fail(err, AP_E_LIMIT, "the request holds too much in its points; send it in smaller parts");
}

/* ---- Attributes ---- */

/* What an array or a map holds: values, or keys with values. */
static enum ap_rc add_children(struct decoding *decoding, struct otlp_value_tree *tree, struct otlp_value *value,
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
                return fail_malformed(decoding, pair.next, "an attribute", err);
        }
        rc = otlp_value_add_child(tree, value, key, raw, err);
    }
    return reader.is_malformed ? fail_malformed(decoding, reader.next, "an attribute", err) : rc;
}

static enum ap_rc read_value(void *context, struct otlp_value_tree *tree, struct otlp_value *value, struct ap_err *err)
{
    struct decoding *decoding = context;
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
        return fail_malformed(decoding, reader.next, "an attribute", err);
    if (value->kind == OTLP_VALUE_ARRAY || value->kind == OTLP_VALUE_MAP)
        return add_children(decoding, tree, value, children, err);
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

static enum ap_rc read_any_attribute(struct decoding *decoding, struct ap_slice message,
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
        return fail_malformed(decoding, reader.next, "an attribute", err);
    return otlp_value_text(decoding->arena, value, read_value, decoding, &attribute->value, err);
}

static inline enum ap_rc read_attribute(struct decoding *decoding, struct ap_slice message,
                                        struct otlp_attribute *attribute, struct ap_err *err)
{
    return read_plain_attribute(message, attribute) ? AP_OK : read_any_attribute(decoding, message, attribute, err);
}

/* Adds to decoding->attributes; *ret_count is how many there are, which may be one more than fit. */
static inline enum ap_rc add_attribute(struct decoding *decoding, struct ap_slice message, size_t *count,
                                       struct ap_err *err)
{
    if (*count >= OTLP_ATTRIBUTES_MAX) {
        *count = OTLP_ATTRIBUTES_MAX + 1;
        return AP_OK;
    }
    return read_attribute(decoding, message, &decoding->attributes[(*count)++], err);
}

/* As many as stand one behind the other as everybody writes them. Returns where they end. */
static inline const uint8_t *add_plain_attributes(struct decoding *decoding, const uint8_t *at, const uint8_t *end,
                                                  uint8_t tag, size_t *count)
{
    while (end - at >= 2 && at[0] == tag && at[1] < 0x80 && at[1] <= end - at - 2 && *count < OTLP_ATTRIBUTES_MAX &&
           read_plain_attribute(ap_slice(at + 2, at[1]), &decoding->attributes[*count])) {
        (*count)++;
        at += 2 + at[1];
    }
    return at;
}

/* ---- Exemplars ---- */

/* Bytes in hexadecimal digits; nothing for an id of zeros, which stands for none. */
static enum ap_rc make_id(struct decoding *decoding, struct ap_slice bytes, struct ap_slice *ret_id, struct ap_err *err)
{
    static const char digits[] = "0123456789abcdef";
    bool is_zero = true;
    for (size_t i = 0; i < bytes.bytes && is_zero; i++)
        is_zero = bytes.data[i] == 0;
    *ret_id = ap_slice("", 0);
    if (is_zero)
        return AP_OK;
    char *text = ap_arena_try_alloc(decoding->arena, 2 * bytes.bytes);
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

static enum ap_rc read_exemplar(struct decoding *decoding, struct ap_slice message, struct otlp_exemplar *exemplar,
                                struct ap_err *err)
{
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    size_t attribute_count = AP_MIN(count_fields(message, BYTES(7)), (size_t)OTLP_ATTRIBUTES_MAX);
    struct otlp_attribute *attributes = ap_arena_try_alloc(decoding->arena, attribute_count * sizeof(*attributes));
    enum ap_rc rc = AP_OK;
    *exemplar = (struct otlp_exemplar){.attributes = {.items = attributes}};
    if (!attributes)
        return fail_full(err);
    while (rc == AP_OK && protobuf_next(&reader, &field)) {
        switch (field.tag) {
        case FIXED64(2):
            exemplar->ts_ns = field.number;
            break;
        case FIXED64(3):
            exemplar->value = ap_double_of_bits(field.number);
            exemplar->has_value = true;
            break;
        case FIXED64(6):
            exemplar->value = (double)(int64_t)field.number;
            exemplar->has_value = true;
            break;
        case BYTES(4):
            rc = make_id(decoding, field.bytes, &exemplar->span_id, err);
            break;
        case BYTES(5):
            rc = make_id(decoding, field.bytes, &exemplar->trace_id, err);
            break;
        case BYTES(7):
            if (exemplar->attributes.count < attribute_count)
                rc = read_attribute(decoding, field.bytes, &attributes[exemplar->attributes.count++], err);
            break;
        default:
            break;
        }
    }
    return reader.is_malformed ? fail_malformed(decoding, reader.next, "an exemplar", err) : rc;
}

/* The exemplars of a point: its fields `tag`. */
static enum ap_rc read_exemplars(struct decoding *decoding, struct ap_slice message, uint32_t tag,
                                 struct otlp_point *point, struct ap_err *err)
{
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    size_t count = count_fields(message, tag);
    struct otlp_exemplar *exemplars = ap_arena_try_alloc(decoding->arena, count * sizeof(*exemplars));
    enum ap_rc rc = exemplars ? AP_OK : fail_full(err);
    point->exemplars = exemplars;
    while (rc == AP_OK && protobuf_next(&reader, &field))
        if (field.tag == tag)
            rc = read_exemplar(decoding, field.bytes, &exemplars[point->exemplar_count++], err);
    return rc;
}

/* ---- Points ---- */

/* Counts and bounds come in one field, or one in each. */
static enum ap_rc add_number(struct decoding *decoding, struct otlp_numbers *numbers, uint64_t number,
                             struct ap_err *err)
{
    if (!otlp_numbers_reserve(decoding->arena, numbers, 1))
        return fail_full(err);
    numbers->items[numbers->count++] = number;
    return AP_OK;
}

static enum ap_rc add_packed_fixed(struct decoding *decoding, struct otlp_numbers *numbers, struct ap_slice packed,
                                   struct ap_err *err)
{
    const uint8_t *at = (const uint8_t *)packed.data;
    if (packed.bytes % 8)
        return fail_malformed(decoding, at, "a histogram", err);
    if (!otlp_numbers_reserve(decoding->arena, numbers, packed.bytes / 8))
        return fail_full(err);
    for (size_t i = 0; i < packed.bytes; i += 8)
        numbers->items[numbers->count++] = protobuf_fixed64(at + i);
    return AP_OK;
}

static enum ap_rc add_packed_varints(struct decoding *decoding, struct otlp_numbers *numbers, struct ap_slice packed,
                                     struct ap_err *err)
{
    const uint8_t *at = (const uint8_t *)packed.data;
    const uint8_t *end = at + packed.bytes;
    if (!otlp_numbers_reserve(decoding->arena, numbers, packed.bytes))
        return fail_full(err);
    while (at < end) {
        const uint8_t *next = protobuf_varint(at, end, &numbers->items[numbers->count]);
        if (!next)
            return fail_malformed(decoding, at, "a histogram", err);
        numbers->count++;
        at = next;
    }
    return AP_OK;
}

/* Takes the field if it comes next. */
static inline const uint8_t *take_fixed64(const uint8_t *at, const uint8_t *end, uint8_t tag, uint64_t *ret_number)
{
    if (end - at < 9 || *at != tag)
        return at;
    *ret_number = protobuf_fixed64(at + 1);
    return at + 9;
}

/* The fields that begin nearly every point, in the order of their numbers. */
static inline const uint8_t *take_plain_fields(const uint8_t *at, const uint8_t *end, struct otlp_point *point)
{
    uint64_t bits = 0;
    at = take_fixed64(at, end, FIXED64(2), &point->start_ns);
    at = take_fixed64(at, end, FIXED64(3), &point->ts_ns);
    const uint8_t *value = take_fixed64(at, end, FIXED64(4), &bits);
    point->has_value = value > at;
    point->value = ap_double_of_bits(bits);
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
static enum ap_rc read_number_point(struct decoding *decoding, struct ap_slice message, bool is_asking,
                                    struct otlp_point *point, size_t *attribute_count, struct ap_err *err)
{
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    bool has_exemplars = false;
    const uint8_t *attributes_end = NULL; /* where the last run of attributes ends */
    enum ap_rc rc = AP_OK;
    reader.next = take_plain_fields(reader.next, reader.end, point);
    for (const uint8_t *at = reader.next; rc == AP_OK && protobuf_next(&reader, &field); at = reader.next) {
        const uint8_t *behind = at;
        switch (field.tag) {
        case BYTES(7):
            if (point->is_known) { /* there are more of them */
                *point = (struct otlp_point){.fault = NULL};
                return read_number_point(decoding, message, false, point, attribute_count, err);
            }
            if (is_asking && !attributes_end) {
                attributes_end = run_end(at, reader.end, BYTES(7));
                point->attributes.raw = ap_slice(at, (size_t)(attributes_end - at));
                point->is_known = otlp_sink_knows(decoding->sink, point->attributes.raw);
                if (point->is_known) {
                    reader.next = attributes_end;
                    break;
                }
            } else if (is_asking && at >= attributes_end) { /* they are not in one piece */
                point->attributes.raw = (struct ap_slice){0};
            }
            behind = add_plain_attributes(decoding, at, reader.end, BYTES(7), attribute_count);
            if (behind > at)
                reader.next = behind;
            else
                rc = add_attribute(decoding, field.bytes, attribute_count, err);
            break;
        case FIXED64(2):
            point->start_ns = field.number;
            break;
        case FIXED64(3):
            point->ts_ns = field.number;
            break;
        case FIXED64(4):
            point->value = ap_double_of_bits(field.number);
            point->has_value = true;
            break;
        case FIXED64(6):
            point->value = (double)(int64_t)field.number;
            point->has_value = true;
            break;
        case BYTES(5):
            has_exemplars = true;
            break;
        case VARINT(8):
            point->flags = field.number;
            break;
        default:
            break;
        }
    }
    if (reader.is_malformed)
        return fail_malformed(decoding, reader.next, "a point", err);
    if (!attributes_end && is_asking) {
        point->attributes.raw = ap_slice("", 0);
        point->is_known = otlp_sink_knows(decoding->sink, point->attributes.raw);
    }
    return rc == AP_OK && has_exemplars ? read_exemplars(decoding, message, BYTES(5), point, err) : rc;
}

static enum ap_rc read_histogram_point(struct decoding *decoding, struct ap_slice message, struct otlp_point *point,
                                       size_t *attribute_count, struct ap_err *err)
{
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    struct otlp_numbers counts = {0}, bounds = {0};
    bool has_exemplars = false;
    enum ap_rc rc = AP_OK;
    while (rc == AP_OK && protobuf_next(&reader, &field)) {
        switch (field.tag) {
        case BYTES(9):
            rc = add_attribute(decoding, field.bytes, attribute_count, err);
            break;
        case FIXED64(2):
            point->start_ns = field.number;
            break;
        case FIXED64(3):
            point->ts_ns = field.number;
            break;
        case FIXED64(4):
            point->count = field.number;
            break;
        case FIXED64(5):
            point->sum = ap_double_of_bits(field.number);
            point->has_sum = true;
            break;
        case BYTES(6):
            rc = add_packed_fixed(decoding, &counts, field.bytes, err);
            break;
        case FIXED64(6):
            rc = add_number(decoding, &counts, field.number, err);
            break;
        case BYTES(7):
            rc = add_packed_fixed(decoding, &bounds, field.bytes, err);
            break;
        case FIXED64(7):
            rc = add_number(decoding, &bounds, field.number, err);
            break;
        case BYTES(8):
            has_exemplars = true;
            break;
        case VARINT(10):
            point->flags = field.number;
            break;
        default:
            break;
        }
    }
    if (reader.is_malformed)
        return fail_malformed(decoding, reader.next, "a histogram", err);
    _Static_assert(sizeof(double) == sizeof(uint64_t), "bounds are doubles, bit by bit");
    point->bucket_counts = counts.items;
    point->bucket_count = counts.count;
    point->bounds = (const double *)(const void *)bounds.items;
    point->bound_count = bounds.count;
    return rc == AP_OK && has_exemplars ? read_exemplars(decoding, message, BYTES(8), point, err) : rc;
}

static enum ap_rc read_buckets(struct decoding *decoding, struct ap_slice message, struct otlp_buckets *buckets,
                               struct ap_err *err)
{
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    struct otlp_numbers counts = {0};
    enum ap_rc rc = AP_OK;
    while (rc == AP_OK && protobuf_next(&reader, &field)) {
        if (field.tag == VARINT(1))
            buckets->offset = (int32_t)ap_unzigzag((uint32_t)field.number);
        else if (field.tag == BYTES(2))
            rc = add_packed_varints(decoding, &counts, field.bytes, err);
        else if (field.tag == VARINT(2))
            rc = add_number(decoding, &counts, field.number, err);
    }
    buckets->counts = counts.items;
    buckets->count = counts.count;
    return reader.is_malformed ? fail_malformed(decoding, reader.next, "a histogram", err) : rc;
}

static enum ap_rc read_exponential_point(struct decoding *decoding, struct ap_slice message, struct otlp_point *point,
                                         size_t *attribute_count, struct ap_err *err)
{
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    bool has_exemplars = false;
    enum ap_rc rc = AP_OK;
    while (rc == AP_OK && protobuf_next(&reader, &field)) {
        switch (field.tag) {
        case BYTES(1):
            rc = add_attribute(decoding, field.bytes, attribute_count, err);
            break;
        case FIXED64(2):
            point->start_ns = field.number;
            break;
        case FIXED64(3):
            point->ts_ns = field.number;
            break;
        case FIXED64(4):
            point->count = field.number;
            break;
        case FIXED64(5):
            point->sum = ap_double_of_bits(field.number);
            point->has_sum = true;
            break;
        case VARINT(6):
            point->scale = (int32_t)ap_unzigzag((uint32_t)field.number);
            break;
        case FIXED64(7):
            point->zero_count = field.number;
            break;
        case BYTES(8):
            rc = read_buckets(decoding, field.bytes, &point->positive, err);
            break;
        case BYTES(9):
            rc = read_buckets(decoding, field.bytes, &point->negative, err);
            break;
        case VARINT(10):
            point->flags = field.number;
            break;
        case BYTES(11):
            has_exemplars = true;
            break;
        case FIXED64(14):
            point->zero_threshold = ap_double_of_bits(field.number);
            break;
        default:
            break;
        }
    }
    if (reader.is_malformed)
        return fail_malformed(decoding, reader.next, "a histogram", err);
    return rc == AP_OK && has_exemplars ? read_exemplars(decoding, message, BYTES(11), point, err) : rc;
}

static enum ap_rc read_quantile(struct decoding *decoding, struct ap_slice message, struct otlp_quantile *quantile,
                                struct ap_err *err)
{
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    *quantile = (struct otlp_quantile){0};
    while (protobuf_next(&reader, &field)) {
        if (field.tag == FIXED64(1))
            quantile->quantile = ap_double_of_bits(field.number);
        else if (field.tag == FIXED64(2))
            quantile->value = ap_double_of_bits(field.number);
    }
    return reader.is_malformed ? fail_malformed(decoding, reader.next, "a summary", err) : AP_OK;
}

static enum ap_rc read_summary_point(struct decoding *decoding, struct ap_slice message, struct otlp_point *point,
                                     size_t *attribute_count, struct ap_err *err)
{
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    size_t count = count_fields(message, BYTES(6));
    struct otlp_quantile *quantiles = ap_arena_try_alloc(decoding->arena, count * sizeof(*quantiles));
    enum ap_rc rc = quantiles ? AP_OK : fail_full(err);
    point->quantiles = quantiles;
    while (rc == AP_OK && protobuf_next(&reader, &field)) {
        switch (field.tag) {
        case BYTES(7):
            rc = add_attribute(decoding, field.bytes, attribute_count, err);
            break;
        case FIXED64(2):
            point->start_ns = field.number;
            break;
        case FIXED64(3):
            point->ts_ns = field.number;
            break;
        case FIXED64(4):
            point->count = field.number;
            break;
        case FIXED64(5):
            point->sum = ap_double_of_bits(field.number);
            point->has_sum = true;
            break;
        case BYTES(6):
            rc = read_quantile(decoding, field.bytes, &quantiles[point->quantile_count++], err);
            break;
        case VARINT(8):
            point->flags = field.number;
            break;
        default:
            break;
        }
    }
    return reader.is_malformed ? fail_malformed(decoding, reader.next, "a summary", err) : rc;
}

static enum ap_rc add_point(struct decoding *decoding, enum otlp_kind kind, struct ap_slice message, struct ap_err *err)
{
    struct otlp_point point = {.fault = NULL};
    size_t attribute_count = 0;
    enum ap_rc rc = AP_OK;
    switch (kind) {
    case OTLP_GAUGE:
    case OTLP_SUM:
        rc = read_number_point(decoding, message, otlp_sink_is_worth_asking(decoding->sink), &point, &attribute_count,
                               err);
        break;
    case OTLP_HISTOGRAM:
        rc = read_histogram_point(decoding, message, &point, &attribute_count, err);
        break;
    case OTLP_EXPONENTIAL:
        rc = read_exponential_point(decoding, message, &point, &attribute_count, err);
        break;
    case OTLP_SUMMARY:
        rc = read_summary_point(decoding, message, &point, &attribute_count, err);
        break;
    default:
        return AP_OK;
    }
    if (rc != AP_OK)
        return rc;
    if (attribute_count > OTLP_ATTRIBUTES_MAX)
        point.fault = "a point has too many attributes";
    point.attributes.items = decoding->attributes;
    point.attributes.count = AP_MIN(attribute_count, (size_t)OTLP_ATTRIBUTES_MAX);
    return otlp_sink_add_point(decoding->sink, &point, err);
}

/* ---- Metrics ---- */

static enum otlp_kind kind_of(uint32_t tag)
{
    switch (tag) {
    case BYTES(5):
        return OTLP_GAUGE;
    case BYTES(7):
        return OTLP_SUM;
    case BYTES(9):
        return OTLP_HISTOGRAM;
    case BYTES(10):
        return OTLP_EXPONENTIAL;
    case BYTES(11):
        return OTLP_SUMMARY;
    default:
        return OTLP_NO_DATA;
    }
}

/* The small fields of a metric's data, which may stand behind its points: *data ends with these then. */
static enum ap_rc read_data_head(struct decoding *decoding, struct ap_slice *data, struct otlp_metric *metric,
                                 struct ap_err *err)
{
    struct protobuf_reader reader = protobuf_reader(*data);
    struct protobuf_field field;
    data->bytes = 0;
    while (protobuf_next(&reader, &field)) {
        if (field.tag == BYTES(1))
            data->bytes = (size_t)((const char *)reader.next - data->data);
        else if (field.tag == VARINT(2))
            metric->temporality = field.number;
        else if (field.tag == VARINT(3))
            metric->is_monotonic = field.number != 0;
    }
    return reader.is_malformed ? fail_malformed(decoding, reader.next, "a metric", err) : AP_OK;
}

/* Its head as it was last time, and behind it nothing but data. */
static bool read_expected_metric(struct decoding *decoding, struct ap_slice message, struct otlp_metric *metric,
                                 struct ap_slice *ret_data)
{
    const struct otlp_metric *expected = otlp_sink_expected_metric(decoding->sink, message);
    uint64_t bytes;
    if (!expected || expected->head.bytes == message.bytes)
        return false;
    const uint8_t *at = (const uint8_t *)message.data + expected->head.bytes;
    const uint8_t *end = (const uint8_t *)message.data + message.bytes;
    enum otlp_kind kind = kind_of(*at);
    at = protobuf_varint(at + 1, end, &bytes);
    if (kind == OTLP_NO_DATA || !at || bytes != (uint64_t)(end - at))
        return false;
    *metric = *expected;
    metric->kind = kind;
    metric->is_monotonic = false;
    metric->temporality = OTLP_UNSPECIFIED;
    *ret_data = ap_slice(at, (size_t)bytes);
    return true;
}

static enum ap_rc read_metric(struct decoding *decoding, struct ap_slice message, struct otlp_metric *metric,
                              struct ap_slice *ret_data, struct ap_err *err)
{
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    const uint8_t *head_end = NULL; /* what is behind is nothing but data */
    for (const uint8_t *at = reader.next; protobuf_next(&reader, &field); at = reader.next) {
        head_end = NULL;
        if (field.tag == BYTES(1)) {
            metric->name = field.bytes;
        } else if (field.tag == BYTES(2)) {
            metric->description = field.bytes;
        } else if (field.tag == BYTES(3)) {
            metric->unit = field.bytes;
        } else if (kind_of(field.tag) != OTLP_NO_DATA) {
            metric->kind = kind_of(field.tag);
            *ret_data = field.bytes;
            head_end = at;
        }
    }
    if (reader.is_malformed)
        return fail_malformed(decoding, reader.next, "a metric", err);
    if (head_end)
        metric->head = ap_slice(message.data, (size_t)((const char *)head_end - message.data));
    return AP_OK;
}

static enum ap_rc add_metric(struct decoding *decoding, struct ap_slice message, struct ap_err *err)
{
    struct otlp_metric metric = {.name = ap_slice("", 0), .description = ap_slice("", 0), .unit = ap_slice("", 0)};
    struct ap_slice data = {0};
    enum ap_rc rc = AP_OK;
    if (!read_expected_metric(decoding, message, &metric, &data))
        rc = read_metric(decoding, message, &metric, &data, err);
    if (rc == AP_OK)
        rc = read_data_head(decoding, &data, &metric, err);
    if (rc == AP_OK)
        rc = otlp_sink_begin_metric(decoding->sink, &metric, err);
    struct protobuf_reader reader = protobuf_reader(data);
    struct protobuf_field field;
    while (rc == AP_OK && protobuf_next(&reader, &field))
        if (field.tag == BYTES(1))
            rc = add_point(decoding, metric.kind, field.bytes, err);
    return rc;
}

/* ---- Scopes and resources ---- */

/* All attributes of a message, its fields `tag`. Those above the maximum are left out. */
static enum ap_rc read_attributes(struct decoding *decoding, struct ap_slice message, uint32_t tag, const char *what,
                                  struct otlp_attributes *ret_attributes, struct ap_err *err)
{
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    size_t count = AP_MIN(count_fields(message, tag), (size_t)OTLP_ATTRIBUTES_MAX);
    struct otlp_attribute *attributes = ap_arena_try_alloc(decoding->arena, count * sizeof(*attributes));
    *ret_attributes = (struct otlp_attributes){.items = attributes, .raw = message};
    enum ap_rc rc = attributes ? AP_OK : fail_full(err);
    while (rc == AP_OK && protobuf_next(&reader, &field))
        if (field.tag == tag && ret_attributes->count < count)
            rc = read_attribute(decoding, field.bytes, &attributes[ret_attributes->count++], err);
    return reader.is_malformed ? fail_malformed(decoding, reader.next, what, err) : rc;
}

static enum ap_rc read_scope(struct decoding *decoding, struct ap_slice message, struct otlp_scope *scope,
                             struct ap_err *err)
{
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    while (protobuf_next(&reader, &field)) {
        if (field.tag == BYTES(1))
            scope->name = field.bytes;
        else if (field.tag == BYTES(2))
            scope->version = field.bytes;
    }
    return read_attributes(decoding, message, BYTES(3), "a scope", &scope->attributes, err);
}

static enum ap_rc add_scope(struct decoding *decoding, struct ap_slice message, struct ap_err *err)
{
    struct otlp_scope scope = {.name = ap_slice("", 0), .version = ap_slice("", 0), .schema_url = ap_slice("", 0)};
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    size_t scope_count = 0;
    bool is_begun = !otlp_sink_reads_scopes(decoding->sink); /* then one pass is enough */
    enum ap_rc rc = is_begun ? otlp_sink_begin_scope(decoding->sink, &scope, err) : AP_OK;
    while (rc == AP_OK && protobuf_next(&reader, &field)) {
        if (field.tag == BYTES(1)) {
            rc = read_scope(decoding, field.bytes, &scope, err);
            scope_count++;
        } else if (field.tag == BYTES(3)) {
            scope.schema_url = field.bytes;
        } else if (field.tag == BYTES(2) && is_begun) {
            rc = add_metric(decoding, field.bytes, err);
        }
    }
    if (reader.is_malformed)
        return fail_malformed(decoding, reader.next, "a scope's metrics", err);
    if (is_begun || rc != AP_OK)
        return rc;
    if (scope_count != 1) /* what several say is put together */
        scope.attributes.raw = scope_count == 0 ? ap_slice("", 0) : (struct ap_slice){0};
    rc = otlp_sink_begin_scope(decoding->sink, &scope, err);
    reader = protobuf_reader(message);
    while (rc == AP_OK && protobuf_next(&reader, &field))
        if (field.tag == BYTES(2))
            rc = add_metric(decoding, field.bytes, err);
    return rc;
}

static enum ap_rc add_resource(struct decoding *decoding, struct ap_slice message, struct ap_err *err)
{
    struct otlp_attributes attributes = {.raw = ap_slice("", 0)};
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    enum ap_rc rc = AP_OK;
    while (rc == AP_OK && protobuf_next(&reader, &field))
        if (field.tag == BYTES(1))
            rc = read_attributes(decoding, field.bytes, BYTES(1), "a resource", &attributes, err);
    if (reader.is_malformed)
        return fail_malformed(decoding, reader.next, "a resource's metrics", err);
    if (rc == AP_OK)
        rc = otlp_sink_begin_resource(decoding->sink, &attributes, err);
    reader = protobuf_reader(message);
    while (rc == AP_OK && protobuf_next(&reader, &field))
        if (field.tag == BYTES(2))
            rc = add_scope(decoding, field.bytes, err);
    return rc == AP_OK ? otlp_sink_end_resource(decoding->sink, err) : rc;
}

static enum ap_rc decode(struct decoding *decoding, struct ap_slice message, struct ap_err *err)
{
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    enum ap_rc rc = AP_OK;
    while (rc == AP_OK && protobuf_next(&reader, &field))
        if (field.tag == BYTES(1))
            rc = add_resource(decoding, field.bytes, err);
    return reader.is_malformed ? fail_malformed(decoding, reader.next, "the request", err) : rc;
}

enum ap_rc otlp_protobuf_decode(struct otlp_sink *sink, struct ap_slice message, struct ap_err *err)
{
    struct decoding decoding;
    decoding.sink = sink;
    decoding.arena = otlp_sink_arena(sink);
    decoding.malformed = NULL;
    enum ap_rc rc = decode(&decoding, message, err);
    if (rc != AP_E_PARSE || !decoding.malformed)
        return rc;
    struct ap_err what = *err;
    return ap_fail(err, rc, "%s, at offset %zu of the decompressed body", what.text,
                   (size_t)(decoding.malformed - (const uint8_t *)message.data));
}
