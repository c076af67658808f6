/*
 * Values that somebody rounded: 21.5 is 215 / 10^1. Whether a double is such a number is not guessed: the integer,
 * divided again, must give the same bits, and division is what decoding does. IEEE 754 rounds it correctly, so every
 * decimal whose digits are below 2^53 passes at its exponent.
 */
#include <math.h>

#include "base/bits.h"
#include "base/mem.h"
#include "tsdb/bitpack.h"
#include "tsdb/chunk.h"
#include "tsdb/chunk_values.h"
#include "tsdb/int_column.h"
#include "tsdb/vectors.h"

enum {
    BLOCK = 64,     /* loops of constant length become vector instructions */
    SAMPLE = 16,    /* values looked at to find the exponent */
    FAILS_MAX = 6,  /* of the sample */
    PATCH_BITS = 74 /* what a value that is listed costs, about */
};

static const double powers_of_ten[EXPONENT_MAX + 1] = {1,   1e1, 1e2,  1e3,  1e4,  1e5,  1e6, 1e7,
                                                       1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14};
static const double SCALED_MAX = 9007199254740992.0; /* 2^53: every integer up to here is a double */
/* Up to here rounding by adding ROUNDER is exact: the sum's lowest bit is then worth 1. */
static const double ROUNDED_MAX = 2251799813685248.0; /* 2^51 */
static const double ROUNDER = 6755399441055744.0;     /* 2^52 + 2^51 */

struct decimal {
    unsigned exponent;
    int64_t scaled[CHUNK_SAMPLES_MAX + BLOCK];
    uint64_t patches[CHUNK_SAMPLES_MAX]; /* positions of the values that are no decimals */
    size_t patch_count;
};

/* ---- One value ---- */

static bool scale(double value, unsigned exponent, int64_t *ret_scaled)
{
    double product = value * powers_of_ten[exponent];
    if (!(fabs(product) <= SCALED_MAX))
        return false;
    *ret_scaled = llrint(product);
    return ap_double_to_bits((double)*ret_scaled / powers_of_ten[exponent]) == ap_double_to_bits(value);
}

/*
 * The lowest exponent at which the value passes; false: none. Tried is one, so high that the integer nearly fills its
 * 2^53, but not so high that the product's own rounding makes it another one; then zeros at the end are taken off.
 */
static bool needed_exponent(double value, unsigned *ret_exponent)
{
    int64_t scaled;
    unsigned exponent = EXPONENT_MAX;
    while (exponent > 0 && !(fabs(value) * powers_of_ten[exponent] <= ROUNDED_MAX / 4))
        exponent--;
    if (!scale(value, exponent, &scaled))
        return false;
    while (exponent > 0 && scaled % 10 == 0) {
        scaled /= 10;
        exponent--;
    }
    *ret_exponent = exponent;
    return true;
}

/* ---- All values ---- */

/* Returns how many of the BLOCK are not decimals at this exponent; their scaled[] is anything. */
WITH_VECTORS static uint64_t scale_block(const double *values, double power, int64_t *ret_scaled)
{
    uint64_t failed = 0;
    for (size_t i = 0; i < BLOCK; i++) {
        double product = values[i] * power;
        double sum = product + ROUNDER;
        double back = (sum - ROUNDER) / power;
        uint64_t has_failed =
            (ap_double_to_bits(back) != ap_double_to_bits(values[i])) | !(fabs(product) < ROUNDED_MAX);
        failed += has_failed;
        ret_scaled[i] = (int64_t)(ap_double_to_bits(sum) - ap_double_to_bits(ROUNDER));
    }
    return failed;
}

static void scale_all(const double *values, size_t count, unsigned exponent, struct decimal *decimal)
{
    double power = powers_of_ten[exponent];
    decimal->exponent = exponent;
    decimal->patch_count = 0;
    for (size_t first = 0; first < count; first += BLOCK) {
        double copy[BLOCK];
        const double *from = values + first;
        size_t block_count = AP_MIN((size_t)BLOCK, count - first);
        if (block_count < BLOCK) {
            memset(copy, 0, sizeof(copy));
            memcpy(copy, from, block_count * sizeof(*copy));
            from = copy;
        }
        if (scale_block(from, power, decimal->scaled + first) == 0)
            continue;
        for (size_t i = first; i < first + block_count; i++)
            if (!scale(values[i], exponent, &decimal->scaled[i]))
                decimal->patches[decimal->patch_count++] = i;
    }
}

