#include "alert/notify_log.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { SLOTS_FIRST = 64 };

struct notify_entry *notify_entry_new(struct ap_slice key)
{
    struct notify_entry *entry = ap_new0(struct notify_entry);
    entry->key = ap_slice(ap_slice_dup(key), key.bytes);
    entry->hash = labels_hash_of(0, key);
    return entry;
}

void notify_entry_free(struct notify_entry *entry)
{
    if (!entry)
        return;
    free((void *)entry->key.data);
    free(entry->firing);
    free(entry->resolved);
    free(entry->reference);
    free(entry);
}

void notify_log_clear(struct notify_log *log)
{
    for (size_t i = 0; i < log->slot_count; i++)
        notify_entry_free(log->slots[i]);
    free(log->slots);
    *log = (struct notify_log){0};
}

/* Where it is, or the empty place where it would be. */
static size_t find_slot(const struct notify_log *log, struct labels_hash hash)
{
    size_t at = (size_t)hash.low & (log->slot_count - 1);
    while (log->slots[at] && !labels_hash_equal(log->slots[at]->hash, hash))
        at = (at + 1) & (log->slot_count - 1);
    return at;
}

struct notify_entry *notify_log_find(const struct notify_log *log, struct ap_slice key)
{
    return log->slot_count ? log->slots[find_slot(log, labels_hash_of(0, key))] : NULL;
}

static void resize(struct notify_log *log, size_t slot_count)
{
    struct notify_log other = {.slot_count = slot_count, .count = log->count};
    other.slots = ap_new0_array(struct notify_entry *, slot_count);
    for (size_t i = 0; i < log->slot_count; i++)
        if (log->slots[i])
            other.slots[find_slot(&other, log->slots[i]->hash)] = log->slots[i];
    free(log->slots);
    *log = other;
}

void notify_log_set(struct notify_log *log, struct notify_entry *take_entry)
{
    if ((log->count + 1) * 2 > log->slot_count)
        resize(log, AP_MAX(log->slot_count * 2, (size_t)SLOTS_FIRST));
    size_t at = find_slot(log, take_entry->hash);
    log->count += log->slots[at] == NULL;
    notify_entry_free(log->slots[at]);
    log->slots[at] = take_entry;
}

const struct notify_entry *notify_log_set_late(struct notify_log *log, struct ap_slice key, int64_t since_ms,
                                               int64_t expires_ms)
{
    struct notify_entry *entry = notify_log_find(log, key);
    if (!entry) {
        entry = notify_entry_new(key);
        notify_log_set(log, entry);
    }
    entry->late_since_ms = since_ms;
    entry->expires_ms = AP_MAX(entry->expires_ms, expires_ms);
    return entry;
}

void notify_log_forget(struct notify_log *log, int64_t now_ms)
{
    size_t before = log->count;
    for (size_t i = 0; i < log->slot_count; i++)
        if (log->slots[i] && log->slots[i]->expires_ms <= now_ms) {
            notify_entry_free(log->slots[i]);
            log->slots[i] = NULL;
            log->count--;
        }
    if (log->count < before)
        resize(log, log->slot_count); /* who was displaced finds its place */
}

void notify_log_set_back(struct notify_log *log, int64_t now_ms)
{
    for (size_t i = 0; i < log->slot_count; i++) {
        struct notify_entry *entry = log->slots[i];
        if (!entry)
            continue;
        int64_t ahead_ms = AP_MAX(entry->sent_ms - now_ms, INT64_C(0));
        entry->sent_ms -= ahead_ms;
        entry->expires_ms -= ahead_ms;
        entry->late_since_ms = AP_MIN(entry->late_since_ms, now_ms);
    }
}

/* Both in order. */
static bool is_subset(const uint64_t *part, size_t part_count, const uint64_t *whole, size_t whole_count)
{
    size_t at = 0;
    for (size_t i = 0; i < part_count; i++) {
        while (at < whole_count && whole[at] < part[i])
            at++;
        if (at == whole_count || whole[at] != part[i])
            return false;
    }
    return true;
}

bool notify_log_is_due(const struct notify_entry *entry, const uint64_t *firing, size_t firing_count,
                       const uint64_t *resolved, size_t resolved_count, bool is_sending_resolved,
                       int64_t repeat_interval_ms, int64_t now_ms, enum notification_reason *ret_reason)
{
    if (!entry) { /* what has ended before anybody was told of it is nobody's business */
        *ret_reason = NOTIFICATION_FIRST;
        return firing_count > 0;
    }
    if (!is_subset(firing, firing_count, entry->firing, entry->firing_count)) {
        *ret_reason = entry->firing_count ? NOTIFICATION_NEW_ALERTS : NOTIFICATION_FIRST;
        return true;
    }
    if (firing_count == 0) { /* also noted for ways that do not send it: the next alert is a first one again */
        *ret_reason = NOTIFICATION_ALL_RESOLVED;
        return entry->firing_count > 0;
    }
    if (is_sending_resolved && !is_subset(resolved, resolved_count, entry->resolved, entry->resolved_count)) {
        *ret_reason = NOTIFICATION_SOME_RESOLVED;
        return true;
    }
    *ret_reason = NOTIFICATION_REPEAT;
    return entry->sent_ms < now_ms - repeat_interval_ms;
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

bool notify_entry_has_fired(const struct notify_entry *entry, uint64_t fingerprint)
{
    return entry->firing_count &&
           bsearch(&fingerprint, entry->firing, entry->firing_count, sizeof(fingerprint), compare_numbers);
}
