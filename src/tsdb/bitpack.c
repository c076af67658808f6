#include "tsdb/bitpack.h"

#include <string.h>

#include "base/mem.h"

enum { OUTLIER_BITS = 20 /* what one costs beside its upper bits */ };

bool bitpack_take(struct ap_slice *rest, void *to, size_t bytes)
{
    if (rest->bytes < bytes)
        return false;
    memcpy(to, rest->data, bytes);
    rest->data += bytes;
    rest->bytes -= bytes;
    return true;
}

bool bitpack_take_varint(struct ap_slice *rest, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < 10 && i < rest->bytes; i++) {
        uint8_t byte = (uint8_t)rest->data[i];
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            rest->data += i + 1;
            rest->bytes -= i + 1;
            *ret_value = value;
            return true;
        }
    }
    return false;
}

static inline unsigned bits_of(uint64_t number)
{
    return number ? 64 - (unsigned)__builtin_clzll(number) : 0;
}

size_t bitpack_cost(const uint64_t *numbers, size_t count, unsigned *ret_width)
{
    uint32_t by_bits[65] = {0};
    for (size_t i = 0; i < count; i++)
        by_bits[bits_of(numbers[i])]++;
    size_t best_bits = SIZE_MAX;
    size_t outliers = 0;
    size_t upper_bits = 0; /* of the outliers, counted from the width */
    for (unsigned width = 65; width-- > 0;) {
        size_t bits = width * count + outliers * OUTLIER_BITS + upper_bits;
        if (bits <= best_bits) {
            best_bits = bits;
            *ret_width = width;
        }
        outliers += by_bits[width];
        upper_bits += outliers; /* one bit more each at the next lower width */
    }
    return 2 + (best_bits + 7) / 8;
}

void bitpack_encode(const uint64_t *numbers, size_t count, unsigned width, struct ap_buf *out)
{
    size_t outliers = 0;
    for (size_t i = 0; i < count; i++)
        outliers += bits_of(numbers[i]) > width;
    ap_buf_add_char(out, (char)width);
    ap_buf_add_varint(out, outliers);
    size_t bytes = (width * count + 7) / 8;
    char *to = ap_buf_reserve(out, bytes + 8);
    uint64_t pending = 0;
    unsigned pending_bits = 0;
    uint64_t mask = width == 64 ? UINT64_MAX : (UINT64_C(1) << width) - 1;
    for (size_t i = 0; i < count; i++) {
        uint64_t number = numbers[i] & mask;
        pending |= number << pending_bits;
        pending_bits += width;
        if (pending_bits >= 64) {
            memcpy(to, &pending, 8);
            to += 8;
            pending_bits -= 64;
            pending = pending_bits ? number >> (width - pending_bits) : 0;
        }
    }
    memcpy(to, &pending, 8); /* up to 8 bytes of room are behind the end */
    out->bytes += bytes;
    size_t next = 0;
    for (size_t i = 0; outliers && i < count; i++) {
        if (bits_of(numbers[i]) <= width)
            continue;
        ap_buf_add_varint(out, i - next);
        ap_buf_add_varint(out, numbers[i] >> width);
        next = i + 1;
        outliers--;
    }
}

/* Widths up to 56: any number lies within the 8 bytes at its first one. */
static void unpack_narrow(const char *from, size_t bytes, size_t count, unsigned width, uint64_t *ret_numbers)
{
    uint64_t mask = (UINT64_C(1) << width) - 1;
    /* As many as can be read with 8 bytes at a time without leaving the slice. */
    size_t safe = bytes >= 8 && width ? AP_MIN(count, ((bytes - 8) * 8) / width + 1) : 0;
    for (size_t i = 0; i < safe; i++) {
        size_t bit = i * width;
        uint64_t word;
        memcpy(&word, from + (bit >> 3), 8);
        ret_numbers[i] = (word >> (bit & 7)) & mask;
    }
    for (size_t i = safe; i < count; i++) {
        size_t bit = i * width;
        uint64_t word = 0;
        size_t at = bit >> 3;
        memcpy(&word, from + AP_MIN(at, bytes), AP_MIN((size_t)8, bytes - AP_MIN(at, bytes)));
        ret_numbers[i] = (word >> (bit & 7)) & mask;
    }
}

static void unpack_wide(const char *from, size_t bytes, size_t count, unsigned width, uint64_t *ret_numbers)
{
    uint64_t mask = width == 64 ? UINT64_MAX : (UINT64_C(1) << width) - 1;
    for (size_t i = 0; i < count; i++) {
        size_t bit = i * width;
        size_t at = bit >> 3;
        unsigned shift = bit & 7;
        char window[16] = {0};
        memcpy(window, from + at, AP_MIN((size_t)9, bytes - at));
        uint64_t low;
        memcpy(&low, window, 8);
        uint64_t number = low >> shift;
        if (shift)
            number |= (uint64_t)(uint8_t)window[8] << (64 - shift);
        ret_numbers[i] = number & mask;
    }
}

bool bitpack_decode(struct ap_slice *rest, size_t count, uint64_t *ret_numbers)
{
    uint8_t width;
    uint64_t outliers;
    if (!bitpack_take(rest, &width, 1) || width > 64 || !bitpack_take_varint(rest, &outliers) || outliers > count)
        return false;
    size_t bytes = (width * count + 7) / 8;
    if (rest->bytes < bytes)
        return false;
    if (width <= 56)
        unpack_narrow(rest->data, bytes, count, width, ret_numbers);
    else
        unpack_wide(rest->data, bytes, count, width, ret_numbers);
    rest->data += bytes;
    rest->bytes -= bytes;
    uint64_t at = 0;
    for (uint64_t i = 0; i < outliers; i++, at++) {
        uint64_t gap;
        uint64_t upper;
        if (!bitpack_take_varint(rest, &gap) || !bitpack_take_varint(rest, &upper) || gap >= count ||
            (at += gap) >= count || width == 64)
            return false;
        ret_numbers[at] |= upper << width;
    }
    return true;
}
