#include "history/prometheus_log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "history/byte_reader.h"
#include "history/numbered_files.h"
#include "os/fs.h"
#include "wal/crc32c.h"

enum {
    PAGE_BYTES = 32 * 1024,
    HEADER_BYTES = 7,
    KIND_MASK = 7,
    IS_SNAPPY = 1 << 3,
    IS_ZSTD = 1 << 4,
    RECORD_BYTES_MAX = 512 << 20,
};
enum kind { KIND_NOTHING = 0, KIND_WHOLE = 1, KIND_FIRST = 2, KIND_MIDDLE = 3, KIND_LAST = 4 };

/* ---- Opening ---- */

static enum ap_rc add_segments(struct prometheus_log *log, int dir_fd, const char *name, const char *path,
                               uint64_t number_min, struct ap_err *err)
{
    struct numbered_files names;
    AP_AUTO_FD int fd = -1;
    enum ap_rc rc = numbered_files_list(dir_fd, name, path, &fd, &names, err);
    for (size_t i = 0; rc == AP_OK && i < names.count; i++) {
        if (names.items[i].number < number_min)
            continue;
        log->segments = ap_realloc(log->segments, (log->count + 1) * sizeof(*log->segments));
        struct prometheus_segment *segment = &log->segments[log->count];
        *segment = (struct prometheus_segment){0};
        snprintf(segment->name, sizeof(segment->name), "%s/%s", name, names.items[i].name);
        AP_AUTO_FREE char *file_path = ap_asprintf("%s/%s", path, names.items[i].name);
        rc = mapped_file_open(fd, names.items[i].name, file_path, &segment->file, err);
        if (rc != AP_OK)
            break;
        log->count++;
        log->bytes += segment->file.bytes;
    }
    numbered_files_clear(&names);
    return rc;
}

struct newest_checkpoint {
    char name[NUMBERED_FILE_NAME_BYTES + 16];
    uint64_t number;
    bool is_there;
};

static bool find_checkpoint(void *context, const char *name)
{
    static const char prefix[] = "checkpoint.";
    struct newest_checkpoint *newest = context;
    const char *digits = name + sizeof(prefix) - 1;
    if (strncmp(name, prefix, sizeof(prefix) - 1) != 0 || strspn(digits, "0123456789") != strlen(digits) ||
        *digits == '\0' || strlen(name) >= sizeof(newest->name))
        return true;
    uint64_t number = strtoull(digits, NULL, 10);
    if (!newest->is_there || number > newest->number) {
        snprintf(newest->name, sizeof(newest->name), "%s", name);
        newest->number = number;
        newest->is_there = true;
    }
    return true;
}

enum ap_rc prometheus_log_open(int dir_fd, const char *name, const char *path, struct prometheus_log *ret_log,
                               struct ap_err *err)
{
    *ret_log = (struct prometheus_log){0};
    AP_AUTO_FD int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? AP_OK : ap_fail_errno(err, errno, "open %s", path);
    struct newest_checkpoint newest = {0};
    int result = os_fs_system.list(os_fs_system.context, fd, find_checkpoint, &newest);
    enum ap_rc rc = result < 0 ? ap_fail_errno(err, -result, "list %s", path) : AP_OK;
    struct prometheus_log log = {0};
    if (rc == AP_OK && newest.is_there) {
        AP_AUTO_FREE char *below = ap_asprintf("%s/%s", name, newest.name);
        AP_AUTO_FREE char *below_path = ap_asprintf("%s/%s", path, newest.name);
        rc = add_segments(&log, dir_fd, below, below_path, 0, err);
    }
    if (rc == AP_OK)
        rc = add_segments(&log, dir_fd, name, path, newest.is_there ? newest.number + 1 : 0, err);
    if (rc == AP_OK)
        *ret_log = log;
    else
        prometheus_log_close(&log);
    return rc;
}

void prometheus_log_close(struct prometheus_log *log)
{
    for (size_t i = 0; i < log->count; i++)
        mapped_file_close(&log->segments[i].file);
    free(log->segments);
    *log = (struct prometheus_log){0};
}

void prometheus_log_of(struct ap_slice segment, struct prometheus_log *ret_log)
{
    *ret_log = (struct prometheus_log){.segments = ap_new0(struct prometheus_segment), .count = 1};
    ret_log->segments[0].file = (struct mapped_file){(char *)(uintptr_t)segment.data, segment.bytes};
    ret_log->bytes = segment.bytes;
}

/* ---- Reading ---- */

void prometheus_log_cursor_clear(struct prometheus_log_cursor *cursor)
{
    ap_buf_clear(&cursor->parts);
    if (cursor->inflate)
        inflate_free(cursor->inflate);
    free(cursor->plain);
    *cursor = (struct prometheus_log_cursor){0};
}

struct fragment {
    enum kind kind;
    unsigned flags;
    struct ap_slice data;
};

static size_t next_page(size_t offset)
{
    return (offset / PAGE_BYTES + 1) * PAGE_BYTES;
}

static enum ap_rc damaged(const struct prometheus_log *log, struct prometheus_log_cursor *cursor, const char *what,
                          struct ap_err *err)
{
    (void)ap_fail(err, AP_E_CORRUPT, "%s, offset %zu: %s", log->segments[cursor->segment].name, cursor->offset, what);
    cursor->offset = next_page(cursor->offset);
    cursor->is_behind_damage = true;
    ap_buf_reset(&cursor->parts);
    return AP_E_CORRUPT;
}

