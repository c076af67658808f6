/*
 * base/bits.h - numbers as bits: doubles, and signed integers near zero as small unsigned ones (zigzag)
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t ap_double_to_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static inline double ap_double_of_bits(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* Whether they are the same to the bit: NaNs of one payload are, 0 and -0 are not. */
static inline bool ap_double_same(double a, double b)
{
    return ap_double_to_bits(a) == ap_double_to_bits(b);
}

/* All ones for a negative number, none for others. */
static inline uint64_t ap_sign_mask(int64_t value)
{
    return -(uint64_t)(value < 0);
}

/* 0, -1, 1, -2, 2… as 0, 1, 2, 3, 4…: as Protocol Buffers' sint64. */
static inline uint64_t ap_zigzag(int64_t value)
{
    return (uint64_t)value << 1 ^ ap_sign_mask(value);
}

static inline int64_t ap_unzigzag(uint64_t value)
{
    return (int64_t)(value >> 1 ^ -(value & 1));
}
