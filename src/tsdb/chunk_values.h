/*
 * tsdb/chunk_values.h - the values of a chunk of floats; internal to tsdb/chunk*.c
 *
 *     constant   one value
 *     decimal    integers / 10^e as a column of integers; values that are none (NaN, -0, infinities) are listed behind
 *     split      the bits of the doubles, in the order of the numbers they stand for, as a column of integers: the
 * lower bits, which are noise, are packed as they are, the upper ones are distances from a base raw        8 bytes each
 *
 * The first byte has the codec in its lower bits and, where there is one, the exponent e above.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/slice.h"

enum value_codec {
    CODEC_CONSTANT,
    CODEC_DECIMAL,
    CODEC_DECIMAL_PATCHED, /* some values are listed */
    CODEC_SPLIT,
    CODEC_DISTINCT,
    CODEC_RAW,
    CODEC_COUNT,
};

enum {
    CODEC_BITS = 4, /* of the first byte */
    EXPONENT_MAX = 14,
    EXPONENT_NONE = 15, /* of a constant that is not a decimal */
};

void chunk_encode_values(const double *values, size_t count, struct ap_buf *out);
/* Writes up to 64 values behind the end of ret_values too. False: malformed. */
bool chunk_decode_values(struct ap_slice *rest, size_t count, double *ret_values);
const char *chunk_value_codec_name(uint8_t first_byte);

/* ---- chunk_values_decimal.c ---- */

/* Appends the values with their first byte; false, with nothing appended, when too many are not decimals.
 * *ret_patch_count: how many were not. */
bool chunk_encode_decimal(const double *values, size_t count, struct ap_buf *out, size_t *ret_patch_count);
bool chunk_decode_decimal(struct ap_slice *rest, size_t count, unsigned exponent, bool is_patched, double *ret_values);
/* One value, in the shortest form: its first byte and what follows. */
void chunk_encode_constant(double value, struct ap_buf *out);
bool chunk_decode_constant(struct ap_slice *rest, size_t count, unsigned exponent, double *ret_values);

/* ---- chunk_values_split.c: without a first byte ---- */

void chunk_encode_split(const double *values, size_t count, struct ap_buf *out);
bool chunk_decode_split(struct ap_slice *rest, size_t count, double *ret_values);

/* ---- chunk_values_distinct.c ---- */

/* Appends the values with their first byte; false, with nothing appended, when too many are distinct. */
bool chunk_encode_distinct(const double *values, size_t count, struct ap_buf *out);
bool chunk_decode_distinct(struct ap_slice *rest, size_t count, double *ret_values);