/* What is missing at the end of the last segment was never said to be there. */
static bool is_torn_end(const struct prometheus_log *log, struct prometheus_log_cursor *cursor)
{
    if (cursor->segment + 1 != log->count)
        return false;
    size_t bytes = log->segments[cursor->segment].file.bytes;
    cursor->torn_bytes = bytes - cursor->offset;
    cursor->offset = bytes;
    return true;
}

static enum ap_rc next_fragment(const struct prometheus_log *log, struct prometheus_log_cursor *cursor,
                                struct fragment *ret_fragment, bool *ret_is_end, struct ap_err *err)
{
    for (;;) {
        *ret_is_end = cursor->segment >= log->count;
        if (*ret_is_end)
            return AP_OK;
        struct ap_slice segment = mapped_file_slice(&log->segments[cursor->segment].file);
        if (cursor->offset >= segment.bytes) {
            if (cursor->parts.bytes && cursor->segment + 1 < log->count) { /* records end with their segment */
                cursor->offset = segment.bytes;
                enum ap_rc rc = damaged(log, cursor, "a record has no end", err);
                return rc;
            }
            cursor->segment++;
            cursor->offset = 0;
            continue;
        }
        size_t left = next_page(cursor->offset) - cursor->offset;
        if (left < HEADER_BYTES || (segment.data[cursor->offset] & KIND_MASK) == KIND_NOTHING) {
            cursor->offset += left;
            continue;
        }
        struct byte_reader reader =
            byte_reader(ap_slice(segment.data + cursor->offset, AP_MIN(left, segment.bytes - cursor->offset)));
        unsigned head = byte_reader_u8(&reader);
        uint32_t bytes = (uint32_t)byte_reader_u8(&reader) << 8;
        bytes |= byte_reader_u8(&reader);
        uint32_t stored = byte_reader_u32(&reader);
        if (HEADER_BYTES + bytes > left)
            return damaged(log, cursor, "a fragment is longer than its page", err);
        struct ap_slice data = byte_reader_slice(&reader, bytes);
        if (reader.is_cut) {
            if (is_torn_end(log, cursor))
                continue;
            return damaged(log, cursor, "the segment ends in the middle of a record", err);
        }
        if (stored != wal_crc32c(0, data.data, data.bytes))
            return damaged(log, cursor, "the checksum of a record does not fit", err);
        cursor->offset += HEADER_BYTES + bytes;
        *ret_fragment = (struct fragment){(enum kind)(head & KIND_MASK), head & ~(unsigned)KIND_MASK, data};
        return AP_OK;
    }
}

static enum ap_rc uncompress(const struct prometheus_log *log, struct prometheus_log_cursor *cursor, unsigned flags,
                             struct ap_slice *record, struct ap_err *err)
{
    if ((flags & (IS_SNAPPY | IS_ZSTD)) == 0)
        return AP_OK;
    if (!cursor->inflate)
        cursor->inflate = inflate_new();
    free(cursor->plain);
    cursor->plain = NULL;
    size_t bytes;
    enum ap_rc rc = inflate_body(cursor->inflate, flags & IS_SNAPPY ? INFLATE_SNAPPY : INFLATE_ZSTD, *record,
                                 RECORD_BYTES_MAX, &cursor->plain, &bytes, err);
    if (rc == AP_OK)
        *record = ap_slice(cursor->plain, bytes);
    else
        (void)ap_fail(err, rc = AP_E_CORRUPT, "%s: a compressed record cannot be read",
                      log->segments[AP_MIN(cursor->segment, log->count - 1)].name);
    return rc;
}

enum ap_rc prometheus_log_next(const struct prometheus_log *log, struct prometheus_log_cursor *cursor,
                               struct ap_slice *ret_record, bool *ret_is_end, struct ap_err *err)
{
    ap_buf_reset(&cursor->parts);
    for (bool is_begun = false;;) {
        struct fragment fragment;
        enum ap_rc rc = next_fragment(log, cursor, &fragment, ret_is_end, err);
        if (rc != AP_OK || *ret_is_end)
            return rc;
        bool is_first = fragment.kind == KIND_WHOLE || fragment.kind == KIND_FIRST;
        if (cursor->is_behind_damage && !is_first)
            continue;
        cursor->is_behind_damage = false;
        if (fragment.kind > KIND_LAST || is_first == is_begun)
            return damaged(log, cursor, "the fragments of a record are not in order", err);
        is_begun = true;
        if (fragment.kind == KIND_WHOLE) {
            *ret_record = fragment.data;
            return uncompress(log, cursor, fragment.flags, ret_record, err);
        }
        if (cursor->parts.bytes + fragment.data.bytes > RECORD_BYTES_MAX)
            return damaged(log, cursor, "a record is larger than 512 MiB", err);
        ap_buf_add_slice(&cursor->parts, fragment.data);
        if (fragment.kind == KIND_LAST) {
            *ret_record = ap_buf_slice(&cursor->parts);
            return uncompress(log, cursor, fragment.flags, ret_record, err);
        }
    }
}
