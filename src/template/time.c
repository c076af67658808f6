/* Moments as values: Go's time.Time, with the methods and layouts that templates of messages use. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "codec/zone.h"
#include "template/template_internal.h"

/* A list of two: milliseconds since 1970, seconds east of UTC. */
struct moment {
    int64_t ms;
    int64_t offset_s;
    struct ap_civil clock; /* as read in the zone */
};

static const char *const months[] = {"January", "February", "March",     "April",   "May",      "June",
                                     "July",    "August",   "September", "October", "November", "December"};
static const char *const days[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};

static struct moment moment_of(const struct template_value *value)
{
    struct moment moment = {value->list.items[0].integer, value->list.items[1].integer, {0}};
    int64_t second = moment.ms / 1000 - (moment.ms % 1000 < 0);
    moment.clock = zone_time_of(NULL, second + moment.offset_s);
    return moment;
}

static void add_offset(int64_t offset_s, const char *format, struct ap_buf *out)
{
    int64_t minutes = (offset_s < 0 ? -offset_s : offset_s) / 60;
    ap_buf_printf(out, format, offset_s < 0 ? '-' : '+', minutes / 60, minutes % 60);
}

/* ".000" and ".999": digits of the second behind the point; those of nine without zeros at the end. */
static size_t add_fraction(struct ap_slice layout, int64_t ms, struct ap_buf *out)
{
    char digit = layout.data[1];
    size_t count = 1;
    while (count < layout.bytes && layout.data[count] == digit)
        count++;
    char text[16];
    snprintf(text, sizeof(text), "%03d000000", (int)((ms % 1000 + 1000) % 1000));
    size_t keep = AP_MIN(count - 1, (size_t)9);
    while (digit == '9' && keep && text[keep - 1] == '0')
        keep--;
    if (keep)
        ap_buf_printf(out, ".%.*s", (int)keep, text);
    return count;
}

static void add_part(const char *part, const struct moment *moment, struct ap_buf *out)
{
    const struct ap_civil *clock = &moment->clock;
    int hour = clock->hour % 12 ? clock->hour % 12 : 12;
    if (strcmp(part, "2006") == 0)
        ap_buf_printf(out, "%04" PRId64, clock->year);
    else if (strcmp(part, "January") == 0 || strcmp(part, "Jan") == 0)
        ap_buf_printf(out, "%.*s", part[3] ? 20 : 3, months[clock->month - 1]);
    else if (strcmp(part, "Monday") == 0 || strcmp(part, "Mon") == 0)
        ap_buf_printf(out, "%.*s", part[3] ? 20 : 3, days[clock->weekday]);
    else if (strcmp(part, "MST") == 0 && moment->offset_s == 0)
        ap_buf_add_cstr(out, "UTC");
    else if (strcmp(part, "MST") == 0 || strcmp(part, "-0700") == 0)
        add_offset(moment->offset_s, "%c%02" PRId64 "%02" PRId64, out);
    else if (part[0] == 'Z' && moment->offset_s == 0)
        ap_buf_add_char(out, 'Z');
    else if (strcmp(part, "Z07:00") == 0 || strcmp(part, "-07:00") == 0)
        add_offset(moment->offset_s, "%c%02" PRId64 ":%02" PRId64, out);
    else if (strcmp(part, "PM") == 0 || strcmp(part, "pm") == 0)
        ap_buf_printf(out, "%c%c", part[0] - (clock->hour < 12 ? 'P' - 'A' : 0), part[1]);
    else if (strcmp(part, "06") == 0)
        ap_buf_printf(out, "%02d", (int)(clock->year % 100));
    else {
        static const char digits[] = "12345";
        int numbers[] = {clock->month, clock->day, hour, clock->minute, clock->second};
        bool is_24 = strcmp(part, "15") == 0;
        char last = part[strlen(part) - 1];
        int number = is_24 ? clock->hour : numbers[strchr(digits, last) - digits];
        ap_buf_printf(out, is_24 || part[0] == '0' ? "%02d" : part[0] == '_' ? "%2d" : "%d", number);
    }
}

