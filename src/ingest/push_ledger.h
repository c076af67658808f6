/*
 * ingest/push_ledger.h - the pushed groups in memory and in meta.sqlite, in step; and the samples that tell of a change
 *
 * A change is made between pushed_begin() and pushed_commit() of meta/pushed.h, which are the caller's. When the disk
 * fails in between, push_ledger_load() makes memory what is on disk.
 *
 * One owner, no locks.
 */
#pragma once

#include <stdint.h>

#include "base/arena.h"
#include "ingest/push.h"
#include "ingest/push_groups.h"
#include "tsdb/batch.h"

struct meta;

struct push_ledger {
    struct push_options options; /* the push's */
    struct meta *meta;           /* owned */
    struct push_groups groups;
    int64_t marker_ts_ms; /* of the newest staleness markers: what follows is later */
};

ap_nodiscard enum ap_rc push_ledger_open(struct push_ledger *ledger, const struct push_options *options,
                                         struct ap_err *err);
void push_ledger_close(struct push_ledger *ledger);
/* What is damaged is told to options.trouble and left out. */
ap_nodiscard enum ap_rc push_ledger_load(struct push_ledger *ledger, struct ap_err *err);

/* Samples of a change; the batch lends from the arena, so that what is changed later does not matter. */
struct push_samples {
    struct batch batch;
    struct ap_arena arena;
};
void push_samples_init(struct push_samples *samples);
void push_samples_clear(struct push_samples *samples);

/*
 * Makes the change; takes what it keeps out of update->families. AP_E_PARSE and AP_E_LIMIT: refused, `err` says why,
 * and all is as it was but for a note of the failure. Anything else: the disk's fault.
 */
ap_nodiscard enum ap_rc push_ledger_apply(struct push_ledger *ledger, struct push_update *update,
                                          struct push_samples *samples, struct ap_err *err);

/* Removes the groups that nobody has pushed to since, as if they were deleted; adds to *count. */
bool push_ledger_has_older(const struct push_ledger *ledger, int64_t since_us);
ap_nodiscard enum ap_rc push_ledger_remove_older(struct push_ledger *ledger, int64_t since_us,
                                                 struct push_samples *samples, uint64_t *count, struct ap_err *err);

/* All series of a group once more, at the time that it is; the batch lends from the group. */
void push_ledger_repeat(struct push_ledger *ledger, struct push_group *group, struct batch *batch);
