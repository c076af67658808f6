#include "alert/time_interval.h"

#include <stdio.h>
#include <string.h>

static const char *const weekdays[] = {"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"};
static const char *const months[] = {"january", "february", "march",     "april",   "may",      "june",
                                     "july",    "august",   "september", "october", "november", "december"};

/* How the texts of a list are read: `from` is what the first name stands for. */
struct field_form {
    const char *key;
    const char *what; /* for errors */
    const char *const *names;
    int name_count;
    int from;
    bool are_numbers_taken;
};

static const struct field_form forms[TIME_FIELD_COUNT] = {
    [TIME_FIELD_WEEKDAYS] = {"weekdays", "weekday", weekdays, 7, 0, false},
    [TIME_FIELD_DAYS_OF_MONTH] = {"days_of_month", "day of the month", NULL, 0, 0, true},
    [TIME_FIELD_MONTHS] = {"months", "month", months, 12, 1, true},
    [TIME_FIELD_YEARS] = {"years", "year", NULL, 0, 0, true},
};

/* ---- Reading ---- */

static enum ap_rc read_member(const struct yaml_node *node, const struct field_form *form, struct ap_slice text,
                              int *ret_value, struct ap_err *err)
{
    int64_t number;
    for (int i = 0; i < form->name_count; i++)
        if (ap_slice_equal_nocase(text, form->names[i])) {
            *ret_value = form->from + i;
            return AP_OK;
        }
    if (form->are_numbers_taken && yaml_parse_integer(text, &number) && number >= -9999 && number <= 9999) {
        *ret_value = (int)number;
        return AP_OK;
    }
    return yaml_fail(err, node, "%.*s is not a valid %s", AP_SLICE_ARG(text), form->what);
}

static enum ap_rc check_days(const struct yaml_node *node, const struct time_range *range, struct ap_err *err)
{
    const int ends[] = {range->first, range->last};
    for (size_t i = 0; i < 2; i++)
        if (ends[i] == 0 || ends[i] < -31 || ends[i] > 31)
            return yaml_fail(
                err, node, "%d is not a valid day of the month: they are 1 to 31, or -31 to -1 from the end", ends[i]);
    if (range->first < 0 && range->last > 0)
        return yaml_fail(err, node, "the last day must be negative if the first is negative");
    /* The shortest month has 28: what is the wrong way round in all of them is a mistake. */
    int first = range->first < 0 ? 28 + range->first : range->first;
    int last = range->last < 0 ? 28 + range->last : range->last;
    if (first > last)
        return yaml_fail(err, node, "the last day %d is always before the first day %d", range->last, range->first);
    return AP_OK;
}

/* "a:b", or "a" for "a:a". */
static enum ap_rc read_range(const struct yaml_node *node, enum time_field field, struct time_range *range,
                             struct ap_err *err)
{
    const struct field_form *form = &forms[field];
    if (node->kind != YAML_KIND_SCALAR)
        return yaml_fail(err, node, "expected a %s, or two with a colon between them", form->what);
    struct ap_slice rest = node->text;
    struct ap_slice first = ap_slice_split(&rest, ':');
    struct ap_slice last = rest.data ? ap_slice_split(&rest, ':') : first;
    if (rest.data)
        return yaml_fail(err, node, "expected a %s, or two with a colon between them, found \"%.*s\"", form->what,
                         AP_SLICE_ARG(node->text));
    enum ap_rc rc = read_member(node, form, first, &range->first, err);
    if (rc == AP_OK)
        rc = read_member(node, form, last, &range->last, err);
    if (rc != AP_OK)
        return rc;
    if (field == TIME_FIELD_DAYS_OF_MONTH)
        return check_days(node, range, err);
    if (field == TIME_FIELD_MONTHS && (range->first < 1 || range->last > 12))
        return yaml_fail(err, node, "months are 1 to 12, or their names");
    if (range->first > range->last)
        return yaml_fail(err, node,
                         "the last %s is before the first in \"%.*s\"; a range that goes round the end is two",
                         form->what, AP_SLICE_ARG(node->text));
    return AP_OK;
}

/* "HH:MM", 24:00 among them. */
static bool read_minutes(const char *text, int *ret_minutes)
{
    if (strlen(text) != 5 || text[2] != ':')
        return false;
    for (size_t i = 0; i < 5; i++)
        if (i != 2 && (text[i] < '0' || text[i] > '9'))
            return false;
    int hours = (text[0] - '0') * 10 + text[1] - '0', minutes = (text[3] - '0') * 10 + text[4] - '0';
    *ret_minutes = hours * 60 + minutes;
    return minutes < 60 && *ret_minutes <= 24 * 60;
}