/* A moment by Go's layouts, which are the 2nd of January 2006, 15:04:05, written as one wishes. */
static void add_layout(struct ap_slice layout, const struct moment *moment, struct ap_buf *out)
{
    static const char *const parts[] = {"2006",   "January", "Jan", "Monday", "Mon", "MST", "-07:00", "-0700",
                                        "Z07:00", "PM",      "pm",  "_2",     "02",  "01",  "15",     "03",
                                        "04",     "05",      "06",  "1",      "2",   "3",   "4",      "5"};
    while (layout.bytes) {
        size_t taken = 0;
        bool is_fraction =
            layout.bytes > 1 && layout.data[0] == '.' && (layout.data[1] == '0' || layout.data[1] == '9');
        if (is_fraction)
            taken = add_fraction(layout, moment->ms, out);
        for (size_t i = 0; i < AP_ARRAY_COUNT(parts) && !taken; i++) {
            if (!ap_slice_starts_with(layout, parts[i]))
                continue;
            add_part(parts[i], moment, out);
            taken = strlen(parts[i]);
        }
        if (!taken) {
            ap_buf_add_char(out, layout.data[0]);
            taken = 1;
        }
        layout = ap_slice(layout.data + taken, layout.bytes - taken);
    }
}

static void print_moment(const struct template_value *value, struct ap_buf *out)
{
    struct moment moment = moment_of(value);
    add_layout(ap_slice_cstr("2006-01-02 15:04:05.999999999 -0700 MST"), &moment, out);
}

static enum ap_rc call_moment(const struct template_value *value, struct ap_slice name,
                              const struct template_value *arguments, size_t count, struct ap_arena *arena,
                              bool *ret_is_there, struct template_value *ret, struct ap_err *err)
{
    static const struct {
        const char *name;
        size_t count;
    } methods[] = {{"Format", 1}, {"Unix", 0}, {"UnixMilli", 0}, {"UTC", 0}, {"IsZero", 0}, {"String", 0}};
    size_t method = 0;
    while (method < AP_ARRAY_COUNT(methods) && !ap_slice_equal_cstr(name, methods[method].name))
        method++;
    if (method == AP_ARRAY_COUNT(methods))
        return AP_OK;
    *ret_is_there = true;
    if (count != methods[method].count || (count && arguments[0].kind != TEMPLATE_TEXT))
        return ap_fail(err, AP_E_CONFLICT, "%s takes %s", methods[method].name,
                       methods[method].count ? "a layout such as \"2006-01-02 15:04\"" : "no arguments");
    struct moment moment = moment_of(value);
    AP_AUTO_BUF struct ap_buf text = {0};
    switch (method) {
    case 1:
    case 2:
        *ret = (struct template_value){.kind = TEMPLATE_INT, .integer = method == 1 ? moment.ms / 1000 : moment.ms};
        return AP_OK;
    case 3:
        return template_moment(arena, moment.ms, 0, ret, err);
    case 4:
        *ret = (struct template_value){.kind = TEMPLATE_BOOL, .boolean = moment.ms == TEMPLATE_MOMENT_ZERO_MS};
        return AP_OK;
    default:
        if (method == 0)
            add_layout(arguments[0].text, &moment, &text);
        else
            print_moment(value, &text);
    }
    char *copy = ap_arena_try_strndup(arena, ap_buf_slice(&text));
    if (!copy)
        return ap_fail(err, AP_E_LIMIT, "the template's values need too much memory");
    *ret = template_text(ap_slice(copy, text.bytes));
    return AP_OK;
}

const struct template_type template_type_moment = {.call = call_moment, .print = print_moment};

enum ap_rc template_moment(struct ap_arena *arena, int64_t unix_ms, int64_t offset_s, struct template_value *ret,
                           struct ap_err *err)
{
    struct template_value *items = ap_arena_try_alloc(arena, 2 * sizeof(*items));
    if (!items)
        return ap_fail(err, AP_E_LIMIT, "the template's values need too much memory");
    items[0] = (struct template_value){.kind = TEMPLATE_INT, .integer = unix_ms};
    items[1] = (struct template_value){.kind = TEMPLATE_INT, .integer = offset_s};
    *ret = (struct template_value){.kind = TEMPLATE_LIST, .type = &template_type_moment, .list = {items, 2}};
    return AP_OK;
}
