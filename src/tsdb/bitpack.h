/*
 * tsdb/bitpack.h - many numbers in the same few bits each, and how single numbers are written
 *
 * Number i of a packed row takes the bits [i * width, (i + 1) * width), counted from the lowest bit of the first byte
 * on; the row ends with a whole byte. Widths are 0 to 56 and 64: a number of up to 56 bits lies within the 8 bytes that
 * begin where it begins, so that one load, one shift and one mask read it.
 *
 * Reading functions take a slice, cut what they read off it, and answer false when it is too short.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

enum {
    BITPACK_WIDTH_NARROW_MAX = 56, /* above it there is only 64 */
    BITPACK_PADDING = 8,           /* bitpack_read() may write so many numbers behind the last one */
};

/* How many bits `number` has without its leading zeros. */
static inline unsigned bitpack_bits(uint64_t number)
{
    return number ? 64 - (unsigned)__builtin_clzll(number) : 0;
}

/* The narrowest width that there is for numbers of so many bits. */
static inline unsigned bitpack_width(unsigned bits)
{
    return bits <= BITPACK_WIDTH_NARROW_MAX ? bits : 64;
}

static inline uint64_t bitpack_mask(unsigned width)
{
    return width == 64 ? UINT64_MAX : (UINT64_C(1) << width) - 1;
}

static inline size_t bitpack_bytes(size_t count, unsigned width)
{
    return (count * width + 7) / 8;
}

/* Appends a row. Upper bits of the numbers that do not fit in `width` are left out. */
void bitpack_write(const uint64_t *numbers, size_t count, unsigned width, struct ap_buf *out);
/* False also when there is no such width. */
bool bitpack_read(struct ap_slice *rest, size_t count, unsigned width, uint64_t *ret_numbers);

bool bitpack_take_long_varint(struct ap_slice *rest, uint64_t *ret_value);
static inline bool bitpack_take_varint(struct ap_slice *rest, uint64_t *ret_value)
{
    if (rest->bytes == 0 || (uint8_t)*rest->data >= 0x80)
        return bitpack_take_long_varint(rest, ret_value);
    *ret_value = (uint8_t)*rest->data; /* most are one byte */
    *rest = ap_slice(rest->data + 1, rest->bytes - 1);
    return true;
}
bool bitpack_take(struct ap_slice *rest, void *to, size_t bytes);
