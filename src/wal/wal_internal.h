/*
 * wal/wal_internal.h - the state that wal.c, commit.c, recover.c and cursor.c share
 *
 * Locks: remove_mtx before state_mtx; queue_mtx is a leaf and held alone.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/random.h"
#include "os/thread.h"
#include "wal/reader.h"
#include "wal/segment.h"

/* A segment file. It ends where the next one begins, the last one at durable_lsn. */
struct wal_segment {
    struct wal_segment_header header;
    struct wal_segment *next;
    bool is_removing; /* about to be unlinked: no cursor may open in it */
};

/*
 * What one reader still needs. It outlives its cursor: a store that closes (or is restarted) while others go on must
 * find its records again.
 */
struct wal_pin {
    char name[WAL_CURSOR_NAME_BYTES];
    uint64_t released_lsn;     /* under state_mtx */
    _Atomic uint64_t next_lsn; /* written by the cursor's thread */
    bool is_open;              /* under state_mtx */
    struct wal_pin *next;
};

enum {
    WAL_STAGING_BYTES = 1024 * 1024,
    WAL_GROUP_PARTS_MAX = 256,
    WAL_ZERO_BYTES = 1024 * 1024,
};

struct wal {
    /* Set before the commit thread starts, then constant. */
    struct wal_options options;
    int dir_fd; /* the caller's */
    pthread_t commit_thread;
    bool has_commit_thread;

    /* Commit thread only (wal_open() before it starts). */
    int active_fd; /* owned; -1: the next group makes a segment */
    struct wal_segment_header active;
    uint64_t zeroed_bytes; /* the active file is written (with records or zeros) up to here */
    uint64_t next_lsn;
    enum ap_rc break_rc;     /* what the newest failed group failed with */
    struct ap_random random; /* for salts */
    char *staging;           /* owned, WAL_STAGING_BYTES: headers and short payloads of a group side by side */
    char *zeros;             /* owned, WAL_ZERO_BYTES */
    struct iovec parts[WAL_GROUP_PARTS_MAX];

    /* Any thread, under queue_mtx. */
    pthread_mutex_t queue_mtx;
    pthread_cond_t queue_cond; /* signalled when the commit thread is idle and should not be, and to stop */
    struct wal_ticket *queue_first;
    struct wal_ticket **queue_tail;
    uint64_t queued_bytes;    /* of records submitted and not yet durable or failed */
    int64_t patient_until_us; /* since when the first of the queue waits, and the log's patience */
    bool is_urgent;           /* one of the queue cannot wait */
    bool is_idle;
    bool is_stopping;
    uint64_t refused_busy;
    uint64_t refused_full;

    /* Any thread. Written under state_mtx. */
    _Atomic uint64_t durable_lsn;
    _Atomic uint64_t released_lsn;
    _Atomic uint64_t break_count; /* written by the commit thread, before the tickets of the failed group are done */

    /* Any thread, under state_mtx. */
    pthread_mutex_t state_mtx;
    pthread_cond_t durable_cond; /* broadcast when durable_lsn grows or the log stops, if waiter_count > 0 */
    unsigned waiter_count;
    bool is_stopped;
    struct wal_segment *segments; /* owned, oldest first; NULL only before the first record */
    struct wal_pin *pins;         /* owned */
    struct wal_stats stats;       /* the counters; wal_stats_get() fills in the rest */

    /* Held while segments are unlinked, oldest first. */
    pthread_mutex_t remove_mtx;
};

/* recover.c: fills in everything on disk. Changes files only when it succeeds in reading them. */
ap_nodiscard enum ap_rc wal_recover(struct wal *wal, uint64_t *ret_cut_bytes, struct ap_err *err);

/* commit.c: the commit thread. */
/* Whether the ticket builds on a record that is not in the log. */
bool wal_is_broken(const struct wal *wal, const struct wal_ticket *ticket);

void *wal_commit_main(void *wal);

/* wal.c: appends to the list, or takes the place of an empty last segment with the same first LSN. */
void wal_add_segment_locked(struct wal *wal, const struct wal_segment_header *header);

/* wal.c: the end of a segment that is in the list. */
uint64_t wal_segment_end_locked(const struct wal *wal, const struct wal_segment *segment);

/* wal.c: for the statistics. */
void wal_note_error_locked(struct wal *wal, const struct ap_err *err);
