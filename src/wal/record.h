/*
 * wal/record.h - the bytes of segment and record headers (docs/format/wal.md)
 *
 * All integers are little-endian. A record's header has its own checksum, so that a length is believed before the bytes
 * it counts are looked at. That checksum also covers the record's LSN and the random salt of its segment: bytes of
 * another place, another segment, or inside a payload that a client made up are never taken for a record.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "wal/wal.h"

enum { WAL_SEGMENT_HEADER_BYTES = 32, WAL_VERSION = 1, WAL_ALIGN_BYTES = 8 };

struct wal_segment_header {
    uint64_t first_lsn; /* of the record right behind the header */
    uint64_t salt;
};

void wal_segment_header_encode(const struct wal_segment_header *header, uint8_t bytes[WAL_SEGMENT_HEADER_BYTES]);

/* Tells in `err` what is wrong; the caller adds the file. */
ap_nodiscard enum ap_rc wal_segment_header_decode(const uint8_t bytes[WAL_SEGMENT_HEADER_BYTES],
                                                  struct wal_segment_header *ret_header, struct ap_err *err);

struct wal_record_header {
    uint64_t group_lsn; /* first record of the group that was written and synced together with this one */
    uint32_t payload_bytes;
    uint32_t payload_crc;
    uint8_t type; /* never 0: a zero header, as in preallocated space, is no header */
};

void wal_record_header_encode(const struct wal_record_header *header, uint64_t salt, uint64_t lsn,
                              uint8_t bytes[WAL_RECORD_HEADER_BYTES]);

/* False when these bytes are not the header of the record at `lsn`. */
bool wal_record_header_decode(const uint8_t bytes[WAL_RECORD_HEADER_BYTES], uint64_t salt, uint64_t lsn,
                              struct wal_record_header *ret_header);

/* Header, payload, and zeros up to a multiple of 8. */
static inline uint64_t wal_record_bytes(uint64_t payload_bytes)
{
    return (WAL_RECORD_HEADER_BYTES + payload_bytes + WAL_ALIGN_BYTES - 1) & ~(uint64_t)(WAL_ALIGN_BYTES - 1);
}
