/*
 * alert/notify_log.h - what was told already: for each group and way, which alerts, and when
 *
 * One owner, no locks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alert/notification.h"
#include "base/slice.h"

struct notify_entry {
    struct ap_slice key; /* owned: the group's key and the way */
    uint64_t *firing;    /* owned; fingerprints in order, as the next */
    size_t firing_count;
    uint64_t *resolved;
    size_t resolved_count;
    int64_t sent_ms;
    int64_t expires_ms;
    char reference[128]; /* struct delivery's */
};

struct notify_log {
    struct notify_entry **items; /* owned; by key */
    size_t count;
    size_t capacity;
};

void notify_log_clear(struct notify_log *log);
const struct notify_entry *notify_log_find(const struct notify_log *log, struct ap_slice key);
/* Copies all of it; replaces what is there of the same key. */
const struct notify_entry *notify_log_set(struct notify_log *log, const struct notify_entry *entry);
void notify_log_forget(struct notify_log *log, int64_t now_ms); /* what has expired */

/*
 * Whether there is something to tell, and why: Alertmanager's DedupStage. Fingerprints in order; `entry` may be NULL. A
 * way that does not send resolved alerts has their disappearance told nowhere.
 */
bool notify_log_is_due(const struct notify_entry *entry, const uint64_t *firing, size_t firing_count,
                       const uint64_t *resolved, size_t resolved_count, bool is_sending_resolved,
                       int64_t repeat_interval_ms, int64_t now_ms, enum notification_reason *ret_reason);
