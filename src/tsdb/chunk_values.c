#include "tsdb/chunk_values.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "tsdb/bitpack.h"
#include "tsdb/chunk.h"

enum value_codec { CODEC_CONSTANT, CODEC_DECIMAL, CODEC_SPLIT, CODEC_XOR, CODEC_RAW, CODEC_COUNT };
enum { EXPONENT_MAX = 15, TRANSFORM_SHIFT = 4, DICTIONARY_MAX = 8, EXCEPTIONS_MAX_SHARE = 8 };

/* How decimals become small numbers. */
enum transform { TRANSFORM_OFFSETS, TRANSFORM_DELTAS, TRANSFORM_DELTAS_OF_DELTAS, TRANSFORM_COUNT };

static const double powers_of_ten[EXPONENT_MAX + 1] = {1,   1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                        1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
static const double SCALED_MAX = 9007199254740992.0; /* 2^53 */

static inline uint64_t bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static inline double double_of(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* ---- Decimal ---- */

static inline bool scale(double value, unsigned exponent, int64_t *ret_scaled)
{
    double product = value * powers_of_ten[exponent];
    if (!(fabs(product) <= SCALED_MAX))
        return false;
    int64_t scaled = (int64_t)(product + (product < 0 ? -0.5 : 0.5));
    *ret_scaled = scaled;
    return bits_of((double)scaled / powers_of_ten[exponent]) == bits_of(value);
}

struct decimal {
    unsigned exponent;
    int64_t scaled[CHUNK_SAMPLES_MAX];
    uint16_t exceptions[CHUNK_SAMPLES_MAX / EXCEPTIONS_MAX_SHARE + 1]; /* positions */
    size_t exception_count;
};

/* All values at this exponent; false: too many are not decimals there. */
static bool scale_all(const double *values, size_t count, unsigned exponent, struct decimal *decimal)
{
    int64_t before = 0;
    decimal->exponent = exponent;
    decimal->exception_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (!scale(values[i], exponent, &decimal->scaled[i])) {
            if (decimal->exception_count >= 1 + count / EXCEPTIONS_MAX_SHARE - (count >= EXCEPTIONS_MAX_SHARE))
                return false;
            decimal->exceptions[decimal->exception_count++] = (uint16_t)i;
            decimal->scaled[i] = before; /* costs nothing */
        }
        before = decimal->scaled[i];
    }
    return true;
}

/* The lowest exponent at which nearly all values are integers. Most chunks tell by a few of their values. */
static bool find_decimal(const double *values, size_t count, struct decimal *decimal)
{
    unsigned exponent = 0;
    size_t step = count > 16 ? count / 16 : 1;
    size_t tried = 0;
    size_t failed = 0;
    for (size_t i = 0; i < count; i += step, tried++) {
        int64_t scaled;
        unsigned needed = exponent;
        while (needed <= EXPONENT_MAX && !scale(values[i], needed, &scaled))
            needed++;
        if (needed > EXPONENT_MAX)
            failed++;
        else
            exponent = needed;
        if (failed > 2 + tried / 4)
            return false;
    }
    for (; exponent <= EXPONENT_MAX; exponent++)
        if (scale_all(values, count, exponent, decimal))
            return true;
    return false;
}

static void transform(const int64_t *scaled, size_t count, enum transform kind, uint64_t *ret_numbers,
                      int64_t *ret_base)
{
    if (kind == TRANSFORM_OFFSETS) {
        int64_t lowest = scaled[0];
        for (size_t i = 1; i < count; i++)
            lowest = AP_MIN(lowest, scaled[i]);
        *ret_base = lowest;
        for (size_t i = 0; i < count; i++)
            ret_numbers[i] = (uint64_t)(scaled[i] - lowest);
        return;
    }
    *ret_base = scaled[0];
    int64_t before = 0;
    ret_numbers[0] = 0;
    for (size_t i = 1; i < count; i++) {
        int64_t delta = scaled[i] - scaled[i - 1];
        ret_numbers[i] = bitpack_zigzag(kind == TRANSFORM_DELTAS ? delta : delta - before);
        before = delta;
    }
}

static size_t encode_decimal(const double *values, size_t count, struct ap_buf *out)
{
    struct decimal decimal;
    if (!find_decimal(values, count, &decimal))
        return 0;
    uint64_t numbers[TRANSFORM_COUNT][CHUNK_SAMPLES_MAX];
    int64_t bases[TRANSFORM_COUNT];
    unsigned widths[TRANSFORM_COUNT];
    size_t best_cost = SIZE_MAX;
    enum transform best = TRANSFORM_OFFSETS;
    for (enum transform kind = 0; kind < TRANSFORM_COUNT; kind++) {
        transform(decimal.scaled, count, kind, numbers[kind], &bases[kind]);
        size_t cost = bitpack_cost(numbers[kind], count, &widths[kind]);
        if (cost < best_cost) {
            best_cost = cost;
            best = kind;
        }
    }
    if (best_cost + decimal.exception_count * 10 > count * 8)
        return 0;
    size_t start = out->bytes;
    ap_buf_add_char(out, (char)(CODEC_DECIMAL | (int)best << TRANSFORM_SHIFT));
    ap_buf_add_char(out, (char)decimal.exponent);
    ap_buf_add_varint(out, decimal.exception_count);
    ap_buf_add_varint(out, bitpack_zigzag(bases[best]));
    bitpack_encode(numbers[best], count, widths[best], out);
    for (size_t i = 0; i < decimal.exception_count; i++) {
        ap_buf_add_u16(out, decimal.exceptions[i]);
        ap_buf_add_u64(out, bits_of(values[decimal.exceptions[i]]));
    }
    return out->bytes - start;
}

static bool decode_decimal(struct ap_slice *rest, size_t count, enum transform kind, double *ret_values)
{
    uint8_t exponent;
    uint64_t exception_count;
    uint64_t coded_base;
    uint64_t numbers[CHUNK_SAMPLES_MAX];
    if (kind >= TRANSFORM_COUNT || !bitpack_take(rest, &exponent, 1) || exponent > EXPONENT_MAX ||
        !bitpack_take_varint(rest, &exception_count) || !bitpack_take_varint(rest, &coded_base) ||
        !bitpack_decode(rest, count, numbers))
        return false;
    uint64_t base = (uint64_t)bitpack_unzigzag(coded_base);
    double divisor = powers_of_ten[exponent];
    if (kind == TRANSFORM_OFFSETS) {
        for (size_t i = 0; i < count; i++)
            numbers[i] += base;
    } else if (kind == TRANSFORM_DELTAS) {
        for (size_t i = 0; i < count; i++)
            numbers[i] = base += (uint64_t)bitpack_unzigzag(numbers[i]);
    } else {
        uint64_t delta = 0;
        for (size_t i = 0; i < count; i++) {
            delta += (uint64_t)bitpack_unzigzag(numbers[i]);
            numbers[i] = base += delta;
        }
    }
    for (size_t i = 0; i < count; i++)
        ret_values[i] = (double)(int64_t)numbers[i] / divisor;
    for (uint64_t i = 0; i < exception_count; i++) {
        uint16_t position;
        uint64_t bits;
        if (!bitpack_take(rest, &position, sizeof(position)) || !bitpack_take(rest, &bits, sizeof(bits)) ||
            position >= count)
            return false;
        ret_values[position] = double_of(bits);
    }
    return true;
}

/* ---- Split ---- */

struct split {
    unsigned lower_bits;
    uint16_t dictionary[DICTIONARY_MAX];
    unsigned dictionary_count;
    size_t exceptions;
    size_t cost_bits;
};

static unsigned index_in(const struct split *split, uint16_t upper)
{
    unsigned index = 0;
    while (index < split->dictionary_count && split->dictionary[index] != upper)
        index++;
    return index;
}

static unsigned index_bits(const struct split *split)
{
    return split->dictionary_count > 4 ? 3 : split->dictionary_count > 2 ? 2 : split->dictionary_count > 1;
}

/* The dictionary takes the first 8 it meets: for real numbers these are the frequent ones. */
static void try_split(const double *values, size_t count, unsigned lower_bits, struct split *ret_split)
{
    struct split split = {.lower_bits = lower_bits};
    for (size_t i = 0; i < count; i++) {
        uint16_t upper = (uint16_t)(bits_of(values[i]) >> lower_bits);
        if (index_in(&split, upper) < split.dictionary_count)
            continue;
        if (split.dictionary_count < DICTIONARY_MAX)
            split.dictionary[split.dictionary_count++] = upper;
        else
            split.exceptions++;
    }
    split.cost_bits = count * (lower_bits + index_bits(&split)) + split.dictionary_count * 16 + split.exceptions * 32;
    if (split.cost_bits < ret_split->cost_bits)
        *ret_split = split;
}

static size_t encode_split(const double *values, size_t count, size_t limit_bytes, struct ap_buf *out)
{
    struct split split = {.cost_bits = limit_bytes * 8};
    static const unsigned candidates[] = {48, 49, 50, 51, 52, 53, 54};
    for (size_t i = 0; i < AP_ARRAY_COUNT(candidates); i++)
        try_split(values, count, candidates[i], &split);
    if (split.lower_bits == 0)
        return 0;
    uint64_t numbers[CHUNK_SAMPLES_MAX];
    uint64_t mask = (UINT64_C(1) << split.lower_bits) - 1;
    unsigned bits = index_bits(&split);
    uint16_t exceptions[CHUNK_SAMPLES_MAX];
    size_t exception_count = 0;
    for (size_t i = 0; i < count; i++) {
        unsigned index = index_in(&split, (uint16_t)(bits_of(values[i]) >> split.lower_bits));
        if (index == split.dictionary_count) {
            exceptions[exception_count++] = (uint16_t)i;
            index = 0;
        }
        numbers[i] = (bits_of(values[i]) & mask) << bits | index;
    }
    size_t start = out->bytes;
    ap_buf_add_char(out, CODEC_SPLIT);
    ap_buf_add_char(out, (char)split.lower_bits);
    ap_buf_add_char(out, (char)split.dictionary_count);
    for (unsigned i = 0; i < split.dictionary_count; i++)
        ap_buf_add_u16(out, split.dictionary[i]);
    ap_buf_add_varint(out, exception_count);
    bitpack_encode(numbers, count, split.lower_bits + bits, out);
    for (size_t i = 0; i < exception_count; i++) {
        ap_buf_add_u16(out, exceptions[i]);
        ap_buf_add_u16(out, (uint16_t)(bits_of(values[exceptions[i]]) >> split.lower_bits));
    }
    return out->bytes - start;
}

static bool decode_split(struct ap_slice *rest, size_t count, double *ret_values)
{
    uint8_t lower_bits;
    uint8_t dictionary_count;
    uint16_t dictionary[DICTIONARY_MAX] = {0};
    uint64_t exception_count;
    uint64_t numbers[CHUNK_SAMPLES_MAX];
    if (!bitpack_take(rest, &lower_bits, 1) || lower_bits < 48 || lower_bits > 54 ||
        !bitpack_take(rest, &dictionary_count, 1) || dictionary_count == 0 || dictionary_count > DICTIONARY_MAX ||
        !bitpack_take(rest, dictionary, dictionary_count * sizeof(dictionary[0])) ||
        !bitpack_take_varint(rest, &exception_count) || !bitpack_decode(rest, count, numbers))
        return false;
    struct split split = {.dictionary_count = dictionary_count};
    unsigned bits = index_bits(&split);
    uint64_t mask = (UINT64_C(1) << lower_bits) - 1;
    uint64_t index_mask = (UINT64_C(1) << bits) - 1;
    for (size_t i = 0; i < count; i++)
        ret_values[i] = double_of((uint64_t)dictionary[numbers[i] & index_mask] << lower_bits |
                                  (numbers[i] >> bits & mask));
    for (uint64_t i = 0; i < exception_count; i++) {
        uint16_t position;
        uint16_t upper;
        if (!bitpack_take(rest, &position, sizeof(position)) || !bitpack_take(rest, &upper, sizeof(upper)) ||
            position >= count)
            return false;
        ret_values[position] = double_of((uint64_t)upper << lower_bits | (bits_of(ret_values[position]) & mask));
    }
    return true;
}

/* ---- XOR: for each value a byte (first byte that differs << 4 | how many), then those bytes ---- */

static size_t encode_xor(const double *values, size_t count, size_t limit_bytes, struct ap_buf *out)
{
    size_t start = out->bytes;
    char *to = ap_buf_reserve(out, 9 + count * 9 + 8);
    *to++ = CODEC_XOR;
    char *controls = to;
    char *data = to + count;
    uint64_t before = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t difference = bits_of(values[i]) ^ before;
        before = bits_of(values[i]);
        unsigned first = difference ? (unsigned)__builtin_ctzll(difference) / 8 : 0;
        unsigned bytes = difference ? 8 - (unsigned)__builtin_clzll(difference) / 8 - first : 0;
        controls[i] = (char)(first << 4 | bytes);
        difference >>= first * 8;
        memcpy(data, &difference, 8);
        data += bytes;
        if ((size_t)(data - controls) >= limit_bytes)
            return 0;
    }
    out->bytes += (size_t)(data - controls) + 1;
    return out->bytes - start;
}