/*
 * The exponent that makes the whole smallest when counts[e] values need e: a digit more makes each of `count` numbers
 * wider by log2(10) bits, about 10 / 3; a value whose digits do not fit is listed.
 */
static unsigned best_exponent(const size_t counts[EXPONENT_MAX + 1], unsigned from, size_t count)
{
    unsigned best = from;
    size_t passed = 0;
    size_t best_gain = 0;
    for (unsigned exponent = from + 1; exponent <= EXPONENT_MAX; exponent++) {
        passed += counts[exponent];
        size_t cost = count * (exponent - from) * 10 / 3;
        if (passed * PATCH_BITS > cost + best_gain) {
            best_gain = passed * PATCH_BITS - cost;
            best = exponent;
        }
    }
    return best;
}

/* False: too many of a sample have no exponent. NaN and infinities do not count: they come among decimals too. */
static bool sample_exponent(const double *values, size_t count, unsigned *ret_exponent)
{
    size_t step = (count + SAMPLE - 1) / SAMPLE;
    size_t counts[EXPONENT_MAX + 1] = {0};
    size_t failed = 0;
    size_t passed = 0;
    for (size_t i = 0; i < count && failed < FAILS_MAX; i += step) {
        unsigned exponent;
        if (needed_exponent(values[i], &exponent)) {
            counts[exponent]++;
            passed++;
        } else {
            failed += isfinite(values[i]) != 0;
        }
    }
    *ret_exponent = best_exponent(counts, 0, passed);
    return passed > failed;
}

/* Patches that are decimals at a higher exponent may be worth a higher one for all. True: there is one to try. */
static bool raise_exponent(const double *values, size_t count, const struct decimal *decimal, unsigned *ret_exponent)
{
    size_t counts[EXPONENT_MAX + 1] = {0};
    for (size_t i = 0; i < decimal->patch_count; i++) {
        unsigned exponent;
        if (needed_exponent(values[decimal->patches[i]], &exponent))
            counts[exponent]++;
    }
    *ret_exponent = best_exponent(counts, decimal->exponent, count);
    return *ret_exponent > decimal->exponent;
}

/* Numbers in the places of the patches, on a line between their neighbours, so that they are cheap at each order. */
static void fill_gaps(struct decimal *decimal, size_t count)
{
    for (size_t i = 0; i < decimal->patch_count;) {
        size_t first = decimal->patches[i];
        size_t behind = first;
        while (i < decimal->patch_count && decimal->patches[i] == behind) {
            i++;
            behind++;
        }
        int64_t right = behind < count ? decimal->scaled[behind] : first > 0 ? decimal->scaled[first - 1] : 0;
        int64_t left = first > 0 ? decimal->scaled[first - 1] : right;
        int64_t steps = (int64_t)(behind - first) + 1;
        for (int64_t k = 1; k < steps; k++) /* both are below 2^53 and steps below 2^11 */
            decimal->scaled[first + (size_t)k - 1] = left + (right - left) / steps * k;
    }
}

static void encode_patches(const double *values, size_t count, const struct decimal *decimal, struct ap_buf *out)
{
    bool are_equal = true;
    uint64_t first_bits = ap_double_to_bits(values[decimal->patches[0]]);
    for (size_t i = 1; i < decimal->patch_count; i++)
        are_equal = are_equal && ap_double_to_bits(values[decimal->patches[i]]) == first_bits;
    ap_buf_add_varint(out, decimal->patch_count << 1 | are_equal);
    bitpack_write(decimal->patches, decimal->patch_count, bitpack_bits(count - 1), out);
    for (size_t i = 0; i < (are_equal ? 1 : decimal->patch_count); i++)
        ap_buf_add_u64(out, ap_double_to_bits(values[decimal->patches[i]]));
}

