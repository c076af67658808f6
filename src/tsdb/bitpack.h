/*
 * tsdb/bitpack.h - small integers in as many bits as most of them need
 *
 * All numbers get the same width; the few that need more (a counter's reset among its steady steps) have their upper
 * bits listed behind. The width is the one that makes the whole smallest.
 *
 *     width (1 byte)  varint(outliers)  numbers, width bits each, little-endian  { varint(gap) varint(upper bits) }…
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

static inline uint64_t bitpack_zigzag(int64_t value)
{
    return ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
}
static inline int64_t bitpack_unzigzag(uint64_t value)
{
    return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

/* How many bytes bitpack_encode() will take, about; *ret_width is the best width. */
size_t bitpack_cost(const uint64_t *numbers, size_t count, unsigned *ret_width);
void bitpack_encode(const uint64_t *numbers, size_t count, unsigned width, struct ap_buf *out);
/* Cuts what it reads off *rest. False: the bytes are not what encoding makes. */
bool bitpack_decode(struct ap_slice *rest, size_t count, uint64_t *ret_numbers);

/* Shared by all that is in a chunk. */
bool bitpack_take_varint(struct ap_slice *rest, uint64_t *ret_value);
bool bitpack_take(struct ap_slice *rest, void *to, size_t bytes);