static enum ap_rc read_times(const struct yaml_node *node, struct time_range *range, struct ap_err *err)
{
    struct form {
        const char *start_time;
        const char *end_time;
    } form = {0};
    static const struct yaml_field fields[] = {
        {.key = "start_time", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, start_time), .is_required = true},
        {.key = "end_time", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, end_time), .is_required = true},
    };
    enum ap_rc rc = yaml_read_struct(node, fields, AP_ARRAY_COUNT(fields), &form, err);
    if (rc != AP_OK)
        return rc;
    if (!read_minutes(form.start_time, &range->first))
        return yaml_fail(err, yaml_get(node, "start_time"), "expected a time from 00:00 to 24:00, found \"%s\"",
                         form.start_time);
    if (!read_minutes(form.end_time, &range->last))
        return yaml_fail(err, yaml_get(node, "end_time"), "expected a time from 00:00 to 24:00, found \"%s\"",
                         form.end_time);
    if (range->first >= range->last)
        return yaml_fail(err, node, "the start must be before the end; a time that goes past midnight is two");
    return AP_OK;
}

static enum ap_rc read_list(const struct yaml_node *list, enum time_field field, struct ap_arena *arena,
                            struct time_interval *interval, struct ap_err *err)
{
    if (!list || yaml_is_null(list))
        return AP_OK;
    if (list->kind != YAML_KIND_LIST)
        return yaml_fail(err, list, "expected a list of ranges");
    interval->fields[field].is_there = true;
    interval->fields[field].ranges = ap_arena_alloc0(arena, (list->child_count + 1) * sizeof(struct time_range));
    for (const struct yaml_node *node = list->first; node; node = node->next) {
        struct time_range *range = &interval->fields[field].ranges[interval->fields[field].count++];
        enum ap_rc rc = field == TIME_FIELD_TIMES ? read_times(node, range, err) : read_range(node, field, range, err);
        if (rc != AP_OK)
            return rc;
    }
    return AP_OK;
}

struct interval_form {
    const struct yaml_node *lists[TIME_FIELD_COUNT];
    const char *location;
};

#define LIST(name, field)                                                                                              \
    {                                                                                                                  \
        .key = (name), .type = YAML_TYPE_NODE,                                                                         \
        .offset = offsetof(struct interval_form, lists) + (field) * sizeof(const struct yaml_node *)                   \
    }
static const struct yaml_field interval_fields[] = {
    LIST("times", TIME_FIELD_TIMES),
    LIST("weekdays", TIME_FIELD_WEEKDAYS),
    LIST("days_of_month", TIME_FIELD_DAYS_OF_MONTH),
    LIST("months", TIME_FIELD_MONTHS),
    LIST("years", TIME_FIELD_YEARS),
    {.key = "location", .type = YAML_TYPE_TEXT, .offset = offsetof(struct interval_form, location)},
};

enum ap_rc time_interval_read(const struct yaml_node *node, struct ap_arena *arena, struct time_interval *ret_interval,
                              struct ap_err *err)
{
    struct interval_form form = {0};
    *ret_interval = (struct time_interval){0};
    enum ap_rc rc = yaml_read_struct(node, interval_fields, AP_ARRAY_COUNT(interval_fields), &form, err);
    for (int field = 0; field < TIME_FIELD_COUNT && rc == AP_OK; field++)
        rc = read_list(form.lists[field], (enum time_field)field, arena, ret_interval, err);
    if (rc != AP_OK || !form.location)
        return rc;
    struct ap_err reason;
    if (zone_load(form.location, &ret_interval->zone, &reason) != AP_OK)
        return yaml_fail(err, yaml_get(node, "location"), "%s", reason.text);
    return AP_OK;
}

void time_interval_clear(struct time_interval *interval)
{
    zone_free(interval->zone);
    *interval = (struct time_interval){0};
}

/* ---- Asking ---- */

/* The days of a range in a month of that many; false: it has none of them. */
static bool days_in(const struct time_range *range, int day_count, struct time_range *ret_days)
{
    int first = range->first < 0 ? day_count + range->first + 1 : range->first;
    int last = range->last < 0 ? day_count + range->last + 1 : range->last;
    *ret_days = (struct time_range){first, last};
    return first <= day_count;
}

static bool range_has(enum time_field field, const struct time_range *range, const struct ap_civil *time)
{
    struct time_range days;
    switch (field) {
    case TIME_FIELD_TIMES: {
        int minute = time->hour * 60 + time->minute;
        return minute >= range->first && minute < range->last;
    }
    case TIME_FIELD_WEEKDAYS:
        return time->weekday >= range->first && time->weekday <= range->last;
    case TIME_FIELD_DAYS_OF_MONTH:
        return days_in(range, zone_days_in_month(time->year, time->month), &days) && time->day >= days.first &&
               time->day <= days.last;
    case TIME_FIELD_MONTHS:
        return time->month >= range->first && time->month <= range->last;
    case TIME_FIELD_YEARS:
        return time->year >= range->first && time->year <= range->last;
    case TIME_FIELD_COUNT:
        break;
    }
    return false;
}

bool time_interval_contains(const struct time_interval *interval, int64_t unix_s)
{
    struct ap_civil time = zone_time_of(interval->zone, unix_s);
    for (int field = 0; field < TIME_FIELD_COUNT; field++) {
        bool has = !interval->fields[field].is_there;
        for (size_t i = 0; i < interval->fields[field].count && !has; i++)
            has = range_has((enum time_field)field, &interval->fields[field].ranges[i], &time);
        if (!has)
            return false;
    }
    return true;
}
