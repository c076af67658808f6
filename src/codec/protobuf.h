/*
 * codec/protobuf.h - Protocol Buffers, read in place
 *
 * A message is a row of fields; a reader walks over it without copying and without a schema: the caller switches over
 * tags. A message within a message is a field of bytes, for which the caller makes another reader: how deep that goes
 * is the caller's to limit.
 *
 *     struct protobuf_reader reader = protobuf_reader(message);
 *     struct protobuf_field field;
 *     while (protobuf_next(&reader, &field)) {
 *         switch (field.tag) {
 *         case PROTOBUF_TAG(1, PROTOBUF_BYTES): name = field.bytes; break;
 *         case PROTOBUF_TAG(2, PROTOBUF_VARINT): count = field.number; break;
 *         }                                        // others are of a newer schema: left alone
 *     }
 *     if (reader.is_malformed) …                   // reader.next is where
 *
 * All inline: this is the hot path of everything that comes in. The writer at the end is for what we send, and tests.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/bits.h"
#include "base/buf.h"
#include "base/slice.h"

enum protobuf_wire {
    PROTOBUF_VARINT = 0,
    PROTOBUF_FIXED64 = 1,
    PROTOBUF_BYTES = 2,
    /* 3 and 4 are groups, given up in 2008: malformed here */
    PROTOBUF_FIXED32 = 5,
};
#define PROTOBUF_TAG(number, wire) ((uint32_t)(number) << 3 | (uint32_t)(wire))

struct protobuf_reader {
    const uint8_t *next; /* the field to be read; where it went wrong when is_malformed */
    const uint8_t *end;
    bool is_malformed;
};

struct protobuf_field {
    uint32_t tag;          /* PROTOBUF_TAG() of number and wire type */
    uint64_t number;       /* of a varint or fixed field */
    struct ap_slice bytes; /* of a field of bytes; lent */
};

static inline struct protobuf_reader protobuf_reader(struct ap_slice message)
{
    const uint8_t *data = (const uint8_t *)message.data;
    return (struct protobuf_reader){.next = data, .end = data ? data + message.bytes : data};
}

/* Behind the varint at `at`, or NULL: it is cut off, or longer than the 10 bytes of a 64-bit one. */
static inline const uint8_t *protobuf_varint(const uint8_t *at, const uint8_t *end, uint64_t *ret_value)
{
    if (__builtin_expect(at < end && *at < 0x80, 1)) {
        *ret_value = *at;
        return at + 1;
    }
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70 && at < end; shift += 7) {
        uint8_t byte = *at++;
        if (shift == 63 && byte > 1)
            return NULL;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *ret_value = value;
            return at;
        }
    }
    return NULL;
}

static inline uint64_t protobuf_fixed64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof(value));
    return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? value : __builtin_bswap64(value);
}

static inline uint32_t protobuf_fixed32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? value : __builtin_bswap32(value);
}

/* False: the end was reached, or reader->is_malformed. */
static inline bool protobuf_next(struct protobuf_reader *reader, struct protobuf_field *ret_field)
{
    const uint8_t *at = reader->next;
    const uint8_t *end = reader->end;
    uint64_t tag;
    uint64_t number = 0;
    if (at == end)
        return false;
    at = protobuf_varint(at, end, &tag);
    if (!at || tag > UINT32_MAX || tag < 8) /* field number 0 is none */
        goto malformed;
    switch ((enum protobuf_wire)(tag & 7)) {
    case PROTOBUF_VARINT:
        at = protobuf_varint(at, end, &number);
        if (!at)
            goto malformed;
        break;
    case PROTOBUF_FIXED64:
        if (end - at < 8)
            goto malformed;
        number = protobuf_fixed64(at);
        at += 8;
        break;
    case PROTOBUF_BYTES:
        at = protobuf_varint(at, end, &number);
        if (!at || number > (uint64_t)(end - at))
            goto malformed;
        ret_field->bytes = ap_slice(at, (size_t)number);
        at += number;
        break;
    case PROTOBUF_FIXED32:
        if (end - at < 4)
            goto malformed;
        number = protobuf_fixed32(at);
        at += 4;
        break;
    default:
        goto malformed;
    }
    ret_field->tag = (uint32_t)tag;
    ret_field->number = number;
    reader->next = at;
    return true;

malformed:
    reader->is_malformed = true;
    return false;
}

/* What field.number means in fields of other types. */
/* ---- Writing: appends one field ---- */

static inline void protobuf_add_varint(struct ap_buf *out, uint32_t field, uint64_t value)
{
    ap_buf_add_varint(out, PROTOBUF_TAG(field, PROTOBUF_VARINT));
    ap_buf_add_varint(out, value);
}
static inline void protobuf_add_sint(struct ap_buf *out, uint32_t field, int64_t value)
{
    protobuf_add_varint(out, field, ap_zigzag(value));
}
static inline void protobuf_add_double(struct ap_buf *out, uint32_t field, double value)
{
    ap_buf_add_varint(out, PROTOBUF_TAG(field, PROTOBUF_FIXED64));
    ap_buf_add_u64(out, ap_double_to_bits(value));
}
static inline void protobuf_add_bytes(struct ap_buf *out, uint32_t field, struct ap_slice bytes)
{
    ap_buf_add_varint(out, PROTOBUF_TAG(field, PROTOBUF_BYTES));
    ap_buf_add_varint(out, bytes.bytes);
    ap_buf_add_slice(out, bytes);
}
static inline void protobuf_add_text(struct ap_buf *out, uint32_t field, const char *text)
{
    protobuf_add_bytes(out, field, ap_slice_cstr(text));
}
