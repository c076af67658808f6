#include "codec/zone.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    DAY_S = 86400,
    HEADER_BYTES = 44,
    TRANSITIONS_MAX = 4096,
    TYPES_MAX = 256,
    OFFSET_S_MAX = 26 * 3600, /* RFC 9636, 3.2 */
};

/* When within a year the clocks change: one of the three forms that POSIX has. */
struct change {
    enum { CHANGE_JULIAN, CHANGE_DAY, CHANGE_WEEKDAY } form;
    int month, week, weekday; /* CHANGE_WEEKDAY: the week-th (5: last) such day of the month */
    int day;                  /* CHANGE_JULIAN: 1 to 365, February 29 is never counted; CHANGE_DAY: 0 to 365 */
    int32_t time_s;           /* on the clocks as they are before the change */
};

/* What holds behind the last transition. */
struct footer {
    bool has_rule;
    bool has_summer;
    int32_t standard_s, summer_s; /* offsets */
    struct change begin, end;     /* of summer time */
};

struct zone {
    int64_t *at_s;     /* owned; rising */
    int32_t *offset_s; /* owned; from at_s[i] on */
    size_t count;
    int32_t first_offset_s; /* before the first */
    struct footer footer;
};

/* ---- Calendar ---- */

static bool is_leap(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

int zone_days_in_month(int64_t year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month - 1] + (month == 2 && is_leap(year));
}

struct ap_civil zone_time_of(const struct zone *zone, int64_t unix_s)
{
    return ap_civil_of_s(unix_s + zone_offset_s(zone, unix_s));
}

/* ---- The rule for what is to come ---- */

/* A name: letters, or anything in angle brackets. */
static bool skip_name(struct ap_slice *rest)
{
    size_t at = 0;
    if (rest->bytes && rest->data[0] == '<') {
        while (at < rest->bytes && rest->data[at] != '>')
            at++;
        at++;
    } else {
        while (at < rest->bytes && ((rest->data[at] | 0x20) >= 'a' && (rest->data[at] | 0x20) <= 'z'))
            at++;
    }
    if (at < 3 || at > rest->bytes)
        return false;
    *rest = ap_slice(rest->data + at, rest->bytes - at);
    return true;
}

static bool take_char(struct ap_slice *rest, char wanted)
{
    if (rest->bytes == 0 || rest->data[0] != wanted)
        return false;
    *rest = ap_slice(rest->data + 1, rest->bytes - 1);
    return true;
}

static bool take_number(struct ap_slice *rest, int max, int *ret_value)
{
    int value = 0;
    size_t at = 0;
    for (; at < rest->bytes && at < 4 && rest->data[at] >= '0' && rest->data[at] <= '9'; at++)
        value = value * 10 + (rest->data[at] - '0');
    *rest = ap_slice(rest->data + at, rest->bytes - at);
    *ret_value = value;
    return at > 0 && value <= max;
}

/* [+-]hh[:mm[:ss]]; version 3 allows a week of hours. */
static bool take_time(struct ap_slice *rest, int32_t *ret_s)
{
    int hour, minute = 0, second = 0;
    bool is_negative = take_char(rest, '-');
    if (!is_negative)
        (void)take_char(rest, '+');
    if (!take_number(rest, 167, &hour))
        return false;
    if (take_char(rest, ':') && !take_number(rest, 59, &minute))
        return false;
    if (take_char(rest, ':') && !take_number(rest, 59, &second))
        return false;
    int32_t value = hour * 3600 + minute * 60 + second;
    *ret_s = is_negative ? -value : value;
    return true;
}

static bool take_change(struct ap_slice *rest, struct change *change)
{
    *change = (struct change){.form = CHANGE_DAY, .time_s = 2 * 3600};
    bool is_good;
    if (take_char(rest, 'M')) {
        change->form = CHANGE_WEEKDAY;
        is_good = take_number(rest, 12, &change->month) && change->month >= 1 && take_char(rest, '.') &&
                  take_number(rest, 5, &change->week) && change->week >= 1 && take_char(rest, '.') &&
                  take_number(rest, 6, &change->weekday);
    } else if (take_char(rest, 'J')) {
        change->form = CHANGE_JULIAN;
        is_good = take_number(rest, 365, &change->day) && change->day >= 1;
    } else {
        is_good = take_number(rest, 365, &change->day);
    }
    return is_good && (!take_char(rest, '/') || take_time(rest, &change->time_s));
}

