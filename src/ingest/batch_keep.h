/*
 * ingest/batch_keep.h - batches into the store that nobody waits for: what this process writes by itself at intervals
 *
 * Samples can be queried when batch_keep() returns; that the log has them on disk comes later, and what goes wrong then
 * is told to trouble(). Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/rc.h"
#include "ingest/metrics.h"
#include "tsdb/tsdb.h"

struct batch_keeper; /* private to batch_keep.c */

/* `trouble` may be NULL; any thread. The store is lent. */
struct batch_keeper *batch_keeper_new(struct tsdb *tsdb, metrics_append_fn append,
                                      void (*trouble)(const struct ap_err *err, void *context), void *context);
/* Waits until the log has answered. NULL is allowed. */
void batch_keeper_free(struct batch_keeper *keeper);
AP_DEFINE_AUTO(batch_keeper, struct batch_keeper, batch_keeper_free)

/* The outcome counts what was written and refused. A failure, told to trouble() too: nothing of it is kept. */
ap_nodiscard enum ap_rc batch_keep(struct batch_keeper *keeper, const struct batch *batch,
                                   struct tsdb_outcome *ret_outcome);

/* The log has yet to answer something: whoever writes at intervals had better leave one out. */
bool batch_keeper_is_behind(struct batch_keeper *keeper);
