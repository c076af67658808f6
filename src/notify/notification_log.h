/*
 * notify/notification_log.h - who was told what, when, by which way, with what answer: rows of the table
 * `notifications`
 *
 *     notifier.h ──delivered()──► notification_log_add() ──► WAL ──► the warehouse ──► SQL, the API, pages
 *
 * Each attempt is a row. They are written like those that come in, by way of the log, so they survive a crash and have
 * the retention of all rows. Telling people never waits for it: what the log does not take is counted and left out.
 */
#pragma once

#include <stdint.h>

#include "alert/notification.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"

struct notification_log; /* private to notification_log.c */
struct wal;

enum { NOTIFICATION_LOG_ALERTS_BYTES_MAX = 16 << 10 }; /* of `alerts`; further ones are only counted */

/* Both are lent. */
struct notification_log *notification_log_new(struct wal *wal, const struct ap_clock *clock);
/* Behind wal_stop(): until then rows may be under way. NULL is allowed. */
void notification_log_free(struct notification_log *log);
AP_DEFINE_AUTO(notification_log, struct notification_log, notification_log_free)

/* Any thread; never waits. What was not tried (delivery->is_unsent) is not logged. */
void notification_log_add(struct notification_log *log, const struct notification *notification,
                          const struct delivery *delivery);

/* The batch with one row that it adds: for tests. */
void notification_log_encode(const struct notification *notification, const struct delivery *delivery, int64_t now_us,
                             struct ap_buf *out);

struct notification_log_stats {
    uint64_t logged; /* rows that are durable, since the start, as the next */
    uint64_t lost;   /* that the log did not take */
};
void notification_log_stats_get(const struct notification_log *log, struct notification_log_stats *ret_stats);
