#include "alert/notify_log.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static void entry_free(struct notify_entry *entry)
{
    free((void *)entry->key.data);
    free(entry->firing);
    free(entry->resolved);
    free(entry);
}

void notify_log_clear(struct notify_log *log)
{
    for (size_t i = 0; i < log->count; i++)
        entry_free(log->items[i]);
    free(log->items);
    *log = (struct notify_log){0};
}

static int compare_keys(struct ap_slice a, struct ap_slice b)
{
    int order = memcmp(a.data, b.data, AP_MIN(a.bytes, b.bytes));
    return order ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

/* Where it is or would be. */
static size_t place_of(const struct notify_log *log, struct ap_slice key, bool *ret_is_there)
{
    size_t low = 0, high = log->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_keys(log->items[middle]->key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_is_there = low < log->count && ap_slice_equal(log->items[low]->key, key);
    return low;
}

const struct notify_entry *notify_log_find(const struct notify_log *log, struct ap_slice key)
{
    bool is_there;
    size_t at = place_of(log, key, &is_there);
    return is_there ? log->items[at] : NULL;
}

static uint64_t *copy_numbers(const uint64_t *numbers, size_t count)
{
    uint64_t *copy = ap_new0_array(uint64_t, count + 1);
    if (count)
        memcpy(copy, numbers, count * sizeof(*copy));
    return copy;
}

const struct notify_entry *notify_log_set(struct notify_log *log, const struct notify_entry *entry)
{
    bool is_there;
    size_t at = place_of(log, entry->key, &is_there);
    struct notify_entry *kept = ap_new0(struct notify_entry);
    *kept = *entry;
    kept->key = ap_slice(ap_slice_dup(entry->key), entry->key.bytes);
    kept->firing = copy_numbers(entry->firing, entry->firing_count);
    kept->resolved = copy_numbers(entry->resolved, entry->resolved_count);
    if (is_there) {
        entry_free(log->items[at]);
    } else {
        if (log->count == log->capacity) {
            log->capacity = AP_MAX(log->capacity * 2, (size_t)16);
            log->items = ap_realloc(log->items, log->capacity * sizeof(struct notify_entry *));
        }
        memmove(&log->items[at + 1], &log->items[at], (log->count - at) * sizeof(struct notify_entry *));
        log->count++;
    }
    return log->items[at] = kept;
}

void notify_log_forget(struct notify_log *log, int64_t now_ms)
{
    size_t kept = 0;
    for (size_t i = 0; i < log->count; i++) {
        if (log->items[i]->expires_ms <= now_ms)
            entry_free(log->items[i]);
        else
            log->items[kept++] = log->items[i];
    }
    log->count = kept;
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
