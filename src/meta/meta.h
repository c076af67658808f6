/*
 * meta/meta.h - the small mutable state, in one SQLite file
 *
 * `meta.sqlite` in the data directory holds keys, secrets, pushed metrics and heart-beats (later: people, incidents).
 * Several processes may have it open at once: `apiary key revoke` works while the server runs. A `struct meta` is one
 * connection and belongs to one thread at a time; a thread that needs its own opens its own.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/rc.h"

struct meta; /* fields are private to meta/ */

/*
 * Opens or creates the file (mode 0600) and brings its tables up to date, each step in a transaction. A file written
 * by a newer program is AP_E_CONFLICT; one that is no such database AP_E_CORRUPT.
 */
ap_nodiscard enum ap_rc meta_open(const char *path, struct meta **ret_meta, struct ap_err *err);
void meta_close(struct meta *meta); /* NULL is allowed */
AP_DEFINE_AUTO(meta, struct meta, meta_close)

/*
 * True when another connection has committed since the last call (or since meta_open). Costs a few microseconds.
 */
ap_nodiscard enum ap_rc meta_has_changed(struct meta *meta, bool *ret_has_changed, struct ap_err *err);

/*
 * The secret called `name`: random bytes, made at first use and the same ever after, in every process.
 */
ap_nodiscard enum ap_rc meta_secret(struct meta *meta, const char *name, void *ret_bytes, size_t bytes,
                                    struct ap_err *err);
