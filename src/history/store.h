/*
 * history/store.h - what an import asks of the store that it fills
 *
 *     import.c ──► history_store ──┬─► history_store_local: the store is open in this process
 *                                  └─► handover_link.h: it is a running server's
 *
 * Either way the blocks are made in staging/ below the store's directory, by the importer; the store only takes them
 * from there. Each call may be repeated: what came twice is there once.
 */
#pragma once

#include <stdint.h>

#include "base/rc.h"
#include "tsdb/batch.h"
#include "tsdb/tsdb.h"

struct history_store {
    /* As tsdb_adopt(). */
    enum ap_rc (*adopt)(void *context, const char *id, struct tsdb_adoption *ret_adoption, struct ap_err *err);
    /* Exemplars and metadata, durable on return. The hashes of the batch's series are filled in. */
    enum ap_rc (*add_extras)(void *context, struct batch *batch, uint64_t *ret_exemplars, struct ap_err *err);
    void *context;
};

struct history_store history_store_local(struct tsdb *tsdb);
