/*
 * history/handover_link.h - the store of a running server, as the importer sees it
 *
 * Each question is a connection of its own, and is asked again when the server goes away before it answered: one that
 * is killed and started again costs a moment. One thread.
 */
#pragma once

#include "base/mem.h"
#include "history/handover.h"
#include "history/store.h"

struct handover_link; /* private to handover_link.c */

/*
 * Asks whether a server runs on the data directory. AP_E_NOT_FOUND: none does, or one that is older than all this.
 * AP_E_AUTH: it is another user's. AP_E_CONFLICT: it speaks another version. One that was killed is waited for, a
 * minute: whoever took the directory from it would keep it from starting again. `waiting` (NULL is allowed) is called
 * each time that this begins, here and with later questions.
 */
ap_nodiscard enum ap_rc handover_link_open(const char *data_dir, void (*waiting)(void *context), void *context,
                                           struct handover_link **ret_link, struct ap_err *err);
void handover_link_close(struct handover_link *link); /* NULL is allowed */
AP_DEFINE_AUTO(handover_link, struct handover_link, handover_link_close)

const struct handover_facts *handover_link_facts(const struct handover_link *link); /* as of the opening */
struct history_store handover_link_store(struct handover_link *link);

/*
 * All that the store has now up to `newest_ms`, and maybe more, as a store of its own in import/snapshot below the
 * store's directory; the importer holds import/lock (history_import_lock()) for as long as it reads it. The server
 * removes it when it is told to, and when nobody holds the lock.
 */
ap_nodiscard enum ap_rc handover_link_snapshot(struct handover_link *link, int64_t newest_ms, struct ap_err *err);
void handover_link_release(struct handover_link *link);
