/*
 * tsdb/chunk_values.h - the values of a chunk of floats; internal to tsdb/chunk*.c
 *
 *     constant   one value
 *     decimal    integers / 10^e: the numbers themselves, their differences or differences of differences, packed;
 *                values that are none (NaN, -0, infinities) are listed beside them
 *     split      the upper bits by a dictionary of up to 8, the lower ones packed (after ALP-RD: Afroozeh, Kuffó,
 *                Boncz: ALP, Adaptive Lossless floating-Point Compression, SIGMOD 2023)
 *     xor        bytes in which a value differs from the one before
 *     raw        8 bytes each
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

void chunk_encode_values(const double *values, size_t count, struct ap_buf *out);
/* Writes up to 64 values behind the end of ret_values too. False: malformed. */
bool chunk_decode_values(struct ap_slice *rest, size_t count, double *ret_values);
const char *chunk_value_codec_name(uint8_t first_byte);
