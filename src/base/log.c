#include "base/log.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static enum ap_log_level log_level = AP_LOG_INFO;

void ap_log_set_level(enum ap_log_level level)
{
    log_level = level;
}

bool ap_log_level_parse(const char *text, enum ap_log_level *ret_level)
{
    for (size_t i = 0; i < AP_ARRAY_COUNT(level_names); i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *ret_level = (enum ap_log_level)i;
            return true;
        }
    }
    return false;
}

static void log_line(enum ap_log_level level, const char *area, uint64_t swallowed_count, const char *format,
                     va_list args)
{
    char line[2048];
    char time_text[AP_TIME_TEXT_BYTES];
    ap_time_format(ap_clock_wall_us(&ap_clock_system), time_text);
    int used = snprintf(line, sizeof(line), "%s %-5s %s: ", time_text, level_names[level], area);
    size_t room = sizeof(line) - (size_t)used - 64; /* leaves space for the note and the newline */
    int wanted = vsnprintf(line + used, room, format, args);
    used += wanted < 0 ? 0 : AP_MIN(wanted, (int)room - 1);
    if (swallowed_count)
        used += snprintf(line + used, 60, " (and %llu like it)", (unsigned long long)swallowed_count);
    line[used++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, (size_t)used);
    (void)written; /* there is nowhere left to complain */
}

void ap_log(enum ap_log_level level, const char *area, const char *format, ...)
{
    if (level < log_level)
        return;
    va_list args;
    va_start(args, format);
    log_line(level, area, 0, format, args);
    va_end(args);
}

void ap_log_limited(struct ap_log_limit *limit, enum ap_log_level level, const char *area, const char *format, ...)
{
    if (level < log_level)
        return;
    int64_t now_us = ap_clock_monotonic_us(&ap_clock_system);
    int64_t next_us = __atomic_load_n(&limit->next_us, __ATOMIC_RELAXED);
    int64_t new_next_us = now_us + limit->interval_ms * AP_US_PER_MS;
    if (now_us < next_us || !__atomic_compare_exchange_n(&limit->next_us, &next_us, new_next_us, false,
                                                         __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        __atomic_fetch_add(&limit->swallowed_count, 1, __ATOMIC_RELAXED);
        return;
    }
    uint64_t swallowed_count = __atomic_exchange_n(&limit->swallowed_count, 0, __ATOMIC_RELAXED);
    va_list args;
    va_start(args, format);
    log_line(level, area, swallowed_count, format, args);
    va_end(args);
}
