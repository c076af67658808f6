#include "ingest/backlog.h"

#include <pthread.h>

#include "base/assert.h"

struct backlog {
    /* Constant. */
    uint64_t bytes_max;
    uint32_t hold_ms_max;
    const struct ap_clock *clock; /* lent */
    /* Any thread, under mtx. A leaf lock. */
    pthread_mutex_t mtx;
    bool is_holding;
    uint64_t visible_lsn;
    struct backlog_entry *first; /* by LSN */
    struct backlog_entry **tail;
};

struct backlog *backlog_new(uint64_t bytes_max, uint32_t hold_ms_max, const struct ap_clock *clock)
{
    struct backlog *backlog = ap_new0(struct backlog);
    backlog->bytes_max = bytes_max;
    backlog->hold_ms_max = hold_ms_max;
    backlog->clock = clock;
    backlog->tail = &backlog->first;
    pthread_mutex_init(&backlog->mtx, NULL);
    return backlog;
}

void backlog_free(struct backlog *backlog)
{
    if (!backlog)
        return;
    AP_ASSERT(!backlog->first);
    pthread_mutex_destroy(&backlog->mtx);
    free(backlog);
}

bool backlog_hold(struct backlog *backlog, struct backlog_entry *entry, uint64_t lsn)
{
    pthread_mutex_lock(&backlog->mtx);
    bool is_held = backlog->is_holding && lsn > backlog->visible_lsn + backlog->bytes_max;
    if (is_held) {
        entry->lsn = lsn;
        entry->release_us = ap_clock_monotonic_us(backlog->clock) + backlog->hold_ms_max * AP_US_PER_MS;
        entry->next = NULL;
        *backlog->tail = entry;
        backlog->tail = &entry->next;
    }
    pthread_mutex_unlock(&backlog->mtx);
    return is_held;
}

/* Takes those with an LSN up to `lsn_max`, and those that have waited until `now_us`, off the list. */
static struct backlog_entry *take_locked(struct backlog *backlog, uint64_t lsn_max, int64_t now_us)
{
    struct backlog_entry *taken = backlog->first;
    struct backlog_entry **end = &backlog->first;
    while (*end && ((*end)->lsn <= lsn_max || (*end)->release_us <= now_us))
        end = &(*end)->next;
    if (end == &backlog->first)
        return NULL;
    backlog->first = *end;
    if (!backlog->first)
        backlog->tail = &backlog->first;
    *end = NULL;
    return taken;
}

static void release(struct backlog_entry *entry)
{
    while (entry) {
        struct backlog_entry *next = entry->next; /* the entry is gone once it is released */
        entry->release(entry);
        entry = next;
    }
}

void backlog_note_visible(struct backlog *backlog, uint64_t lsn)
{
    pthread_mutex_lock(&backlog->mtx);
    backlog->is_holding = true;
    backlog->visible_lsn = lsn;
    struct backlog_entry *taken = take_locked(backlog, lsn + backlog->bytes_max, ap_clock_monotonic_us(backlog->clock));
    pthread_mutex_unlock(&backlog->mtx);
    release(taken);
}

void backlog_release_all(struct backlog *backlog)
{
    pthread_mutex_lock(&backlog->mtx);
    backlog->is_holding = false;
    struct backlog_entry *taken = take_locked(backlog, UINT64_MAX, 0);
    pthread_mutex_unlock(&backlog->mtx);
    release(taken);
}
