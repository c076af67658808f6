/*
 * codec/bit_stream.h - bits in a row, the most significant first, as Prometheus' chunks are made of them
 *
 * Beside plain bits there are the two codes that all of its chunks share:
 * - bucketed integers: as many ones as the bucket's number, a zero, and then the number in as many bits as that bucket
 *   is wide. A zero alone is 0; the last bucket needs no zero behind its ones, and is 64 bits wide.
 * - XOR: a double by the bits that differ from the one before it, in a window that stays while it fits.
 *
 * All inline: each bit of each sample goes through here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

/* ---- Writing ---- */

struct bit_writer {
    struct ap_buf *out; /* lent */
    uint64_t word;      /* the last `count` bits of it wait for their byte to be full */
    unsigned count;     /* below 8 between calls */
};

static inline struct bit_writer bit_writer(struct ap_buf *out)
{
    return (struct bit_writer){.out = out};
}

/* The low `count` bits of `value`, 1 to 64. */
static inline void bit_writer_add(struct bit_writer *writer, uint64_t value, unsigned count)
{
    if (count > 32) {
        bit_writer_add(writer, value >> 32, count - 32);
        count = 32;
    }
    writer->word = writer->word << count | (value & ((UINT64_C(1) << count) - 1));
    writer->count += count;
    while (writer->count >= 8) {
        writer->count -= 8;
        ap_buf_add_char(writer->out, (char)(writer->word >> writer->count));
    }
}

/* Base 128 as in Protocol Buffers, each byte as 8 bits. */
static inline void bit_writer_add_varint(struct bit_writer *writer, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        bit_writer_add(writer, (value & 0x7f) | 0x80, 8);
    bit_writer_add(writer, value, 8);
}

/* Fills the last byte with zeros. */
static inline void bit_writer_end(struct bit_writer *writer)
{
    if (writer->count)
        bit_writer_add(writer, 0, 8 - writer->count);
}

/* ---- Reading ---- */

struct bit_reader {
    const uint8_t *next;
    const uint8_t *end;
    uint64_t word;
    unsigned count; /* of `word` not read yet; below 8 between calls */
    bool is_cut;    /* more was asked for than there is; what was read since is 0 */
};

static inline struct bit_reader bit_reader(struct ap_slice bytes)
{
    const uint8_t *data = (const uint8_t *)bytes.data;
    return (struct bit_reader){.next = data, .end = data ? data + bytes.bytes : data};
}

/* 1 to 64 bits. */
static inline uint64_t bit_reader_get(struct bit_reader *reader, unsigned count)
{
    uint64_t high = 0;
    if (count > 32) {
        high = bit_reader_get(reader, count - 32) << 32;
        count = 32;
    }
    while (reader->count < count) {
        if (reader->next == reader->end) {
            reader->is_cut = true;
            return 0;
        }
        reader->word = reader->word << 8 | *reader->next++;
        reader->count += 8;
    }
    reader->count -= count;
    return high | (reader->word >> reader->count & ((UINT64_C(1) << count) - 1));
}

/* One that goes on behind 64 bits counts as cut. */
static inline uint64_t bit_reader_get_varint(struct bit_reader *reader)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        uint64_t byte = bit_reader_get(reader, 8);
        value |= (byte & 0x7f) << shift;
        if (byte < 0x80)
            return value;
    }
    reader->is_cut = true;
    return 0;
}

/* ---- Bucketed integers ---- */

struct bit_buckets {
    uint8_t count;
    uint8_t widths[8]; /* rising; the last is 64 */
};
/* Of times in chunks of doubles, and of everything in chunks of histograms. */
static const struct bit_buckets bit_buckets_times = {4, {14, 17, 20, 64}};
static const struct bit_buckets bit_buckets_numbers = {8, {3, 6, 9, 12, 18, 25, 56, 64}};

static inline void bit_writer_add_bucketed(struct bit_writer *writer, const struct bit_buckets *buckets, uint64_t value,
                                           uint8_t index)
{
    bool is_last = index == buckets->count - 1;
    bit_writer_add(writer, (UINT64_C(2) << index) - 1, index + 1u); /* ones */
    if (!is_last)
        bit_writer_add(writer, 0, 1);
    bit_writer_add(writer, value, buckets->widths[index]);
}

