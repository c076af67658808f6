#include "wal/record.h"

#include <string.h>

#include "wal/crc32c.h"

static const uint8_t segment_magic[8] = {'A', 'P', 'I', 'A', 'R', 'Y', 'W', 'L'};

static void put_u32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> (8 * i));
}

static void put_u64(uint8_t *to, uint64_t value)
{
    put_u32(to, (uint32_t)value);
    put_u32(to + 4, (uint32_t)(value >> 32));
}

static uint32_t get_u32(const uint8_t *from)
{
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

static uint64_t get_u64(const uint8_t *from)
{
    return get_u32(from) | (uint64_t)get_u32(from + 4) << 32;
}

/*
 * Segment header:   0 magic   8 version u32   12 checksum u32   16 first_lsn u64   24 salt u64
 * The checksum covers all other bytes.
 */
static uint32_t segment_header_crc(const uint8_t *bytes)
{
    return wal_crc32c(wal_crc32c(0, bytes, 12), bytes + 16, WAL_SEGMENT_HEADER_BYTES - 16);
}

void wal_segment_header_encode(const struct wal_segment_header *header, uint8_t bytes[WAL_SEGMENT_HEADER_BYTES])
{
    memcpy(bytes, segment_magic, sizeof(segment_magic));
    put_u32(bytes + 8, WAL_VERSION);
    put_u64(bytes + 16, header->first_lsn);
    put_u64(bytes + 24, header->salt);
    put_u32(bytes + 12, segment_header_crc(bytes));
}

enum ap_rc wal_segment_header_decode(const uint8_t bytes[WAL_SEGMENT_HEADER_BYTES],
                                     struct wal_segment_header *ret_header, struct ap_err *err)
{
    if (memcmp(bytes, segment_magic, sizeof(segment_magic)) != 0)
        return ap_fail(err, AP_E_CORRUPT, "does not begin as a log segment (offset 0)");
    if (get_u32(bytes + 12) != segment_header_crc(bytes))
        return ap_fail(err, AP_E_CORRUPT, "header checksum does not match (offset 12)");
    if (get_u32(bytes + 8) != WAL_VERSION)
        return ap_fail(err, AP_E_CORRUPT, "format version %u was written by another version of this program (offset 8)",
                       get_u32(bytes + 8));
    ret_header->first_lsn = get_u64(bytes + 16);
    ret_header->salt = get_u64(bytes + 24);
    return AP_OK;
}

/*
 * Record header:   0 checksum u32   4 payload checksum u32   8 group_lsn u64   16 payload bytes u32   20 type u8
 *                  21 three zeros
 * The checksum covers the segment's salt, the LSN, and all bytes behind the checksum.
 */
static uint32_t record_header_crc(const uint8_t *bytes, uint64_t salt, uint64_t lsn)
{
    uint8_t covered[16 + WAL_RECORD_HEADER_BYTES - 4];
    put_u64(covered, salt);
    put_u64(covered + 8, lsn);
    memcpy(covered + 16, bytes + 4, WAL_RECORD_HEADER_BYTES - 4);
    return wal_crc32c(0, covered, sizeof(covered));
}

void wal_record_header_encode(const struct wal_record_header *header, uint64_t salt, uint64_t lsn,
                              uint8_t bytes[WAL_RECORD_HEADER_BYTES])
{
    put_u32(bytes + 4, header->payload_crc);
    put_u64(bytes + 8, header->group_lsn);
    put_u32(bytes + 16, header->payload_bytes);
    put_u32(bytes + 20, header->type);
    put_u32(bytes, record_header_crc(bytes, salt, lsn));
}

bool wal_record_header_decode(const uint8_t bytes[WAL_RECORD_HEADER_BYTES], uint64_t salt, uint64_t lsn,
                              struct wal_record_header *ret_header)
{
    /* The cheap test first: recovery calls this on every eighth byte behind a torn record. */
    if (bytes[20] == 0 || bytes[21] != 0 || bytes[22] != 0 || bytes[23] != 0)
        return false;
    if (get_u32(bytes) != record_header_crc(bytes, salt, lsn))
        return false;
    ret_header->payload_crc = get_u32(bytes + 4);
    ret_header->group_lsn = get_u64(bytes + 8);
    ret_header->payload_bytes = get_u32(bytes + 16);
    ret_header->type = bytes[20];
    return ret_header->group_lsn <= lsn;
}