static bool decode_xor(struct ap_slice *rest, size_t count, double *ret_values)
{
    if (rest->bytes < count)
        return false;
    const char *controls = rest->data;
    rest->data += count;
    rest->bytes -= count;
    uint64_t before = 0;
    for (size_t i = 0; i < count; i++) {
        unsigned first = (uint8_t)controls[i] >> 4;
        unsigned bytes = (uint8_t)controls[i] & 0xf;
        uint64_t difference = 0;
        if (first + bytes > 8 || !bitpack_take(rest, &difference, bytes))
            return false;
        before ^= first == 8 ? 0 : difference << (first * 8);
        ret_values[i] = double_of(before);
    }
    return true;
}

/* ---- Choosing ---- */

static bool is_constant(const double *values, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (bits_of(values[i]) != bits_of(values[0]))
            return false;
    return true;
}

void chunk_encode_values(const double *values, size_t count, struct ap_buf *out)
{
    if (is_constant(values, count)) {
        ap_buf_add_char(out, CODEC_CONSTANT);
        ap_buf_add_u64(out, bits_of(values[0]));
        return;
    }
    if (encode_decimal(values, count, out))
        return;
    size_t start = out->bytes;
    size_t best = 1 + count * 8;
    size_t split_bytes = encode_split(values, count, best, out);
    if (split_bytes)
        best = split_bytes;
    size_t xor_start = out->bytes;
    size_t xor_bytes = encode_xor(values, count, best, out);
    if (xor_bytes) {
        memmove(out->data + start, out->data + xor_start, xor_bytes);
        out->bytes = start + xor_bytes;
    } else if (!split_bytes) {
        ap_buf_add_char(out, CODEC_RAW);
        ap_buf_add(out, values, count * sizeof(*values));
    }
}

bool chunk_decode_values(struct ap_slice *rest, size_t count, double *ret_values)
{
    uint8_t first;
    uint64_t bits;
    if (!bitpack_take(rest, &first, 1))
        return false;
    switch ((enum value_codec)(first & 0xf)) {
    case CODEC_CONSTANT:
        if (!bitpack_take(rest, &bits, sizeof(bits)))
            return false;
        for (size_t i = 0; i < count; i++)
            ret_values[i] = double_of(bits);
        return true;
    case CODEC_DECIMAL:
        return decode_decimal(rest, count, (enum transform)(first >> TRANSFORM_SHIFT), ret_values);
    case CODEC_SPLIT:
        return decode_split(rest, count, ret_values);
    case CODEC_XOR:
        return decode_xor(rest, count, ret_values);
    case CODEC_RAW:
        return bitpack_take(rest, ret_values, count * sizeof(*ret_values));
    case CODEC_COUNT:
        break;
    }
    return false;
}

const char *chunk_value_codec_name(uint8_t first_byte)
{
    static const char *const names[CODEC_COUNT] = {"constant", "decimal", "split", "xor", "raw"};
    return (first_byte & 0xf) < CODEC_COUNT ? names[first_byte & 0xf] : "damaged";
}