bool chunk_encode_decimal(const double *values, size_t count, struct ap_buf *out, size_t *ret_patch_count)
{
    struct decimal decimal;
    unsigned exponent;
    if (!sample_exponent(values, count, &exponent))
        return false;
    scale_all(values, count, exponent, &decimal);
    while (decimal.patch_count && raise_exponent(values, count, &decimal, &exponent))
        scale_all(values, count, exponent, &decimal);
    if (decimal.patch_count > count / 2)
        return false;
    fill_gaps(&decimal, count);
    bool is_patched = decimal.patch_count > 0;
    ap_buf_add_char(out, (char)((is_patched ? CODEC_DECIMAL_PATCHED : CODEC_DECIMAL) | decimal.exponent << CODEC_BITS));
    int_column_encode(decimal.scaled, count, out);
    if (is_patched)
        encode_patches(values, count, &decimal, out);
    *ret_patch_count = decimal.patch_count;
    return true;
}

/*
 * Any int64 as the nearest double, with operations that vectors have: the halves become the lower bits of 2^52 and
 * 2^84, whose sum, with what was added taken off, is the number.
 */
WITH_VECTORS static void divide_block(const int64_t *scaled, double power, double *ret_values)
{
    const uint64_t low_bits = UINT64_C(0x4330000000000000);  /* 2^52 */
    const uint64_t high_bits = UINT64_C(0x4530000080000000); /* 2^84 + 2^63 */
    const double added = 0x1p84 + 0x1p63 + 0x1p52;
    for (size_t i = 0; i < BLOCK; i++) {
        uint64_t number = (uint64_t)scaled[i];
        double low = ap_double_of_bits((number & UINT32_MAX) | low_bits);
        double high = ap_double_of_bits(number >> 32 ^ high_bits);
        ret_values[i] = ((high - added) + low) / power;
    }
}

static bool decode_patches(struct ap_slice *rest, size_t count, double *values)
{
    uint64_t head;
    uint64_t positions[CHUNK_SAMPLES_MAX + BITPACK_PADDING];
    if (!bitpack_take_varint(rest, &head) || head >> 1 > count ||
        !bitpack_read(rest, (size_t)(head >> 1), bitpack_bits(count - 1), positions))
        return false;
    bool are_equal = head & 1;
    uint64_t bits = 0;
    for (size_t i = 0; i < head >> 1; i++) {
        if (((i == 0 || !are_equal) && !bitpack_take(rest, &bits, sizeof(bits))) || positions[i] >= count)
            return false;
        values[positions[i]] = ap_double_of_bits(bits);
    }
    return true;
}

bool chunk_decode_decimal(struct ap_slice *rest, size_t count, unsigned exponent, bool is_patched, double *ret_values)
{
    int64_t scaled[CHUNK_SAMPLES_MAX + BLOCK];
    if (exponent > EXPONENT_MAX || !int_column_decode(rest, count, scaled))
        return false;
    memset(scaled + count, 0, BLOCK * sizeof(*scaled));
    for (size_t i = 0; i < count; i += BLOCK)
        divide_block(scaled + i, powers_of_ten[exponent], ret_values + i);
    return !is_patched || decode_patches(rest, count, ret_values);
}

/* ---- Constants ---- */

void chunk_encode_constant(double value, struct ap_buf *out)
{
    unsigned exponent;
    int64_t scaled;
    if (needed_exponent(value, &exponent) && scale(value, exponent, &scaled)) {
        ap_buf_add_char(out, (char)(CODEC_CONSTANT | exponent << CODEC_BITS));
        ap_buf_add_varint(out, ap_zigzag(scaled));
    } else {
        ap_buf_add_char(out, (char)(CODEC_CONSTANT | EXPONENT_NONE << CODEC_BITS));
        ap_buf_add_u64(out, ap_double_to_bits(value));
    }
}

bool chunk_decode_constant(struct ap_slice *rest, size_t count, unsigned exponent, double *ret_values)
{
    uint64_t bits;
    double value;
    if (exponent == EXPONENT_NONE) {
        if (!bitpack_take(rest, &bits, sizeof(bits)))
            return false;
        value = ap_double_of_bits(bits);
    } else {
        if (!bitpack_take_varint(rest, &bits))
            return false;
        value = (double)ap_unzigzag(bits) / powers_of_ten[exponent];
    }
    for (size_t i = 0; i < count; i++)
        ret_values[i] = value;
    return true;
}
