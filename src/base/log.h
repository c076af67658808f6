/*
 * base/log.h - the log: one line an event, to standard error
 *
 * The only mutable global of the program. Lines are logfmt: time, level, area, message, then key=value pairs, which the
 * caller writes into the message. Callable from any thread; a line is written with one write(2).
 * Below ingest/, alert/, api/ and cli/ nothing logs: code there returns errors.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"

enum ap_log_level { AP_LOG_DEBUG, AP_LOG_INFO, AP_LOG_WARN, AP_LOG_ERROR };

/* Lines below `level` are dropped. Set once at start. The default is AP_LOG_INFO. */
void ap_log_set_level(enum ap_log_level level);

/* Reads "debug", "info", "warn" or "error". */
bool ap_log_level_parse(const char *text, enum ap_log_level *ret_level);

void ap_log(enum ap_log_level level, const char *area, const char *format, ...) ap_printf(3, 4);

/*
 * For lines that clients can trigger: at most one each `interval_ms` passes; the next one tells how many were
 * swallowed.
 *
 *     static struct ap_log_limit limit = {.interval_ms = 1000};
 *     ap_log_limited(&limit, AP_LOG_WARN, "ingest", "…");
 */
struct ap_log_limit {
    int64_t interval_ms;
    int64_t next_us;          /* atomic */
    uint64_t swallowed_count; /* atomic */
};
void ap_log_limited(struct ap_log_limit *limit, enum ap_log_level level, const char *area, const char *format, ...)
    ap_printf(4, 5);
