/*
 * history/byte_reader.h - a cursor over bytes as Prometheus writes them: big-endian numbers, and Go's varints
 *
 * Reading past the end sets `is_cut`, and gives 0 from then on: read everything, then ask once. All inline: each sample
 * of a log goes through here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/bits.h"
#include "base/slice.h"

struct byte_reader {
    const uint8_t *next;
    const uint8_t *end;
    bool is_cut;
};

static inline struct byte_reader byte_reader(struct ap_slice bytes)
{
    const uint8_t *data = (const uint8_t *)bytes.data;
    return (struct byte_reader){.next = data, .end = data ? data + bytes.bytes : data};
}

static inline size_t byte_reader_left(const struct byte_reader *reader)
{
    return reader->is_cut ? 0 : (size_t)(reader->end - reader->next);
}

static inline bool byte_reader_has(struct byte_reader *reader, size_t bytes)
{
    if (byte_reader_left(reader) < bytes)
        reader->is_cut = true;
    return !reader->is_cut;
}

static inline uint8_t byte_reader_u8(struct byte_reader *reader)
{
    return byte_reader_has(reader, 1) ? *reader->next++ : 0;
}

static inline uint32_t byte_reader_u32(struct byte_reader *reader)
{
    uint32_t value;
    if (!byte_reader_has(reader, sizeof(value)))
        return 0;
    memcpy(&value, reader->next, sizeof(value));
    reader->next += sizeof(value);
    return __builtin_bswap32(value);
}

static inline uint64_t byte_reader_u64(struct byte_reader *reader)
{
    uint64_t value;
    if (!byte_reader_has(reader, sizeof(value)))
        return 0;
    memcpy(&value, reader->next, sizeof(value));
    reader->next += sizeof(value);
    return __builtin_bswap64(value);
}

static inline double byte_reader_double(struct byte_reader *reader)
{
    return ap_double_of_bits(byte_reader_u64(reader));
}

/* One that goes on behind 64 bits counts as cut. */
static inline uint64_t byte_reader_varint(struct byte_reader *reader)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        uint64_t byte = byte_reader_u8(reader);
        value |= shift < 64 ? (byte & 0x7f) << shift : 0;
        if (byte < 0x80)
            return reader->is_cut ? 0 : value;
    }
    reader->is_cut = true;
    return 0;
}

static inline int64_t byte_reader_zigzag(struct byte_reader *reader)
{
    return ap_unzigzag(byte_reader_varint(reader));
}

/* Lends the next `bytes`. */
static inline struct ap_slice byte_reader_slice(struct byte_reader *reader, uint64_t bytes)
{
    if (bytes > SIZE_MAX || !byte_reader_has(reader, (size_t)bytes)) {
        reader->is_cut = true;
        return ap_slice("", 0);
    }
    struct ap_slice slice = ap_slice(reader->next, (size_t)bytes);
    reader->next += bytes;
    return slice;
}

/* A varint length, and so many bytes. */
static inline struct ap_slice byte_reader_text(struct byte_reader *reader)
{
    return byte_reader_slice(reader, byte_reader_varint(reader));
}
