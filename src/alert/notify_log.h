/*
 * alert/notify_log.h - what was told already: for each group and way, which alerts, and when; and what could not be
 *
 * One owner, no locks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alert/notification.h"
#include "base/slice.h"
#include "tsdb/labels.h"

struct notify_entry {
    struct ap_slice key; /* owned: the group's key and the way */
    struct labels_hash hash;
    uint64_t *firing; /* owned; fingerprints in order, as the next; none: nobody was told of any */
    size_t firing_count;
    uint64_t *resolved;
    size_t resolved_count;
    int64_t sent_ms;
    int64_t expires_ms;
    int64_t late_since_ms; /* since when something is to be told that the receiver did not take; 0: it is not so */
    char *reference;       /* owned; struct delivery's; NULL: none */
};

struct notify_entry *notify_entry_new(struct ap_slice key);
void notify_entry_free(struct notify_entry *entry); /* NULL is allowed */

struct notify_log {
    struct notify_entry **slots; /* owned; open addressing */
    size_t slot_count;           /* a power of two, or 0 */
    size_t count;
};

void notify_log_clear(struct notify_log *log);
struct notify_entry *notify_log_find(const struct notify_log *log, struct ap_slice key);
/* Replaces what is there of the same key. */
void notify_log_set(struct notify_log *log, struct notify_entry *take_entry);
/* Since when the way is late; keeps the entry, which may be a new one, until `expires_ms` at least. */
const struct notify_entry *notify_log_set_late(struct notify_log *log, struct ap_slice key, int64_t since_ms,
                                               int64_t expires_ms);
void notify_log_forget(struct notify_log *log, int64_t now_ms); /* what has expired */
/* The clock was set back: nothing was told later than now. */
void notify_log_set_back(struct notify_log *log, int64_t now_ms);

/*
 * Whether there is something to tell, and why: Alertmanager's DedupStage. Fingerprints in order; `entry` may be NULL. A
 * way that does not send resolved alerts has their disappearance told nowhere.
 */
bool notify_log_is_due(const struct notify_entry *entry, const uint64_t *firing, size_t firing_count,
                       const uint64_t *resolved, size_t resolved_count, bool is_sending_resolved,
                       int64_t repeat_interval_ms, int64_t now_ms, enum notification_reason *ret_reason);
/* Whether the alert is one of those that were told to fire. */
bool notify_entry_has_fired(const struct notify_entry *entry, uint64_t fingerprint);
