/*
 * wal/wal.h - the write-ahead log
 *
 * Every accepted write becomes a record here first; a client gets its 2xx from the record's done() callback and not
 * earlier. Stores read the records back through cursors. Bytes on disk: docs/format/wal.md; why it is built this way:
 * docs/decisions/0002-write-ahead-log.md.
 *
 *     threads that ingest ──wal_submit()──► queue ──► commit thread: one write, one fdatasync for all that waited
 *                                                        │ done(ticket, rc, lsn)        │ durable
 *                                                        ▼                              ▼
 *                                                  answer the client          wal_cursor_next() in each store
 *
 * A log sequence number (LSN) is the byte position of a record in the endless concatenation of all records; the first
 * record ever has LSN 0. A store remembers wal_record.next_lsn in its own transaction and opens its cursor there.
 *
 * What a newcomer gets wrong first: the payload of a ticket is lent until done() has been called, and done() runs on
 * the commit thread, so it must not block.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rc.h"
#include "base/slice.h"
#include "os/fs.h"

struct wal;        /* fields are private to wal.c */
struct wal_cursor; /* fields are private to cursor.c */

enum {
    WAL_TICKET_SLICES_MAX = 4,
    WAL_RECORD_HEADER_BYTES = 24, /* LSNs advance by this plus the payload, rounded up to a multiple of 8 */
};

struct wal_options {
    uint64_t segment_bytes;    /* size of a segment file, preallocated */
    uint64_t bytes_max;        /* records kept for cursors; above it wal_submit() is AP_E_FULL */
    uint64_t queue_bytes_max;  /* payload waiting for the commit thread; above it wal_submit() is AP_E_BUSY */
    uint32_t record_bytes_max; /* a longer payload is AP_E_LIMIT; must fit into a segment */
    uint32_t patience_ms;      /* for so long a ticket that can wait does, for others to be written with */
    const struct os_fs *fs;
    const struct ap_clock *clock;
    /* May be NULL. Runs on the commit thread after the done() of all tickets of a group: a place to wake others once.
     */
    void (*group_done)(void *context);
    void *group_context;
};

/* 64 MiB segments, 4 GiB kept, 64 MiB queue, 32 MiB a record, 50 ms patience, the real file system and clock. */
void wal_options_init(struct wal_options *options);

/*
 * Opens the log in the directory `dir_fd`, which stays the caller's and must stay open until wal_close(), and starts
 * the commit thread. A torn end of the last segment (a write that was under way when the machine stopped; nobody was
 * told that it succeeded) is cut off and its length goes to *ret_cut_bytes. Any other damage is AP_E_CORRUPT with file
 * and offset in `err`, and all files stay as they are. Records of earlier segments are checked when they are read.
 */
ap_nodiscard enum ap_rc wal_open(int dir_fd, const struct wal_options *options, struct wal **ret_wal,
                                 uint64_t *ret_cut_bytes, struct ap_err *err);

/*
 * Refuses further tickets, commits those that wait (their done() is called), ends the commit thread. Cursors still
 * deliver what is durable; at its end wal_cursor_next() is AP_E_BUSY at once. Calling it again does nothing.
 */
void wal_stop(struct wal *wal);

/* wal_stop(), then frees. All cursors must be closed. NULL is allowed. */
void wal_close(struct wal *wal);
AP_DEFINE_AUTO(wal, struct wal, wal_close)

/* One record to write. The caller owns the memory, usually inside its request; it may be freed in done(). */
struct wal_ticket {
    /* Set before wal_submit(), then lent to the log until done(). */
    struct ap_slice slices[WAL_TICKET_SLICES_MAX]; /* together the payload */
    unsigned slice_count;
    uint8_t type; /* 1-255, what the payload is; the log does not look into it */
    /*
     * Chained: the payload says how it differs from records submitted before, so it is of no use without them.
     * `break_count` is wal_break_count() as it was read before the payload was made. Once any group has failed since,
     * wal_submit() is AP_E_CONFLICT, and a ticket that waits already fails as the newest such group did: so none gets
     * into the log behind one that is missing. The next payload says all anew, with the new count. That is also due
     * after a wal_submit() that refused for another reason, which the log does not count. Tickets that are not chained
     * go on.
     */
    bool is_chained;
    uint64_t break_count;
    /*
     * Nobody waits for the answer: it is written with the next ticket that cannot wait, or when patience_ms are over.
     * Who submits many small ones, one after the other, does not cost an fdatasync for each.
     */
    bool can_wait;
    /*
     * Called once, on the commit thread, in LSN order. AP_OK: the record is durable at `lsn`. AP_E_FULL: no space on
     * the disk. AP_E_IO: it refused. With either the record is not in the log and `lsn` is 0; the next ticket tries
     * anew.
     */
    void (*done)(struct wal_ticket *ticket, enum ap_rc rc, uint64_t lsn);
    void *context; /* the caller's */
    /* The log's. */
    struct wal_ticket *next;
    uint32_t payload_bytes;
    uint32_t payload_crc;
};

