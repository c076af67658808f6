#include "wal/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char unfinished_suffix[] = ".wal.new";

void wal_segment_name(uint64_t first_lsn, char name[WAL_SEGMENT_NAME_BYTES])
{
    snprintf(name, WAL_SEGMENT_NAME_BYTES, "%016" PRIx64 ".wal", first_lsn);
}

bool wal_segment_name_parse(const char *name, uint64_t *ret_first_lsn)
{
    uint64_t first_lsn = 0;
    for (int i = 0; i < 16; i++) {
        char c = name[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        first_lsn = first_lsn << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    if (strcmp(name + 16, ".wal") != 0)
        return false;
    *ret_first_lsn = first_lsn;
    return true;
}

bool wal_segment_name_is_unfinished(const char *name)
{
    size_t bytes = strlen(name);
    size_t suffix_bytes = sizeof(unfinished_suffix) - 1;
    return bytes == 16 + suffix_bytes && strcmp(name + 16, unfinished_suffix) == 0;
}

/* Space, header, sync. */
static enum ap_rc fill_new(const struct os_fs *fs, int fd, const struct wal_segment_header *header,
                           uint64_t segment_bytes, const char *name, struct ap_err *err)
{
    int result = fs->allocate(fs->context, fd, segment_bytes);
    if (result < 0 && result != -EOPNOTSUPP) /* without preallocation the log is slower, not wrong */
        return ap_fail_errno(err, -result, "allocate %" PRIu64 " bytes for log segment %s", segment_bytes, name);
    uint8_t bytes[WAL_SEGMENT_HEADER_BYTES];
    wal_segment_header_encode(header, bytes);
    struct iovec part = {.iov_base = bytes, .iov_len = sizeof(bytes)};
    enum ap_rc rc = os_write_all(fs, fd, &part, 1, 0, name, err);
    if (rc != AP_OK)
        return rc;
    result = fs->datasync(fs->context, fd);
    if (result < 0)
        return ap_fail_errno(err, -result, "sync new log segment %s", name);
    return AP_OK;
}

enum ap_rc wal_segment_create(const struct os_fs *fs, int dir_fd, const struct wal_segment_header *header,
                              uint64_t segment_bytes, int *ret_fd, struct ap_err *err)
{
    char name[WAL_SEGMENT_NAME_BYTES];
    wal_segment_name(header->first_lsn, name);
    char unfinished_name[WAL_SEGMENT_NAME_BYTES];
    snprintf(unfinished_name, sizeof(unfinished_name), "%016" PRIx64 "%s", header->first_lsn, unfinished_suffix);

    int fd = fs->open(fs->context, dir_fd, unfinished_name, O_RDWR | O_CREAT | O_TRUNC, 0640);
    if (fd < 0)
        return ap_fail_errno(err, -fd, "create log segment %s", unfinished_name);
    /* The name `.wal` appears only on a complete header, so that a bad header is always damage. */
    enum ap_rc rc = fill_new(fs, fd, header, segment_bytes, unfinished_name, err);
    if (rc == AP_OK) {
        int result = fs->rename(fs->context, dir_fd, unfinished_name, name);
        if (result < 0)
            rc = ap_fail_errno(err, -result, "rename log segment %s", unfinished_name);
    }
    if (rc != AP_OK) {
        fs->close(fs->context, fd);
        (void)fs->unlink(fs->context, dir_fd, unfinished_name); /* gives its space back; otherwise wal_open() does */
        return rc;
    }
    int result = fs->sync_dir(fs->context, dir_fd);
    if (result < 0) {
        /* Whether the name survives is unknown, so nothing may go into the file. The next attempt replaces it. */
        fs->close(fs->context, fd);
        return ap_fail_errno(err, -result, "sync the log's directory after creating %s", name);
    }
    *ret_fd = fd;
    return AP_OK;
}

enum ap_rc wal_segment_open(const struct os_fs *fs, int dir_fd, uint64_t first_lsn, int flags,
                            struct wal_segment_header *ret_header, int *ret_fd, struct ap_err *err)
{
    char name[WAL_SEGMENT_NAME_BYTES];
    wal_segment_name(first_lsn, name);
    int fd = fs->open(fs->context, dir_fd, name, flags, 0);
    if (fd < 0)
        return ap_fail_errno(err, -fd, "open log segment %s", name);
    uint8_t bytes[WAL_SEGMENT_HEADER_BYTES];
    struct wal_segment_header header;
    enum ap_rc rc = os_read_all(fs, fd, bytes, sizeof(bytes), 0, name, err);
    if (rc == AP_OK) {
        rc = wal_segment_header_decode(bytes, &header, err);
        if (rc != AP_OK)
            ap_err_prefix(err, "log segment %s is damaged", name);
        else if (header.first_lsn != first_lsn)
            rc = ap_fail(err, AP_E_CORRUPT, "log segment %s is damaged: its header (offset 16) names LSN %016" PRIx64,
                         name, header.first_lsn);
    }
    if (rc != AP_OK) {
        fs->close(fs->context, fd);
        return rc;
    }
    *ret_header = header;
    *ret_fd = fd;
    return AP_OK;
}
