/*
 * wal/reader.h - reads records out of one segment file, in large blocks
 *
 * Used by cursors, and by recovery to find the end of the last segment. One owner, no locks.
 */
#pragma once

#include "wal/record.h"

struct wal_reader {
    const struct os_fs *fs;
    int fd; /* owned; -1: no segment yet */
    struct wal_segment_header segment;
    char *buffer; /* owned; holds the bytes from buffer_lsn on */
    size_t capacity_bytes;
    size_t buffer_bytes;
    uint64_t buffer_lsn;
    uint64_t group_lsn; /* where the group of the last record that was returned begins */
};

void wal_reader_init(struct wal_reader *reader, const struct os_fs *fs);
void wal_reader_clear(struct wal_reader *reader);

/* Goes on in another segment. */
void wal_reader_set_segment(struct wal_reader *reader, int take_fd, const struct wal_segment_header *segment);

/* Lends the `bytes` at `lsn`, until the next call. Reads ahead, but never at or behind `limit_lsn`. */
ap_nodiscard enum ap_rc wal_reader_peek(struct wal_reader *reader, uint64_t lsn, uint64_t bytes, uint64_t limit_lsn,
                                        const uint8_t **ret_bytes, struct ap_err *err);

/*
 * The record at `lsn`, which must end at or before `limit_lsn`. The payload is lent until the next call. Anything else
 * than one whole, undamaged record is AP_E_CORRUPT.
 */
ap_nodiscard enum ap_rc wal_reader_next(struct wal_reader *reader, uint64_t lsn, uint64_t limit_lsn,
                                        struct wal_record *ret_record, struct ap_err *err);
