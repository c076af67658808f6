/*
 * wal/segment.h - segment files: names, creation, opening
 *
 * `<first LSN in 16 hexadecimal digits>.wal`. A segment ends where the next one begins; the last one ends at the last
 * durable record. Bytes behind the end (preallocated space, the rest of a failed write) mean nothing.
 */
#pragma once

#include "wal/record.h"

enum { WAL_SEGMENT_NAME_BYTES = 32 };

void wal_segment_name(uint64_t first_lsn, char name[WAL_SEGMENT_NAME_BYTES]);

/* False when `name` is not that of a segment. */
bool wal_segment_name_parse(const char *name, uint64_t *ret_first_lsn);

/* True for what an interrupted wal_segment_create() leaves behind. */
bool wal_segment_name_is_unfinished(const char *name);

/*
 * Makes an empty segment of `segment_bytes`, durable with its name before this returns; the descriptor is the caller's.
 * It takes the place of a segment of the same name, which therefore must not hold a durable record. No space:
 * AP_E_FULL.
 */
ap_nodiscard enum ap_rc wal_segment_create(const struct os_fs *fs, int dir_fd, const struct wal_segment_header *header,
                                           uint64_t segment_bytes, int *ret_fd, struct ap_err *err);

/* Opens the segment that begins at `first_lsn` and checks its header. `flags` as for open(2). */
ap_nodiscard enum ap_rc wal_segment_open(const struct os_fs *fs, int dir_fd, uint64_t first_lsn, int flags,
                                         struct wal_segment_header *ret_header, int *ret_fd, struct ap_err *err);
