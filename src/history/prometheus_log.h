/*
 * history/prometheus_log.h - the records of Prometheus' logs: wal/ with its checkpoint, and wbl/
 *
 * A log is segments, a segment pages of 32 KiB, a page fragments of records, each with a checksum; a record may be
 * compressed. What a record says is prometheus_record.h's. Format: tsdb/docs/format/wal.md.
 *
 * Behind damage reading goes on at the next page, with the next record that begins there. The end of the last segment
 * may be torn, as a crash leaves it: that is told and is no damage.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "base/slice.h"
#include "codec/inflate.h"
#include "history/mapped_file.h"

struct prometheus_log {
    struct prometheus_segment {
        struct mapped_file file;
        char name[64]; /* for messages: "wal/checkpoint.00000003/00000000" */
    } * segments;      /* owned */
    size_t count;
    uint64_t bytes;
};

/* The directory `name` ("wal", "wbl") below dir_fd: its newest checkpoint, and the segments behind that. None: empty.
 */
ap_nodiscard enum ap_rc prometheus_log_open(int dir_fd, const char *name, const char *path,
                                            struct prometheus_log *ret_log, struct ap_err *err);
void prometheus_log_close(struct prometheus_log *log);
/* A log of one segment, whose bytes are lent; for tests. */
void prometheus_log_of(struct ap_slice segment, struct prometheus_log *ret_log);

struct prometheus_log_cursor {
    size_t segment;
    size_t offset;
    struct ap_buf parts;     /* of a record in several fragments */
    struct inflate *inflate; /* owned */
    char *plain;             /* owned; a record that was compressed */
    bool is_behind_damage;   /* what is left of the record that was hurt is passed over */
    uint64_t torn_bytes;     /* at the end of the log */
};
void prometheus_log_cursor_clear(struct prometheus_log_cursor *cursor); /* {0} is one at the beginning */

/* Lends the next record until the call after this. AP_E_CORRUPT: damage was passed over; go on calling. */
ap_nodiscard enum ap_rc prometheus_log_next(const struct prometheus_log *log, struct prometheus_log_cursor *cursor,
                                            struct ap_slice *ret_record, bool *ret_is_end, struct ap_err *err);
