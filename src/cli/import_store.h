/*
 * cli/import_store.h - the store that an import opens by itself: of a data directory on which no server runs, or the
 * copy that a running server made of its own, to compare with
 */
#pragma once

#include "base/mem.h"
#include "base/rc.h"
#include "cli/config.h"
#include "tsdb/tsdb.h"

struct import_store {
    int data_fd;
    int lock_fd; /* data/lock, as a server holds it */
    int wal_fd;
    struct wal *wal;
    struct wal_cursor *rows; /* what the warehouse has not read yet stays in the log */
    struct tsdb *tsdb;
};

/*
 * AP_E_CONFLICT: a server runs on the directory. `trouble` as in tsdb_options. What was opened is to be closed on
 * failure too.
 */
ap_nodiscard enum ap_rc import_store_open(const struct config *config,
                                          void (*trouble)(const struct ap_err *err, void *context), void *context,
                                          struct import_store *ret_store, struct ap_err *err);
/* A directory that handover_link_snapshot() made. */
ap_nodiscard enum ap_rc import_store_open_snapshot(const char *dir,
                                                   void (*trouble)(const struct ap_err *err, void *context),
                                                   void *context, struct import_store *ret_store, struct ap_err *err);
void import_store_close(struct import_store *store);
