/*
 * history/handover_desk.h - where a running server takes in what an importer has made
 *
 * A thread that answers one question after the other. Adopting a block may take as long as a merge; what comes in by
 * other ways and what is asked goes on meanwhile. A block is read to its last byte before it is taken.
 */
#pragma once

#include "base/mem.h"
#include "history/handover.h"
#include "tsdb/tsdb.h"

struct handover_desk; /* private to handover_desk.c */

struct handover_desk_options {
    int data_fd;          /* lent; where the socket comes to be */
    const char *tsdb_dir; /* of the store, for staging/ and import/ */
    struct tsdb *tsdb;    /* lent */
    int64_t retention_ms;
    uint64_t retention_bytes;
    int64_t block_range_ms;
    /* Both on the desk's thread, for the log; may be NULL. */
    void (*adopted)(const char *id, const struct tsdb_adoption *adoption, void *context);
    void (*trouble)(const struct ap_err *err, void *context);
    void *context;
};

/* Fails where the data directory's file system has no sockets: the server can do without. */
ap_nodiscard enum ap_rc handover_desk_open(const struct handover_desk_options *options, struct handover_desk **ret_desk,
                                           struct ap_err *err);
/* Ends what is under way. NULL is allowed. */
void handover_desk_close(struct handover_desk *desk);
AP_DEFINE_AUTO(handover_desk, struct handover_desk, handover_desk_close)
