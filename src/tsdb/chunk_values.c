#include "tsdb/chunk_values.h"

#include "base/bits.h"
#include "tsdb/bitpack.h"

enum {
    PATCHES_SHARE = 16, /* with more patches than one in so many, splitting may be smaller */
    WIDE_BYTES = 5,     /* decimals that take more bytes than this are not such a good description */
    NARROW_BYTES = 1,   /* what takes no more is left at that */
};

static bool is_constant(const double *values, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (ap_double_to_bits(values[i]) != ap_double_to_bits(values[0]))
            return false;
    return true;
}

/* Replaces what is between `start` and `second`, if there is anything, by what is behind when that is smaller. */
static void keep_smaller(struct ap_buf *out, size_t start, size_t second)
{
    size_t second_bytes = out->bytes - second;
    if (second > start && second_bytes < second - start && ap_buf_ok(out)) {
        memmove(out->data + start, out->data + second, second_bytes);
        out->bytes = start + second_bytes;
    } else if (second > start) {
        out->bytes = second;
    }
}

void chunk_encode_values(const double *values, size_t count, struct ap_buf *out)
{
    if (is_constant(values, count)) {
        chunk_encode_constant(values[0], out);
        return;
    }
    size_t start = out->bytes;
    size_t patch_count;
    if (chunk_encode_decimal(values, count, out, &patch_count) && patch_count <= count / PATCHES_SHARE &&
        out->bytes - start <= count * WIDE_BYTES)
        return;
    size_t second = out->bytes;
    if (chunk_encode_distinct(values, count, out))
        keep_smaller(out, start, second);
    if (out->bytes > start && out->bytes - start <= count * NARROW_BYTES)
        return;
    second = out->bytes;
    ap_buf_add_char(out, CODEC_SPLIT);
    chunk_encode_split(values, count, out);
    keep_smaller(out, start, second);
    if (out->bytes - start > count * sizeof(*values) + 1) {
        out->bytes = start;
        ap_buf_add_char(out, CODEC_RAW);
        ap_buf_add(out, values, count * sizeof(*values));
    }
}

bool chunk_decode_values(struct ap_slice *rest, size_t count, double *ret_values)
{
    uint8_t first;
    if (!bitpack_take(rest, &first, 1))
        return false;
    unsigned codec = first & ((1 << CODEC_BITS) - 1);
    unsigned exponent = first >> CODEC_BITS;
    switch (codec) {
    case CODEC_CONSTANT:
        return chunk_decode_constant(rest, count, exponent, ret_values);
    case CODEC_DECIMAL:
    case CODEC_DECIMAL_PATCHED:
        return chunk_decode_decimal(rest, count, exponent, codec == CODEC_DECIMAL_PATCHED, ret_values);
    case CODEC_SPLIT:
        return exponent == 0 && chunk_decode_split(rest, count, ret_values);
    case CODEC_DISTINCT:
        return exponent == 0 && chunk_decode_distinct(rest, count, ret_values);
    case CODEC_RAW:
        return exponent == 0 && bitpack_take(rest, ret_values, count * sizeof(*ret_values));
    default:
        return false;
    }
}

const char *chunk_value_codec_name(uint8_t first_byte)
{
    static const char *const names[CODEC_COUNT] = {"constant", "decimal", "decimal", "split", "distinct", "raw"};
    unsigned codec = first_byte & ((1 << CODEC_BITS) - 1);
    return codec < CODEC_COUNT ? names[codec] : "damaged";
}
