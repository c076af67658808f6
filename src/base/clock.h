/*
 * base/clock.h - time, passed in so that tests own it
 *
 * Wall time is UTC since 1970-01-01 without leap seconds. The monotonic clock is for durations and deadlines only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

#define AP_US_PER_MS  INT64_C(1000)
#define AP_US_PER_S   INT64_C(1000000)
#define AP_MS_PER_S   INT64_C(1000)
#define AP_MS_PER_DAY INT64_C(86400000)
#define AP_US_PER_DAY INT64_C(86400000000)

struct ap_clock {
    int64_t (*wall_us)(void *context);
    int64_t (*monotonic_us)(void *context);
    void *context;
};

/* The machine's clocks. */
extern const struct ap_clock ap_clock_system;

static inline int64_t ap_clock_wall_us(const struct ap_clock *clock)
{
    return clock->wall_us(clock->context);
}
static inline int64_t ap_clock_monotonic_us(const struct ap_clock *clock)
{
    return clock->monotonic_us(clock->context);
}

/* Days since 1970-01-01 of the UTC day that holds `wall_us`; rounds down for times before 1970. */
static inline int32_t ap_days_of_us(int64_t wall_us)
{
    int64_t days = wall_us / AP_US_PER_DAY;
    return (int32_t)(wall_us % AP_US_PER_DAY < 0 ? days - 1 : days);
}

/* Days since 1970-01-01 of a date of the proleptic Gregorian calendar; month 1-12, day 1-31. */
int64_t ap_days_of_civil(int64_t year, int month, int day);

/*
 * The inverse, with the time of the day. Not gmtime_r(), which looks at the time zone of the whole process, and waits
 * for whoever else does.
 */
struct ap_civil {
    int64_t year;
    int month;   /* 1-12 */
    int day;     /* 1-31 */
    int weekday; /* 0-6, from Sunday */
    int hour;
    int minute;
    int second;
};
struct ap_civil ap_civil_of_days(int64_t days); /* its first second */
struct ap_civil ap_civil_of_s(int64_t wall_s);

enum { AP_TIME_TEXT_BYTES = 80 };

/* RFC 3339 in UTC with milliseconds: "2026-11-23T12:00:00.000Z". */
void ap_time_format(int64_t wall_us, char text[AP_TIME_TEXT_BYTES]);

/* Reads RFC 3339 with optional fraction; 'T' or a space, 'Z' or an offset. False when it is not one. Years 0001-9999.
 */
bool ap_time_parse(struct ap_slice text, int64_t *ret_wall_us);
