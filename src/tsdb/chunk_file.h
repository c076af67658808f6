/*
 * tsdb/chunk_file.h - a file of chunks: appended to, synced, read through a mapping
 *
 * Chunks are written once. The head appends them while a range of time is open; when the range becomes a block, the
 * same file is linked into the block's directory. Bytes: a header of 16, then chunks one behind the other; which of
 * them are valid is told by whoever lists them (the head's chunk list, the block's index).
 *
 * Threads: append, sync and the mapping's growth are for one thread at a time (the owner locks); what was appended may
 * be read by any number of threads that hold a reference.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/rc.h"
#include "base/slice.h"
#include "os/fs.h"

struct chunk_file; /* private to chunk_file.c */

enum { CHUNK_FILE_HEADER_BYTES = 16 };
#define CHUNK_FILE_BYTES_MAX (UINT64_C(1) << 30) /* above it chunk_file_append() is AP_E_LIMIT: begin another file */

/* Makes the file, which must not exist. */
ap_nodiscard enum ap_rc chunk_file_create(const struct os_fs *fs, int dir_fd, const char *name,
                                          struct chunk_file **ret_file, struct ap_err *err);
/* Opens it. `bytes`: how much of it is known to be valid; what is behind is cut off when `is_writable`. AP_E_CORRUPT:
 * it is shorter or has another header. */
ap_nodiscard enum ap_rc chunk_file_open(const struct os_fs *fs, int dir_fd, const char *name, uint64_t bytes,
                                        bool is_writable, struct chunk_file **ret_file, struct ap_err *err);
struct chunk_file *chunk_file_ref(struct chunk_file *file);
void chunk_file_unref(struct chunk_file *file); /* closes with the last one; NULL is allowed */

/* On failure (AP_E_FULL, AP_E_IO) the file is as before and may be tried again. */
ap_nodiscard enum ap_rc chunk_file_append(struct chunk_file *file, struct ap_slice chunk, uint64_t *ret_offset,
                                          struct ap_err *err);
uint64_t chunk_file_bytes(const struct chunk_file *file); /* any thread */
ap_nodiscard enum ap_rc chunk_file_sync(struct chunk_file *file, struct ap_err *err);

/* Lends the bytes while the caller holds a reference. AP_E_CORRUPT: not within the file. */
ap_nodiscard enum ap_rc chunk_file_read(const struct chunk_file *file, uint64_t offset, uint32_t bytes,
                                        struct ap_slice *ret_chunk, struct ap_err *err);
/* Tells the system that its pages will not be needed soon: memory is better used for what is being written. */
void chunk_file_cool(const struct chunk_file *file);
