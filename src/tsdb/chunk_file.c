#include "tsdb/chunk_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#include "wal/crc32c.h"

enum { CHUNK_FILE_VERSION = 1 };

/*
 * The whole range of addresses that the file may ever need is mapped at once; pages beyond its end are never touched,
 * because only what was appended is read.
 */
struct chunk_file {
    const struct os_fs *fs;
    int fd;
    const char *map; /* CHUNK_FILE_BYTES_MAX of it when writable, else `bytes` */
    size_t map_bytes;
    char *name; /* for errors */
    _Atomic uint64_t bytes;
    uint64_t synced_bytes;
    bool is_suspect; /* a sync failed: the kernel may have dropped pages, and would call the next one a success */
    _Atomic uint32_t reference_count;
};

static void header_make(uint8_t header[CHUNK_FILE_HEADER_BYTES])
{
    memcpy(header, "APIARYCK", 8);
    uint32_t version = CHUNK_FILE_VERSION;
    memcpy(header + 8, &version, sizeof(version));
    uint32_t crc = wal_crc32c(0, header, 12);
    memcpy(header + 12, &crc, sizeof(crc));
}

static void file_close(struct chunk_file *file)
{
    if (file->map)
        munmap((void *)(uintptr_t)file->map, file->map_bytes);
    if (file->fd >= 0)
        file->fs->close(file->fs->context, file->fd);
    free(file->name);
    free(file);
}

static enum ap_rc map_file(struct chunk_file *file, size_t bytes, struct ap_err *err)
{
    void *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED | MAP_NORESERVE, file->fd, 0);
    if (map == MAP_FAILED)
        return ap_fail_errno(err, errno, "map %s", file->name);
    file->map = map;
    file->map_bytes = bytes;
    return AP_OK;
}

static struct chunk_file *file_new(const struct os_fs *fs, int fd, const char *name)
{
    struct chunk_file *file = ap_new0(struct chunk_file);
    file->fs = fs;
    file->fd = fd;
    file->name = ap_strdup(name);
    file->reference_count = 1;
    return file;
}

enum ap_rc chunk_file_create(const struct os_fs *fs, int dir_fd, const char *name, struct chunk_file **ret_file,
                             struct ap_err *err)
{
    int fd = fs->open(fs->context, dir_fd, name, O_RDWR | O_CREAT | O_TRUNC, 0640);
    if (fd < 0)
        return ap_fail_errno(err, -fd, "make chunk file %s", name);
    struct chunk_file *file = file_new(fs, fd, name);
    uint8_t header[CHUNK_FILE_HEADER_BYTES];
    header_make(header);
    struct iovec part = {.iov_base = header, .iov_len = sizeof(header)};
    enum ap_rc rc = os_write_all(fs, fd, &part, 1, 0, name, err);
    if (rc == AP_OK) {
        int result = fs->sync_dir(fs->context, dir_fd);
        if (result < 0)
            rc = ap_fail_errno(err, -result, "sync the directory of chunk file %s", name);
    }
    if (rc == AP_OK)
        rc = map_file(file, CHUNK_FILE_BYTES_MAX, err);
    if (rc != AP_OK) {
        (void)fs->unlink(fs->context, dir_fd, name);
        file_close(file);
        return rc;
    }
    file->bytes = CHUNK_FILE_HEADER_BYTES;
    *ret_file = file;
    return AP_OK;
}

static enum ap_rc check_header(const struct chunk_file *file, struct ap_err *err)
{
    uint8_t expected[CHUNK_FILE_HEADER_BYTES];
    uint8_t header[CHUNK_FILE_HEADER_BYTES];
    header_make(expected);
    enum ap_rc rc = os_read_all(file->fs, file->fd, header, sizeof(header), 0, file->name, err);
    if (rc == AP_OK && memcmp(header, expected, sizeof(header)) != 0)
        rc = ap_fail(err, AP_E_CORRUPT, "%s is no chunk file, or its header at offset 0 is damaged", file->name);
    return rc;
}

