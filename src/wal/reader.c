#include "wal/reader.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "wal/crc32c.h"
#include "wal/segment.h"

/* Large enough that reading costs little per record, small enough that a few idle cursors cost no memory to speak of.
 */
enum { BLOCK_BYTES = 256 * 1024 };

void wal_reader_init(struct wal_reader *reader, const struct os_fs *fs)
{
    *reader = (struct wal_reader){.fs = fs, .fd = -1};
}

void wal_reader_clear(struct wal_reader *reader)
{
    if (reader->fd >= 0)
        reader->fs->close(reader->fs->context, reader->fd);
    free(reader->buffer);
    *reader = (struct wal_reader){.fs = reader->fs, .fd = -1};
}

void wal_reader_set_segment(struct wal_reader *reader, int take_fd, const struct wal_segment_header *segment)
{
    if (reader->fd >= 0)
        reader->fs->close(reader->fs->context, reader->fd);
    reader->fd = take_fd;
    reader->segment = *segment;
    reader->buffer_bytes = 0;
}

static uint64_t file_offset(const struct wal_reader *reader, uint64_t lsn)
{
    return WAL_SEGMENT_HEADER_BYTES + (lsn - reader->segment.first_lsn);
}

/* Makes the buffer as large as this read needs, and small again after a long record. */
static enum ap_rc set_capacity(struct wal_reader *reader, uint64_t capacity_bytes, uint64_t bytes_max,
                               struct ap_err *err)
{
    if (reader->capacity_bytes == capacity_bytes)
        return AP_OK;
    char *buffer = ap_try_alloc(capacity_bytes, AP_MAX(bytes_max, BLOCK_BYTES));
    if (!buffer)
        return ap_fail(err, AP_E_NOMEM, "no memory for a log record of %" PRIu64 " bytes", capacity_bytes);
    if (reader->buffer_bytes > 0)
        memcpy(buffer, reader->buffer, reader->buffer_bytes);
    free(reader->buffer);
    reader->buffer = buffer;
    reader->capacity_bytes = capacity_bytes;
    return AP_OK;
}

enum ap_rc wal_reader_peek(struct wal_reader *reader, uint64_t lsn, uint64_t bytes, uint64_t limit_lsn,
                           const uint8_t **ret_bytes, struct ap_err *err)
{
    AP_ASSERT(lsn >= reader->segment.first_lsn && lsn <= limit_lsn && bytes <= limit_lsn - lsn);
    bool is_inside = lsn >= reader->buffer_lsn && lsn - reader->buffer_lsn <= reader->buffer_bytes;
    size_t have_bytes = is_inside ? reader->buffer_bytes - (size_t)(lsn - reader->buffer_lsn) : 0;
    if (have_bytes < bytes) {
        if (have_bytes > 0)
            memmove(reader->buffer, reader->buffer + (lsn - reader->buffer_lsn), have_bytes);
        reader->buffer_lsn = lsn;
        reader->buffer_bytes = have_bytes;
        enum ap_rc rc = set_capacity(reader, AP_MAX(bytes, BLOCK_BYTES), limit_lsn - lsn, err);
        if (rc != AP_OK)
            return rc;
        char name[WAL_SEGMENT_NAME_BYTES];
        wal_segment_name(reader->segment.first_lsn, name);
        uint64_t wanted_bytes = AP_MIN(reader->capacity_bytes, limit_lsn - lsn);
        rc = os_read_all(reader->fs, reader->fd, reader->buffer + have_bytes, wanted_bytes - have_bytes,
                         file_offset(reader, lsn + have_bytes), name, err);
        if (rc != AP_OK)
            return rc;
        reader->buffer_bytes = wanted_bytes;
    }
    *ret_bytes = (const uint8_t *)reader->buffer + (lsn - reader->buffer_lsn);
    return AP_OK;
}

static enum ap_rc damaged(const struct wal_reader *reader, uint64_t lsn, const char *how, struct ap_err *err)
{
    char name[WAL_SEGMENT_NAME_BYTES];
    wal_segment_name(reader->segment.first_lsn, name);
    return ap_fail(err, AP_E_CORRUPT, "log segment %s is damaged at offset %" PRIu64 ": %s", name,
                   file_offset(reader, lsn), how);
}

enum ap_rc wal_reader_next(struct wal_reader *reader, uint64_t lsn, uint64_t limit_lsn, struct wal_record *ret_record,
                           struct ap_err *err)
{
    if (limit_lsn - lsn < WAL_RECORD_HEADER_BYTES)
        return damaged(reader, lsn, "no room for a record", err);
    const uint8_t *bytes;
    enum ap_rc rc = wal_reader_peek(reader, lsn, WAL_RECORD_HEADER_BYTES, limit_lsn, &bytes, err);
    if (rc != AP_OK)
        return rc;
    struct wal_record_header header;
    if (!wal_record_header_decode(bytes, reader->segment.salt, lsn, &header))
        return damaged(reader, lsn, "no valid record header", err);
    uint64_t record_bytes = wal_record_bytes(header.payload_bytes);
    if (record_bytes > limit_lsn - lsn)
        return damaged(reader, lsn, "the record is cut short", err);
    rc = wal_reader_peek(reader, lsn, record_bytes, limit_lsn, &bytes, err);
    if (rc != AP_OK)
        return rc;
    const uint8_t *payload = bytes + WAL_RECORD_HEADER_BYTES;
    if (wal_crc32c(0, payload, header.payload_bytes) != header.payload_crc)
        return damaged(reader, lsn, "the record's checksum does not match", err);
    for (uint64_t i = WAL_RECORD_HEADER_BYTES + (uint64_t)header.payload_bytes; i < record_bytes; i++)
        if (bytes[i] != 0)
            return damaged(reader, lsn, "bytes behind the record are not zero", err);
    reader->group_lsn = header.group_lsn;
    *ret_record = (struct wal_record){
        .lsn = lsn,
        .next_lsn = lsn + record_bytes,
        .payload = ap_slice(payload, header.payload_bytes),
        .type = header.type,
    };
    return AP_OK;
}
