#include "tsdb/bitpack.h"

#include <string.h>

#include "base/mem.h"
#include "tsdb/vectors.h"

enum {
    GROUP = 8,          /* so many numbers take `width` whole bytes: every group begins at a byte */
    BYTES_PER_LOAD = 8, /* reading the last number of a group may touch so many bytes behind its begin */
};

bool bitpack_take(struct ap_slice *rest, void *to, size_t bytes)
{
    if (rest->bytes < bytes)
        return false;
    if (bytes)
        memcpy(to, rest->data, bytes);
    rest->data += bytes;
    rest->bytes -= bytes;
    return true;
}

bool bitpack_take_long_varint(struct ap_slice *rest, uint64_t *ret_value)
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

/* ---- Writing ---- */

/*
 * Adds `bits` to what is pending, writes 8 bytes and goes forward by those that are complete: no branch depends on the
 * data. Needs bits_count <= 56, since up to 7 bits are pending before.
 */
static inline void put(char **to, uint64_t *pending, unsigned *pending_bits, uint64_t bits, unsigned bits_count)
{
    *pending |= bits << *pending_bits;
    *pending_bits += bits_count;
    memcpy(*to, pending, sizeof(*pending));
    *to += *pending_bits >> 3;
    *pending >>= *pending_bits & 0x38;
    *pending_bits &= 7;
}

/* `together` numbers are joined before they are put, as each put() waits for the one before. */
static inline void write_narrow(const uint64_t *numbers, size_t count, unsigned width, unsigned together, char *to)
{
    uint64_t mask = bitpack_mask(width);
    uint64_t pending = 0;
    unsigned pending_bits = 0;
    size_t i = 0;
    for (; i + together <= count; i += together) {
        uint64_t joined = 0;
        for (unsigned j = 0; j < together; j++)
            joined |= (numbers[i + j] & mask) << (j * width);
        put(&to, &pending, &pending_bits, joined, together * width);
    }
    for (; i < count; i++)
        put(&to, &pending, &pending_bits, numbers[i] & mask, width);
}

void bitpack_write(const uint64_t *numbers, size_t count, unsigned width, struct ap_buf *out)
{
    size_t bytes = bitpack_bytes(count, width);
    char *to = bytes ? ap_buf_reserve(out, bytes + BYTES_PER_LOAD) : NULL;
    if (!to)
        return;
    if (width == 64)
        memcpy(to, numbers, bytes);
    else if (width <= BITPACK_WIDTH_NARROW_MAX / 8)
        write_narrow(numbers, count, width, 8, to);
    else if (width <= BITPACK_WIDTH_NARROW_MAX / 4)
        write_narrow(numbers, count, width, 4, to);
    else if (width <= BITPACK_WIDTH_NARROW_MAX / 2)
        write_narrow(numbers, count, width, 2, to);
    else
        write_narrow(numbers, count, width, 1, to);
    out->bytes += bytes;
}

/* ---- Reading ---- */

static inline uint64_t load(const char *from)
{
    uint64_t word;
    memcpy(&word, from, sizeof(word));
    return word;
}

/* Reads whole groups. Bytes up to `width` + BYTES_PER_LOAD behind the begin of each may be touched. */
WITH_VECTORS static void read_groups(const char *from, size_t groups, unsigned width, uint64_t *ret_numbers)
{
    uint64_t mask = bitpack_mask(width);
    if (width <= 8) { /* one load has all eight */
        for (size_t g = 0; g < groups; g++, from += width, ret_numbers += GROUP) {
            uint64_t word = load(from);
            for (unsigned j = 0; j < GROUP; j++)
                ret_numbers[j] = word >> (j * width) & mask;
        }
    } else if (width <= 14) { /* two loads have four each; the second begins at a byte or in the middle of one */
        for (size_t g = 0; g < groups; g++, from += width, ret_numbers += GROUP) {
            uint64_t word = load(from);
            uint64_t second = load(from + width / 2) >> (width & 1) * 4;
            for (unsigned j = 0; j < GROUP / 2; j++)
                ret_numbers[j] = word >> (j * width) & mask;
            for (unsigned j = 0; j < GROUP / 2; j++)
                ret_numbers[j + GROUP / 2] = second >> (j * width) & mask;
        }
    } else {
        for (size_t g = 0; g < groups; g++, from += width, ret_numbers += GROUP)
            for (unsigned j = 0; j < GROUP; j++)
                ret_numbers[j] = load(from + (j * width >> 3)) >> (j * width & 7) & mask;
    }
}

bool bitpack_read(struct ap_slice *rest, size_t count, unsigned width, uint64_t *ret_numbers)
{
    size_t bytes = bitpack_bytes(count, width);
    if ((width > BITPACK_WIDTH_NARROW_MAX && width != 64) || rest->bytes < bytes)
        return false;
    size_t groups = (count + GROUP - 1) / GROUP;
    if (width == 0) {
        memset(ret_numbers, 0, count * sizeof(*ret_numbers));
    } else if (width == 64) {
        memcpy(ret_numbers, rest->data, bytes);
    } else {
        /* Those that can be read without looking behind the slice; the others from a copy with room behind it. */
        size_t near_end = width + BYTES_PER_LOAD;
        size_t safe = rest->bytes < near_end ? 0 : AP_MIN((rest->bytes - near_end) / width + 1, groups);
        read_groups(rest->data, safe, width, ret_numbers);
        for (size_t g = safe; g < groups; g++) {
            char copy[BITPACK_WIDTH_NARROW_MAX + BYTES_PER_LOAD] = {0};
            memcpy(copy, rest->data + g * width, AP_MIN((size_t)width, bytes - g * width));
            read_groups(copy, 1, width, ret_numbers + g * GROUP);
        }
    }
    rest->data += bytes;
    rest->bytes -= bytes;
    return true;
}
