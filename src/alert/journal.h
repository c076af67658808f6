/*
 * alert/journal.h - what alerting must not forget, as bytes: records of the log, and the snapshot that stands for older
 * ones
 *
 * Entries, one behind the other; docs/format/alerting.md. A record of the log (type JOURNAL_RECORD_TYPE) has the
 * entries of one change, a snapshot those of everything that is known, in the same form.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alert/alert_set.h"
#include "alert/notify_log.h"
#include "alert/silence_set.h"
#include "base/buf.h"
#include "base/rc.h"

enum { JOURNAL_RECORD_TYPE = 4, JOURNAL_VERSION = 2 }; /* version 1 had no ENTRY_LATE */

/* What entries are read into. */
struct journal_state {
    struct alert_set *alerts;
    struct silence_set *silences;
    struct notify_log *log;
};

void journal_begin(struct ap_buf *out); /* the version; before the first entry */
void journal_add_alert(struct ap_buf *out, const struct known_alert *alert);
void journal_add_removal(struct ap_buf *out, const struct known_alert *alert);
void journal_add_silence(struct ap_buf *out, const struct silence *silence);
void journal_add_told(struct ap_buf *out, const struct notify_entry *entry);
void journal_add_late(struct ap_buf *out, const struct notify_entry *entry); /* since when, or that it no longer is */

/* Applies all entries. AP_E_CORRUPT: it is none of ours, or of a newer version; entries before that are applied. */
ap_nodiscard enum ap_rc journal_read(struct ap_slice bytes, const struct journal_state *state, struct ap_err *err);

/*
 * The snapshot: `snapshot` in the directory, replaced as a whole. `lsn` is where in the log what it does not have
 * begins. AP_E_NOT_FOUND: there is none. AP_E_CORRUPT: its checksum does not fit.
 */
ap_nodiscard enum ap_rc journal_save(int dir_fd, struct ap_slice bytes, uint64_t lsn, struct ap_err *err);
ap_nodiscard enum ap_rc journal_load(int dir_fd, struct ap_buf *out, uint64_t *ret_lsn, struct ap_err *err);
