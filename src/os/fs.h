/*
 * os/fs.h - the file operations that durability depends on, as a table
 *
 * Code that keeps acknowledged data calls the disk through a `struct os_fs`, so that a test can make the nth operation
 * fail, write short, run out of space or lose what was not synced. Everything else may use the system directly.
 *
 * Results are as the kernel gives them: 0 or a count on success, -errno on failure. errno itself is not used.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/rc.h"

struct os_fs {
    void *context;
    /* openat(2); O_CLOEXEC is added. Returns the descriptor. */
    int (*open)(void *context, int dir_fd, const char *name, int flags, mode_t mode);
    void (*close)(void *context, int fd);
    /* May read or write less than asked for. EINTR is hidden. */
    ssize_t (*pread)(void *context, int fd, void *data, size_t bytes, uint64_t offset);
    ssize_t (*pwritev)(void *context, int fd, const struct iovec *parts, int part_count, uint64_t offset);
    /* Makes the file at least `bytes` long, with space on the disk for all of it. -EOPNOTSUPP: not on this kind. */
    int (*allocate)(void *context, int fd, uint64_t bytes);
    int (*truncate)(void *context, int fd, uint64_t bytes);
    int (*datasync)(void *context, int fd);
    int (*size)(void *context, int fd, uint64_t *ret_bytes);
    int (*rename)(void *context, int dir_fd, const char *from, const char *to);
    int (*unlink)(void *context, int dir_fd, const char *name);
    /* Makes creations, renames and unlinks in the directory durable. */
    int (*sync_dir)(void *context, int dir_fd);
    /* Calls `each` for every entry but "." and "..", in any order, until it returns false. */
    int (*list)(void *context, int dir_fd, bool (*each)(void *each_context, const char *name), void *each_context);
};

/* The real one. */
extern const struct os_fs os_fs_system;

/* All of `bytes`, or AP_E_IO; the end of the file before that is AP_E_CORRUPT. `what` names the file in `err`. */
ap_nodiscard enum ap_rc os_read_all(const struct os_fs *fs, int fd, void *data, size_t bytes, uint64_t offset,
                                    const char *what, struct ap_err *err);

/* All parts, going on after short writes; changes `parts`. A disk that takes nothing at all is AP_E_FULL. */
ap_nodiscard enum ap_rc os_write_all(const struct os_fs *fs, int fd, struct iovec *parts, int part_count,
                                     uint64_t offset, const char *what, struct ap_err *err);

/*
 * Opens the directory `path` for use with openat(2), making it and what is missing above it (mode 0750). The new
 * entries are durable on return. The descriptor is the caller's.
 */
ap_nodiscard enum ap_rc os_dir_open(const char *path, int *ret_dir_fd, struct ap_err *err);
