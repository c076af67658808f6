/*
 * tsdb/int_column.h - a column of integers in few bits; internal to tsdb/chunk*.c
 *
 * What is packed is the smallest of: the numbers, their differences, the differences of those. Packed are distances
 * from a base, all in the same width or in one for every 64 numbers; the few that do not fit (a counter's reset among
 * steady steps) keep their lower bits in place and have the upper ones listed behind, so that they do not make the
 * others wide. All arithmetic is modulo 2^64: any numbers come back. Bytes: docs/format/tsdb.md, "Columns of integers".
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

enum {
    INT_COLUMN_COUNT_MAX = 1024,
    INT_COLUMN_PADDING = 16, /* decoding may write so many numbers behind the last one */
};

/* Appends; 1 ≤ count ≤ INT_COLUMN_COUNT_MAX. */
void int_column_encode(const int64_t *numbers, size_t count, struct ap_buf *out);
/* Cuts what it reads off *rest. False: malformed. ret_numbers needs room for INT_COLUMN_PADDING more. */
bool int_column_decode(struct ap_slice *rest, size_t count, int64_t *ret_numbers);
