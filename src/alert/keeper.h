/*
 * alert/keeper.h - alerting's state on its way to the disk: records of the log, and now and then a snapshot
 *
 * What the records and the snapshot say is journal.h's. The log is held from the last snapshot on, so a snapshot is due
 * when many records were written since, by alerting or by others.
 *
 * Threads: all functions from any; one at a time saves snapshots.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "alert/journal.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/rc.h"

struct keeper; /* private to keeper.c */
struct wal;

struct keeper_options {
    const char *dir;                                          /* of the snapshot; lent for the call */
    struct wal *wal;                                          /* lent */
    void (*trouble)(const struct ap_err *err, void *context); /* or NULL */
    void *context;
};
/* Reads what is kept into `state`. */
ap_nodiscard enum ap_rc keeper_open(const struct keeper_options *options, const struct journal_state *state,
                                    struct keeper **ret_keeper, struct ap_err *err);
void keeper_close(struct keeper *keeper); /* waits for the log's answers; NULL is allowed */
AP_DEFINE_AUTO(keeper, struct keeper, keeper_close)

/*
 * Hands entries to the log, in the order of the calls: the caller holds the lock of its state. done() is called when
 * they are on disk or lost, on the log's thread; on failure of this call it is not.
 */
ap_nodiscard enum ap_rc keeper_submit(struct keeper *keeper, struct ap_buf *take_bytes,
                                      void (*done)(void *context, enum ap_rc rc), void *context, struct ap_err *err);
/* The same, and nobody waits; without a keeper (NULL) they are let go. */
void keeper_note(struct keeper *keeper, struct ap_buf *take_bytes);
/* Waits until they are on disk; without a keeper they are taken as if. */
ap_nodiscard enum ap_rc keeper_append(struct keeper *keeper, struct ap_slice bytes, struct ap_err *err);

/*
 * A snapshot in two steps: what is there is copied while the caller holds the lock of its state, and written when it
 * does not. The first says whether one is due, and from where in the log on it lacks records.
 */
struct keeper_snapshot {
    uint64_t lsn;
    uint64_t record_bytes;
};
bool keeper_is_due(struct keeper *keeper, struct keeper_snapshot *ret_snapshot); /* NULL: never */
void keeper_save(struct keeper *keeper, const struct keeper_snapshot *snapshot, struct ap_slice bytes);