/* "CET-1CEST,M3.5.0,M10.5.0/3": offsets are west of UTC there. */
static bool read_footer(struct ap_slice text, struct footer *footer)
{
    *footer = (struct footer){0};
    if (text.bytes == 0)
        return true; /* nothing is known of what is to come */
    int32_t west_s;
    if (!skip_name(&text) || !take_time(&text, &west_s))
        return false;
    footer->has_rule = true;
    footer->standard_s = -west_s;
    if (text.bytes == 0)
        return true;
    footer->has_summer = true;
    footer->summer_s = footer->standard_s + 3600;
    if (!skip_name(&text))
        return false;
    if (text.bytes && text.data[0] != ',') {
        if (!take_time(&text, &west_s))
            return false;
        footer->summer_s = -west_s;
    }
    return take_char(&text, ',') && take_change(&text, &footer->begin) && take_char(&text, ',') &&
           take_change(&text, &footer->end) && text.bytes == 0;
}

/* The day of the year's change, in days since 1970. */
static int64_t day_of_change(const struct change *change, int64_t year)
{
    if (change->form == CHANGE_DAY)
        return ap_days_of_civil(year, 1, 1) + change->day;
    if (change->form == CHANGE_JULIAN)
        return ap_days_of_civil(year, 1, 1) + change->day - 1 + (is_leap(year) && change->day >= 60);
    int64_t first = ap_days_of_civil(year, change->month, 1);
    int day = 1 + (change->weekday - ap_civil_of_days(first).weekday + 7) % 7 + (change->week - 1) * 7;
    if (day > zone_days_in_month(year, change->month))
        day -= 7;
    return first + day - 1;
}

static int32_t offset_by_rule(const struct footer *footer, int64_t unix_s)
{
    if (!footer->has_summer)
        return footer->standard_s;
    int64_t year = ap_civil_of_s(unix_s + footer->standard_s).year;
    int64_t begin_s = day_of_change(&footer->begin, year) * DAY_S + footer->begin.time_s - footer->standard_s;
    int64_t end_s = day_of_change(&footer->end, year) * DAY_S + footer->end.time_s - footer->summer_s;
    /* South of the equator summer begins late in the year and ends early in the next. */
    bool is_summer = begin_s < end_s ? unix_s >= begin_s && unix_s < end_s : unix_s >= begin_s || unix_s < end_s;
    return is_summer ? footer->summer_s : footer->standard_s;
}

int32_t zone_offset_s(const struct zone *zone, int64_t unix_s)
{
    if (!zone)
        return 0;
    if (zone->footer.has_rule && (zone->count == 0 || unix_s >= zone->at_s[zone->count - 1]))
        return offset_by_rule(&zone->footer, unix_s);
    size_t low = 0, high = zone->count; /* the first that is later */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (zone->at_s[middle] <= unix_s)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? zone->offset_s[low - 1] : zone->first_offset_s;
}

/* ---- TZif ---- */

struct header {
    uint8_t version; /* 0 for '\0', else the digit */
    size_t utc_count, standard_count, leap_count, transition_count, type_count, name_bytes;
};

static uint64_t big_endian(const char *data, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | (uint8_t)data[i];
    return value;
}

static bool read_header(struct ap_slice bytes, struct header *ret_header)
{
    if (bytes.bytes < HEADER_BYTES || memcmp(bytes.data, "TZif", 4) != 0)
        return false;
    size_t counts[6];
    for (size_t i = 0; i < AP_ARRAY_COUNT(counts); i++)
        counts[i] = (size_t)big_endian(bytes.data + 20 + 4 * i, 4);
    char version = bytes.data[4];
    *ret_header = (struct header){
        (uint8_t)(version ? version - '0' : 0), counts[0], counts[1], counts[2], counts[3], counts[4], counts[5]};
    return counts[3] <= TRANSITIONS_MAX && counts[4] >= 1 && counts[4] <= TYPES_MAX && counts[5] <= 4096 &&
           counts[2] <= 4096 && counts[1] <= TYPES_MAX && counts[0] <= TYPES_MAX;
}

static size_t body_bytes(const struct header *header, size_t time_bytes)
{
    return header->transition_count * (time_bytes + 1) + header->type_count * 6 + header->name_bytes +
           header->leap_count * (time_bytes + 4) + header->standard_count + header->utc_count;
}

