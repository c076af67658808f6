/*
 * history/import_state.h - tsdb/import/state: what became of each unit
 *
 *     apiary-import 1
 *     <fingerprint, 16 hex digits> staged <block> | done        a line each
 *
 * "staged": the unit's block is complete in staging/, or the store has taken it from there already. Replaced as a whole
 * with every change. A file that cannot be read counts as none: everything is gone through again, and what the store
 * has is left out.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "tsdb/block.h"

struct import_state {
    struct import_note {
        uint64_t fingerprint;
        char staged[BLOCK_ID_BYTES]; /* "": done */
    } * notes;                       /* owned */
    size_t count;
    size_t capacity;
};

/* Reads import/state below the store's directory; none is an empty one. */
void import_state_read(const char *tsdb_dir, struct import_state *ret_state);
void import_state_clear(struct import_state *state);
const struct import_note *import_state_find(const struct import_state *state, uint64_t fingerprint);
/* Sets the unit's note and makes it durable. `staged` NULL: it is done. */
ap_nodiscard enum ap_rc import_state_note(struct import_state *state, const char *tsdb_dir, uint64_t fingerprint,
                                          const char *staged, struct ap_err *err);
/* Takes the unit's note away, durably: it is to be done again. */
ap_nodiscard enum ap_rc import_state_forget(struct import_state *state, const char *tsdb_dir, uint64_t fingerprint,
                                            struct ap_err *err);
