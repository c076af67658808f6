/*
 * ingest/backlog.h - makes senders of large batches wait for the store when it falls behind
 *
 * The log takes rows faster than the store can make them visible. Small requests never fill that gap; a client that
 * sends batch after batch does, and everybody's rows would then become visible later and later. So the answer to a
 * large batch is held back, once its rows are durable, while the store is more than `bytes_max` of log behind it: who
 * sends much sends at the speed of the store, the others notice nothing.
 *
 * It only ever delays an answer, and not for much longer than `hold_ms_max`, which counts when a store has a whole
 * history to catch up with. A store that fails, or has not been heard of yet, holds nobody.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/mem.h"

struct backlog;

struct backlog_entry {
    /* Set by the caller, whose memory it is until release() is called. */
    void (*release)(struct backlog_entry *entry); /* on any thread; must not block */
    /* The backlog's. */
    struct backlog_entry *next;
    uint64_t lsn;
    int64_t release_us;
};

/* `clock` is lent. */
struct backlog *backlog_new(uint64_t bytes_max, uint32_t hold_ms_max, const struct ap_clock *clock);
void backlog_free(struct backlog *backlog); /* NULL is allowed; nothing may be held */
AP_DEFINE_AUTO(backlog, struct backlog, backlog_free)

/* False: nothing to wait for, answer now. True: release() will be called. LSNs must not fall. */
bool backlog_hold(struct backlog *backlog, struct backlog_entry *entry, uint64_t lsn);

/* All below `lsn` is visible: releases who waited for that, or for long enough. Any thread. */
void backlog_note_visible(struct backlog *backlog, uint64_t lsn);

/* The store is in trouble, or the program is stopping: releases all and holds nobody until backlog_note_visible(). */
void backlog_release_all(struct backlog *backlog);