/*
 * Queues a record; callable from any thread, never blocks on the disk. AP_OK: done() will be called. Otherwise it will
 * not: AP_E_LIMIT (record too long), AP_E_BUSY (queue full, or stopping), AP_E_FULL (the log holds bytes_max that some
 * cursor still needs), AP_E_CONFLICT (chained, and the chain is broken: make the payload anew).
 */
ap_nodiscard enum ap_rc wal_submit(struct wal *wal, struct wal_ticket *ticket, struct ap_err *err);

/*
 * How many groups of records have failed since wal_open(); has grown before the done() that tells of it. Refused
 * tickets and chained ones that fail because of a group do not count. Any thread.
 */
uint64_t wal_break_count(const struct wal *wal);

/* All records below are durable, and the next one to be submitted will be at this LSN or above. Any thread. */
uint64_t wal_durable_lsn(const struct wal *wal);

/* Submits and waits. For tests and slow paths; not for the commit thread itself. *ret_lsn may be NULL. */
ap_nodiscard enum ap_rc wal_append_sync(struct wal *wal, uint8_t type, struct ap_slice payload, uint64_t *ret_lsn,
                                        struct ap_err *err);

struct wal_record {
    uint64_t lsn;
    uint64_t next_lsn; /* where the following record begins: what a store remembers */
    struct ap_slice payload;
    uint8_t type;
};

/*
 * A reader that begins at `lsn`: 0, or a next_lsn it was given before. Belongs to one thread at a time. Nothing from
 * `lsn` on is removed until it releases that. AP_E_NOT_FOUND: records there are gone; AP_E_CONFLICT: the log ends
 * before, so that it is not the log the store has read. `name` is unique among cursors. Open those of all stores before
 * any of them releases.
 */
ap_nodiscard enum ap_rc wal_cursor_open(struct wal *wal, const char *name, uint64_t lsn, struct wal_cursor **ret_cursor,
                                        struct ap_err *err);

/*
 * What the cursor has not released stays held back until a cursor of the same name is opened or the log is closed:
 * stores stop one after the other, and one that still runs must not remove what another has yet to read next time.
 * NULL is allowed.
 */
void wal_cursor_close(struct wal_cursor *cursor);
AP_DEFINE_AUTO(wal_cursor, struct wal_cursor, wal_cursor_close)

/*
 * The next durable record, whose payload is lent until the next call. Waits for one up to `timeout_ms` (0: not at all,
 * negative: for ever). AP_E_TIMEOUT: none came; AP_E_BUSY: the log stopped and all is read; AP_E_CORRUPT: the stored
 * record is damaged, with file and offset in `err`; AP_E_IO: the disk refused, the same call may be tried again.
 */
ap_nodiscard enum ap_rc wal_cursor_next(struct wal_cursor *cursor, int64_t timeout_ms, struct wal_record *ret_record,
                                        struct ap_err *err);

/*
 * This reader needs nothing below `lsn` any more: a next_lsn that its store has made durable, or, for a store that made
 * the records itself and did not read them, any up to wal_durable_lsn() (more is asserted); it must not read on below
 * that. Less than was released before changes nothing. Segments that no cursor needs are unlinked, on the calling
 * thread. A failing unlink is kept in the statistics and tried again next time. Before the first cursor is opened
 * nothing is removed. At the next wal_open() only the segments that are gone are remembered: the store keeps its LSN.
 */
void wal_cursor_release(struct wal_cursor *cursor, uint64_t lsn);

enum { WAL_ERROR_TEXT_BYTES = 256, WAL_CURSOR_NAME_BYTES = 32, WAL_STATS_CURSORS_MAX = 8 };

/* Counts are since wal_open(). */
struct wal_stats {
    uint64_t durable_lsn;    /* where the next record will begin: all below is on disk */
    uint64_t oldest_lsn;     /* first record on disk */
    uint64_t released_lsn;   /* nobody needs anything below */
    uint64_t retained_bytes; /* durable_lsn - released_lsn: what bytes_max limits */
    uint64_t bytes_max;
    uint64_t segment_count;
    uint64_t queued_bytes; /* submitted and not done */
    uint64_t appended_records;
    uint64_t appended_bytes; /* with record headers */
    uint64_t appended_groups;
    uint64_t syncs;   /* fdatasync on segments */
    uint64_t sync_us; /* spent in writing and syncing groups */
    uint64_t group_records_max;
    uint64_t refused_busy; /* submits */
    uint64_t refused_full;
    uint64_t failed_records; /* done() with an error */
    uint64_t failed_full;    /* groups that found no space */
    uint64_t failed_io;      /* groups that the disk refused */
    uint64_t removed_segments;
    int64_t last_error_us; /* wall time; 0: none yet */
    char last_error[WAL_ERROR_TEXT_BYTES];
    bool is_failing; /* the newest group did not become durable */
    size_t cursor_count;
    struct {
        char name[WAL_CURSOR_NAME_BYTES];
        uint64_t next_lsn; /* reads on here; behind durable_lsn by its lag */
        uint64_t released_lsn;
    } cursors[WAL_STATS_CURSORS_MAX]; /* the first of them */
};

/* Callable from any thread. */
void wal_stats_get(struct wal *wal, struct wal_stats *ret_stats);