/* Of the two ends of a width's range, which two's complement has one more negative number in, it is the positive one
 * that belongs to it here. */
static inline void bit_writer_add_int(struct bit_writer *writer, const struct bit_buckets *buckets, int64_t value)
{
    if (value == 0) {
        bit_writer_add(writer, 0, 1);
        return;
    }
    uint8_t index = 0;
    for (; index < buckets->count - 1; index++) {
        int64_t half = INT64_C(1) << (buckets->widths[index] - 1);
        if (value > -half && value <= half)
            break;
    }
    bit_writer_add_bucketed(writer, buckets, (uint64_t)value, index);
}

static inline void bit_writer_add_uint(struct bit_writer *writer, const struct bit_buckets *buckets, uint64_t value)
{
    if (value == 0) {
        bit_writer_add(writer, 0, 1);
        return;
    }
    uint8_t index = 0;
    while (index < buckets->count - 1 && value >> buckets->widths[index])
        index++;
    bit_writer_add_bucketed(writer, buckets, value, index);
}

/* How many bits follow; 0: the number is 0. */
static inline unsigned bit_reader_get_width(struct bit_reader *reader, const struct bit_buckets *buckets)
{
    unsigned ones = 0;
    while (ones < buckets->count && bit_reader_get(reader, 1))
        ones++;
    return ones ? buckets->widths[ones - 1] : 0;
}

static inline uint64_t bit_reader_get_uint(struct bit_reader *reader, const struct bit_buckets *buckets)
{
    unsigned width = bit_reader_get_width(reader, buckets);
    return width ? bit_reader_get(reader, width) : 0;
}

static inline int64_t bit_reader_get_int(struct bit_reader *reader, const struct bit_buckets *buckets)
{
    unsigned width = bit_reader_get_width(reader, buckets);
    uint64_t value = width ? bit_reader_get(reader, width) : 0;
    bool is_negative = width && width < 64 && value > UINT64_C(1) << (width - 1);
    return (int64_t)(is_negative ? value - (UINT64_C(1) << width) : value);
}

/* ---- XOR ---- */

struct bit_xor {
    uint64_t bits;   /* of the double before */
    uint8_t leading; /* zeros before and behind the window */
    uint8_t trailing;
    bool has_window;
};

static inline void bit_writer_add_xor(struct bit_writer *writer, struct bit_xor *state, uint64_t bits)
{
    uint64_t difference = bits ^ state->bits;
    state->bits = bits;
    if (difference == 0) {
        bit_writer_add(writer, 0, 1);
        return;
    }
    uint8_t leading = (uint8_t)__builtin_clzll(difference), trailing = (uint8_t)__builtin_ctzll(difference);
    leading = leading > 31 ? 31 : leading; /* it has five bits */
    bool is_fitting = state->has_window && leading >= state->leading && trailing >= state->trailing;
    bit_writer_add(writer, is_fitting ? 2 : 3, 2);
    if (!is_fitting) {
        state->leading = leading;
        state->trailing = trailing;
        state->has_window = true;
        bit_writer_add(writer, leading, 5);
        bit_writer_add(writer, 64u - leading - trailing, 6); /* 64 becomes 0, which is never needed */
    }
    bit_writer_add(writer, difference >> state->trailing, 64u - state->leading - state->trailing);
}

/* A window of more than 64 bits counts as cut. */
static inline uint64_t bit_reader_get_xor(struct bit_reader *reader, struct bit_xor *state)
{
    if (!bit_reader_get(reader, 1))
        return state->bits;
    if (bit_reader_get(reader, 1)) {
        unsigned leading = (unsigned)bit_reader_get(reader, 5), width = (unsigned)bit_reader_get(reader, 6);
        width = width ? width : 64;
        if (leading + width > 64) {
            reader->is_cut = true;
            return state->bits;
        }
        state->leading = (uint8_t)leading;
        state->trailing = (uint8_t)(64 - leading - width);
    }
    state->bits ^= bit_reader_get(reader, 64u - state->leading - state->trailing) << state->trailing;
    return state->bits;
}
