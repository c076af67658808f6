#include "os/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"

static int system_open(void *context, int dir_fd, const char *name, int flags, mode_t mode)
{
    (void)context;
    int fd;
    do
        fd = openat(dir_fd, name, flags | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

static void system_close(void *context, int fd)
{
    (void)context;
    (void)close(fd); /* whoever needs to know that the bytes arrived has synced before */
}

static ssize_t system_pread(void *context, int fd, void *data, size_t bytes, uint64_t offset)
{
    (void)context;
    ssize_t count;
    do
        count = pread(fd, data, bytes, (off_t)offset);
    while (count < 0 && errno == EINTR);
    return count < 0 ? -errno : count;
}

static ssize_t system_pwritev(void *context, int fd, const struct iovec *parts, int part_count, uint64_t offset)
{
    (void)context;
    ssize_t count;
    do
        count = pwritev(fd, parts, part_count, (off_t)offset);
    while (count < 0 && errno == EINTR);
    return count < 0 ? -errno : count;
}

static int system_allocate(void *context, int fd, uint64_t bytes)
{
    (void)context;
    /* Not posix_fallocate(): where the file system cannot, that one writes into every block, which we do better. */
    int rc;
    do
        rc = fallocate(fd, 0, 0, (off_t)bytes);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : 0;
}

static int system_truncate(void *context, int fd, uint64_t bytes)
{
    (void)context;
    int rc;
    do
        rc = ftruncate(fd, (off_t)bytes);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : 0;
}

static int system_datasync(void *context, int fd)
{
    (void)context;
    return fdatasync(fd) < 0 ? -errno : 0; /* never repeated: a second call may report success for lost pages */
}

static int system_size(void *context, int fd, uint64_t *ret_bytes)
{
    (void)context;
    struct stat status;
    if (fstat(fd, &status) < 0)
        return -errno;
    *ret_bytes = (uint64_t)status.st_size;
    return 0;
}

static int system_rename(void *context, int dir_fd, const char *from, const char *to)
{
    (void)context;
    return renameat(dir_fd, from, dir_fd, to) < 0 ? -errno : 0;
}

static int system_unlink(void *context, int dir_fd, const char *name)
{
    (void)context;
    return unlinkat(dir_fd, name, 0) < 0 ? -errno : 0;
}

static int system_sync_dir(void *context, int dir_fd)
{
    (void)context;
    return fsync(dir_fd) < 0 ? -errno : 0;
}

static int system_list(void *context, int dir_fd, bool (*each)(void *each_context, const char *name),
                       void *each_context)
{
    (void)context;
    /* An open of its own: the position in a directory is shared between duplicates of a descriptor. */
    AP_AUTO_FD int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    DIR *dir = fdopendir(fd);
    if (!dir)
        return -errno;
    (void)AP_MOVE_FD(fd); /* now the DIR's */
    const struct dirent *entry;
    for (errno = 0; (entry = readdir(dir)) != NULL; errno = 0)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && !each(each_context, entry->d_name))
            break;
    int failed_errno = entry ? 0 : errno;
    closedir(dir);
    return -failed_errno;
}

const struct os_fs os_fs_system = {
    .open = system_open,
    .close = system_close,
    .pread = system_pread,
    .pwritev = system_pwritev,
    .allocate = system_allocate,
    .truncate = system_truncate,
    .datasync = system_datasync,
    .size = system_size,
    .rename = system_rename,
    .unlink = system_unlink,
    .sync_dir = system_sync_dir,
    .list = system_list,
};

enum ap_rc os_read_all(const struct os_fs *fs, int fd, void *data, size_t bytes, uint64_t offset, const char *what,
                       struct ap_err *err)
{
    for (size_t done_bytes = 0; done_bytes < bytes;) {
        ssize_t count = fs->pread(fs->context, fd, (char *)data + done_bytes, bytes - done_bytes, offset + done_bytes);
        if (count < 0)
            return ap_fail_errno(err, (int)-count, "read %s", what);
        if (count == 0)
            return ap_fail(err, AP_E_CORRUPT, "%s ends at %" PRIu64 ", before what must be in it", what,
                           offset + done_bytes);
        done_bytes += (size_t)count;
    }
    return AP_OK;
}

enum ap_rc os_write_all(const struct os_fs *fs, int fd, struct iovec *parts, int part_count, uint64_t offset,
                        const char *what, struct ap_err *err)
{
    while (part_count > 0) {
        if (parts->iov_len == 0) {
            parts++;
            part_count--;
            continue;
        }
        ssize_t count = fs->pwritev(fs->context, fd, parts, part_count, offset);
        if (count < 0)
            return ap_fail_errno(err, (int)-count, "write %s", what);
        if (count == 0)
            return ap_fail(err, AP_E_FULL, "write %s: the disk took nothing", what);
        offset += (size_t)count;
        for (size_t left_bytes = (size_t)count; left_bytes > 0;) {
            AP_ASSERT(part_count > 0);
            size_t taken_bytes = AP_MIN(left_bytes, parts->iov_len);
            parts->iov_base = (char *)parts->iov_base + taken_bytes;
            parts->iov_len -= taken_bytes;
            left_bytes -= taken_bytes;
            if (parts->iov_len == 0) {
                parts++;
                part_count--;
            }
        }
    }
    return AP_OK;
}

/* Makes `path` if it is not there; its parent must be. The parent is synced only when something was made. */
static enum ap_rc make_dir(const char *path, struct ap_err *err)
{
    if (mkdir(path, 0750) < 0)
        return errno == EEXIST ? AP_OK : ap_fail_errno(err, errno, "make directory %s", path);
    AP_AUTO_FREE char *parent = ap_asprintf("%s/..", path);
    AP_AUTO_FD int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return ap_fail_errno(err, errno, "sync the directory above %s", path);
    return AP_OK;
}

enum ap_rc os_dir_open(const char *path, int *ret_dir_fd, struct ap_err *err)
{
    AP_AUTO_FREE char *part = ap_strdup(path);
    for (char *slash = part; *slash && (slash = strchr(slash + 1, '/')) != NULL;) {
        *slash = '\0';
        enum ap_rc rc = make_dir(part, err);
        *slash = '/';
        if (rc != AP_OK)
            return rc;
    }
    enum ap_rc rc = make_dir(path, err);
    if (rc != AP_OK)
        return rc;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return ap_fail_errno(err, errno, "open directory %s", path);
    *ret_dir_fd = fd;
    return AP_OK;
}
