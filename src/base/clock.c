#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#define S_PER_DAY (AP_US_PER_DAY / AP_US_PER_S)

static int64_t read_clock_us(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * AP_US_PER_S + now.tv_nsec / 1000;
}

static int64_t system_wall_us(void *context)
{
    (void)context;
    return read_clock_us(CLOCK_REALTIME);
}

static int64_t system_monotonic_us(void *context)
{
    (void)context;
    return read_clock_us(CLOCK_MONOTONIC);
}

const struct ap_clock ap_clock_system = {system_wall_us, system_monotonic_us, NULL};

/* The era arithmetic of Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": years begin in March. */
int64_t ap_days_of_civil(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

struct ap_civil ap_civil_of_days(int64_t days)
{
    int64_t shifted = days + 719468; /* to 0000-03-01 */
    int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    int64_t day_of_era = shifted - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted_month = (5 * day_of_year + 2) / 153;
    struct ap_civil civil = {
        .month = (int)(shifted_month < 10 ? shifted_month + 3 : shifted_month - 9),
        .day = (int)(day_of_year - (153 * shifted_month + 2) / 5 + 1),
        .weekday = (int)(((days + 4) % 7 + 7) % 7), /* 1970-01-01 was a Thursday */
    };
    civil.year = year_of_era + era * 400 + (civil.month <= 2);
    return civil;
}

struct ap_civil ap_civil_of_s(int64_t wall_s)
{
    int64_t days = wall_s / S_PER_DAY - (wall_s % S_PER_DAY < 0);
    int second = (int)(wall_s - days * S_PER_DAY);
    struct ap_civil civil = ap_civil_of_days(days);
    civil.hour = second / 3600;
    civil.minute = second / 60 % 60;
    civil.second = second % 60;
    return civil;
}

void ap_time_format(int64_t wall_us, char text[AP_TIME_TEXT_BYTES])
{
    int64_t seconds = wall_us / AP_US_PER_S - (wall_us % AP_US_PER_S < 0);
    int ms = (int)((wall_us - seconds * AP_US_PER_S) / AP_US_PER_MS);
    struct ap_civil at = ap_civil_of_s(seconds);
    snprintf(text, AP_TIME_TEXT_BYTES, "%04" PRId64 "-%02d-%02dT%02d:%02d:%02d.%03dZ", at.year, at.month, at.day,
             at.hour, at.minute, at.second, ms);
}

/* Takes exactly `digits` decimal digits off the front. */
static bool take_number(struct ap_slice *rest, int digits, int *ret_value)
{
    int value = 0;
    for (int i = 0; i < digits; i++) {
        if (rest->bytes == 0 || rest->data[0] < '0' || rest->data[0] > '9')
            return false;
        value = value * 10 + (rest->data[0] - '0');
        *rest = ap_slice(rest->data + 1, rest->bytes - 1);
    }
    *ret_value = value;
    return true;
}

static bool take_char(struct ap_slice *rest, const char *one_of)
{
    if (rest->bytes == 0 || rest->data[0] == '\0' || !strchr(one_of, rest->data[0]))
        return false;
    *rest = ap_slice(rest->data + 1, rest->bytes - 1);
    return true;
}

/* ".123456789": digits past the sixth are cut off. Nothing there is a fraction of zero. */
static bool take_fraction(struct ap_slice *rest, int *ret_us)
{
    *ret_us = 0;
    if (!take_char(rest, "."))
        return true;
    int digits = 0;
    int digit;
    for (; take_number(rest, 1, &digit); digits++)
        if (digits < 6)
            *ret_us = *ret_us * 10 + digit;
    for (int i = digits; i < 6; i++)
        *ret_us *= 10;
    return digits > 0;
}

static bool take_offset(struct ap_slice *rest, int *ret_minutes)
{
    *ret_minutes = 0;
    if (take_char(rest, "Zz"))
        return true;
    int sign = take_char(rest, "+") ? 1 : take_char(rest, "-") ? -1 : 0;
    int hours, minutes;
    if (sign == 0 || !take_number(rest, 2, &hours) || !take_char(rest, ":") || !take_number(rest, 2, &minutes))
        return false;
    *ret_minutes = sign * (hours * 60 + minutes);
    return hours < 24 && minutes < 60;
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return month == 2 && is_leap ? 29 : days[month - 1];
}

bool ap_time_parse(struct ap_slice text, int64_t *ret_wall_us)
{
    int year, month, day, hour, minute, second, fraction_us, offset_minutes;
    if (!take_number(&text, 4, &year) || !take_char(&text, "-") || !take_number(&text, 2, &month) ||
        !take_char(&text, "-") || !take_number(&text, 2, &day) || !take_char(&text, "Tt ") ||
        !take_number(&text, 2, &hour) || !take_char(&text, ":") || !take_number(&text, 2, &minute) ||
        !take_char(&text, ":") || !take_number(&text, 2, &second) || !take_fraction(&text, &fraction_us) ||
        !take_offset(&text, &offset_minutes) || text.bytes != 0)
        return false;
    /* A leap second (60) is read as the first second after it, as POSIX time has none. */
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) || hour > 23 ||
        minute > 59 || second > 60)
        return false;
    int64_t minutes = (ap_days_of_civil(year, month, day) * 24 + hour) * 60 + minute - offset_minutes;
    *ret_wall_us = (minutes * 60 + second) * AP_US_PER_S + fraction_us;
    return true;
}