static bool read_body(struct ap_slice body, const struct header *header, size_t time_bytes, struct zone *zone)
{
    const char *times = body.data;
    const char *indexes = times + header->transition_count * time_bytes;
    const char *types = indexes + header->transition_count;
    zone->at_s = ap_new0_array(int64_t, header->transition_count + 1);
    zone->offset_s = ap_new0_array(int32_t, header->transition_count + 1);
    zone->first_offset_s = (int32_t)big_endian(types, 4);
    for (size_t i = 0; i < header->transition_count; i++) {
        uint8_t type = (uint8_t)indexes[i];
        uint64_t at = big_endian(times + i * time_bytes, time_bytes);
        zone->at_s[i] = time_bytes == 8 ? (int64_t)at : (int32_t)(uint32_t)at;
        if (type >= header->type_count || (i && zone->at_s[i] <= zone->at_s[i - 1]))
            return false;
        zone->offset_s[i] = (int32_t)big_endian(types + (size_t)type * 6, 4);
        if (zone->offset_s[i] > OFFSET_S_MAX || zone->offset_s[i] < -OFFSET_S_MAX)
            return false;
        zone->count++;
    }
    return zone->first_offset_s <= OFFSET_S_MAX && zone->first_offset_s >= -OFFSET_S_MAX;
}

static bool decode(struct ap_slice bytes, struct zone *zone)
{
    struct header header;
    if (!read_header(bytes, &header))
        return false;
    size_t body = body_bytes(&header, 4);
    size_t time_bytes = 4;
    bytes = ap_slice(bytes.data + HEADER_BYTES, bytes.bytes - HEADER_BYTES);
    if (bytes.bytes < body)
        return false;
    if (header.version >= 2) { /* the same again in 64 bits, and then the rule */
        bytes = ap_slice(bytes.data + body, bytes.bytes - body);
        if (!read_header(bytes, &header))
            return false;
        time_bytes = 8;
        body = body_bytes(&header, time_bytes);
        bytes = ap_slice(bytes.data + HEADER_BYTES, bytes.bytes - HEADER_BYTES);
        if (bytes.bytes < body)
            return false;
    }
    if (!read_body(bytes, &header, time_bytes, zone))
        return false;
    if (time_bytes == 4)
        return true;
    struct ap_slice rest = ap_slice(bytes.data + body, bytes.bytes - body);
    if (!take_char(&rest, '\n'))
        return false;
    struct ap_slice rule = ap_slice_split(&rest, '\n');
    return rest.data && read_footer(rule, &zone->footer); /* without the line's end it may be half of a rule */
}

enum ap_rc zone_decode(struct ap_slice bytes, struct zone **ret_zone, struct ap_err *err)
{
    AP_AUTO(zone) struct zone *zone = ap_new0(struct zone);
    if (!decode(bytes, zone))
        return ap_fail(err, AP_E_PARSE, "it is no time zone file (TZif), or a damaged one");
    *ret_zone = AP_MOVE(zone);
    return AP_OK;
}

void zone_free(struct zone *zone)
{
    if (!zone)
        return;
    free(zone->at_s);
    free(zone->offset_s);
    free(zone);
}

/* ---- Files ---- */

static bool is_name(const char *name)
{
    bool is_part_begun = false;
    for (const char *c = name; *c; c++) {
        bool is_letter = ((*c | 0x20) >= 'a' && (*c | 0x20) <= 'z') || (*c >= '0' && *c <= '9') || strchr("_+-", *c);
        if (!is_letter && !(*c == '/' && is_part_begun))
            return false;
        is_part_begun = is_letter;
    }
    return is_part_begun;
}

static enum ap_rc read_zone(int fd, const char *name, struct zone **ret_zone, struct ap_err *err)
{
    AP_AUTO_FREE char *bytes = ap_realloc(NULL, ZONE_BYTES_MAX);
    size_t count = 0;
    for (;;) {
        ssize_t got = read(fd, bytes + count, ZONE_BYTES_MAX - count);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return ap_fail_errno(err, errno, "read the time zone %s", name);
        if (got == 0)
            break;
        count += (size_t)got;
    }
    enum ap_rc rc = zone_decode(ap_slice(bytes, count), ret_zone, err);
    return rc == AP_OK ? rc : ap_err_prefix(err, "time zone %s", name);
}

enum ap_rc zone_load(const char *name, struct zone **ret_zone, struct ap_err *err)
{
    if (strcmp(name, "UTC") == 0) {
        *ret_zone = NULL;
        return AP_OK;
    }
    if (!is_name(name))
        return ap_fail(err, AP_E_NOT_FOUND, "\"%s\" is no time zone; they are called like Europe/Berlin", name);
    AP_AUTO_FREE char *path = ap_asprintf("/usr/share/zoneinfo/%s", name);
    AP_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return ap_fail(
            err, AP_E_NOT_FOUND,
            "time zone %s is not known here: there is no %s (they are called like Europe/Berlin and come with "
            "the package tzdata)",
            name, path);
    if (fd < 0)
        return ap_fail_errno(err, errno, "open %s", path);
    return read_zone(fd, name, ret_zone, err);
}
