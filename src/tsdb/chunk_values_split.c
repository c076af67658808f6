/*
 * Doubles with a full mantissa, as integers. The sign's bit apart, the bits of a double as an integer rise with the
 * number it stands for, so that numbers near each other are integers near each other: their differences, or distances
 * from a base, are packed like those of any integers. Zeros that all have at the end (numbers that were float32 once)
 * are left out.
 */
#include "base/bits.h"
#include "base/mem.h"
#include "tsdb/bitpack.h"
#include "tsdb/chunk.h"
#include "tsdb/chunk_values.h"
#include "tsdb/int_column.h"

#define SIGN_BIT (UINT64_C(1) << 63)

void chunk_encode_split(const double *values, size_t count, struct ap_buf *out)
{
    int64_t numbers[CHUNK_SAMPLES_MAX];
    uint64_t any = 0;
    for (size_t i = 0; i < count; i++)
        any |= ap_double_to_bits(values[i]);
    any &= ~SIGN_BIT;
    unsigned zeros = any ? (unsigned)__builtin_ctzll(any) : 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t bits = ap_double_to_bits(values[i]);
        uint64_t sign = -(bits >> 63); /* all ones when negative: then the complement, so that -0 is not 0 */
        numbers[i] = (int64_t)((bits & ~SIGN_BIT) >> zeros ^ sign);
    }
    ap_buf_add_char(out, (char)zeros);
    int_column_encode(numbers, count, out);
}

bool chunk_decode_split(struct ap_slice *rest, size_t count, double *ret_values)
{
    int64_t numbers[CHUNK_SAMPLES_MAX + INT_COLUMN_PADDING];
    uint8_t zeros;
    if (!bitpack_take(rest, &zeros, 1) || zeros > 62 || !int_column_decode(rest, count, numbers))
        return false;
    for (size_t i = 0; i < count; i++) {
        uint64_t sign = ap_sign_mask(numbers[i]);
        ret_values[i] = ap_double_of_bits(((uint64_t)numbers[i] ^ sign) << zeros | (sign & SIGN_BIT));
    }
    return true;
}