enum ap_rc chunk_file_open(const struct os_fs *fs, int dir_fd, const char *name, uint64_t bytes, bool is_writable,
                           struct chunk_file **ret_file, struct ap_err *err)
{
    int fd = fs->open(fs->context, dir_fd, name, is_writable ? O_RDWR : O_RDONLY, 0);
    if (fd < 0)
        return ap_fail_errno(err, -fd, "open chunk file %s", name);
    struct chunk_file *file = file_new(fs, fd, name);
    uint64_t there = 0;
    int result = fs->size(fs->context, fd, &there);
    enum ap_rc rc = result < 0 ? ap_fail_errno(err, -result, "size of %s", name) : AP_OK;
    if (rc == AP_OK && (there < bytes || bytes < CHUNK_FILE_HEADER_BYTES))
        rc = ap_fail(err, AP_E_CORRUPT, "%s has %" PRIu64 " bytes where %" PRIu64 " are expected", name, there, bytes);
    if (rc == AP_OK)
        rc = check_header(file, err);
    if (rc == AP_OK && is_writable && there > bytes) {
        result = fs->truncate(fs->context, fd, bytes);
        if (result < 0)
            rc = ap_fail_errno(err, -result, "cut %s", name);
    }
    if (rc == AP_OK)
        rc = map_file(file, is_writable ? CHUNK_FILE_BYTES_MAX : (size_t)bytes, err);
    if (rc != AP_OK) {
        file_close(file);
        return rc;
    }
    file->bytes = bytes;
    file->synced_bytes = bytes;
    *ret_file = file;
    return AP_OK;
}

struct chunk_file *chunk_file_ref(struct chunk_file *file)
{
    atomic_fetch_add_explicit(&file->reference_count, 1, memory_order_relaxed);
    return file;
}

void chunk_file_unref(struct chunk_file *file)
{
    if (file && atomic_fetch_sub_explicit(&file->reference_count, 1, memory_order_acq_rel) == 1)
        file_close(file);
}

enum ap_rc chunk_file_append(struct chunk_file *file, struct ap_slice chunk, uint64_t *ret_offset, struct ap_err *err)
{
    uint64_t offset = atomic_load_explicit(&file->bytes, memory_order_relaxed);
    if (offset + chunk.bytes > CHUNK_FILE_BYTES_MAX)
        return ap_fail(err, AP_E_LIMIT, "%s is as large as a chunk file may be", file->name);
    struct iovec part = {.iov_base = (void *)(uintptr_t)chunk.data, .iov_len = chunk.bytes};
    enum ap_rc rc = os_write_all(file->fs, file->fd, &part, 1, offset, file->name, err);
    if (rc != AP_OK)
        return rc; /* what was written in part is written over by the next one */
    *ret_offset = offset;
    atomic_store_explicit(&file->bytes, offset + chunk.bytes, memory_order_release);
    return AP_OK;
}

uint64_t chunk_file_bytes(const struct chunk_file *file)
{
    return atomic_load_explicit(&file->bytes, memory_order_acquire);
}

enum ap_rc chunk_file_sync(struct chunk_file *file, struct ap_err *err)
{
    uint64_t bytes = chunk_file_bytes(file);
    if (file->is_suspect)
        return ap_fail(err, AP_E_IO, "%s could not be synced before; the log keeps its samples until a restart",
                       file->name);
    if (bytes == file->synced_bytes)
        return AP_OK;
    int result = file->fs->datasync(file->fs->context, file->fd);
    if (result < 0) {
        file->is_suspect = true;
        return ap_fail_errno(err, -result, "sync %s", file->name);
    }
    file->synced_bytes = bytes;
    return AP_OK;
}

enum ap_rc chunk_file_read(const struct chunk_file *file, uint64_t offset, uint32_t bytes, struct ap_slice *ret_chunk,
                           struct ap_err *err)
{
    uint64_t end = chunk_file_bytes(file);
    if (offset < CHUNK_FILE_HEADER_BYTES || offset > end || bytes > end - offset)
        return ap_fail(err, AP_E_CORRUPT, "%s: no chunk of %" PRIu32 " bytes can be at offset %" PRIu64, file->name,
                       bytes, offset);
    *ret_chunk = ap_slice(file->map + offset, bytes);
    return AP_OK;
}

void chunk_file_cool(const struct chunk_file *file)
{
    (void)madvise((void *)(uintptr_t)file->map, file->map_bytes, MADV_DONTNEED);
}
